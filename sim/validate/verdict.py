"""Whether a simulation is as near to the measurement as it has to be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sim.options import OptionError
from sim.validate.compare import LATENCIES, PARTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sim.validate.compare import Comparison, Error

Outcome = Literal["within", "outside", "cannot be told"]

DEFAULT_PART = "p50"
DEFAULT_TOLERANCE = "e2e:5,tpot:5,ttft:10,goodput:5"


@dataclass(frozen=True)
class Limit:
    """How far one number may be off.

    Attributes
    ----------
    name : str
        `sim.validate.compare.Error.name`, such as "e2e.p50".
    most : float
        Percent of the measured; points of goodput.
    """

    name: str
    most: float


@dataclass(frozen=True)
class Verdict:
    """What one limit says of one policy.

    Attributes
    ----------
    limit : Limit
    outcome : {"within", "outside", "cannot be told"}
        The interval of the error lies wholly within the limit, wholly outside, or across it.
    """

    limit: Limit
    outcome: Outcome


def parse_tolerance(text: str) -> tuple[Limit, ...]:
    """Return the limits that ``e2e:5,tpot:5,ttft.p90:10,goodput:5`` lists.

    A latency without a part is judged by its median; what is not listed is not judged.

    Raises
    ------
    OptionError
        In one line, for anything else.
    """
    expected = (
        f"expected METRIC:PERCENT with commas, such as {DEFAULT_TOLERANCE}, a METRIC being "
        f"{', '.join(LATENCIES)} (their {DEFAULT_PART}, or .{', .'.join(PARTS)}), goodput or "
        "throughput"
    )
    limits: dict[str, Limit] = {}
    for word in text.replace(" ", "").split(","):
        metric, _, number = word.partition(":")
        key, dot, part = metric.partition(".")
        try:
            most = float(number)
        except ValueError:
            most = math.nan
        latency = key in LATENCIES and (part in PARTS if dot else True)
        if not (latency or metric in ("goodput", "throughput")) or not 0 < most < math.inf:
            raise OptionError(f"--tolerance {word!r}: {expected}")
        name = metric if dot or key not in LATENCIES else f"{key}.{DEFAULT_PART}"
        if name in limits:
            raise OptionError(f"--tolerance {text!r} gives {name} twice: expected each once")
        limits[name] = Limit(name, most)
    return tuple(limits.values())


def verdicts_of(comparison: Comparison, limits: Iterable[Limit]) -> tuple[Verdict, ...]:
    """Return what the limits say; nothing of a number that is defined on neither side.

    Goodput is not without any objective; but where no request finished on both sides, latencies
    cannot be told.
    """
    found = []
    for limit in limits:
        error = comparison.error(limit.name)
        if error.metric == "goodput" and error.measured is None:
            continue
        found.append(Verdict(limit, _outcome(error, limit.most)))
    return tuple(found)


def _outcome(error: Error, most: float) -> Outcome:
    estimate = error.error
    if estimate is None or estimate.low is None or estimate.high is None:
        return "cannot be told"
    if -most <= estimate.low and estimate.high <= most:
        return "within"
    if estimate.low > most or estimate.high < -most:
        return "outside"
    return "cannot be told"


def together(verdicts: Sequence[Verdict]) -> Outcome:
    """Return "outside" if any number is, "cannot be told" if none could be told, else "within"."""
    outcomes = {verdict.outcome for verdict in verdicts}
    if "outside" in outcomes:
        return "outside"
    return "within" if "within" in outcomes else "cannot be told"
