"""How the users of a cluster behave: patience, retries, cancellation, and waiting for answers."""

from __future__ import annotations

from dataclasses import dataclass

from sim.cluster.draws import Draw, parse_draw
from sim.options import OptionError, is_number, whole_number

MOST_RETRIES = 100
"""More would hardly end where no attempt can succeed."""

MOST_USERS = 10_000_000
"""More would hardly fit into memory."""


@dataclass(frozen=True)
class Clients:
    """What clients do besides sending the trace's requests when the trace says.

    Attributes
    ----------
    timeout_s : float or None
        A client hangs up this long after sending, and the server drops the request; per attempt,
        as the client sees it (client overhead included).
    retries : int
        How often a client tries again after a time-out, a failure or a refusal by the policy.
    backoff_s, backoff_factor, backoff_jitter : float
        The k-th retry is sent ``backoff_s * backoff_factor ** (k - 1)`` after the end of the
        attempt before, times a number drawn from ``1 - jitter`` to ``1 + jitter``.
    cancel_after : str or None
        How long users wait before they keep typing and the request is dropped: seconds, or a
        distribution such as ``exponential(2)``; see `sim.cluster.draws.parse_draw`.
    cancel_tasks : tuple of str
        Only requests of these tasks are cancelled; empty means all.
    cancel_on_next : bool
        A request is cancelled when the next one of its session arrives: cancellation from the
        trace.
    users : int or None
        Closed loop: so many users send the trace's requests in order, each one after the end of
        its own last one and a think time; the trace's arrival times are not used.
    think : str
        Think time: seconds or a distribution.
    await_parent : bool
        A turn of a session arrives when the trace says, or a think time after the end of the turn
        it follows if that is later.
    """

    timeout_s: float | None = None
    retries: int = 0
    backoff_s: float = 1.0
    backoff_factor: float = 2.0
    backoff_jitter: float = 0.5
    cancel_after: str | None = None
    cancel_tasks: tuple[str, ...] = ()
    cancel_on_next: bool = False
    users: int | None = None
    think: str = "0"
    await_parent: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "retries", whole_number("retries", self.retries, 0))
        if self.retries > MOST_RETRIES:
            raise OptionError(f"retries={self.retries}: expected at most {MOST_RETRIES}")
        if self.users is not None:
            object.__setattr__(self, "users", whole_number("users", self.users, 1))
            if self.users > MOST_USERS:
                raise OptionError(f"users={self.users}: expected at most {MOST_USERS:,}")
        for name, low, high, asked in (
            ("timeout_s", 1e-9, 9e6, "a number of seconds above 0"),
            ("backoff_s", 0, 9e6, "a number of seconds of at least 0"),
            ("backoff_factor", 1, 1000, "a number from 1 to 1000"),
            ("backoff_jitter", 0, 1, "a number from 0 to 1"),
        ):
            value = getattr(self, name)
            if value is None and name == "timeout_s":
                continue
            if not is_number(value) or not low <= value <= high:
                raise OptionError(f"{name}={value!r}: expected {asked}")
        if isinstance(self.cancel_tasks, str):
            raise OptionError(
                f"cancel_tasks={self.cancel_tasks!r}: expected a tuple of tasks, "
                f"({self.cancel_tasks!r},)"
            )
        object.__setattr__(self, "cancel_tasks", tuple(self.cancel_tasks))
        if self.cancel_tasks and self.cancel_after is None and not self.cancel_on_next:
            raise OptionError(
                f"cancel_tasks={','.join(self.cancel_tasks)} has no effect without cancel_after "
                "or cancel_on_next: give one of them"
            )
        if self.users is not None and (self.await_parent or self.cancel_on_next):
            raise OptionError(
                "users has arrivals of its own: expected it without await_parent and "
                "cancel_on_next, which follow the sessions of the trace"
            )
        _ = self.patience, self.think_time  # refuse nonsense now, not in the middle of a run
        if self.think_time is not None and self.users is None and not self.await_parent:
            raise OptionError(
                f"think={self.think} has no effect without users or await_parent: give one of them"
            )

    @property
    def patience(self) -> Draw | None:
        """Draws how long users wait before they cancel [s]; None when they do not."""
        if self.cancel_after is None:
            return None
        return parse_draw("cancel_after", str(self.cancel_after))

    @property
    def think_time(self) -> Draw | None:
        """Draws think times [s]; None when there are none."""
        draw = parse_draw("think", str(self.think))
        return None if self.think in ("0", 0) else draw

    @property
    def closed(self) -> bool:
        """Whether arrivals depend on what became of earlier requests."""
        return self.users is not None or self.await_parent
