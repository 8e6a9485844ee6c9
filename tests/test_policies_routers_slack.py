"""Where a request just about meets its deadline: predictions worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from calibrate.profile import Profile
from calibrate.steptime import StepCost
from policies.protocol import NEVER_PS, PS_PER_S, Pending
from policies.routers_slack import SlaSlack
from policies.routing import Fleet


def profile(name: str, step_s: float, *, client_overhead_s: float = 0.0) -> Profile:
    """Return one with steps of `step_s` and a tenth more a sequence, and slow prompts."""
    return Profile(
        name=name,
        method="simulated",
        cost=StepCost.affine(
            decode_s=step_s, sequence_s=step_s / 10, prefill_s=0.0, prompt_token_s=step_s / 10
        ),
        kv_tokens=10**6,
        kv_source="ample",
        discipline="prefill-first",
        client_overhead_s=client_overhead_s,
    )


FAST, SLOW = profile("fast", 0.01), profile("slow", 0.02)
# 100 prompt tokens and 91 to generate, alone: 0.1 + 90 * 0.011 = 1.09 s, twice that where slow.
PROMPT, TOKENS = 100, 91
ALONE_S = 1.09


class Bench:
    def __init__(self, *profiles: Profile, margin: float = 0.0) -> None:
        self.fleet = Fleet(profiles)
        self.router = SlaSlack(margin).start(profiles, np.random.default_rng(0))

    def route(self, sla_s: float | None, prompt: int = PROMPT, at_s: float = 0.0) -> int:
        self.fleet.now_ps = round(at_s * PS_PER_S)
        sla_ps = NEVER_PS if sla_s is None else self.fleet.now_ps + round(sla_s * PS_PER_S)
        return self.router.route(Pending(0, self.fleet.now_ps, sla_ps, prompt, TOKENS), self.fleet)

    def send(self, sla_s: float | None, prompt: int = PROMPT, at_s: float = 0.0) -> int:
        replica = self.route(sla_s, prompt, at_s)
        self.fleet.requests[replica] += 1
        self.fleet.outstanding_tokens[replica] += prompt + TOKENS
        return replica


def test_a_loose_deadline_leaves_the_fast_one_free_and_a_tight_one_takes_it():
    for profiles, slow in (((FAST, SLOW), 1), ((SLOW, FAST), 0)):
        assert Bench(*profiles).route(2 * ALONE_S + 1e-6) == slow
        assert Bench(*profiles).route(2 * ALONE_S - 1e-6) == 1 - slow
        assert Bench(*profiles).route(ALONE_S + 1e-6) == 1 - slow


def test_the_margin_stretches_what_is_predicted():
    assert Bench(FAST, SLOW, margin=0.5).route(3 * ALONE_S + 1e-6) == 1
    assert Bench(FAST, SLOW, margin=0.5).route(3 * ALONE_S - 1e-6) == 0
    assert SlaSlack().margin == 0.3


def test_the_client_overhead_counts():
    far = profile("far", 0.02, client_overhead_s=0.5)
    assert Bench(FAST, far).route(2 * ALONE_S + 0.5 + 1e-6) == 1
    assert Bench(FAST, far).route(2 * ALONE_S + 0.5 - 1e-6) == 0


def test_company_slows_down_and_context_costs():
    b = Bench(FAST, SLOW)
    b.fleet.requests[1] = 4
    # Five sequences: 0.2 + 90 * (0.02 + 5 * 0.002) = 2.9 s.
    assert b.route(2.9 + 1e-6) == 1
    b = Bench(FAST, SLOW)
    b.fleet.requests[1] = 4
    assert b.route(2.9 - 1e-6) == 0
    cost = StepCost.affine(decode_s=0.01, prefill_s=0.1, context_token_s=1e-5)
    reading = Profile(
        name="reading", method="simulated", cost=cost, kv_tokens=10**6, kv_source="ample",
        discipline="prefill-first",
    )  # fmt: skip
    for extra_s, expected in ((1e-6, 1), (-1e-6, 0)):
        b = Bench(FAST, reading)
        b.fleet.outstanding_tokens[1] = 5_000
        # A step takes 0.01 + 1e-5 * (5000 + 191), which is 0.06191 s.
        assert b.route(0.1 + 90 * 0.06191 + extra_s) == expected


def test_prompts_sent_before_go_first():
    b = Bench(FAST, SLOW)
    assert b.send(100, prompt=10_000) == 1
    # 20 s of prefill, of which 15 are left; then 0.2 s and 90 steps of two.
    left_s = 15 + 0.2 + 90 * 0.024
    assert b.route(left_s - 1e-6, at_s=5) == 0
    b = Bench(FAST, SLOW)
    b.send(100, prompt=10_000)
    assert b.route(left_s + 1e-6, at_s=5) == 1


def test_prompts_queue_up_behind_each_other():
    b = Bench(FAST, SLOW)
    assert [b.send(100, prompt=1_000) for _ in range(3)] == [1, 1, 1]
    # Three prefills of 2 s, then its own, then 90 steps of four.
    takes_s = 6 + 0.2 + 90 * 0.028
    assert b.route(takes_s - 1e-6) == 0


def test_an_idle_replica_has_no_prompts_to_finish():
    b = Bench(FAST, SLOW)
    assert b.route(100, prompt=10_000) == 1
    # It failed, or its client gave up: nothing is there any more.
    assert b.send(2 * ALONE_S + 1e-6, at_s=1) == 1
    # Nor does the next one wait for more than the prompt before it.
    assert b.route(0.2 + 0.2 + 90 * 0.024 + 1e-6, at_s=1) == 1


def test_a_prompt_begins_when_it_is_sent_and_not_before():
    b = Bench(FAST, SLOW)
    assert [b.send(100), b.send(100, prompt=1_000, at_s=10)] == [1, 1]
    # 2 s of prefill, then its own, then 90 steps of three.
    assert b.route(2 + 0.2 + 90 * 0.026 - 1e-6, at_s=10) == 0


def test_of_one_kind_the_roomiest_and_of_equals_in_turn():
    b = Bench(SLOW, SLOW, SLOW, FAST)
    b.fleet.requests[:] = [2, 1, 3, 0]
    assert b.route(100) == 1
    assert [Bench(FAST, FAST, FAST).route(100) for _ in range(2)] == [0, 0]
    b = Bench(FAST, FAST, FAST)
    assert [b.route(100) for _ in range(5)] == [0, 1, 2, 0, 1]


def test_equal_profiles_are_one_kind_whoever_made_them():
    b = Bench(profile("fast", 0.01), profile("fast", 0.01))
    b.fleet.requests[:] = [2, 1]
    # As kinds of their own the fuller one would be the better fit.
    assert b.route(100) == 1


@pytest.mark.parametrize("sla_s", [None, ALONE_S / 2])
def test_with_nothing_to_win_the_fewest_requests(sla_s):
    b = Bench(SLOW, FAST, SLOW)
    b.fleet.requests[:] = [3, 2, 1]
    b.fleet.outstanding_tokens[:] = [1, 2, 3]
    assert b.route(sla_s) == 2


def test_only_those_that_take_are_asked():
    b = Bench(FAST, SLOW, SLOW)
    b.fleet.taking = [0, 2]
    b.fleet.requests[:] = [0, 0, 1]
    assert b.route(100) == 2
    b.fleet.taking = [0]
    assert b.route(100) == b.route(None) == b.route(0.001) == 0
