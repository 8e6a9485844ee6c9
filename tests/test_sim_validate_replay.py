"""One policy on a server and in the simulator: the same requests, the same numbers."""

from dataclasses import replace

import numpy as np
import pytest
from live_cases import PROFILE, Scripted, Served, replayed, setting, standing

from policies.catalog import make_policy
from sim.options import OptionError, RunOptions
from sim.validate.compare import compare
from sim.validate.measured import as_served
from sim.validate.replay import Setting, in_front, pair_of
from traces import workload
from traces.request import Trace

RNG = np.random.default_rng(0)


def from_zero(trace):
    return trace.replace(arrival_s=trace.arrival_s - trace.arrival_s[0])


def pair(trace, text, server, setting_, **options):
    policy = standing(make_policy(text))
    found = replayed(trace, policy, server, setting_, **options)
    return pair_of(trace, found, policy, setting_, options.get("seed", 0))


@pytest.mark.parametrize("text", ["static(6)", "saber"])
@pytest.mark.parametrize("discipline", ["prefill-first", "chunked"])
def test_an_engine_that_is_as_the_profile_says_is_met_exactly(text, discipline):
    trace = from_zero(workload("W3", rps=5, n=60, seed=2))
    server = Served(max_num_seqs=256, discipline=discipline)
    found = pair(trace, text, server, setting(discipline=discipline), drain_s=600)
    for error in compare([(found.measured, found.simulated)], RNG).errors:
        assert error.error.mean == pytest.approx(0, abs=1e-4), error.name
        assert error.measured == pytest.approx(error.simulated), error.name


@pytest.mark.parametrize(("text", "rps"), [("static(4)", 12), ("saber", 40)])
def test_the_way_there_and_back_is_met_too(text, rps):
    """A completion is known late and a release is there late: the seat idles meanwhile."""
    up_s, down_s = 0.03, 0.05
    profile = replace(PROFILE, client_overhead_s=up_s + down_s)
    trace = from_zero(workload("W3", rps=rps, n=60, seed=2))
    errors = {}
    for feedback_delay_s in (0.0, up_s + down_s):
        told = Setting(profile, RunOptions(max_num_seqs=256, feedback_delay_s=feedback_delay_s))
        server = Served(max_num_seqs=256, up_s=up_s, down_s=down_s)
        found = pair(trace, text, server, told, drain_s=900)
        comparison = compare([(found.measured, found.simulated)], RNG)
        errors[feedback_delay_s] = abs(comparison.error("e2e.mean").error.mean)
    assert errors[up_s + down_s] < 1e-6
    assert errors[0.0] > 0.1


def test_measured_latencies_are_as_the_client_saw_them():
    profile = replace(PROFILE, client_overhead_s=0.5)
    trace = Trace([0.0, 30.0], [100, 100], [5, 1], sla_s=10.0)
    server = Served(max_num_seqs=256, up_s=0.1, down_s=0.2)
    found = pair(trace, "static(8)", server, Setting(profile, RunOptions(max_num_seqs=256)))
    cost = PROFILE.cost
    prefill_s = cost.prefill_s(100, 100**2 / 2)
    steps_s = sum(cost.decode_s(1, 100 + g) for g in range(1, 5))
    summary = found.measured.summary()
    assert summary["ttft_s"]["mean"] == pytest.approx(prefill_s + 0.3, rel=1e-6)
    assert summary["e2e_s"]["mean"] == pytest.approx(prefill_s + steps_s / 2 + 0.3, rel=1e-6)
    assert summary["itl_s"]["mean"] == pytest.approx(steps_s / 4, rel=1e-6)
    assert summary["tpot_s"]["mean"] == pytest.approx(steps_s / 4, rel=1e-6)
    assert summary["goodput_pct"] == 100
    assert found.simulated.summary()["ttft_s"]["mean"] == pytest.approx(prefill_s + 0.5, rel=1e-6)
    # Busy while an exchange is open, of what lies between the first arrival and the last finish.
    both_s = summary["e2e_s"]["mean"] * 2
    assert summary["utilisation"] * summary["duration_s"] == pytest.approx(both_s, rel=1e-6)


def test_both_sides_have_the_requests_that_were_sent_as_they_were_served():
    trace = Trace([0.0, 1.0, 2.0, 3.0], [20] * 4, [5] * 4, sla_s=9.0)
    script = ["finished", "failed", "never", "finished"]
    found = replayed(
        trace, standing(make_policy("static(8)")), Scripted(script.__getitem__), setting(),
        drain_s=5,
    )  # fmt: skip
    first, last = found.records[0], found.records[3]
    first.reply = replace(first.reply, token_s=first.reply.token_s[:3])
    last.reply = replace(last.reply, prompt_tokens=31)
    served = as_served(trace, found.records)
    assert served.output_tokens.tolist() == [3, 5, 5, 5]
    assert served.max_tokens.tolist() == [5] * 4
    assert served.prompt_tokens.tolist() == [20, 20, 20, 31]
    both = pair_of(trace, found, standing(make_policy("static(8)")), setting(), 0)
    assert both.measured.trace is both.simulated.trace
    counted = both.measured.summary()["statuses"]
    assert {name: n for name, n in counted.items() if n} == {
        "finished": 2, "failed": 1, "unfinished": 1,
    }  # fmt: skip
    assert both.measured.summary()["goodput_pct"] == 50
    assert both.simulated.summary()["statuses"]["finished"] == 4
    assert both.simulated.options.until_s == 8.0


def test_the_simulation_ends_where_the_replay_would_have():
    trace = Trace([0.0, 1.0], [20, 20], [5, 2000], sla_s=9.0)
    server = Served(max_num_seqs=256)
    both = pair(trace, "static(8)", server, setting(), drain_s=2)
    for side in (both.measured, both.simulated):
        assert side.summary()["statuses"]["unfinished"] == 1
        assert side.summary()["goodput_pct"] == 50


def test_a_batch_that_the_server_does_not_have_is_refused():
    with pytest.raises(OptionError, match=r"16 requests at most.*expected a smaller batch"):
        in_front(make_policy("static(17)"), 16)
    assert in_front(make_policy("static(16)"), 16).seats == 16
    assert in_front(make_policy("saber"), 16) == make_policy("saber")


def test_a_fixed_batch_at_a_gate_is_not_said_to_overlook_limits():
    trace = Trace([0.0, 1.0], [20, 20], [5, 5], sla_s=9.0)
    limits = setting(goodput_ms={"ttft": 500.0})
    for text, said in (("static(8)", False), ("saber", True)):
        found = pair(trace, text, Served(max_num_seqs=256), limits)
        assert any("goodput limits" in each for each in found.simulated.warnings) == said
        assert found.measured.summary()["goodput_pct"] == 100
