"""Find a profile: bundled, in a file, or a roofline that is computed when it is asked for."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from calibrate.profile import Profile
from calibrate.roofline import PREFIX, roofline_by_name, roofline_names
from calibrate.schema import ProfileError, nearest, parse_json


def bundled_profiles() -> tuple[str, ...]:
    """Return the names of the profiles that come with the package, sorted."""
    files = resources.files("calibrate.profiles").iterdir()
    return tuple(sorted(f.name.removesuffix(".json") for f in files if f.name.endswith(".json")))


def load_profile(name_or_path: str | os.PathLike[str]) -> Profile:
    """Return a bundled profile by its name, a computed roofline, or the profile in a JSON file.

    A text is a bundled name, else the path of a file, else a roofline's name such as
    roofline-h100-qwen2.5-coder-7b; a PathLike is a path.

    Raises
    ------
    ProfileError
        For an unknown name, an unreadable file, or a profile that is wrong, in one line.
    """
    given = os.fspath(name_or_path)
    names = bundled_profiles() if isinstance(name_or_path, str) else ()
    if given in names:
        source = resources.files("calibrate.profiles").joinpath(f"{given}.json")
        return Profile.from_dict(parse_json(source.read_text("utf-8")), where=given)
    looks_like_path = given.endswith(".json") or len(Path(given).parts) > 1
    if names and not looks_like_path and not Path(given).is_file():
        if given.startswith(PREFIX):
            return roofline_by_name(given)
        raise _no_profile(given, names)
    try:
        content = Path(given).read_text("utf-8-sig")
    except OSError as error:
        raise ProfileError(f"{given}: cannot read the profile: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ProfileError(f"{given}: not a JSON file: it is not UTF-8 text") from None
    try:
        data = parse_json(content)
    except ProfileError as error:
        raise ProfileError(f"{given}: {error}") from None
    return Profile.from_dict(data, where=given)


def _no_profile(given: str, names: tuple[str, ...]) -> ProfileError:
    listed = [name for name in names if not name.startswith(PREFIX)]
    return ProfileError(
        f"there is no profile {given!r}, expected the path of a JSON file, {', '.join(listed)}, "
        f"or {PREFIX}DEVICE-MODEL{nearest(given, (*listed, *roofline_names()))}"
    )
