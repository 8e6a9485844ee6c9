"""What a policy is shown, what it may choose, and the Protocols it fulfils.

A *policy* is a value: frozen parameters, nothing else.  ``policy.start(rng, profile)`` turns it
into a *decider* for one replica and one run.  The decider owns the requests that wait in front of
the engine; at every evaluation it is shown a :class:`View` and returns a :class:`Choice`.  The
simulator carries the choice out.  A decider never reaches into the engine, and nothing leaks from
one run or replica to another.

When deciders are evaluated
---------------------------
* once per arrival, in trace order, with ``view.arrived`` set;
* once per instant at which requests finish, with ``view.finished`` set (a feedback delay later,
  where the policy stands in front of a server: until then they count as being in the engine);
* when a client gives a request up that waits here or is in the engine, with ``view.cancelled`` set;
* at the instant a former choice asked for in ``wake_ps``.

At one instant what comes from outside is first (a replica that fails or returns, a client that
gives up, arrivals, in this order), then wake-ups, then the engine's step boundary (and with it
completions).  A decider is never evaluated at a step boundary at which nothing finished, so it can
not depend on how the simulator advances the engine between changes.

Time is an integer number of picoseconds, so that instants can be compared with ``==`` and ``>=``
without a tolerance.  ``*_s`` properties give seconds for those who only need to look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from calibrate.profile import Profile

PS_PER_S = 10**12
"""Picoseconds in a second."""

NEVER_PS = 2**63 - 1
"""An instant that does not come: no deadline, no timer."""


class PolicyError(ValueError):
    """A policy that is unknown, badly parameterised, or chose what it may not choose."""


class Pending(NamedTuple):
    """A request as a policy may know it: all but the output length.

    Attributes
    ----------
    id : int
        Position in the trace.
    arrival_ps, deadline_ps : int
        Arrival, and arrival plus SLA (``NEVER_PS`` without an SLA) [ps].
    prompt_tokens : int
        Length of the prompt.
    max_tokens : int
        The most tokens the client asked for.
    task, tenant, session : str
        Labels from the trace, empty where it has none.
    prefix : int
        What the prompt begins with: requests that share their first block of content share this
        number; -1 where the trace does not say.
    """

    id: int
    arrival_ps: int
    deadline_ps: int
    prompt_tokens: int
    max_tokens: int
    task: str = ""
    tenant: str = ""
    session: str = ""
    prefix: int = -1

    @property
    def arrival_s(self) -> float:
        """Arrival [s]."""
        return self.arrival_ps / PS_PER_S

    @property
    def deadline_s(self) -> float:
        """Deadline [s]; infinite without an SLA."""
        return float("inf") if self.deadline_ps == NEVER_PS else self.deadline_ps / PS_PER_S


class Running(NamedTuple):
    """A request that holds a seat in the engine: decoding, or in prefill."""

    id: int
    prompt_tokens: int
    generated_tokens: int


class EngineState(Protocol):
    """The part of an engine that a view may look at."""

    def running(self, now_ps: int) -> tuple[Running, ...]:
        """Return who holds a seat, in admission order, with the tokens generated before now."""
        ...

    def waiting_ids(self) -> tuple[int, ...]:
        """Return the released requests that have no seat, first to go first."""
        ...

    def output_tokens(self, request: int) -> int:
        """Return how many tokens a request that has finished generated."""
        ...


class View:
    """What a decider is shown; read it, do not keep it and do not change it.

    Attributes
    ----------
    now_ps : int
        The clock [ps].
    arrived : Pending or None
        The request that arrived at this evaluation.
    finished : sequence of int
        Ids of the requests that finished at this evaluation, ascending.
    cancelled : sequence of int
        Ids of the requests that left at this evaluation without having finished, because their
        client timed out or gave up.  A decider forgets them, whether it had released them or not;
        a later retry arrives anew, under the same id.
    in_engine : int
        Requests released to the engine and unfinished: waiting there, running, or preempted.
    queue : sequence of Pending
        For policies given as a plain function: the requests not yet released, oldest first.
        Deciders that keep their own queues see an empty one.
    max_num_batched_tokens : int
        The run option of this name, the most that a choice may set; 0 where the budget of a step
        cannot be set, as in front of a server that is already running.
    """

    __slots__ = (
        "_engine",
        "arrived",
        "cancelled",
        "finished",
        "in_engine",
        "max_num_batched_tokens",
        "now_ps",
        "queue",
    )

    def __init__(self, engine: EngineState) -> None:
        self._engine = engine
        self.now_ps = 0
        self.arrived: Pending | None = None
        self.finished: Sequence[int] = ()
        self.cancelled: Sequence[int] = ()
        self.in_engine = 0
        self.queue: Sequence[Pending] = ()
        self.max_num_batched_tokens = 0

    @property
    def now_s(self) -> float:
        """The clock [s]."""
        return self.now_ps / PS_PER_S

    @property
    def running(self) -> tuple[Running, ...]:
        """Requests that hold a seat, in admission order, with the tokens generated before now."""
        return self._engine.running(self.now_ps)

    @property
    def waiting_ids(self) -> tuple[int, ...]:
        """Released requests that the engine has not seated, first to go first."""
        return self._engine.waiting_ids()

    @property
    def finished_tokens(self) -> tuple[int, ...]:
        """Tokens that each of `finished` generated: how long their answers turned out."""
        return tuple(map(self._engine.output_tokens, self.finished))


class Choice(NamedTuple):
    """What a decider wants done now.

    Attributes
    ----------
    release : sequence of int
        Ids to hand to the engine, in this order.
    demote : sequence of int
        Ids that just became best effort; only recorded.
    refuse : sequence of int
        Ids to turn away for good.
    wake_ps : int
        Next instant [ps] at which to be evaluated even if nothing happens: later than now, or now
        when chosen at an arrival or when a client gave up.  Every choice replaces the timer of
        the one before; ``NEVER_PS`` means none.
    max_num_batched_tokens : int
        The most tokens a step holds, from the next step formed on and until another choice: at
        most ``view.max_num_batched_tokens``; 0 leaves it as it is.  Decodes go on whatever it is;
        under chunked, prompts get what they leave of it; under prefill-first, it bounds the
        prompts that share a prefill, and a longer prompt still goes, alone.  A decider that starts
        finds the run option's value.
    """

    release: Sequence[int] = ()
    demote: Sequence[int] = ()
    refuse: Sequence[int] = ()
    wake_ps: int = NEVER_PS
    max_num_batched_tokens: int = 0


NOTHING = Choice()
"""The choice to change nothing and to set no timer."""


class Decider(Protocol):
    """Decides for one replica during one run; owns the requests it has not released."""

    def decide(self, view: View) -> Choice:
        """Return what to do at this evaluation."""
        ...


class Policy(Protocol):
    """Frozen parameters that can start deciders.

    A policy that fixes the engine's batch size has an attribute ``max_num_seqs`` (int); giving the
    run option of the same name beside it is an error.
    """

    @property
    def label(self) -> str:
        """Canonical text: what to type on the command line to get this policy."""
        ...

    def start(self, rng: np.random.Generator, profile: Profile) -> Decider:
        """Return a decider for one replica.

        Parameters
        ----------
        rng : numpy.random.Generator
            This replica's own stream.
        profile : Profile
            What the replica runs on, with ``mean_context_tokens`` set to the trace's mean.
        """
        ...
