"""What is to be kept: goodput and latency percentiles, in one text and in one number."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.options import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

LATENCIES = ("ttft", "tpot", "e2e")
_SHAPE = re.compile(
    r"(?P<metric>[a-z0-9]+)(?:_(?P<part>[a-z0-9.]+))?\s*(?P<relation><=|>=|<|>|=+)\s*"
    r"(?P<number>[0-9.eE+-]+)\s*(?P<unit>%|ms|s)?"
)
_EXAMPLES = "goodput>=95%, ttft_p99<=0.5 (seconds), tpot_mean<=50ms or e2e_p95<=2s"


@dataclass(frozen=True)
class Condition:
    """One thing to keep.

    Attributes
    ----------
    metric : str
        "goodput", "ttft", "tpot" or "e2e".
    percentile : float or None
        Of the latencies; None is their mean, and for goodput nothing.
    limit : float
        The least goodput [%], or the longest latency [s].
    """

    metric: str
    percentile: float | None
    limit: float

    @property
    def is_goodput(self) -> bool:
        """Whether more is better."""
        return self.metric == "goodput"

    @property
    def name(self) -> str:
        """What is measured: ``goodput``, ``ttft_p99``, ``e2e_mean``."""
        if self.is_goodput:
            return self.metric
        return f"{self.metric}_{'mean' if self.percentile is None else f'p{self.percentile:g}'}"

    @property
    def text(self) -> str:
        """The condition as it may be typed."""
        if self.is_goodput:
            return f"{self.name}>={self.limit:g}%"
        return f"{self.name}<={self.limit:g}s"

    def strain(self, value: float) -> float:
        """Return how hard the limit is pressed: up to 1 it is kept.

        A latency over its limit; for goodput, the share that is missed over the share that may be.
        Infinite where there is no value (NaN).
        """
        if math.isnan(value):
            return math.inf
        if not self.is_goodput:
            return value / self.limit
        missed, allowed = 100 - value, 100 - self.limit
        if allowed:
            return missed / allowed
        return math.inf if missed else 0.0

    def show(self, value: float) -> str:
        """Return a value with its unit."""
        if not math.isfinite(value):
            return "without end"
        if self.is_goodput:
            return f"{value:.2f} %" if 99.5 <= value < 100 else f"{value:.3g} %"
        return f"{value:.3g} s" if value >= 1 else f"{1e3 * value:.3g} ms"


@dataclass(frozen=True)
class Target:
    """Conditions that all have to be kept."""

    conditions: tuple[Condition, ...]

    @property
    def text(self) -> str:
        """The target as it may be typed."""
        return ",".join(condition.text for condition in self.conditions)

    @property
    def needs_goodput(self) -> bool:
        """Whether requests need SLAs or goodput limits."""
        return any(condition.is_goodput for condition in self.conditions)

    def strain(self, values: Sequence[float]) -> float:
        """Return the strain of the condition that is pressed hardest; up to 1 all are kept."""
        return max(self.strains(values))

    def strains(self, values: Sequence[float]) -> list[float]:
        """Return the strain of each condition at `values`, one a condition."""
        return [
            condition.strain(value)
            for condition, value in zip(self.conditions, values, strict=True)
        ]


def parse_target(text: str) -> Target:
    """Return the target that ``goodput>=95%`` or ``ttft_p99<=0.5,e2e_p95<=2s`` means.

    Raises
    ------
    OptionError
        For a text that is none, a limit that cannot be meant, or something that is said twice.
    """
    conditions = [_condition(part.strip()) for part in text.split(",")]
    names = [condition.name for condition in conditions]
    for name in names:
        if names.count(name) > 1:
            raise OptionError(f"--target {text!r} names {name} twice: expected each once")
    return Target(tuple(conditions))


def _condition(part: str) -> Condition:
    match = _SHAPE.fullmatch(part)
    if match is None:
        raise OptionError(f"--target {part!r}: expected {_EXAMPLES}")
    metric = {"e2el": "e2e"}.get(match["metric"], match["metric"])
    try:
        limit = float(match["number"])
    except ValueError:
        raise OptionError(f"--target {part!r}: {match['number']!r} is not a number") from None
    if metric == "goodput":
        return _goodput(part, match, limit)
    if metric not in LATENCIES:
        raise OptionError(
            f"--target {part!r}: unknown {match['metric']!r}, expected goodput, "
            f"{', '.join(LATENCIES)}"
        )
    if match["relation"] != "<=":
        raise OptionError(f"--target {part!r}: a latency is kept with <=, such as {metric}_p99<=2s")
    if match["unit"] == "%":
        raise OptionError(f"--target {part!r}: a latency is in seconds (s) or milliseconds (ms)")
    limit = limit / 1e3 if match["unit"] == "ms" else limit
    if not 0 < limit < math.inf:
        raise OptionError(f"--target {part!r}: expected a limit above 0")
    return Condition(metric, _percentile(part, match["part"]), limit)


def _goodput(part: str, match: re.Match[str], limit: float) -> Condition:
    if match["part"] or match["relation"] != ">=" or match["unit"] not in (None, "%"):
        raise OptionError(f"--target {part!r}: goodput is kept with >=, such as goodput>=95%")
    if match["unit"] is None and limit <= 1:
        raise OptionError(f"--target {part!r}: goodput is in percent, such as goodput>=95%")
    if not 0 < limit <= 100:
        raise OptionError(f"--target {part!r}: expected goodput above 0 and up to 100%")
    return Condition("goodput", None, limit)


def _percentile(part: str, word: str | None) -> float | None:
    if word == "mean":
        return None
    try:
        percentile = float(word[1:]) if word is not None and word.startswith("p") else math.nan
    except ValueError:
        percentile = math.nan
    if not 0 < percentile < 100:
        raise OptionError(
            f"--target {part!r}: say which part of the latencies, such as _p99 or _mean"
        )
    return percentile
