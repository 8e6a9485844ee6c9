"""What a user's module decides, with failures told in one line that names it."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from policies.protocol import PolicyError
from policies.routing import checked_route
from policies.scaling import checked_count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from calibrate.profile import Profile
    from policies.protocol import Choice, Decider, Pending, Policy, View
    from policies.routing import Fleet, Route, Router
    from policies.scaling import Load, Scaler

T = TypeVar("T")


@dataclass(frozen=True)
class Guarded:
    """A policy that turns whatever its code raises into a `PolicyError`.

    Attributes
    ----------
    policy : Policy
        The policy as it was given.
    """

    policy: Policy

    @property
    def label(self) -> str:
        """The policy's own label."""
        return self.policy.label

    @property
    def max_num_seqs(self) -> int | None:
        """The batch size the policy sets, if it sets one."""
        return getattr(self.policy, "max_num_seqs", None)

    def start(self, rng: np.random.Generator, profile: Profile) -> GuardedDecider:
        """Return the policy's decider, guarded like the policy."""
        what = f"policy {self.label}"
        decider = _guard(what, "start", lambda: self.policy.start(rng, profile))
        _check_able(what, decider, "decide(view)")
        return GuardedDecider(decider, what)


class GuardedDecider:
    """A decider that turns whatever its code raises into a `PolicyError`."""

    __slots__ = ("_decider", "_what")

    def __init__(self, decider: Decider, what: str) -> None:
        self._decider = decider
        self._what = what

    def decide(self, view: View) -> Choice:
        """Return what the decider chose."""
        return _guard(self._what, "decide", lambda: self._decider.decide(view))


@dataclass(frozen=True)
class GuardedRouter:
    """A router that turns whatever its code raises into a `PolicyError`.

    Attributes
    ----------
    router : Router
        The router as it was given.
    """

    router: Router

    @property
    def label(self) -> str:
        """The router's own label."""
        return self.router.label

    @property
    def looks(self) -> bool:
        """What the router says of itself."""
        return self.router.looks

    def start(self, profiles: Sequence[Profile], rng: np.random.Generator) -> GuardedRoute:
        """Return the router's routing, guarded like the router."""
        what = f"router {self.label}"
        route = _guard(what, "start", lambda: self.router.start(profiles, rng))
        _check_able(what, route, "route(request, fleet)")
        return GuardedRoute(route, self.label)


class GuardedRoute:
    """A routing that turns whatever its code raises into a `PolicyError`."""

    __slots__ = ("_label", "_route")

    def __init__(self, route: Route, label: str) -> None:
        self._route = route
        self._label = label

    def route(self, request: Pending, fleet: Fleet) -> int:
        """Return the replica chosen."""
        what = f"router {self._label}"
        answer = _guard(what, "route", lambda: self._route.route(request, fleet))
        return checked_route(self._label, answer, fleet)


@dataclass(frozen=True)
class GuardedScaler:
    """A scaler that turns whatever its code raises into a `PolicyError`.

    Attributes
    ----------
    scaler : Scaler
        The scaler as it was given.
    """

    scaler: Scaler

    @property
    def label(self) -> str:
        """The scaler's own label."""
        return self.scaler.label

    def desired(self, load: Load) -> int:
        """Return how many replicas the scaler wants."""
        answer = _guard(f"scaler {self.label}", "desired", lambda: self.scaler.desired(load))
        return checked_count(self.label, answer)


def _guard(what: str, call: str, function: Callable[[], T]) -> T:
    """Return what a user's function returns; a PolicyError says what it raised and where."""
    try:
        return function()
    except PolicyError:
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        message = " ".join(str(error).split())
        raise PolicyError(
            f"{what}: its {call} failed with {type(error).__name__}: {message}{where}"
        ) from error


def _check_able(what: str, started: object, method: str) -> None:
    """Raise a PolicyError unless what a start returned has the method."""
    if not callable(getattr(started, method.partition("(")[0], None)):
        raise PolicyError(
            f"{what}: start returned {started!r:.80}: expected an object with {method}"
        )
