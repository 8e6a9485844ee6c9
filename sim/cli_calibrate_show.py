"""`saber calibrate show`: what a profile says, or how two of them differ."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim import cli_options as given
from sim import console
from sim.cli_calibrate_differences import show_differences
from sim.cli_calibrate_tables import show_bundled, show_profile
from sim.cli_figure import NoFigure, figure_file, write_figure
from sim.options import OptionError

if TYPE_CHECKING:
    from calibrate.profile import Profile

DEFAULT_FIGURE = Path("saber-profile.png")


def show(
    profile: Annotated[
        str | None,
        typer.Argument(
            metavar="PROFILE",
            help="A bundled profile or a JSON file; without it, the list of all.",
            show_default=False,
        ),
    ] = None,
    other: Annotated[
        str | None,
        typer.Argument(
            metavar="OTHER", help="A second one, to see the differences.", show_default=False
        ),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where to draw: .png, .svg or .pdf.",
            show_default=str(DEFAULT_FIGURE),
            rich_help_panel=given.OUTPUT,
        ),
    ] = None,
    no_figure: NoFigure = False,
    json: given.Json = False,
) -> None:
    """Show what a profile says, how well it is known, and its caveats; or how two differ.

    Step times, errors of the fit, how far above the hardware's floor, the points that the fit
    misses most, and a figure.  --json has every number of it.

    Examples:
      saber calibrate show
      saber calibrate show paper-qwen2.5-coder-3b
      saber calibrate show before.json after.json --figure difference.pdf
      saber calibrate show my-profile.json --no-figure --json
    """
    if profile is None:
        _refuse_idle({"--figure": figure, "--no-figure": no_figure or None})
        _show_all(json=json)
        return
    from calibrate.library import load_profile

    picture = figure_file(figure, no_figure, DEFAULT_FIGURE)
    profiles = [load_profile(name) for name in (profile, other) if name is not None]
    document = _document(profiles)
    if picture is not None:
        from sim.profile_figure import profile_figure

        write_figure(profile_figure(profiles), picture)
    if json:
        console.show_json({**document, "figure": picture})
    elif other is None:
        show_profile(document)
    else:
        show_differences(document)


def _show_all(*, json: bool) -> None:
    from calibrate.devices import devices
    from calibrate.library import bundled_profiles, load_profile
    from calibrate.roofline import PREFIX, roofline_names

    rows = [_outline(load_profile(name)) for name in bundled_profiles()]
    if json:
        console.show_json({"profiles": rows, "rooflines": roofline_names()})
        return
    show_bundled(rows)
    console.show(
        f"A bound from published peaks, for any device and model, is named {PREFIX}DEVICE-MODEL; "
        f"devices: {', '.join(devices())}"
    )


def _outline(profile: "Profile") -> dict[str, Any]:
    return {
        "name": profile.name,
        "model": profile.model.get("name"),
        "device": profile.device.get("name"),
        "method": profile.method,
        "date": profile.date,
        "held_out_mape": {
            region: error.mape for region, error in profile.fit.get("held_out", {}).items()
        },
        "caveats": list(profile.caveats),
    }


def _document(profiles: "Sequence[Profile]") -> dict[str, Any]:
    if len(profiles) == 1:
        from calibrate.describe import describe_profile

        return describe_profile(*profiles)
    from calibrate.differences import differences

    return differences(*profiles)


def _refuse_idle(options: Mapping[str, object]) -> None:
    for name, value in options.items():
        if value is not None:
            shown = name if value is True else f"{name} {value}"
            raise OptionError(f"{shown} has no effect without a PROFILE: expected one to draw")
