"""Which replicas fail when, and what becomes of the requests they held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from policies.catalog import split_policies
from policies.protocol import PolicyError
from policies.text import parse_call
from sim.options import LONGEST_S, OptionError, seconds, whole_number

if TYPE_CHECKING:
    from collections.abc import Sequence

OnFailure = Literal["lost", "retry", "failover"]


@dataclass(frozen=True)
class Outage:
    """One replica fails at a given time.

    Attributes
    ----------
    at_s : float
        When it fails [s of the trace].
    replica : int
        Its index.
    for_s : float
        Until repair [s]; the start-up follows.  Where outages overlap the last repair counts.
    """

    at_s: float
    replica: int = 0
    for_s: float = LONGEST_S

    def __post_init__(self) -> None:
        _check_scripted(self)


@dataclass(frozen=True)
class Maintenance:
    """One replica is drained at a given time: it takes no requests, and goes when it is empty.

    Attributes
    ----------
    at_s, replica, for_s
        As in `Outage`; `for_s` counts from `at_s`.
    """

    at_s: float
    replica: int = 0
    for_s: float = LONGEST_S

    def __post_init__(self) -> None:
        _check_scripted(self)


@dataclass(frozen=True)
class RandomOutages:
    """Each replica fails on its own, again and again.

    Attributes
    ----------
    mtbf_s : float
        Mean of the exponential time from taking requests to the next failure [s].
    repair_s : float
        Mean of the exponential time to repair [s]; the start-up follows.
    """

    mtbf_s: float
    repair_s: float = 300.0

    def __post_init__(self) -> None:
        seconds("mtbf_s", self.mtbf_s, above=0)
        seconds("repair_s", self.repair_s)


OUTAGES: dict[str, type[Outage] | type[Maintenance] | type[RandomOutages]] = {
    "random": RandomOutages,
    "at": Outage,
    "drain": Maintenance,
}


@dataclass(frozen=True)
class Failures:
    """What goes wrong in a run.

    Attributes
    ----------
    outages : sequence of Outage, Maintenance or RandomOutages
        At most one of them random.
    on_failure : {"lost", "retry", "failover"}
        What becomes of the requests a failing replica holds: they fail for good; their clients
        try again as they do after any failure; or the router sends them on at once, prompt and
        all, without the client noticing.
    """

    outages: Sequence[Outage | Maintenance | RandomOutages]
    on_failure: OnFailure = "retry"

    def __post_init__(self) -> None:
        known = tuple(OUTAGES.values())
        if not isinstance(self.outages, list | tuple) or not all(
            isinstance(outage, known) for outage in self.outages
        ):
            raise OptionError(
                f"outages={self.outages!r}: expected a list of Outage, Maintenance and "
                "RandomOutages, see sim.cluster.failures.parse_failures(text)"
            )
        object.__setattr__(self, "outages", tuple(self.outages))
        if self.on_failure not in get_args(OnFailure):
            raise OptionError(
                f"on_failure={self.on_failure!r}: expected {', '.join(get_args(OnFailure))}"
            )
        if sum(isinstance(outage, RandomOutages) for outage in self.outages) > 1:
            raise OptionError("failures: random is given twice: expected it once")

    @property
    def random(self) -> RandomOutages | None:
        """The random outages, if there are any."""
        return next((o for o in self.outages if isinstance(o, RandomOutages)), None)

    @property
    def scripted(self) -> tuple[Outage | Maintenance, ...]:
        """The outages with a time of their own."""
        return tuple(o for o in self.outages if not isinstance(o, RandomOutages))


def parse_failures(text: str, on_failure: OnFailure = "retry") -> Failures:
    """Return the failures `text` lists.

    Parameters
    ----------
    text : str
        Such as ``random(mtbf_s=3600, repair_s=300)`` or ``at(120, replica=0, for_s=60), drain(300,
        replica=1, for_s=60)``.

    Raises
    ------
    OptionError
        In one line, for anything else.
    """
    try:
        parts = split_policies(text)
    except PolicyError:
        raise OptionError(f"failures {text!r}: expected outages separated by commas") from None
    return Failures(
        [parse_call(part, OUTAGES, "failure", error=OptionError) for part in parts], on_failure
    )


def _check_scripted(outage: Outage | Maintenance) -> None:
    seconds("at_s", outage.at_s)
    seconds("for_s", outage.for_s)
    object.__setattr__(outage, "replica", whole_number("replica", outage.replica, 0))
