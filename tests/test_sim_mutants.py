"""The comparison of leaps and steps sees errors: each one planted in the leaping code is found.

An error is planted by replacing a snippet of source text, so these tests also fail when the code
has moved on; plant the same error in the new text then.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from random import Random
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

import pytest
from cases import run
from strategies import random_case
from worlds import random_world

from sim.stepwise import run_stepwise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cases import Case, Outcome

LEAPING = ("sim.kvcache", "sim.decoding", "sim.engine", "sim.server", "sim.cluster.run")
"""The modules of the leaping side, each after those it imports."""

CASES = 300


class Mutant(NamedTuple):
    """Replacements (module, snippet, what stands there instead)."""

    name: str
    edits: Sequence[tuple[str, str, str]]


MUTANTS = [
    Mutant(
        "a release at the end of a step waits for the next, context counted",
        [
            ("decoding", "self._time(steps) < elapsed", "self._time(steps) <= elapsed"),
            ("decoding", "self._time(steps - 1) >= elapsed", "self._time(steps - 1) > elapsed"),
        ],
    ),
    Mutant(
        "a release at the end of a step waits for the next, context free",
        [("decoding", "-(-elapsed // self._fixed_ps)", "elapsed // self._fixed_ps + 1")],
    ),
    Mutant(
        "a release does not end a leap",
        [("engine", "elif decoding.steps > 1 and", "elif decoding.steps < 0 and")],
    ),
    Mutant(
        "time ignores that the context grows",
        [("decoding", "steps * (steps - 1) // 2", "0")],
    ),
    Mutant(
        "blocks run short a step late",
        [("kvcache", "-(step + steps - 1) % size", "-(step + steps - 2) % size")],
    ),
    Mutant(
        "blocks run short as if all sequences were in one phase",
        [("kvcache", "padding += count * (-(phase + step) % size)", "padding += 0")],
    ),
    Mutant(
        "the bound on held blocks is taken for the truth",
        [("engine", "free += bound - self._decoding.blocks_held()", "pass")],
    ),
    Mutant(
        "a recompute leaves out the generated tokens",
        [("engine", "(self._kept(request) if self._paused else 0)", "0")],
    ),
    Mutant(
        "the preempted goes to the tail of the queue",
        [("engine", "self._waiting.appendleft(request)", "self._waiting.append(request)")],
    ),
    Mutant(
        "the first admitted is preempted",
        [
            (
                "decoding",
                "request, last_step = self._last_step.popitem()",
                "request = next(iter(self._last_step)); last_step = self._last_step.pop(request)",
            )
        ],
    ),
    Mutant(
        "the watermark is ignored",
        [("engine", "self._blocks - self._watermark - bound", "self._blocks - bound")],
    ),
    Mutant(
        "the partial prompt holds no blocks",
        [
            (
                "engine",
                "blocks = self._blocks - -(-self._partial_tokens // self._block_size)",
                "blocks = self._blocks",
            )
        ],
    ),
    Mutant(
        "the gap after a prefill leaves the prefill out",
        [("decoding", "if self._newcomers or self._token_ps != self._start_ps:", "if False:")],
    ),
    Mutant(
        "the gap across a preemption begins at the others' last token",
        [("decoding", "if not self._newcomers:\n", "if True:\n")],
    ),
    Mutant(
        "the factor on step times outlives a completion",
        [("decoding", "len(finished)\n            self._redraw = True", "len(finished)")],
    ),
    Mutant(
        "a view shows the token of the step that ends now",
        [("decoding", "self._steps_until(now_ps) - 1 if", "self._steps_until(now_ps) if")],
    ),
    Mutant(
        "a boundary comes before an arrival of its instant",
        [("server", "if boundary_ps >= until_ps:", "if boundary_ps > until_ps:")],
    ),
    Mutant(
        "a boundary comes before a timer of its instant",
        [("server", "if self._wake_ps <= boundary_ps:", "if self._wake_ps < boundary_ps:")],
    ),
    Mutant(
        "the end of the clock leaves out its own instant",
        [("decoding", "self._steps_until(until_ps + 1) - 1", "self._steps_until(until_ps) - 1")],
    ),
    Mutant(
        "a change of the budget does not end a leap",
        [("engine", "if self._chunked and prompts and", "if False and")],
    ),
    Mutant(
        "a change of the budget ends a leap only for prompts that wait",
        [("engine", "prompts = self._waiting or self._partial >= 0", "prompts = self._waiting")],
    ),
    Mutant(
        "a change of the budget ends a leap only for a prompt stored in part",
        [("engine", "self._waiting or self._partial >= 0\n", "self._partial >= 0\n")],
    ),
    Mutant(
        "more decodes than the budget leave room for prompts",
        [("engine", "while budget > 0 and seats:", "while budget and seats:")],
    ),
    Mutant(
        "the preempted sits out the whole leap, not one step",
        [("engine", "self._blocks, at_most=1)", "self._blocks)")],
    ),
]

CLUSTER_MUTANTS = [
    Mutant(
        "a replica that failed keeps its timer",
        [("server", "self._wake_ps = NEVER_PS\n        self._decide", "self._decide")],
    ),
    Mutant(
        "a replica that failed keeps its decider",
        [("server", "self._decide = self._restart().decide", "self._restart()")],
    ),
    Mutant(
        "what a failing replica held goes on in the order in which it came",
        [
            (
                "server",
                "sorted({**self._queued, **self._in_engine}.values())",
                "list({**self._queued, **self._in_engine}.values())",
            )
        ],
    ),
    Mutant(
        "what only waits is forgotten by a failure",
        [("server", "{**self._queued, **self._in_engine}", "self._in_engine")],
    ),
    Mutant(
        "a decider is not told who was given up",
        [("server", "self._view.cancelled = (request,)", "pass")],
    ),
    Mutant(
        "tokens of who gave up are not counted as wasted",
        [
            (
                "server",
                "            generated = self._engine.generated(request, now_ps)\n"
                "            self._engine.abort",
                "            self._engine.abort",
            )
        ],
    ),
    Mutant(
        "nobody leaves the engine",
        [("server", "self._engine.abort(request, now_ps)", "pass")],
    ),
    Mutant(
        "a timer for now is out of time when somebody gave up",
        [("server", "arrived is not None or bool(view.cancelled)", "arrived is not None")],
    ),
    Mutant(
        "what waits in the engine is not among the waiting",
        [("server", "len(self._queued) + len(self._engine.waiting_ids())", "len(self._queued)")],
    ),
    Mutant(
        "only the first who finishes is told of",
        [
            (
                "server",
                "for request in finished:\n                            self",
                "for request in finished[:1]:\n                            self",
            )
        ],
    ),
    Mutant(
        "the end of the clock leaves out what is due at its own instant",
        [("cluster.run", "if instant_ps > self._last_ps:", "if instant_ps >= self._last_ps:")],
    ),
    Mutant(
        "arrivals still to come do not keep a run going",
        [("cluster.run", "return self._noted + coming", "return self._noted")],
    ),
    Mutant(
        "a replica that was touched is not looked at earlier",
        [("cluster.run", "due_ps >= self._due_ps[index] or", "self._due_ps[index] < NEVER_PS or")],
    ),
    Mutant(
        "a replica is looked at once",
        [
            (
                "cluster.run",
                "advance(due_ps + 1)\n                self.touched(index)",
                "advance(due_ps + 1)",
            )
        ],
    ),
    Mutant(
        "steps end before requests come",
        [("cluster.run", "priority(SERVER, index)", "priority(ARRIVAL, -1)")],
    ),
]
"""Errors that show only where replicas fail, scale, and have clients."""


def leaping(edits: Sequence[tuple[str, str, str]]) -> Callable[..., None]:
    """Return `run_cluster` as it would be with these edits; `sim` stays as it is."""
    with patch.dict(sys.modules):
        for name in LEAPING:
            spec = find_spec(name)
            assert spec is not None and spec.origin is not None
            text = Path(spec.origin).read_text()
            for module, snippet, instead in edits:
                if name == f"sim.{module}":
                    assert snippet in text, f"{name} no longer contains {snippet!r}"
                    text = text.replace(snippet, instead)
            fresh = ModuleType(name)
            sys.modules[name] = fresh
            exec(compile(text, spec.origin, "exec"), fresh.__dict__)
        return fresh.run_cluster


class Counted:
    """Costs that are asked for a bounded number of steps: an error may make a run endless."""

    def __init__(self, costs: Any) -> None:
        self._costs = costs
        self._left = 20_000

    def __getattr__(self, name: str) -> Any:
        self._left -= 1
        if self._left < 0:
            raise RuntimeError("a run without end")
        return getattr(self._costs, name)


def agrees(case: Case, runner: Callable[..., None], expected: Outcome) -> bool:
    try:
        return run(replace(case, costs=Counted(case.costs)), runner) == expected
    except Exception:  # an error of any kind shows itself
        return False


@pytest.fixture(scope="module")
def reference() -> list[tuple[Case, Outcome]]:
    """Return the same cases at every run, with what the step-by-step run makes of them."""
    chosen = [random_case(Random(seed)) for seed in range(CASES)]
    return [(case, run(case, run_stepwise)) for case in chosen]


@pytest.fixture(scope="module")
def busy_reference() -> list[tuple[Case, Outcome]]:
    """Return the same of clusters in which much happens."""
    chosen = [random_world(Random(seed)) for seed in range(CASES)]
    return [(case, run(case, run_stepwise)) for case in chosen]


def test_without_an_error_all_agree(
    reference: list[tuple[Case, Outcome]], busy_reference: list[tuple[Case, Outcome]]
):
    runner = leaping([])
    assert all(agrees(case, runner, expected) for case, expected in reference + busy_reference)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_an_error_is_found(mutant: Mutant, reference: list[tuple[Case, Outcome]]):
    runner = leaping(mutant.edits)
    assert not all(agrees(case, runner, expected) for case, expected in reference)


@pytest.mark.parametrize("mutant", CLUSTER_MUTANTS, ids=lambda mutant: mutant.name)
def test_an_error_in_a_cluster_is_found(mutant: Mutant, busy_reference: list[tuple[Case, Outcome]]):
    runner = leaping(mutant.edits)
    assert not all(agrees(case, runner, expected) for case, expected in busy_reference)
