"""SABER+: worked examples, what it must never do, and what each part is for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibrate import load_profile
from calibrate.profile import Profile
from calibrate.steptime import StepCost
from policies.catalog import make_policy
from policies.protocol import NEVER_PS, PS_PER_S, Pending, PolicyError, Running, View
from policies.saber_plus import SaberPlus
from sim import simulate
from sim.interval import mean_and_interval
from traces import Trace, workload

MADE = Profile(
    "made",
    "simulated",
    StepCost.affine(decode_s=0.01, sequence_s=0.01, prefill_s=0.0, prompt_token_s=0.001),
    10**6,
    "ample",
    "prefill-first",
)
"""A step of B takes 10 + 10 B ms, a prompt token 1 ms."""
BARE = SaberPlus(reserve=0.0, correct=False)


class Engine:
    """What a view shows of an engine, set by hand."""

    def __init__(self):
        self.generated = {}
        self.lengths = {}

    def running(self, now_ps):
        return tuple(Running(id, 1, tokens) for id, tokens in self.generated.items())

    def waiting_ids(self):
        return ()

    def output_tokens(self, request):
        return self.lengths[request]


class Bench:
    """Shows a decider one evaluation after another and carries out what it chooses."""

    def __init__(self, policy=BARE, profile=MADE):
        self.decider = policy.start(np.random.default_rng(0), profile)
        self.engine = Engine()
        self.view = View(self.engine)
        self.count = 0

    def arrive(self, at_s, prompt_tokens, max_tokens, sla_s=None, task="", output_tokens=None):
        now_ps = round(at_s * PS_PER_S)
        deadline_ps = NEVER_PS if sla_s is None else now_ps + round(sla_s * PS_PER_S)
        arrived = Pending(self.count, now_ps, deadline_ps, prompt_tokens, max_tokens, task)
        self.view.arrived = arrived
        self.engine.lengths[self.count] = output_tokens or max_tokens
        self.count += 1
        return self.decide(at_s)

    def finish(self, at_s, *requests):
        self.view.finished = requests
        return self.decide(at_s)

    def leave(self, at_s, *requests):
        self.view.cancelled = requests
        return self.decide(at_s)

    def decide(self, at_s):
        view, generated = self.view, self.engine.generated
        for request in (*view.finished, *view.cancelled):
            generated.pop(request, None)
        view.now_ps, view.in_engine = round(at_s * PS_PER_S), len(generated)
        choice = self.decider.decide(view)
        view.arrived, view.finished, view.cancelled = None, (), ()
        generated.update(dict.fromkeys(choice.release, 0))
        return choice


def test_who_runs_must_be_able_to_bear_the_prompt_and_the_larger_batch():
    # 10 ms for the prompt, then 50 steps of 20 ms: done at 1.01 s.
    # 10 more for a second prompt, and 50 steps of 30 ms: 1.52 s, both.
    for sla_s, released in ((1.53, [1]), (1.51, [])):
        bench = Bench()
        assert bench.arrive(0, 10, 51, sla_s).release == [0]
        assert list(bench.arrive(0, 10, 51, 9.0).release) == released
        assert not released or not bench.finish(1.0, 0).release
        assert released or list(bench.finish(1.0, 0).release) == [1]


def test_the_batch_is_seen_to_drain():
    # 10 steps of three at 40 ms, then 40 of two at 30 ms, with three prompts: 1.63 s.
    bench = Bench()
    bench.arrive(0, 10, 51, 1.64)
    bench.arrive(0, 10, 51, 1.64)
    assert list(bench.arrive(0, 10, 11, 1.0).release) == [2]
    assert list(bench.arrive(0, 10, 11, 1.0).release) == []


def test_what_was_generated_since_counts_and_with_recorded_promises_it_does_not():
    for policy, released in ((BARE, [1]), (SaberPlus(reserve=0, correct=False, current=False), [])):
        bench = Bench(policy)
        bench.arrive(0, 10, 101, 2.2)  # needs 22 ms a token at first
        bench.engine.generated[0] = 51  # and at 1.01 s has 1.19 s for 50 of them
        assert list(bench.arrive(1.01, 1, 3, 1.0).release) == released


def test_the_least_work_is_asked_first_and_of_equals_the_one_with_the_most_time():
    bench = Bench()
    bench.arrive(0, 10, 51, 1.02)
    bench.engine.generated[0] = 25
    for max_tokens, sla_s in ((40, 9.0), (20, 9.0), (20, 8.0), (30, 9.0)):
        assert not bench.arrive(0.5, 10, max_tokens, sla_s).release
    assert list(bench.finish(1.0, 0).release) == [2, 3, 4, 1]


@pytest.mark.parametrize(
    ("order", "expected"), [("arrival", [1, 2, 3]), ("deadline", [3, 1, 2]), ("work", [2, 1, 3])]
)
def test_other_orders(order, expected):
    bench = Bench(SaberPlus(reserve=0, correct=False, order=order))
    bench.arrive(0, 10, 51, 1.02)
    bench.engine.generated[0] = 25
    for later, (max_tokens, sla_s) in enumerate(((30, 8.0), (20, 9.0), (40, 7.0))):
        bench.arrive(0.5 + later / 1000, 10, max_tokens, sla_s)
    assert list(bench.finish(1.0, 0).release) == expected


def test_a_request_is_best_effort_from_the_instant_it_is_late_even_alone():
    bench = Bench()
    bench.arrive(0, 10, 101, 2.02)
    choice = bench.arrive(0, 10, 26, 1.51)  # alone 0.51 s
    assert (list(choice.release), choice.wake_ps) == ([], PS_PER_S)
    assert list(bench.decide(1.0).demote) == [1]
    assert list(bench.finish(1.99, 0).release) == [1]


def test_best_effort_goes_a_few_at_a_time_while_nobody_with_a_deadline_waits_or_runs():
    bench = Bench(SaberPlus(idle_seats=2, learn=0))
    bench.arrive(0, 10, 101, 2.02)
    for _ in range(3):
        assert list(bench.arrive(0.1, 10, 101, 1.0).demote) == [bench.count - 1]
    assert list(bench.finish(2.0, 0).release) == [1, 2]
    assert list(bench.arrive(2.1, 10, 11, 5.0).release) == [4]  # it binds nobody
    assert not bench.finish(2.2, 1).release
    assert list(bench.finish(2.4, 4).release) == [3]


def test_who_will_be_late_whatever_is_done_binds_nobody():
    bench = Bench()
    bench.arrive(0, 10, 51, 1.02)
    bench.engine.generated[0] = 10  # at 0.5 s it was to have 25
    assert list(bench.arrive(0.5, 10, 51, 9.0).release) == [1]


def test_without_a_deadline_nobody_waits_for_himself():
    bench = Bench()
    for n in range(40):
        assert list(bench.arrive(0, 100, 500).release) == [n]
    bench = Bench()
    bench.arrive(0, 10, 51, 1.02)
    assert not bench.arrive(0, 10, 51).release


def test_time_is_kept_for_cheaper_prompts_where_they_come_often():
    for reserve, released in ((0.0, [12]), (1.5, [])):
        bench = Bench(SaberPlus(reserve=reserve, correct=False))
        bench.arrive(0.0, 10, 11, 50.0)  # somebody must run: an idle engine is kept for nobody
        bench.engine.generated[0] = 1
        for n in range(1, 12):  # half of the time is theirs
            bench.arrive(n * 0.04, 20, 2, 9.0)
            bench.finish(n * 0.04 + 0.03, n)
        # Alone with the first: 20 ms, 10 steps of 30 ms, 90 of 20 ms, 2.12 s; with a quarter of
        # the time to spare more than 3 s.
        assert list(bench.arrive(0.48, 20, 101, 3.0).release) == released


def test_the_cheapest_are_asked_for_nothing():
    bench = Bench(SaberPlus(reserve=50.0, correct=False))
    for n in range(12):
        assert list(bench.arrive(n * 0.01, 20, 20, 9.0).release) == [n]


def test_an_idle_engine_is_kept_for_nobody():
    bench = Bench(SaberPlus(correct=False))
    for n in range(11):  # half of the time is theirs
        bench.arrive(n * 0.04, 20, 2, 9.0)
        bench.finish(n * 0.04 + 0.03, n)
    # Alone: 20 ms and 100 steps of 20 ms.
    assert list(bench.arrive(0.48, 20, 101, 2.03).release) == [11]


def test_who_would_himself_be_late_says_nothing_of_larger_ones():
    bench = Bench()
    bench.arrive(0, 10, 201, 99.0)
    bench.arrive(0, 10, 51, 1.53)  # in time to the millisecond or so
    bench.engine.generated.update({0: 1, 1: 1})
    # Beside the first, once the second is gone: 10 ms and 10 steps of 30 ms, to 1.84 s; alone
    # 1.74 s.
    assert not bench.arrive(0.05, 10, 11, 1.74).release
    assert not bench.arrive(0.05, 10, 21, 9.0).release
    bench.engine.generated[0] = 51
    assert list(bench.finish(1.53, 1).release) == [3]


def test_between_two_looks_at_the_batch_time_goes_on():
    # Looked at when the first was released, whose prompt was through at 1 ms; asked at 40 ms, 10 ms
    # for the prompt, 10 steps of 30 ms: 350 ms.
    for due_s, released in ((0.349, []), (0.351, [1])):
        bench = Bench()
        bench.arrive(0, 1, 101, 99.0)
        assert list(bench.arrive(0.04, 10, 11, due_s - 0.04).release) == released


def test_prompts_that_are_not_through_hold_up_who_comes():
    # 1 s of which nothing is known to be over; 10 ms; 10 steps of 30 ms.
    for sla_s, released in ((1.3, []), (1.32, [1])):
        bench = Bench()
        bench.arrive(0, 1000, 11, 99.0)
        assert list(bench.arrive(0.1, 10, 11, sla_s).release) == released


def test_time_for_prompts_is_not_taken_for_slow_steps():
    bench = Bench(SaberPlus(reserve=0.0))
    bench.arrive(0, 1, 10_000, 9999.0)
    tokens = bench.engine.generated[0] = 1
    for n in range(1, 40):
        # Half a second for the prompt, a step of two, 23 steps of one.
        bench.arrive(float(n), 500, 2, 9.0)
        bench.engine.generated[0] = tokens + 1
        bench.finish(n + 0.53, n)
        tokens = bench.engine.generated[0] = tokens + 24
    # 10 ms and 100 steps of 30 ms.
    assert list(bench.arrive(40.0, 10, 101, 3.1).release) == [40]


def test_clients_see_an_answer_later_than_the_engine_ends_it():
    # 10 ms, 10 steps of 30 ms, 5 ms.
    for sla_s, released in ((0.314, []), (0.316, [1])):
        bench = Bench(profile=replace(MADE, client_overhead_s=0.005))
        bench.arrive(0, 0, 101, 99.0)
        assert list(bench.arrive(0, 10, 11, sla_s).release) == released


def test_a_batch_taken_to_stay_as_it_is_takes_longer_and_prompts_take_no_time():
    flat = SaberPlus(reserve=0, correct=False, model=False)
    # 10 tokens beside 50: 50 steps of 30 ms, instead of 10 of 30 and 40 of 20; no prompt.
    for sla_s, released in ((1.49, []), (1.51, [1])):
        bench = Bench(flat)
        bench.arrive(0, 100, 51, sla_s)
        assert list(bench.arrive(0, 100, 11, 9.0).release) == released
    # With promises in place of what is left, only of the one that asks: 10 steps of 30 ms, prompts.
    promised = SaberPlus(reserve=0, correct=False, current=False)
    for sla_s, released in ((0.31, []), (0.32, [1])):
        bench = Bench(promised)
        bench.arrive(0, 1, 101, 99.0)
        assert list(bench.arrive(0, 10, 11, sla_s).release) == released
    bench = Bench(flat)
    bench.arrive(0, 10, 51, 1.02)
    bench.engine.generated[0] = 10  # late in any case, and binds nobody
    assert list(bench.arrive(0.5, 10, 51, 9.0).release) == [1]


def test_who_asks_for_what_cannot_be_had_has_named_a_limit_while_nothing_is_known():
    # 1000 tokens take 20 s alone. Half of the 2 s would do: 10 ms, 49 steps of 20 ms.
    bench = Bench()
    choice = bench.arrive(0, 10, 1000, 2.0, "chat")
    assert (list(choice.release), list(choice.demote)) == ([0], [])
    told = Bench(SaberPlus(reserve=0, correct=False, learn=0))
    choice = told.arrive(0, 10, 1000, 2.0, "chat")
    assert (list(choice.release), list(choice.demote)) == ([0], [0])  # as best effort
    # Two at a time: 10 + 10 + 49 steps of 30 ms, 1.49 s; the half of 1.4 s is 35 tokens, 1.07 s.
    assert list(bench.arrive(0, 10, 1000, 1.4, "chat").release) == [1]
    # Of a task whose answers are as long as asked for, it is known.
    for n in range(2, 7):
        bench.finish(10.0 * n, *([0, 1] if n == 2 else [n - 1]))
        bench.arrive(10.0 * n, 10, 20, 9.0, "edit")
    bench.finish(80.0, 6)
    assert list(bench.arrive(80.0, 10, 1000, 2.0, "edit").demote) == [7]


def test_the_next_answer_of_a_task_is_expected_to_be_as_long_as_the_last():
    bench = Bench()
    for n in range(5):
        bench.arrive(n, 10, 500, 99.0, "chat", output_tokens=11)
        bench.finish(n + 0.5, n)
    # A first of 200 tokens, 4.01 s alone, has 240 ms to spare; 11 tokens and their prompt beside
    # it take 110 ms of it, 500 would take far more.
    bench.arrive(10.0, 10, 201, 4.25, "edit")
    assert list(bench.arrive(10.0, 10, 500, 9.0, "chat").release) == [6]
    # It has the 11 and goes on: for all that is known it is about to end.
    bench.engine.generated.update({5: 20, 6: 11})
    assert list(bench.arrive(10.5, 10, 500, 9.0, "chat").release) == [7]


def test_who_has_outlived_every_answer_that_is_known_is_about_to_end_and_binds():
    for prompt_tokens, released in ((150, [6]), (250, [])):
        bench = Bench()
        for n in range(5):
            bench.arrive(n, 10, 500, 99.0, "chat", output_tokens=11)
            bench.finish(n + 0.5, n)
        bench.arrive(10.0, 10, 500, 0.7, "chat")
        bench.engine.generated[5] = 11
        # Due at 10.7 s: it can be held up for 200 ms.
        assert list(bench.arrive(10.5, prompt_tokens, 10, 9.0, "edit").release) == released


def test_of_an_answer_longer_than_expected_only_the_longer_ones_tell():
    for sla_s, released in ((4.55, [6]), (4.45, [])):
        bench = Bench()
        for n, tokens in enumerate((10, 20, 30, 40, 200)):
            bench.arrive(n, 10, 500, 99.0, "chat", output_tokens=tokens)
            bench.finish(n + 0.5, n)
        bench.arrive(10.0, 10, 500, sla_s, "chat")
        bench.engine.generated[5] = 50
        # Like the one of 200: 10 ms, 49 steps of 30 ms, 101 of 20 ms from 11 s on, to 14.5 s.
        assert list(bench.arrive(11.0, 10, 50, 9.0, "edit").release) == released


def test_once_answers_were_shorter_than_asked_for_the_other_tasks_are_not_believed_either():
    for taught, long, short in ((True, [6], [6]), (False, [], [6])):
        for max_tokens, sla_s, released in ((200, 4.2, long), (10, 9.0, short)):
            bench = Bench()
            for n in range(5):
                output_tokens = 11 if taught else None
                bench.arrive(n, 10, 100, 99.0, "chat", output_tokens=output_tokens)
                bench.finish(n + 0.5, n)
            # It can bear 9 steps of 30 ms, but not 50 of them if it is due in 1.2 s.
            bench.arrive(10.0, 10, 51, 1.2 if max_tokens == 10 else 9.0, "edit")
            # Beside it 200 tokens take 4.5 s; of 105, for which half of the time would do, 2.6 s.
            arrived = bench.arrive(10.0, 10, max_tokens, sla_s, "new")
            assert list(arrived.release) == released


def test_what_a_small_batch_is_too_slow_for_is_seen_with_the_correction():
    bench = Bench(SaberPlus())
    bench.arrive(0, 1, 10_000, 9999.0)
    tokens = bench.engine.generated[0] = 1
    for n in range(1, 40):  # half a second for the prompt, then steps three times as long
        bench.arrive(float(n), 500, 16, 99.0)
        bench.finish(n + 0.9, n)
        tokens = bench.engine.generated[0] = tokens + 6
    # The prompt is taken to need 1.5 s, so a token may take 230 ms. A batch of 16 takes 170 ms as
    # known, but thrice that; so others are cheaper, and their prompts take half of the time.
    assert not bench.arrive(40.0, 500, 16, 5.0).release
    assert list(bench.arrive(40.0, 500, 16, 12.0).release) == [41]


def test_nobody_is_remembered_once_all_have_left():
    bench = Bench()
    bench.arrive(0, 10, 51, 1.02)
    bench.arrive(0, 10, 51, 9.0)
    bench.arrive(0, 10, 1000, 1.0)
    bench.arrive(0.1, 10, 51, 9.0)
    bench.leave(0.2, 3)
    for request in (0, 1, 2):
        bench.finish(10.0 + request, request)
    decider = bench.decider
    assert not decider._waiting
    for kept in (decider._told, decider._best_effort, decider._released, decider._promised):
        assert kept == {}


def test_a_request_that_leaves_only_a_small_batch_is_turned_down_where_others_come():
    for sla_s, released in ((3.5, [12]), (0.6, [])):
        bench = Bench(SaberPlus(correct=False))
        bench.arrive(0.0, 10, 11, 50.0)
        bench.engine.generated[0] = 1
        for n in range(1, 12):  # half of the time is theirs, who cost as much
            bench.arrive(n * 0.04, 20, 16, 9.0)
            bench.finish(n * 0.04 + 0.03, n)
        # 20 ms, 10 steps of 30 ms and 5 of 20 ms; to end within 0.6 s it could bear one more.
        assert list(bench.arrive(0.48, 20, 16, sla_s).release) == released


def test_cancelled_requests_are_forgotten():
    bench = Bench()
    bench.arrive(0, 10, 51, 1.02)
    bench.engine.generated[0] = 5
    assert not bench.arrive(0.1, 10, 51, 9.0).release
    bench.leave(0.2, 1)
    assert not bench.finish(1.0, 0).release
    bench.arrive(2.0, 10, 51, 1.02)
    bench.engine.generated[2] = 5
    assert not bench.arrive(2.1, 10, 51, 9.0).release
    assert list(bench.leave(2.2, 2).release) == [3]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"reserve": -0.1}, "reserve=-0.1: expected a number of at least 0"),
        ({"order": "size"}, "order='size': expected work, deadline, arrival, random"),
        ({"current": 1}, "current=1: expected True or False"),
        ({"idle_seats": 0}, "idle_seats=0: expected a whole number of at least 1"),
    ],
)
def test_what_a_parameter_may_not_be(parameters, message):
    with pytest.raises(PolicyError, match=r"^saber\+: ") as error:
        SaberPlus(**parameters)
    assert message in str(error.value)


def test_its_text_means_it():
    assert make_policy("saber+").label == "saber+"
    policy = make_policy("saber+(reserve=0, order=random, model=False)")
    assert policy == SaberPlus(model=False, reserve=0, order="random")
    assert make_policy(policy.label) == policy


PARTS = st.builds(
    SaberPlus,
    current=st.booleans(),
    model=st.booleans(),
    reserve=st.sampled_from([0.0, 1.5]),
    order=st.sampled_from(["work", "deadline", "arrival", "random"]),
    correct=st.booleans(),
    learn=st.sampled_from([0.0, 0.5, 1.0]),
    idle_seats=st.integers(1, 4),
)


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(
    PARTS,
    st.integers(0, 10**6),
    st.sampled_from(["prefill-first", "chunked"]),
    st.sampled_from([0, 617, 1024]),
)
def test_everybody_is_served_once_and_every_token_step_by_step_is_the_same(
    policy, seed, discipline, limit
):
    trace = workload("W1", rps=12, n=30, seed=seed)
    if limit:
        trace = with_limits(trace, limit)
    profile = load_profile("paper-qwen2.5-coder-3b")
    given = {"policy": policy, "seed": seed, "discipline": discipline}
    leap, step = (simulate(trace, profile, leap=leap, **given) for leap in (True, False))
    assert set(leap.requests["status"]) == {"finished"}
    assert leap.requests.equals(step.requests)


@pytest.mark.parametrize(("name", "rps"), [("W1", 8), ("W1", 10), ("W3", 15)])
def test_it_meets_more_than_saber(name, rps):
    profile = load_profile("paper-qwen2.5-coder-3b")
    gains = []
    for seed in range(8):
        trace = workload(name, rps=rps, n=100, seed=seed)
        ours, theirs = (
            simulate(trace, profile, policy=policy, seed=seed).summary()["goodput_pct"]
            for policy in ("saber+", "saber")
        )
        gains.append(ours - theirs)
    assert mean_and_interval(gains).low > 5


def with_limits(trace, limit):
    """Return the trace of clients who all ask for as much as they could ever need."""
    return Trace(
        trace.arrival_s,
        trace.prompt_tokens,
        trace.output_tokens,
        max_tokens=np.full(len(trace), limit),
        sla_s=trace.sla_s,
        task=[trace.tasks[code] for code in trace.task_code],
    )


def test_where_max_tokens_is_a_limit_it_meets_nearly_as_many_once_it_has_learned():
    profile = load_profile("paper-qwen2.5-coder-3b")
    met = []
    for seed in range(3):
        trace = workload("W3", rps=8, n=600, seed=seed)
        limits = with_limits(trace, 1024)
        runs = [(trace, "saber+"), (limits, "saber+"), (limits, "saber+(learn=0)")]
        met.append([simulate(t, profile, policy=p).summary()["goodput_pct"] for t, p in runs])
    told, learned, believed = np.mean(met, axis=0)
    assert learned > told - 10
    assert believed < 10


def test_under_lasting_overload_the_short_answers_are_met():
    """It does not lock itself up with one request that leaves no room, after the other."""
    profile = load_profile("paper-qwen2.5-coder-3b")
    for seed in range(2):
        trace = workload("W1", rps=8, n=600, seed=seed)
        rows = simulate(trace, profile, policy="saber+", seed=seed).requests
        met = rows["met"].astype(bool).groupby(rows["task"], observed=True).mean()
        assert met["code_summary"] > 0.9
        assert met["code_generation"] > 0.7


def test_who_is_released_with_a_chance_is_in_time_where_the_profile_is_right():
    """Nobody is promised what later admissions take away."""
    profile = load_profile("paper-qwen2.5-coder-3b")
    missed = released = 0
    for seed in range(5):
        trace = workload("W1", rps=10, n=100, seed=seed)
        rows = simulate(trace, profile, policy="saber+", seed=seed).requests
        with_a_chance = rows[~rows["demoted"].astype(bool)]
        released += len(with_a_chance)
        missed += int((~with_a_chance["met"].astype(bool)).sum())
    assert released > 250
    assert missed / released < 0.02


def test_it_learns_that_steps_take_longer_than_the_profile_says():
    slower = StepCost.affine(decode_s=0.013, sequence_s=0.013, prefill_s=0.0, prompt_token_s=0.0013)
    truth = Profile("true", "simulated", slower, 10**6, "ample", "prefill-first")

    class Told(SaberPlus):
        def start(self, rng, profile):
            return super().start(rng, MADE)

    rng = np.random.default_rng(0)
    n = 400
    trace = Trace(
        np.cumsum(rng.exponential(0.25, n)),
        np.full(n, 20),
        rng.integers(20, 60, n),
        sla_s=np.full(n, 3.5),
    )
    met = [
        simulate(trace, truth, policy=Told(correct=correct)).summary()["goodput_pct"]
        for correct in (False, True)
    ]
    assert met[1] > met[0] + 3
