"""Engines by themselves: a script of releases, aborts and failures, played to either of the two."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from cases import PLAIN, Costs, expand, limits, refused
from strategies import _random_costs, _random_limits

from policies.protocol import NEVER_PS
from sim.engine import Engine
from sim.ledger import Ledger, ReplicaLedger
from sim.spec import ReplicaSpec
from sim.stepengine import StepEngine
from traces.columns import HashIds, offsets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from sim.options import EngineLimits

UNBOUND = limits()

MOST_KEPT = 50
"""As many blocks of a cache are looked at."""

LOSE, ABORT, RELEASE = range(3)
"""What happens to an engine, in the order in which it happens at one instant."""


@dataclass(frozen=True)
class Script:
    """Requests (prompt, output), and events (instant, kind, request) in their order.

    A release of a request that the engine holds, and an abort of one that it does not, is left out.
    """

    requests: tuple[tuple[int, int], ...]
    events: tuple[tuple[int, int, int], ...]
    limits: EngineLimits = UNBOUND
    costs: Costs = PLAIN
    jitter_cv: float | None = None
    seed: int = 0
    until_ps: int | None = None
    content: HashIds | None = None


@dataclass
class Played:
    """What became of a script."""

    finished: list[tuple[int, int]] = field(default_factory=list)
    """(instant, request) in order."""
    seen: list[tuple] = field(default_factory=list)
    """What the engine says of itself before each event and at the end."""
    gaps: dict[tuple[int, int], int] = field(default_factory=dict)
    busy: list[int] = field(default_factory=list)
    first_token: list[int] = field(default_factory=list)
    preemptions: list[int] = field(default_factory=list)
    peaks: tuple[int, int] = (0, 0)
    kept: list[list[int]] = field(default_factory=list)
    """What the prefix cache keeps for nobody, first to go first: after completions, at the end."""
    hits: tuple[int, int] = (0, 0)
    """Tokens asked for and found."""


def spec_of(script: Script) -> ReplicaSpec:
    jitter = None
    if script.jitter_cv is not None:
        rng, cv = np.random.default_rng(script.seed), script.jitter_cv
        jitter = lambda: float(np.exp(cv * rng.standard_normal()))  # noqa: E731
    return ReplicaSpec(
        index=0,
        costs=script.costs,
        limits=script.limits,
        decider=None,
        prompt_tokens=[prompt for prompt, _ in script.requests],
        output_tokens=[output for _, output in script.requests],
        refusals={},
        ledger=Ledger(len(script.requests)),
        account=ReplicaLedger(),
        restart=lambda: None,
        jitter=jitter,
        prefix=script.content,
    )


class Leaping:
    """The leaping engine, with the clock of a plain loop."""

    def __init__(self, spec: ReplicaSpec) -> None:
        self.engine = Engine(spec)

    def boundary_ps(self, now_ps: int) -> int:
        return self.engine.boundary_ps

    def complete(self, now_ps: int) -> list[int]:
        return self.engine.complete()

    def form(self, now_ps: int) -> None:
        self.engine.form()

    def kept(self) -> list[int]:
        return (
            [] if self.engine._cache is None else list(islice(self.engine._cache._kept, MOST_KEPT))
        )

    def release(self, request: int, now_ps: int) -> None:
        self.engine.release(request, now_ps)


class Stepping:
    """The stepping engine, with the clock of a plain loop."""

    def __init__(self, spec: ReplicaSpec) -> None:
        self.engine = StepEngine(spec)

    def boundary_ps(self, now_ps: int) -> int:
        if self.engine.step is not None:
            return self.engine.step.end_ps
        return now_ps if self.engine.waiting else NEVER_PS

    def complete(self, now_ps: int) -> list[int]:
        return self.engine.complete(now_ps)

    def form(self, now_ps: int) -> None:
        self.engine.form(now_ps)

    def kept(self) -> list[int]:
        kept = [block for block in self.engine.cache.values() if not block.holders]
        return [block.id for block in sorted(kept, key=lambda block: block.let_go)][:MOST_KEPT]

    def release(self, request: int, now_ps: int) -> None:
        self.engine.release(request)


def play(
    script: Script,
    kind: Callable[[ReplicaSpec], Leaping | Stepping],
    at_boundary: Callable[[Leaping | Stepping], None] = lambda driver: None,
) -> Played:
    """Play a script; `at_boundary` looks at the engine after each boundary."""
    spec = spec_of(script)
    driver = kind(spec)
    engine = driver.engine
    result = Played()
    held: set[int] = set()

    def advance(until_ps: int) -> None:
        """Let all boundaries before `until_ps` happen."""
        now_ps = clock
        while True:
            now_ps = driver.boundary_ps(now_ps)
            if now_ps >= until_ps:
                return
            finished = driver.complete(now_ps)
            at_boundary(driver)
            result.finished += [(now_ps, request) for request in finished]
            held.difference_update(finished)
            if finished:
                result.kept.append(driver.kept())
            driver.form(now_ps)
            at_boundary(driver)

    def look(now_ps: int) -> None:
        generated = {request: engine.generated(request, now_ps) for request in sorted(held)}
        result.seen.append(
            (now_ps, engine.running(now_ps), engine.waiting_ids(), engine.seated, generated)
        )
        result.seen.append((engine.busy_ps(now_ps),))

    last_ps = NEVER_PS if script.until_ps is None else script.until_ps
    clock = 0
    for now_ps, kind_, request in script.events:
        if now_ps > last_ps:
            break
        advance(now_ps)
        clock = now_ps
        look(now_ps)
        if kind_ == LOSE:
            engine.lose(now_ps)
            held.clear()
        elif kind_ == ABORT and request in held:
            engine.abort(request, now_ps)
            held.remove(request)
        elif kind_ == RELEASE and request not in held:
            driver.release(request, now_ps)
            held.add(request)
    if script.until_ps is None:
        advance(NEVER_PS)
        assert not held
        result.kept.append(driver.kept())
        look(clock)
    else:
        advance(last_ps + 1)
        look(last_ps + 1)
        engine.stop(last_ps)
    result.gaps = {key: count for key, count in expand(list(spec.account.gaps)).items() if count}
    result.busy = list(spec.account.busy_ps)
    result.first_token = list(spec.ledger.first_token_ps)
    result.preemptions = list(spec.ledger.preemptions)
    result.hits = (spec.account.prefix_query_tokens, spec.account.prefix_hit_tokens)
    result.peaks = (spec.account.peak_batch, spec.account.peak_prefill_tokens)
    return result


def content_of(rows: Sequence[Sequence[object]], block_tokens: int) -> HashIds:
    """Return content blocks from what each block holds; an id stands for all up to its block."""
    known: dict[tuple, int] = {}
    ids = [
        known.setdefault(tuple(row[: i + 1]), len(known)) for row in rows for i in range(len(row))
    ]
    lengths = np.array([len(row) for row in rows])
    return HashIds(offsets_of(lengths), np.array(ids, dtype=np.int64), block_tokens)


def random_content(dice: Random, requests: Sequence[tuple[int, int]], block_size: int) -> HashIds:
    """Return blocks with a few beginnings in common, of prompts and perhaps of answers."""
    block_tokens = block_size * dice.choice([1, 1, 2, 3])
    answers = dice.choice([False, True])
    odds = dice.choice([1, 2, 6])
    rows = [
        [
            dice.randint(0, 2) if dice.randint(0, odds) == 0 else 0
            for _ in range((prompt + (output - 1 if answers else 0)) // block_tokens)
        ]
        for prompt, output in requests
    ]
    return content_of(rows, block_tokens)


def random_script(dice: Random, cached: bool = False) -> Script:
    """Return a script with many ties: events where steps end, aborts followed by retries."""
    scale = dice.choice([1, 1, 1, 10**3])
    most_prompt, most_output = dice.choice([4, 20, 90]), dice.choice([3, 6, 30])
    requests = tuple(
        (dice.randint(1, most_prompt), dice.randint(1, most_output))
        for _ in range(dice.randint(1, 10))
    )
    longest = max(prompt + output for prompt, output in requests)
    size = _random_limits(dice, longest)
    fits = [i for i, request in enumerate(requests) if not refused(*request, size)] or None
    if fits is None:
        requests, fits = ((1, 1),), [0]
    pause = dice.choice([0, 3, 40, 400])
    clock = 0
    events = []
    for _ in range(dice.randint(1, 14)):
        clock += dice.randint(0, pause) * scale
        events.append((clock, RELEASE, dice.choice(fits)))
    script = Script(
        requests=requests,
        events=tuple(sorted(events)),
        limits=size,
        costs=_random_costs(dice, scale),
        jitter_cv=dice.choice([None, None, 0.1]),
        seed=dice.randint(0, 2**16),
        content=random_content(dice, requests, size.block_size) if cached else None,
    )
    for _ in range(dice.randint(0, 6)):
        at = _near_a_boundary(dice, script)
        request = dice.choice(fits)
        kind = dice.choice([ABORT, ABORT, ABORT, ABORT, RELEASE, LOSE])
        more = [(at, kind, request)]
        if kind == ABORT and dice.choice([False, True]):
            more.append((at + dice.choice([0, 1, 1, 5 * scale]), RELEASE, request))
            if dice.choice([False, True]):
                more.append((more[-1][0] + dice.choice([0, 1, 9 * scale]), ABORT, request))
        script = replace(script, events=tuple(sorted([*script.events, *more])))
    if dice.randint(0, 3) == 3:
        script = replace(script, until_ps=_near_a_boundary(dice, script))
    return script


def _near_a_boundary(dice: Random, script: Script) -> int:
    """Return an instant at or beside a boundary, or any while the engine is at work."""
    played = play(script, Stepping)
    instants = {end for end, _ in played.gaps} | {at for at, _ in played.finished}
    instants |= {0} | {at for at in played.first_token if at > 0}
    last = max(instants)
    if dice.choice([False, False, True]):
        return dice.randint(0, last + 1)
    return max(0, dice.choice(sorted(instants)) + dice.choice([0, 0, 0, -1, 1]))
