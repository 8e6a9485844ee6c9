"""Which decisions are timed when the cost of one is measured; no time is judged here."""

from dataclasses import dataclass, field

import pytest

from calibrate.library import load_profile
from policies.catalog import POLICIES, make_policy
from policies.protocol import Choice
from sim.leaderboard import cost
from sim.leaderboard.cost import decision_us

PROFILE = load_profile("paper-qwen2.5-coder-3b")


@dataclass(frozen=True)
class Looking:
    """Keeps its queue, releases up to 8 or turns everybody away, and notes how many waited."""

    refuse: bool = False
    seen: list = field(default_factory=list)
    label = "looking"

    def start(self, rng, profile):
        return _Looking(self)


class _Looking:
    def __init__(self, policy):
        self.policy, self.queue = policy, []

    def decide(self, view):
        self.policy.seen.append(len(self.queue))
        if view.arrived is not None:
            self.queue.append(view.arrived.id)
        if self.policy.refuse:
            return Choice((), (), (self.queue.pop(),))
        free = max(8 - view.in_engine, 0)
        released, self.queue = self.queue[:free], self.queue[free:]
        return Choice(released)


def test_decisions_are_timed_while_about_as_many_wait(monkeypatch):
    ticks = iter(range(10**9))
    monkeypatch.setattr(cost, "perf_counter_ns", lambda: 1000 * next(ticks))
    timed = []
    noted = cost._Timed.note

    def note(self, view, choice, spent_ns):
        before = self.decided
        noted(self, view, choice, spent_ns)
        timed.append(self.decided > before)

    monkeypatch.setattr(cost._Timed, "note", note)
    policy = Looking()
    assert decision_us(policy, PROFILE, queued=40) == 1.0
    assert timed == [30 <= waiting <= 50 for waiting in policy.seen]
    assert sum(timed) > 3 * 20


def test_under_one_who_turns_everybody_away_nobody_waits():
    assert decision_us(Looking(refuse=True), PROFILE, queued=20) is None


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_every_policy_can_be_measured(name):
    text = name if name != "static" else "static(30)"
    assert decision_us(make_policy(text), PROFILE, queued=20) > 0
