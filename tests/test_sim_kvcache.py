"""Block counts from phases against counting every sequence."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.kvcache import BlockPhases

ANY = settings(suppress_health_check=list(HealthCheck))


class Stored(NamedTuple):
    """A sequence that stored `tokens` at `step` and one more at each step since."""

    tokens: int
    step: int

    def at(self, step: int) -> int:
        return self.tokens + step - self.step


def blocks(running: list[Stored], step: int, size: int) -> int:
    return sum(-(-sequence.at(step) // size) for sequence in running)


def tokens(running: list[Stored], step: int) -> int:
    return sum(sequence.at(step) for sequence in running)


CHANGES = st.lists(
    st.tuples(st.integers(0, 9), st.integers(1, 90), st.integers(0, 5)), min_size=1, max_size=30
)
"""Steps to wait, tokens of a sequence that joins, and which other one leaves first, if any."""


@ANY
@given(CHANGES, st.integers(1, 17))
def test_blocks_are_those_of_every_sequence(changes, size):
    phases = BlockPhases(size)
    running: list[Stored] = []
    step = 0
    for wait, joining, leaving in changes:
        step += wait
        if leaving < len(running):
            sequence = running.pop(leaving)
            phases.leave(sequence.at(step), step)
        running.append(Stored(joining, step))
        phases.join(joining, step)
        assert phases.blocks(tokens(running, step), step) == blocks(running, step, size)
        # As many steps ahead, or one behind (where the newest tokens are not stored yet).
        for other in (step + 7, step - 1):
            assert phases.blocks(tokens(running, other), other) == blocks(running, other, size)
    assert not phases.empty()
    for sequence in running:
        phases.leave(sequence.at(step), step)
    assert phases.empty()
    assert phases.blocks(0, step) == 0


@ANY
@given(CHANGES, st.integers(1, 17), st.integers(0, 60), st.integers(1, 200))
def test_steps_within_are_those_that_fit_one_by_one(changes, size, free, at_most):
    phases = BlockPhases(size)
    running: list[Stored] = []
    step = 0
    for wait, joining, _ in changes:
        step += wait
        running.append(Stored(joining, step))
        phases.join(joining, step)
    now = blocks(running, step, size)
    fit = 1
    while fit < at_most and blocks(running, step + fit, size) <= now + free:
        fit += 1
    assert phases.steps_within(free, step, len(running), at_most) == fit
