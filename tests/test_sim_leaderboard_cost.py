"""What a decider is shown while the cost of its decisions is measured; no time is judged here."""

from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from calibrate.library import load_profile
from policies.catalog import POLICIES, make_policy
from policies.protocol import PS_PER_S, Choice
from sim.leaderboard.cost import decision_us

PROFILE = load_profile("paper-qwen2.5-coder-3b")


@dataclass(frozen=True)
class Looking:
    """Keeps its queue, releases up to 8, refuses or waits as told, and notes what it saw."""

    refuse: bool = False
    tick_s: float = 0.0
    seen: list = field(default_factory=list)
    label = "looking"

    def start(self, rng, profile):
        self.seen.clear()
        return _Looking(self)


class _Looking:
    def __init__(self, policy):
        self.policy, self.queue = policy, []

    def decide(self, view):
        policy = self.policy
        if view.arrived is not None:
            self.queue.append(view.arrived.id)
        policy.seen.append((view.now_ps, len(self.queue), len(view.running), view.in_engine))
        if policy.refuse and view.arrived is not None:
            return Choice((), (), (self.queue.pop(),))
        free = max(8 - view.in_engine, 0)
        released, self.queue = self.queue[:free], self.queue[free:]
        wake_ps = view.now_ps + round(policy.tick_s * PS_PER_S) if policy.tick_s else 2**63 - 1
        return Choice(released, wake_ps=wake_ps)


def test_as_many_wait_as_asked_for_at_each_decision():
    policy = Looking()
    assert decision_us(policy, PROFILE, queued=50, decisions=100) > 0
    waiting = [queue for _, queue, _, _ in policy.seen[-100:]]
    assert min(waiting) >= 49
    assert max(waiting) <= 51
    assert all(running == in_engine <= 8 for _, _, running, in_engine in policy.seen)


def test_timers_are_kept():
    policy = Looking(tick_s=0.004)
    decision_us(policy, PROFILE, queued=5, decisions=200)
    instants = [now_ps for now_ps, *_ in policy.seen[-50:]]
    steps = {round((b - a) / PS_PER_S, 4) for a, b in pairwise(instants)}
    assert 0.004 in steps
    assert instants == sorted(instants)


def test_one_who_turns_everybody_away_is_measured_all_the_same():
    policy = Looking(refuse=True)
    assert decision_us(policy, PROFILE, queued=5, decisions=20) > 0
    assert all(in_engine == 0 for *_, in_engine in policy.seen)


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_every_policy_can_be_measured(name):
    [text] = [name] if name != "static" else ["static(30)"]
    assert decision_us(make_policy(text), PROFILE, queued=20, decisions=30) > 0
