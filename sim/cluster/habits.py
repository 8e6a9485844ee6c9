"""From what a user says of clients to what the simulator needs: everything random drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from policies.protocol import NEVER_PS, PS_PER_S
from sim.cluster.clientele import Habits
from sim.options import LONGEST_S, OptionError, to_ps

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from policies.protocol import Pending
    from sim.cluster.clients import Clients
    from traces.request import Trace

GOLDEN = 0.6180339887498949
"""Turns one number drawn for a request into one for each of its retries."""


def habits_of(
    clients: Clients, trace: Trace, overhead_ps: int, stream: Callable[[int], np.random.Generator]
) -> Habits:
    """Return how these clients behave with this trace.

    Parameters
    ----------
    clients : Clients
        As the user described them.
    trace : Trace
        Its requests.
    overhead_ps : int
        Client overhead [ps]: how much earlier than the client the server is at an instant.
    stream : callable
        Random streams by number: retries, patience, think times.

    Raises
    ------
    OptionError
        If something has no effect on this trace.
    """
    n = len(trace)
    timeout_ps = NEVER_PS
    if clients.timeout_s is not None:
        timeout_ps = to_ps(clients.timeout_s) - overhead_ps
        if timeout_ps <= 0:
            raise OptionError(
                f"timeout_s={clients.timeout_s:g} is no more than the client overhead of "
                f"{overhead_ps / PS_PER_S:g} s: no request can end in time"
            )
    concerned = _concerned(clients, trace)
    patience = clients.patience
    parents = trace.parent.tolist() if clients.await_parent else None
    if parents is not None and max(parents) < 0:
        raise OptionError(
            "await_parent has no effect: no request of the trace follows another "
            "(expected a trace with parents)"
        )
    if clients.cancel_on_next and not trace.sessions:
        raise OptionError("cancel_on_next has no effect: the trace has no sessions")
    return Habits(
        timeout_ps=timeout_ps,
        retries=clients.retries,
        backoff_ps=_backoff(clients, stream(0).random(n if clients.retries else 0)),
        patience_ps=(
            None if patience is None else _patience(patience(n, stream(1)), concerned).tolist()
        ),
        cancels=_cancels(concerned) if clients.cancel_on_next else None,
        users=clients.users,
        think_ps=_think(clients, n, stream(2)),
        parents=parents,
    )


def _concerned(clients: Clients, trace: Trace) -> NDArray[np.bool_]:
    """Return which requests users may cancel."""
    if not clients.cancel_tasks:
        return np.ones(len(trace), dtype=bool)
    for task in clients.cancel_tasks:
        if task not in trace.tasks:
            known = ", ".join(trace.tasks) or "no tasks at all"
            raise OptionError(f"cancel_tasks: unknown task {task!r}: the trace has {known}")
    codes = [trace.tasks.index(task) for task in clients.cancel_tasks]
    return np.isin(trace.task_code, codes)


def _cancels(concerned: NDArray[np.bool_]) -> Callable[[Pending], bool]:
    return lambda request: bool(concerned[request.id])


def _patience(seconds: NDArray[np.float64], concerned: NDArray[np.bool_]) -> NDArray[np.int64]:
    patience_ps = np.full(len(seconds), NEVER_PS, dtype=np.int64)
    patience_ps[concerned] = np.maximum(_ps(seconds[concerned]), 1)
    return patience_ps


def _think(clients: Clients, n: int, rng: np.random.Generator) -> list[int]:
    if not clients.closed:
        return []
    count = n + (clients.users or 0)
    draw = clients.think_time
    return [0] * count if draw is None else _ps(draw(count, rng)).tolist()


def _backoff(clients: Clients, drawn: NDArray[np.float64]) -> Callable[[int, int], int]:
    """Return the pause before the k-th retry of a request.

    One number is drawn for each request and turned by the golden section from retry to retry, so
    that a pause does not depend on what else happened before.
    """

    def backoff_ps(request: int, retry: int) -> int:
        turned = (drawn[request] + retry * GOLDEN) % 1.0
        factor = 1 + clients.backoff_jitter * (2 * turned - 1)
        pause_s = clients.backoff_s * clients.backoff_factor ** (retry - 1) * factor
        return to_ps(min(float(pause_s), LONGEST_S))

    return backoff_ps


def _ps(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return times [ps], at most the clock's range."""
    whole: NDArray[np.int64] = np.rint(np.minimum(seconds, LONGEST_S) * PS_PER_S).astype(np.int64)
    return whole
