"""A window of active requests that grows while the KV cache has room and shrinks when it fills."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.parameters import check_number, check_whole
from policies.protocol import PS_PER_S, PolicyError
from policies.text import call_text
from policies.waiting import Waiting, release

if TYPE_CHECKING:
    import numpy as np

    from calibrate.profile import Profile
    from policies.protocol import Choice, View


@dataclass(frozen=True)
class Concur:
    """CONCUR's congestion control, with the KV cache as the link that congests.

    Q. Chen et al., "Concur: Proactive Agent-Level Admission Control for Efficient Agentic Batch
    Inference", arXiv 2601.22705: a window limits how many agents are active; it grows by an amount
    while KV use is low, and is multiplied by beta when use is high and the hit rate of the prefix
    cache falls.  Here a request is an agent, released in order of arrival.  Once in `period_s`, if
    somebody waits: below `low` the window is raised by `step`, above `high` it is multiplied by
    `beta`, in between it stays.

    KV use is estimated: prompt and generated tokens of who has a seat, over the profile's capacity.
    A policy is shown no hit rate, so high use alone shrinks the window, which is sooner than in the
    paper.  A window that shrank takes back no seat.  It looks at memory only: where the cache is
    ample the window grows to `max_num_seqs`, whatever that does to latencies, and the policy is
    first come, first served.

    Attributes
    ----------
    start_at : int
        Window at the start.
    step : float
        Additive increase.
    beta : float
        Factor of the decrease.
    low, high : float
        Shares of the KV cache.  All of these are chosen here, not taken from the paper.
    period_s : float
        Time between two adjustments [s].
    max_num_seqs : int
        The window's limit, and the engine's.
    """

    start_at: int = 32
    step: float = 2.0
    beta: float = 0.5
    low: float = 0.7
    high: float = 0.9
    period_s: float = 1.0
    max_num_seqs: int = 256

    def __post_init__(self) -> None:
        check_whole("concur", "max_num_seqs", self.max_num_seqs, 1)
        check_whole("concur", "start_at", self.start_at, 1)
        if self.start_at > self.max_num_seqs:
            raise PolicyError(
                f"concur: start_at={self.start_at}: expected at most "
                f"max_num_seqs={self.max_num_seqs}"
            )
        check_number("concur", "step", self.step, above=0, at_most=1e6)
        check_number("concur", "beta", self.beta, above=0, at_most=1)
        check_number("concur", "low", self.low, at_least=0, at_most=1)
        check_number("concur", "high", self.high, at_least=self.low, at_most=1)
        check_number("concur", "period_s", self.period_s, at_least=0.001, at_most=1e6)

    @property
    def label(self) -> str:
        """Canonical text of this policy: the parameters that differ from the defaults."""
        return call_text("concur", self)

    def start(self, rng: np.random.Generator, profile: Profile) -> Window:
        """Return a decider with an empty queue for a replica with the profile's KV capacity."""
        return Window(self, profile.kv_tokens)


class Window:
    """Looks at the engine once a period while somebody waits."""

    __slots__ = ("_due_ps", "_kv_tokens", "_period_ps", "_policy", "_waiting", "_window")

    def __init__(self, policy: Concur, kv_tokens: int) -> None:
        self._policy = policy
        self._kv_tokens = kv_tokens
        self._period_ps = round(policy.period_s * PS_PER_S)
        self._window = float(policy.start_at)
        self._waiting = Waiting()
        self._due_ps = 0

    def decide(self, view: View) -> Choice:
        """Adjust the window if that is due, and release while it allows."""
        waiting = self._waiting
        for request in view.cancelled:
            waiting.discard(request)
        if waiting and view.now_ps >= self._due_ps:
            self._adjust(view)
        if view.arrived is not None:
            waiting.put(view.arrived.id, view.arrived.arrival_ps)
        choice = release(waiting, int(self._window) - view.in_engine)
        if not waiting:
            return choice
        # Who comes to wait is not the reason to look: the engine must have had the time to fill.
        if view.now_ps >= self._due_ps:
            self._due_ps = view.now_ps + self._period_ps
        return choice._replace(wake_ps=self._due_ps)

    def _adjust(self, view: View) -> None:
        """Move the window by how full the KV cache is."""
        policy = self._policy
        tokens = sum(prompt + generated for _, prompt, generated in view.running)
        use = tokens / self._kv_tokens
        if use < policy.low:
            self._window = min(self._window + policy.step, float(policy.max_num_seqs))
        elif use > policy.high:
            self._window = max(1.0, self._window * policy.beta)
        self._due_ps = view.now_ps + self._period_ps
