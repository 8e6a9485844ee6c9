"""A plain function as a policy, a router or a scaler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from operator import index
from typing import TYPE_CHECKING, Any, overload

from policies.protocol import Choice, Pending, PolicyError
from policies.routing import checked_route
from policies.scaling import checked_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np

    from calibrate.profile import Profile
    from policies.protocol import View
    from policies.routing import Fleet
    from policies.scaling import Load


@dataclass(frozen=True)
class FunctionPolicy:
    """Keeps a queue for a function that has none of its own.

    Attributes
    ----------
    function : callable
        Takes a `View` whose ``queue`` holds the requests not yet released, oldest first, and
        returns a `Choice`, or the requests (or ids) to release, or None for none.
    label : str
        How the policy is named in results.
    """

    function: Callable[[View], Any]
    label: str

    def start(self, rng: np.random.Generator, profile: Profile) -> QueuedFunction:
        """Return a decider with an empty queue."""
        return QueuedFunction(self.function, self.label)


class Waiting(Sequence[Pending]):
    """The waiting requests, oldest first; looking at a few does not copy them all."""

    __slots__ = ("_by_id",)

    def __init__(self, by_id: dict[int, Pending]) -> None:
        self._by_id = by_id

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Pending]:
        return iter(self._by_id.values())

    @overload
    def __getitem__(self, at: int) -> Pending: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Pending, ...]: ...
    def __getitem__(self, at: int | slice) -> Pending | tuple[Pending, ...]:
        if isinstance(at, slice) and at.step is None and (at.stop or 0) >= 0 <= (at.start or 0):
            return tuple(islice(self._by_id.values(), at.start, at.stop))
        return tuple(self._by_id.values())[at]


class QueuedFunction:
    """Shows the function its queue and keeps the queue in line with its choices."""

    __slots__ = ("_function", "_label", "_queue")

    def __init__(self, function: Callable[[View], Any], label: str) -> None:
        self._function = function
        self._label = label
        self._queue: dict[int, Pending] = {}

    def decide(self, view: View) -> Choice:
        """Return what the function chose."""
        queue = self._queue
        for request in view.cancelled:
            queue.pop(request, None)
        if view.arrived is not None:
            queue[view.arrived.id] = view.arrived
        view.queue = Waiting(queue)
        answer = self._function(view)
        choice = answer if isinstance(answer, Choice) else Choice(self._ids(answer))
        for request in (*choice.release, *choice.refuse):
            if queue.pop(request, None) is None:
                raise PolicyError(
                    f"policy {self._label} chose request {request}, which is not in view.queue: "
                    "return requests from the queue, each once"
                )
        return choice

    def _ids(self, answer: Iterable[Pending | int] | None) -> list[int]:
        if answer is None:
            return []
        try:
            return [item.id if isinstance(item, Pending) else index(item) for item in answer]
        except TypeError:
            raise PolicyError(
                f"policy {self._label} returned {answer!r}: expected a Choice, or the requests "
                "(or ids) to release, or None"
            ) from None


@dataclass(frozen=True)
class FunctionRouter:
    """Routes by a function, which is shown what the replicas do.

    Attributes
    ----------
    function : callable
        Takes a `Pending` request and a `Fleet` and returns one of ``fleet.taking``.
    label : str
        How the router is named in results.
    """

    function: Callable[[Pending, Fleet], Any]
    label: str

    looks = True

    def start(self, profiles: Sequence[Profile], rng: np.random.Generator) -> FunctionRouter:
        """Return the routing of one run: there is nothing to remember."""
        return self

    def route(self, request: Pending, fleet: Fleet) -> int:
        """Return the replica the function chose."""
        return checked_route(self.label, self.function(request, fleet), fleet)


@dataclass(frozen=True)
class FunctionScaler:
    """Scales by a function.

    Attributes
    ----------
    function : callable
        Takes a `Load` and returns how many replicas there should be.
    label : str
        How the scaler is named in results.
    """

    function: Callable[[Load], Any]
    label: str

    def desired(self, load: Load) -> int:
        """Return how many replicas the function wants."""
        return checked_count(self.label, self.function(load))
