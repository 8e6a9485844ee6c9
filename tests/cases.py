"""Small clusters in whole picoseconds: what a test runs through either way to advance them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.protocol import NEVER_PS, Choice, Pending
from policies.routers import RoundRobin
from policies.routing import Fleet
from policies.static import PassThrough
from sim.cluster.scenario import Scenario
from sim.ledger import Ledger, ReplicaLedger
from sim.options import EngineLimits
from sim.spec import ReplicaSpec
from sim.timeline import Samples, timeline_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from worlds import World

    from policies.protocol import Decider, View
    from traces.columns import HashIds


SAMPLED_PS = 7


@dataclass(frozen=True)
class Costs:
    """Step costs stated in picoseconds; it answers like `sim.costs.StepCosts`.

    A decode step of B sequences and C tokens of context takes ``fixed[B] + context[B] * C``.
    """

    fixed: tuple[int, ...]
    context: tuple[int, ...]
    prefill_fixed: int = 5
    prefill_token: int = 1
    attention: int = 0

    @property
    def decode_fixed_ps(self) -> list[int]:
        return list(self.fixed)

    @property
    def decode_context_ps(self) -> list[int]:
        return list(self.context)

    def prefill_ps(self, tokens: int, attention2: int) -> int:
        return self.prefill_fixed + self.prefill_token * tokens + self.attention * attention2

    def mixed_ps(self, batch: int, context_tokens: int, tokens: int, attention2: int) -> int:
        if not batch:
            return self.prefill_ps(tokens, attention2)
        decode_ps = self.fixed[batch] + self.context[batch] * context_tokens
        return decode_ps + self.prefill_token * tokens + self.attention * attention2


PLAIN = Costs(tuple(10 + batch for batch in range(9)), (1,) * 9)
"""Decode 10 + B + C, prefill 5 + tokens, in a mixed step 1 a prompt token."""


def limits(
    discipline: str = "prefill-first",
    *,
    seqs: int = 8,
    tokens: int = 100,
    blocks: int = 1000,
    block_size: int = 1,
) -> EngineLimits:
    """Limits that bind only where a test says so."""
    return EngineLimits(discipline, seqs, tokens, blocks, block_size)


def pass_through(rng: np.random.Generator) -> PassThrough:
    """Make a decider that releases each request on arrival."""
    return PassThrough()


@dataclass(frozen=True)
class Case:
    """One run: requests (arrival, prompt, output) or (arrival, prompt, output, sla), and replicas.

    `decider` makes the decider of a replica from its own random stream; `watched` writes down
    every view it is shown.
    """

    requests: tuple[tuple[int, ...], ...]
    replicas: tuple[EngineLimits, ...] = (limits(),)
    costs: Costs = PLAIN
    decider: Callable[[np.random.Generator], Decider] = pass_through
    until_ps: int | None = None
    jitter_cv: float | None = None
    seed: int = 0
    watched: bool = False
    world: World | None = None
    tenants: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    content: HashIds | None = None
    feedback_ps: int = 0

    @property
    def pending(self) -> list[Pending]:
        rows = [(*request, NEVER_PS)[:4] for request in self.requests]
        none = ("",) * len(rows)
        tenants, sessions = self.tenants or none, self.sessions or none
        return [
            Pending(
                i,
                arrival,
                min(arrival + sla, NEVER_PS),
                prompt,
                2 * output,
                tenant=tenant,
                session=session,
            )
            for i, ((arrival, prompt, output, sla), tenant, session) in enumerate(
                zip(rows, tenants, sessions, strict=False)
            )
        ]


@dataclass
class Outcome:
    """Everything a run leaves behind, in a form that `==` compares and a test can read."""

    admitted: list[int] = field(default_factory=list)
    first_token: list[int] = field(default_factory=list)
    finished: list[int] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    demoted: list[int] = field(default_factory=list)
    replica: list[int] = field(default_factory=list)
    preemptions: list[int] = field(default_factory=list)
    reason: dict[int, str] = field(default_factory=dict)
    gone: dict[int, int] = field(default_factory=dict)
    gaps: list[Counter[tuple[int, int]]] = field(default_factory=list)
    busy: list[list[int]] = field(default_factory=list)
    peak_batch: list[int] = field(default_factory=list)
    peak_prefill_tokens: list[int] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    moved: dict[int, int] = field(default_factory=dict)
    wasted: int = 0
    up: list[list[int]] = field(default_factory=list)
    paid: list[list[int]] = field(default_factory=list)
    hits: list[tuple[int, int]] = field(default_factory=list)
    views: list[list[tuple]] = field(default_factory=list)
    timeline: dict[str, Any] | None = None


def refused(prompt: int, output: int, limits: EngineLimits) -> bool:
    """Whether the request could never be served: the last token is never stored."""
    peak = -(-(prompt + output - 1) // limits.block_size)
    return peak > limits.blocks - limits.watermark


def run(case: Case, runner: Callable[..., None]) -> Outcome:
    """Run `case` through ``runner(requests, scenario)``."""
    ledger = Ledger(len(case.requests))
    watchers: list[Watched] = []
    prompts = [request[1] for request in case.requests]
    outputs = [request[2] for request in case.requests]
    # Every other number of requests, so that what is not watched is run through as well.
    watch = len(case.requests) % 2
    samples = [Samples(SAMPLED_PS) if watch else None for _ in case.replicas]
    specs = []
    for i, limit in enumerate(case.replicas):
        jitter = None
        if case.jitter_cv is not None:
            noise = np.random.default_rng((case.seed, i, 1))
            jitter = _jitter(noise, case.jitter_cv)
        lives = _lives(case, i, watchers)
        specs.append(
            ReplicaSpec(
                index=i,
                costs=case.costs,
                limits=limit,
                decider=next(lives),
                prompt_tokens=prompts,
                output_tokens=outputs,
                refusals={
                    j: "never fits"
                    for j, (prompt, output) in enumerate(zip(prompts, outputs, strict=True))
                    if refused(prompt, output, limit)
                },
                ledger=ledger,
                account=ReplicaLedger(),
                restart=lives.__next__,
                jitter=jitter,
                prefix=case.content,
                samples=samples[i],
                feedback_ps=case.feedback_ps,
            )
        )
    fleet = Fleet([None] * len(specs))
    route = RoundRobin().start(fleet.profiles, np.random.default_rng(case.seed))
    scenario = Scenario(specs, route, fleet, until_ps=case.until_ps)
    runner(case.pending, scenario if case.world is None else case.world.scenario(scenario))
    result = outcome(ledger, [spec.account for spec in specs])
    result.views = [watcher.log for watcher in watchers]
    if watch:
        blocks = [limit.blocks for limit in case.replicas]
        last_ps = max(request[0] for request in case.requests)
        accounts = [spec.account for spec in specs]
        timeline = timeline_of(samples, blocks, accounts, last_ps, case.until_ps)
        result.timeline = timeline.to_dict()
    return result


def _lives(case: Case, index: int, watchers: list[Watched]) -> Iterator[Decider]:
    """Yield the deciders of a replica: another one each time it comes back from a failure."""
    for life in count():
        decider = case.decider(np.random.default_rng((case.seed, index, 2 * life)))
        if case.watched:
            decider = Watched(decider)
            watchers.append(decider)
        yield decider


def _jitter(rng: np.random.Generator, cv: float) -> Callable[[], float]:
    return lambda: float(np.exp(cv * rng.standard_normal()))


def outcome(ledger: Ledger, accounts: Sequence[ReplicaLedger]) -> Outcome:
    """Read the ledgers."""
    return Outcome(
        admitted=list(ledger.admitted_ps),
        first_token=list(ledger.first_token_ps),
        finished=list(ledger.finished_ps),
        status=list(ledger.status),
        demoted=list(ledger.demoted),
        replica=list(ledger.replica),
        preemptions=list(ledger.preemptions),
        reason=dict(ledger.reason),
        gone=dict(ledger.gone_ps),
        gaps=[expand(list(account.gaps)) for account in accounts],
        busy=[list(account.busy_ps) for account in accounts],
        peak_batch=[account.peak_batch for account in accounts],
        peak_prefill_tokens=[account.peak_prefill_tokens for account in accounts],
        attempts=list(ledger.attempts),
        moved=dict(ledger.moved_ps),
        wasted=ledger.wasted_tokens,
        up=[list(account.up_ps) for account in accounts],
        paid=[list(account.paid_ps) for account in accounts],
        hits=[(account.prefix_query_tokens, account.prefix_hit_tokens) for account in accounts],
    )


def expand(rows: list[int]) -> Counter[tuple[int, int]]:
    """Count tokens by (instant, gap) in the run-length rows of `ReplicaLedger.gaps`."""
    tokens: Counter[tuple[int, int]] = Counter()
    for i in range(0, len(rows), 5):
        end, gap, increase, steps, count = rows[i : i + 5]
        for _ in range(steps):
            tokens[end, gap] += count
            gap += increase
            end += gap
    return tokens


def seen(view: View) -> tuple:
    """Return all that a view shows."""
    arrived = None if view.arrived is None else view.arrived.id
    running = tuple((r.id, r.generated_tokens) for r in view.running)
    return (
        view.now_ps,
        arrived,
        tuple(view.finished),
        view.in_engine,
        running,
        view.waiting_ids,
        *view.finished_tokens,
        *view.cancelled,
    )


class Watched:
    """Writes down what another decider is shown."""

    def __init__(self, decider: Decider) -> None:
        self.decider = decider
        self.log: list[tuple] = []

    def decide(self, view: View) -> Choice:
        self.log.append(seen(view))
        return self.decider.decide(view)


class Scripted:
    """Does what a script says at each evaluation, and writes down what it was shown.

    `script` maps the instant to a choice; at other instants arrivals are released.  An instant
    that holds several evaluations has a list of choices.
    """

    def __init__(
        self, script: dict[int, list[Choice]] | None = None, log: list | None = None
    ) -> None:
        self.script = script or {}
        self.log: list[tuple] = [] if log is None else log

    def decide(self, view: View) -> Choice:
        self.log.append(seen(view))
        choices = self.script.get(view.now_ps)
        if choices:
            return choices.pop(0)
        return Choice() if view.arrived is None else Choice((view.arrived.id,))
