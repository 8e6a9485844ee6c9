"""`simulate`: what it takes, what it refuses, and what it warns of."""

from __future__ import annotations

import gc
import subprocess
import sys
from dataclasses import replace
from time import process_time

import numpy as np
import pytest

from calibrate import load_profile
from calibrate.profile import Profile
from calibrate.steptime import StepCost
from policies.protocol import Choice, PolicyError
from policies.saber import Saber
from policies.static import Static
from sim import simulate
from sim.intake import mean_context_tokens
from sim.options import OptionError
from traces import workload
from traces.request import Trace

PAPER = load_profile("paper-qwen2.5-coder-3b")
PLAIN = Profile(
    name="plain",
    method="imported",
    cost=StepCost.affine(decode_s=0.01, prefill_s=0.01),
    kv_tokens=10_000,
    kv_source="by hand",
    discipline="prefill-first",
)
ONE = Trace([0.0], [10], [3], sla_s=[1.0])
DISCIPLINES = ("prefill-first", "chunked")


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"max_num_seq": 3}, "unknown run option 'max_num_seq': did you mean max_num_seqs?"),
        ({"warmup": 3}, "unknown run option 'warmup': did you mean warmup_s?"),
        ({"colour": 3}, "unknown run option 'colour': expected one of max_num_seqs, "),
        ({"replicas": 0}, "replicas=0: expected a whole number of at least 1"),
        ({"replicas": 1.0}, "replicas=1.0: expected a whole number of at least 1"),
        ({"replicas": True}, "replicas=True: expected a whole number of at least 1"),
        ({"seed": -1}, "seed=-1: expected a whole number of at least 0"),
        ({"seed": None}, "seed=None: expected a whole number of at least 0"),
        ({"seed": 0.5}, "seed=0.5: expected a whole number of at least 0"),
        (
            {"policy": "static(4)", "max_num_seqs": 4},
            "max_num_seqs=4 and policy static(max_num_seqs=4) both set the batch size",
        ),
        (
            {"discipline": "chunked", "max_num_batched_tokens": 255},
            "max_num_batched_tokens=255 is less than max_num_seqs=256",
        ),
        (
            {"policy": "static(9)", "discipline": "chunked", "max_num_batched_tokens": 8},
            "max_num_batched_tokens=8 is less than max_num_seqs=9",
        ),
        ({"kv_tokens": 15}, "the KV cache holds no block of 16 tokens"),
        ({"trace": ONE[:0]}, "the trace has no requests"),
        ({"trace": Trace([9e6], [1], [1])}, "arrival_s reaches 9e+06 s: expected less than 9e+06"),
        ({"trace": Trace([0], [1], [1], sla_s=[1e7])}, "sla_s reaches 1e+07 s"),
    ],
)
def test_what_can_not_be_meant(how, message):
    trace = how.pop("trace", ONE)
    with pytest.raises(OptionError) as error:
        simulate(trace, PAPER, **how)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("policy", ["sabre", 3, Saber, lambda: None])
def test_what_is_no_policy(policy):
    with pytest.raises(PolicyError):
        simulate(ONE, PAPER, policy)


def test_traces_up_to_the_end_of_the_clock_run():
    late = Trace([8.9e6], [10], [3], sla_s=[8.9e6])
    for policy in ("saber", "static(1)"):
        r = simulate(late, PAPER, policy)
        assert r.requests.met.tolist() == [True]
        assert r.requests.demoted.tolist() == [False]


def test_what_the_clock_cuts_off_is_said():
    slow = replace(PLAIN, cost=StepCost.affine(decode_s=1e6, prefill_s=1e6))
    r = simulate(Trace([0.0], [10], [50]), slow)
    assert r.summary()["statuses"]["unfinished"] == 1
    assert [w for w in r.warnings if w.startswith("1 requests were still running when the clock")]


# ------------------------------------------------------------------ what is taken


def test_a_policy_may_be_text_an_object_or_a_function():
    trace = workload("W3", rps=10, n=40, seed=2)
    expected = simulate(trace, PAPER, "static(256)").requests

    class Own:
        label = "own"

        def start(self, rng, profile):
            return Static(3).start(rng, profile)

    for policy in (Static(256), Own(), lambda view: view.queue):
        r = simulate(trace, PAPER, policy).requests
        assert (r.finished_s == expected.finished_s).all()


def test_the_defaults_are_saber_on_one_replica():
    trace = workload("W3", rps=10, n=40, seed=2)
    bare, said = simulate(trace, PAPER), simulate(trace, PAPER, Saber(), 1, 0, True)
    assert (bare.policy, bare.replicas, bare.seed) == ("saber", 1, 0)
    assert bare.requests.equals(said.requests)
    assert bare.options.max_num_seqs == 256


def test_single_steps_give_the_same_requests_and_summary():
    trace = workload("W1", rps=8, n=40, seed=2)
    leap, step = (simulate(trace, PAPER, replicas=2, leap=leap) for leap in (True, False))
    assert leap.requests.equals(step.requests)
    assert leap.summary() == step.summary()
    # The account of a leap has rows of many steps, the other a row for each.
    assert max(leap.accounts[0].gaps[3::5]) > 1
    assert max(step.accounts[0].gaps[3::5]) == 1


def test_a_policy_is_told_the_mean_context_of_the_trace():
    seen = []

    class Curious:
        label = "curious"

        def start(self, rng, profile):
            seen.append(profile)
            return Static(1).start(rng, profile)

    trace = Trace([0, 0], [10, 100], [3, 2])
    simulate(trace, PLAIN, Curious())
    # Decode steps see contexts of 11 and 12, and of 101.
    assert seen[0].mean_context_tokens == pytest.approx((11 + 12 + 101) / 3)
    assert replace(seen[0], mean_context_tokens=None) == PLAIN
    # Without decode steps, that of the prompts.
    assert mean_context_tokens(Trace([0, 0], [10, 100], [1, 1])) == 55


def test_a_batch_limit_without_meaning_costs_nothing():
    before_s = process_time()
    r = simulate(ONE, PAPER, Static(10**6))
    assert r.summary()["statuses"]["finished"] == 1
    # A table over all those batch sizes takes seconds.
    assert process_time() - before_s < 1


def test_replicas_take_turns():
    trace = workload("W3", rps=10, n=9, seed=2)
    r = simulate(trace, PAPER, "static(4)", replicas=3)
    assert r.requests.replica.tolist() == [0, 1, 2] * 3
    assert len(r.accounts) == 3


# ------------------------------------------------------------------ what never fits


@pytest.mark.parametrize("discipline", DISCIPLINES)
@pytest.mark.parametrize("leap", [True, False])
def test_a_request_that_exactly_fits_is_served_and_one_token_more_is_refused(discipline, leap):
    # 20 blocks of 16: the last token is never stored, so 320 + 1 tokens fit.
    trace = Trace([0.0, 1e3], [300, 300], [21, 22])
    r = simulate(trace, PLAIN, "static(4)", kv_tokens=335, discipline=discipline, leap=leap)
    assert r.requests.status.tolist() == ["finished", "refused"]
    expected = (
        "1 requests were refused; the first, request 1, needs 21 KV blocks of 16 tokens, "
        "the cache has 20 to give"
    )
    assert expected in r.warnings


def test_prefill_first_keeps_a_watermark():
    # 200 blocks of one token, of which admission leaves 2.
    trace = Trace([0.0, 1e3], [190, 190], [9, 10])
    how = {"kv_tokens": 200, "block_size": 1}
    r = simulate(trace, PLAIN, "static(4)", **how)
    assert r.requests.status.tolist() == ["finished", "refused"]
    r = simulate(trace, PLAIN, "static(4)", discipline="chunked", **how)
    assert r.requests.status.tolist() == ["finished", "finished"]


def test_the_longest_request_is_a_matter_of_the_run():
    trace = Trace([0.0, 0.0], [100, 100], [28, 29])
    assert simulate(trace, PLAIN).summary()["statuses"]["finished"] == 2
    r = simulate(trace, PLAIN, max_model_len=128)
    assert r.requests.status.tolist() == ["finished", "refused"]
    assert (
        "1 requests were refused; the first, request 1, has 129 tokens, max_model_len is 128"
        in r.warnings
    )
    # Where neither fits, the length is the reason given.
    r = simulate(Trace([0.0], [100], [29]), PLAIN, max_model_len=128, kv_tokens=64)
    assert r.ledger.reason == {0: "has 129 tokens, max_model_len is 128"}


def test_a_refused_request_is_not_shown_to_the_policy():
    shown = []

    def keep(view):
        shown.extend(request.id for request in view.queue)
        return view.queue

    simulate(Trace([0.0, 0.0], [100, 10], [29, 5]), PLAIN, keep, max_model_len=128)
    assert shown == [1]


# ------------------------------------------------------------------ warnings


def warnings_of(trace=ONE, profile=PLAIN, policy="static(4)", **options) -> tuple[str, ...]:
    return simulate(trace, profile, policy, **options).warnings


def test_a_plain_run_has_nothing_to_warn_of():
    assert warnings_of() == ()


def test_a_policy_that_keeps_requests_is_named():
    r = simulate(ONE, PLAIN, lambda view: None)
    assert r.requests.status.tolist() == ["unfinished"]
    assert r.warnings == ("1 requests were never released by the policy",)
    # At the end of a clock cut short, waiting is no surprise.
    assert warnings_of(policy=lambda view: None, until_s=5.0) == ()


def test_a_policy_that_is_not_shown_the_goodput_limits_is_named():
    limits = {"ttft": 500.0}
    bare = ONE.replace(sla_s=np.full(len(ONE), np.nan))

    [with_slas] = warnings_of(policy="saber(estimator=linear)", goodput_ms=limits)
    [without] = warnings_of(bare, policy="saber(estimator=linear)", goodput_ms=limits)

    assert "does not see the goodput limits" in with_slas
    assert with_slas.endswith("which count for nothing else here")
    assert without.endswith("and no request has one")
    assert warnings_of(goodput_ms=limits) == ()


def test_warnings_of_trace_and_profile_are_carried_on():
    assumed = replace(PLAIN, kv_source="assumed: all of it", method="roofline")
    trace = Trace([0.0], [10], [3], sla_s=[1.0], warnings=["half of it was lost"])
    found = warnings_of(trace, assumed)
    assert found[0] == "half of it was lost"
    assert [w for w in found if w.startswith("roofline")]
    assert "the KV capacity of 10000 tokens is assumed, not measured" in found
    bare = replace(PLAIN, cost=replace(PLAIN.cost, engine_overhead_s=None))
    assert [w for w in warnings_of(profile=bare) if w.startswith("kernel-only")]


def test_another_discipline_than_the_measured_one_is_named():
    expected = "the profile describes a prefill-first engine, the run is chunked"
    assert warnings_of(discipline="chunked") == (expected,)
    assert warnings_of(discipline="prefill-first") == ()


def test_a_run_beyond_what_was_measured_names_the_range():
    measured = replace(
        PLAIN,
        measured_batch=(1, 4),
        measured_prefill_tokens=(1, 40),
        measured_context_tokens=(1, 12),
    )
    four = Trace([0.0] * 4, [10] * 4, [3] * 4, sla_s=[1.0] * 4)
    five = Trace([0.0] * 5, [10] * 5, [3] * 5, sla_s=[1.0] * 5)
    assert warnings_of(four, measured, "static(9)") == ()
    batch, prefill = warnings_of(five, measured, "static(9)")
    assert batch == (
        "beyond the profile's range: 5 sequences, known from 1 to 4; step costs there are "
        "extrapolated"
    )
    assert prefill.startswith("beyond the profile's range: 50 prompt tokens a step, known from 1")
    assert warnings_of(five, measured, "static(4)") == ()
    (context,) = warnings_of(Trace([0.0], [10], [4], sla_s=[1.0]), measured)
    assert context.startswith("beyond the profile's range: 13 context tokens, known from 1 to 12")


def test_requests_that_never_ran_leave_no_range():
    measured = replace(PLAIN, measured_context_tokens=(1, 12))
    long = Trace([0.0, 9.0], [10, 500], [3, 3], sla_s=[1.0, 1.0])
    for options in ({"max_model_len": 100}, {"until_s": 5.0}):
        assert not [w for w in warnings_of(long, measured, **options) if "range" in w]
    assert [w for w in warnings_of(long, measured) if "502 context tokens" in w]


def test_requests_without_sla_are_counted():
    trace = Trace([0.0, 0.0], [10, 10], [3, 3], sla_s=[1.0, np.nan])
    assert warnings_of(trace) == ("1 requests have no SLA and are outside goodput",)
    assert warnings_of(trace, goodput_ms={"ttft": 100}) == ()
    late = Trace([0.0, 9.0], [10, 10], [3, 3], sla_s=[1.0, np.nan])
    assert not [w for w in warnings_of(late, until_s=5.0) if "SLA" in w]
    (none,) = warnings_of(Trace([0.0], [10], [3]))
    assert none.startswith("the trace has no SLA: goodput is not defined")


def test_requests_the_policy_refuses_are_counted():
    def refuse(view):
        return Choice(refuse=[request.id for request in view.queue])

    (refused,) = warnings_of(policy=refuse)
    assert refused == "1 requests were refused; the first, request 0, refused by the policy"


# ------------------------------------------------------------------ the import


@pytest.mark.parametrize(
    "imports",
    [
        "from sim import simulate; from sim import simulate",
        "import sim.simulation; from sim import simulate",
        "from sim import simulate; import sim.simulation; from sim import simulate",
        "import sim; simulate = sim.simulate; import sim.simulation; from sim import simulate",
    ],
)
def test_the_function_is_what_is_imported(imports):
    code = f"{imports}\nassert callable(simulate) and simulate.__name__ == 'simulate'"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_kv_capacity_given_for_the_run_is_not_called_assumed():
    assumed = replace(PLAIN, kv_source="assumed: all of it")
    trace = Trace([0.0], [10], [5], sla_s=9.0)
    assert any("assumed" in text for text in simulate(trace, assumed, "static(4)").warnings)
    given = simulate(trace, assumed, "static(4)", kv_tokens=500)
    assert given.options.kv_tokens == 500
    assert not any("assumed" in text for text in given.warnings)


def test_what_is_no_trace_or_no_profile_is_said_so():
    trace = workload("W3", rps=5, n=3)
    with pytest.raises(OptionError, match=r"profile is a str: expected a Profile.*load_profile"):
        simulate(trace, "paper-qwen2.5-coder-3b")
    with pytest.raises(OptionError, match=r"trace is a list: expected a Trace"):
        simulate([1, 2], PLAIN)


def test_whole_numbers_of_numpy_are_whole_numbers():
    trace = workload("W3", rps=5, n=20)
    ours = simulate(trace, PLAIN, "saber", seed=3, replicas=2, max_num_seqs=4)
    theirs = simulate(
        trace, PLAIN, "saber", seed=np.int64(3), replicas=np.int32(2), max_num_seqs=np.int64(4)
    )
    assert theirs.requests.equals(ours.requests)
    assert type(theirs.options.max_num_seqs) is int


@pytest.mark.parametrize("discipline", ["prefill-first", "chunked"])
@pytest.mark.parametrize("policy", ["saber", "saber(interval=0.1)", "static(8)"])
def test_a_run_is_freed_when_its_result_is(policy, discipline):
    # Cycles would keep the columns of a large run until the collector comes round.
    trace = workload("W3", rps=8, n=50)
    kinds = {"Server", "Engine", "Decoding", "Ledger", "_Arrivals", "Scenario", "Front"}

    def alive() -> list[str]:
        # Other tests may keep results of theirs.
        return sorted(k for k in (type(thing).__name__ for thing in gc.get_objects()) if k in kinds)

    gc.collect()
    gc.disable()
    try:
        before = alive()
        result = simulate(trace, PLAIN, policy, discipline=discipline)
        assert len(alive()) > len(before)
        del result
        assert alive() == before
    finally:
        gc.enable()


def test_a_warm_up_past_the_last_arrival_would_measure_nothing():
    trace = workload("W3", rps=5, n=20)
    last_s = float(trace.arrival_s[-1])
    assert simulate(trace, PLAIN, "saber", warmup_s=last_s).summary()["requests"] == 1
    with pytest.raises(OptionError, match=r"warmup_s=1000 is after the last arrival, at"):
        simulate(trace, PLAIN, "saber", warmup_s=1000)
