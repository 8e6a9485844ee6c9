"""What earlier runs gave: by scenario, policy and metric the values by seed, in a JSON file.

The file is meant to be kept beside the suite and to be read in a diff: sorted, a line a metric.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sim.check.files import write_whole
from sim.check.guard import MOST
from sim.options import OptionError, is_number
from sim.sweep.cells import configuration_of
from sim.sweep.inputs import digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sim.check.measure import Value
    from sim.sweep.inputs import Inputs

FORMAT = 1
SIGNIFICANT = 12
"""Digits that are kept: what differs in later ones is rounding."""


@dataclass(frozen=True)
class Meant:
    """What a scenario asks for, apart from policies and seeds.

    Attributes
    ----------
    setting : mapping
        In canonical form, to be told in words.
    contents : mapping of str to str
        Digests of the trace and the profiles that it names.
    digest : str
        Of all that the numbers hang on, but for the code.
    """

    setting: Mapping[str, Any]
    contents: Mapping[str, str]
    digest: str


@dataclass(frozen=True)
class Recorded:
    """What is known of one scenario.

    Attributes
    ----------
    meant : Meant
        What was run.
    first_seed : int
        Of the first value.
    values : mapping
        By policy and metric: the values by seed.
    versions : mapping of str to str
        Of what ran it.
    """

    meant: Meant
    first_seed: int
    values: Mapping[str, Mapping[str, Sequence[Value]]]
    versions: Mapping[str, str]

    @property
    def seeds(self) -> int:
        """How many seeds all of it has."""
        metrics = [values for by_metric in self.values.values() for values in by_metric.values()]
        return min(map(len, metrics), default=0)


Baseline = dict[str, Recorded]
"""By name of the scenario."""


def meant_by(setting: Mapping[str, Any], inputs: Inputs) -> Meant:
    """Return what the setting of a cell means, whatever its policy and seed.

    Parameters
    ----------
    setting : mapping
        In canonical form.
    inputs : Inputs
        Reads what it names.
    """
    configuration = configuration_of(setting, inputs)
    contents = dict(configuration.digests)
    if "sla_profile" not in setting:  # that of the fleet, which has its name already
        contents.pop("sla_profile", None)
    return Meant(
        setting={n: v for n, v in setting.items() if n not in ("policy", "seed")},
        contents=contents,
        digest=digest_of(configuration.meaning),
    )


def differences(was: Meant, now: Meant) -> list[str]:
    """Return in words what a scenario asks for that it did not, nothing where it is the same."""
    if was.digest == now.digest:
        return []
    found = []
    for name in (*was.setting, *(name for name in now.setting if name not in was.setting)):
        before, after = was.setting.get(name), now.setting.get(name)
        if before != after:
            found.append(f"{name} {_told(before)} -> {_told(after)}")
    for name in was.contents.keys() & now.contents.keys():
        if was.contents[name] != now.contents[name]:
            file = name if name == "trace" else f"profile {name}"
            found.append(f"the content of {file} changed")
    return sorted(found) or ["what its settings mean changed"]


def _told(value: Any) -> str:
    return "none" if value is None else f"{value:.15g}" if is_number(value) else str(value)


def read_baseline(path: Path) -> Baseline:
    """Return the baseline in a file.

    Raises
    ------
    OptionError
        In one line, if it is none.
    OSError
        If it cannot be read.
    """
    remedy = "restore it, or remove it and make another with --update-baseline"
    try:
        data = json.loads(path.read_text("utf-8"))
        if data["format"] != FORMAT:
            raise OptionError(
                f"{path}: a baseline in format {data['format']}, expected {FORMAT}: {remedy}"
            )
        return {name: _recorded(about) for name, about in data["scenarios"].items()}
    except OptionError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        why = " ".join(str(error).split())
        raise OptionError(f"{path}: this is no baseline ({why}): {remedy}") from None


def _recorded(about: Mapping[str, Any]) -> Recorded:
    values = {
        policy: {metric: [_value(v) for v in numbers] for metric, numbers in by_metric.items()}
        for policy, by_metric in about["values"].items()
    }
    for name, kind in (
        *(("configuration", dict), ("contents", dict), ("versions", dict)),
        *(("digest", str), ("first_seed", int)),
    ):
        if type(about[name]) is not kind:
            raise ValueError(f"{name} = {about[name]!r}")
    meant = Meant(about["configuration"], about["contents"], about["digest"])
    return Recorded(meant, about["first_seed"], values, about["versions"])


def _value(value: Any) -> Value:
    if value is None or (is_number(value) and abs(value) <= MOST):
        return value
    raise ValueError(f"{value!r} among the values")


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Write a baseline in one step: the same baseline gives the same bytes.

    Raises
    ------
    OSError
        If it cannot be written; what was there stays.
    """
    write_whole(path, baseline_text(baseline))


def baseline_text(baseline: Baseline) -> str:
    """Return a baseline as it stands in its file."""
    document = {
        "format": FORMAT,
        "scenarios": {
            name: {
                "configuration": recorded.meant.setting,
                "contents": recorded.meant.contents,
                "digest": recorded.meant.digest,
                "first_seed": recorded.first_seed,
                "values": recorded.values,
                "versions": recorded.versions,
            }
            for name, recorded in baseline.items()
        },
    }
    return _lines(document) + "\n"


def _lines(value: Any, indent: str = "") -> str:
    """Return JSON with a line for each entry of an object, and a list on one line."""
    if not hasattr(value, "items"):
        return json.dumps(value)
    inner = indent + "  "
    entries = [f"{inner}{json.dumps(k)}: {_lines(v, inner)}" for k, v in sorted(value.items())]
    return "{\n" + ",\n".join(entries) + f"\n{indent}}}" if entries else "{}"


def kept(value: Value) -> Value:
    """Return a value as a baseline keeps it."""
    if value is None or isinstance(value, int):
        return value
    return float(f"{value:.{SIGNIFICANT}g}")
