"""Random runs of small clusters, for Hypothesis and for plain seeds, and the deciders they use."""

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
    from collections.abc import Callable
    from random import Random

    import numpy as np

    from policies.protocol import Decider, Pending, View

MOST_SEQS = 8


@dataclass(frozen=True)
class Limits(EngineLimits):
    """Limits whose watermark is one block in `share`: at 1 % few small caches would have any."""

    share: int = 100

    @property
    def watermark(self) -> int:
        return self.blocks // self.share if self.discipline == "prefill-first" else 0


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
        self.queue = [request for request in self.queue if request.id not in view.cancelled]
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


@dataclass(frozen=True)
class Thrifty:
    """A policy that also changes the budget of a step, now and then."""

    policy: Callable[[np.random.Generator], Decider]
    odds: int

    def __call__(self, rng: np.random.Generator) -> ThriftyDecider:
        return ThriftyDecider(self.policy(rng), rng, self.odds)


class ThriftyDecider:
    def __init__(self, decider: Decider, rng: np.random.Generator, odds: int) -> None:
        self.decider = decider
        self.rng = rng
        self.odds = odds

    def decide(self, view: View) -> Choice:
        choice = self.decider.decide(view)
        if int(self.rng.integers(self.odds)):
            return choice
        most = view.max_num_batched_tokens
        few = min(most, 1 + len(view.running))
        tokens = (1, few, most, 1 + int(self.rng.integers(most)))[int(self.rng.integers(4))]
        return choice._replace(max_num_batched_tokens=tokens)


def random_case(dice: Random) -> Case:
    """Return one run with many ties: arrivals at one instant, and where steps end."""
    scale = dice.choice([1, 1, 1, 10**3, 10**9])
    most_prompt = dice.choice([4, 20, 90])
    most_output = dice.choice([3, 6, 30, 120])
    most_pause = dice.choice([0, 3, 40, 400])
    now_ps = 0
    requests = []
    for _ in range(dice.randint(1, 14)):
        now_ps += dice.randint(0, most_pause) * scale
        requests.append((now_ps, *_random_request(dice, most_prompt, most_output, scale)))
    longest = max(prompt + output for _, prompt, output, _ in requests)
    case = Case(
        requests=tuple(requests),
        replicas=tuple(_random_limits(dice, longest) for _ in range(dice.choice([1, 1, 2, 3]))),
        costs=_random_costs(dice, scale),
        decider=_random_decider(dice, scale),
        jitter_cv=dice.choice([None, None, 0.0, 0.1, 1.5]),
        seed=dice.randint(0, 2**16),
        watched=dice.choice([False, True]),
    )
    if dice.randint(0, 2) == 0:
        case = replace(case, decider=Thrifty(case.decider, dice.choice([1, 3, 9])))
    for _ in range(dice.randint(0, 3)):
        # Up to its arrival a further request changes nothing: it arrives exactly at a boundary.
        late = (
            _near_a_boundary(dice, case),
            *_random_request(dice, most_prompt, most_output, scale),
        )
        case = replace(case, requests=tuple(sorted([*case.requests, late], key=lambda r: r[0])))
    if dice.randint(0, 2) == 0:
        case = replace(case, feedback_ps=dice.choice([1, 5, 40]) * scale)
    if dice.randint(0, 3) == 3:
        case = replace(case, until_ps=_near_a_boundary(dice, case))
    return case


def _random_request(dice: Random, most_prompt: int, most_output: int, scale: int) -> tuple:
    """Return a prompt, an output and an SLA, which may be missing or hopeless."""
    prompt, output = dice.randint(1, most_prompt), dice.randint(1, most_output)
    return prompt, output, dice.choice([NEVER_PS, dice.randint(1, 60 * most_output) * scale])


def _random_limits(dice: Random, longest: int) -> Limits:
    """Return either discipline, and a cache from tight to ample for requests up to `longest`."""
    discipline = dice.choice(["prefill-first", "chunked"])
    seqs = dice.randint(1, MOST_SEQS)
    tokens = dice.choice([dice.randint(1, 12), dice.randint(12, 12 + 4 * longest)])
    if discipline == "chunked":
        tokens = max(tokens, seqs)
    tight, some_refused = dice.randint(longest, 2 * longest), dice.randint(1, longest)
    kv_tokens = dice.choice([tight, tight, tight, some_refused, 100 * longest])
    block_size = dice.randint(1, 16)
    blocks = -(-kv_tokens // block_size)
    return Limits(discipline, seqs, tokens, blocks, block_size, dice.choice([100, 8, 4]))


def _random_costs(dice: Random, scale: int) -> Costs:
    """Return any tables, rising or not; context, prompts and attention may be free."""
    batches = range(MOST_SEQS + 1)
    odd = dice.randint(0, scale - 1)  # no round numbers at a larger scale
    fixed = tuple(dice.randint(1, 30) * scale + odd for _ in batches)
    context_free = dice.choice([False, True])
    context = tuple(0 if context_free else dice.randint(0, 3) * scale + odd // 7 for _ in batches)
    prefill, token, attention = dice.randint(0, 10), dice.randint(0, 2), dice.randint(0, 1)
    return Costs(fixed, context, prefill * scale, token * scale, attention * scale)


def _random_decider(dice: Random, scale: int) -> Callable:
    """Return static release, a SABER or a curious policy, for steps of about `scale` ps."""
    kind = dice.choice([None, Events, Polls, Curious])
    if kind is None:
        return pass_through
    if kind is Curious:
        return Curious(dice.randint(1, 60) * scale, dice.choice([False, True]))
    # Around one token in 10 * scale.
    speed = 1e10 / scale
    speeds = sorted((dice.randint(1, 30) * speed for _ in range(dice.randint(2, 6))), reverse=True)
    limit = dice.randint(1, 30) * speed
    low_priority = dice.choice(["one", "all", "idle"])
    if kind is Events:
        return Events(tuple(speeds), limit, low_priority)
    rules = PollingRules(
        interval_ps=dice.randint(1, 40) * scale,
        window=dice.randint(1, 4),
        lpq=low_priority,
        count_low_priority=dice.choice([False, True]),
        load_factor=dice.randint(1, 2),
        demote_every=dice.randint(1, 3),
    )
    return Polls(tuple(speeds), limit, rules)


def _near_a_boundary(dice: Random, case: Case) -> int:
    result = run(case, run_stepwise)
    instants = {end for gaps in result.gaps for end, _ in gaps} | {0}
    instants |= {t for t in (*result.first_token, *result.finished) if t > 0}
    return max(0, dice.choice(sorted(instants)) + dice.choice([0, 0, 0, 0, -1, 1]))


def cases() -> st.SearchStrategy[Case]:
    """Return the strategy of `random_case`, whose every throw Hypothesis chooses."""
    return st.randoms(use_true_random=False).map(random_case)
