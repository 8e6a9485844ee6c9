"""Hypothesis strategies for runs of small clusters, and the deciders they use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cases import Case, Costs, pass_through, run
from hypothesis import strategies as st

from policies.protocol import NEVER_PS, Choice
from policies.saber_events import EventSaber
from policies.saber_polling import PollingRules, PollingSaber
from sim.options import EngineLimits
from sim.stepwise import run_stepwise

if TYPE_CHECKING:
    import numpy as np

    from policies.protocol import Pending, View

MOST_SEQS = 8


@dataclass(frozen=True)
class Events:
    """Event-driven SABER on a speed curve [tokens/s]."""

    speeds: tuple[float, ...]
    limit: float
    low_priority: str

    def __call__(self, rng: np.random.Generator) -> EventSaber:
        return EventSaber(list(self.speeds), self.limit, self.low_priority, rng)


@dataclass(frozen=True)
class Polls:
    """Polling SABER on a speed curve [tokens/s]."""

    speeds: tuple[float, ...]
    limit: float
    rules: PollingRules

    def __call__(self, rng: np.random.Generator) -> PollingSaber:
        return PollingSaber(list(self.speeds), self.limit, self.rules, rng)


@dataclass(frozen=True)
class Curious:
    """A policy whose choices depend on everything a view shows, on timers and on chance."""

    pause_ps: int
    refuses: bool

    def __call__(self, rng: np.random.Generator) -> CuriousDecider:
        return CuriousDecider(self, rng)


class CuriousDecider:
    def __init__(self, policy: Curious, rng: np.random.Generator) -> None:
        self.policy = policy
        self.rng = rng
        self.queue: list[Pending] = []
        self.looks = 0  # timers with nothing to release, a few between two arrivals

    def decide(self, view: View) -> Choice:
        if view.arrived is not None:
            self.queue.append(view.arrived)
            self.looks = 4
        seated = view.running
        mood = sum(r.generated_tokens for r in seated) + len(view.waiting_ids)
        release, refuse, demote = [], [], []
        while self.queue and int(self.rng.integers(4)) <= mood % 3:
            request = self.queue.pop(mood % len(self.queue))
            if self.policy.refuses and int(self.rng.integers(6)) == 0:
                refuse.append(request.id)
            else:
                release.append(request.id)
        if self.queue and mood % 5 == 0:
            demote.append(self.queue[0].id)
        pause_ps = 1 + int(self.rng.integers(self.policy.pause_ps))
        if view.arrived is not None and mood % 4 == 1:
            pause_ps = 0
        if self.queue:
            return Choice(release, demote, refuse, view.now_ps + pause_ps)
        self.looks -= 1
        looks = self.looks > 0 and (view.in_engine or release)
        return Choice(release, demote, refuse, view.now_ps + pause_ps if looks else NEVER_PS)


def deciders(scale: int) -> st.SearchStrategy:
    """Draw static release, a SABER or a curious policy, for steps of about `scale` ps."""
    # A request alone gets about one token in 10 * scale.
    speeds = st.lists(st.floats(0.1, 3), min_size=2, max_size=6).map(
        lambda v: tuple(sorted((x * 1e11 / scale for x in v), reverse=True))
    )
    limit = st.floats(0.1, 3).map(lambda v: v * 1e11 / scale)
    low_priority = st.sampled_from(["one", "all", "idle"])
    rules = st.builds(
        PollingRules,
        interval_ps=st.integers(1, 40).map(lambda v: v * scale),
        window=st.integers(1, 4),
        lpq=low_priority,
        count_low_priority=st.booleans(),
        load_factor=st.integers(1, 2),
        demote_every=st.integers(1, 3),
    )
    return st.one_of(
        st.just(pass_through),
        st.builds(Events, speeds, limit, low_priority),
        st.builds(Polls, speeds, limit, rules),
        st.builds(Curious, st.integers(1, 60).map(lambda v: v * scale), st.booleans()),
    )


@st.composite
def costs(draw: st.DrawFn, scale: int = 1) -> Costs:
    """Any tables, rising or not; context, prompts and attention may be free."""
    fixed = draw(st.lists(st.integers(1, 30), min_size=MOST_SEQS + 1, max_size=MOST_SEQS + 1))
    context = draw(
        st.one_of(
            st.just([0] * (MOST_SEQS + 1)),
            st.lists(st.integers(0, 3), min_size=MOST_SEQS + 1, max_size=MOST_SEQS + 1),
        )
    )
    # No round numbers at a larger scale.
    odd = draw(st.integers(0, scale - 1))
    return Costs(
        tuple(v * scale + odd for v in fixed),
        tuple(v * scale // 7 if scale > 1 else v for v in context),
        draw(st.integers(0, 10)) * scale,
        draw(st.integers(0, 2)) * scale,
        draw(st.integers(0, 1)) * scale,
    )


@st.composite
def engine_limits(draw: st.DrawFn, longest: int) -> EngineLimits:
    """Either discipline, with a cache from tight to ample for requests of at most `longest`."""
    discipline = draw(st.sampled_from(["prefill-first", "chunked"]))
    seqs = draw(st.integers(1, MOST_SEQS))
    tokens = draw(st.one_of(st.integers(1, 12), st.integers(13, 4 * longest)))
    if discipline == "chunked":
        tokens = max(tokens, seqs)
    block_size = draw(st.integers(1, 16))
    kv_tokens = draw(
        st.one_of(
            st.integers(longest, 3 * longest), st.integers(1, 3 * longest), st.just(100 * longest)
        )
    )
    return EngineLimits(discipline, seqs, tokens, -(-kv_tokens // block_size), block_size)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """One run with many ties: arrivals at one instant, and at instants at which tokens come."""
    scale = draw(st.sampled_from([1, 1, 1, 10**3, 10**9]))
    most_prompt = draw(st.sampled_from([4, 20, 90]))
    most_output = draw(st.sampled_from([1, 6, 30, 120]))
    gap = draw(st.sampled_from([0, 3, 40, 400]))
    request = st.tuples(
        st.integers(0, gap),
        st.integers(1, most_prompt),
        st.integers(1, most_output),
        st.one_of(st.just(NEVER_PS), st.integers(1, 60 * most_output).map(lambda v: v * scale)),
    )
    requests = []
    now_ps = 0
    for pause, prompt, output, sla_ps in draw(st.lists(request, min_size=1, max_size=12)):
        now_ps += pause * scale
        requests.append((now_ps, prompt, output, sla_ps))
    replicas = draw(st.lists(engine_limits(most_prompt + most_output), min_size=1, max_size=3))
    case = Case(
        tuple(requests),
        tuple(replicas),
        draw(costs(scale)),
        draw(deciders(scale)),
        jitter_cv=draw(st.one_of(st.none(), st.sampled_from([0.0, 0.1, 1.5]))),
        seed=draw(st.integers(0, 2**16)),
        watched=draw(st.booleans()),
    )
    for _ in range(draw(st.integers(0, 3))):
        # Up to its arrival a further request changes nothing: it arrives exactly at a boundary.
        arrival = draw(_near_a_boundary(case))
        late = (arrival, *draw(request)[1:])
        case = replace(case, requests=tuple(sorted([*case.requests, late], key=lambda r: r[0])))
    until_ps = draw(st.one_of(st.none(), st.none(), _near_a_boundary(case)))
    return replace(case, until_ps=until_ps)


def _near_a_boundary(case: Case) -> st.SearchStrategy[int]:
    result = run(case, run_stepwise)
    instants = {end for gaps in result.gaps for end, _ in gaps} | {0}
    instants |= {t for t in (*result.first_token, *result.finished) if t > 0}
    at = st.sampled_from(sorted(instants))
    off = st.sampled_from([0, 0, 0, 0, -1, 1])
    return st.builds(lambda t, d: max(0, t + d), at, off)
