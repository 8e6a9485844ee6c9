"""Every miss has one reason: by requests made by hand, and by runs made to miss that way."""

from dataclasses import replace

import numpy as np
import pytest
from report_cases import PROFILE, frame, run_with, simulated

from sim.cluster.clients import Clients
from sim.cluster.failures import Failures, Outage
from sim.report.misses import REASONS, counts, misses, told
from sim.runfile import run_of
from sim.simulation import simulate
from traces.request import Trace

NAN = float("nan")


def alone_s(prompt=100, output=10):
    run = run_with(frame(prompt_tokens=[prompt], output_tokens=[output]))
    return float(run.unloaded_s()[0])


FIRST_S = alone_s(output=1)
DECODE_S = alone_s() - FIRST_S


def one(**columns):
    """Return the only miss of a run of one request."""
    options = columns.pop("options", {})
    rows = frame(**{name: [value] for name, value in {"met": False, **columns}.items()})
    found = misses(run_with(rows, **options))
    assert len(found) == 1
    return found.iloc[0]


def late(wait_s=0.0, decode_s=0.0, held_s=0.0, **columns):
    """Return a miss that took this much longer than alone."""
    first = held_s + wait_s + FIRST_S
    times = {
        "admitted_s": held_s,
        "first_token_s": first,
        "finished_s": first + DECODE_S + decode_s,
    }
    return one(**{"sla_s": alone_s() + 0.01, **times, **columns})


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("refused", "refused"),
        ("failed", "failed"),
        ("timed_out", "timed out"),
        ("cancelled", "cancelled"),
        ("unfinished", "unfinished"),
    ],
)
def test_a_request_that_did_not_finish_is_called_by_how_it_ended(status, reason):
    miss = one(status=status, first_token_s=NAN, finished_s=NAN, admitted_s=NAN)
    assert miss["reason"] == reason


def test_how_it_ended_goes_before_what_was_impossible():
    assert one(status="unfinished", finished_s=NAN, sla_s=1e-6)["reason"] == "unfinished"


def test_what_would_miss_alone_too_is_impossible():
    assert late(wait_s=5.0, sla_s=alone_s() - 1e-6)["reason"] == "impossible"
    assert late(wait_s=5.0, sla_s=alone_s() + 1e-6)["reason"] == "waited"


def test_the_part_that_exceeds_most_is_the_reason():
    assert late(wait_s=2.0, decode_s=1.0)["reason"] == "waited"
    assert late(wait_s=1.0, decode_s=2.0)["reason"] == "slow decode"


def test_a_draw_is_waited():
    assert late(wait_s=1.5, decode_s=1.5, preemptions=1)["reason"] == "waited"


def test_held_by_the_policy_counts_as_waited():
    miss = late(held_s=1.5, wait_s=0.5, decode_s=1.0)
    assert miss["reason"] == "waited"
    assert miss["held_s"] == pytest.approx(1.5)
    assert miss["wait_s"] == pytest.approx(0.5 + FIRST_S)
    assert miss["decode_s"] == pytest.approx(1.0 + DECODE_S)


def test_a_preemption_is_the_reason_only_if_decode_exceeds_most():
    assert late(wait_s=1.0, decode_s=2.0, preemptions=2)["reason"] == "preempted"
    assert late(wait_s=2.0, decode_s=1.0, preemptions=2)["reason"] == "waited"


def test_late_is_what_exceeds_the_sla():
    miss = late(decode_s=2.0)
    assert miss["limit"] == "SLA"
    assert miss["late_s"] == pytest.approx(2.0 - 0.01)


def limited(limits_ms, **parts):
    return late(**parts, options={"goodput_ms": limits_ms}, sla_s=NAN)


def test_a_missed_ttft_limit_is_waited_even_where_decode_took_longer():
    miss = limited({"ttft": 1000 * FIRST_S + 100}, wait_s=1.0, decode_s=9.0)
    assert (miss["limit"], miss["reason"]) == ("TTFT", "waited")
    assert miss["late_s"] == pytest.approx(0.9)


def test_a_missed_tpot_limit_is_slow_decode_even_where_it_waited_longer():
    miss = limited({"tpot": 1000 * DECODE_S / 9 + 100}, wait_s=9.0, decode_s=1.8)
    assert (miss["limit"], miss["reason"]) == ("TPOT", "slow decode")
    assert miss["late_s"] == pytest.approx(1.8 - 9 * 0.1)


def test_a_missed_e2e_limit_follows_the_rule_of_an_sla():
    limit = {"e2el": 1000 * alone_s() + 100}
    assert limited(limit, wait_s=2.0, decode_s=1.0)["reason"] == "waited"
    assert limited(limit, wait_s=1.0, decode_s=2.0, preemptions=1)["reason"] == "preempted"
    assert limited(limit, wait_s=1.0)["limit"] == "E2E"


def test_of_several_limits_the_one_exceeded_by_most_seconds_is_judged():
    limits = {"ttft": 1000 * FIRST_S + 100, "tpot": 1000 * DECODE_S / 9 + 1}
    assert limited(limits, wait_s=1.0, decode_s=2.0)["limit"] == "TPOT"
    assert limited(limits, wait_s=2.0, decode_s=1.0)["limit"] == "TTFT"


def test_a_limit_that_no_idle_replica_keeps_is_impossible():
    assert limited({"ttft": 1000 * FIRST_S * 0.9}, wait_s=1.0)["reason"] == "impossible"
    assert limited({"tpot": 1000 * DECODE_S / 9 * 0.9}, decode_s=1.0)["reason"] == "impossible"


def test_the_worst_come_first_and_those_that_never_finished_before_all():
    rows = frame(
        arrival_s=[0.0, 1.0, 2.0, 3.0, 4.0],
        finished_s=[5.0, 9.0, NAN, NAN, 4.5],
        status=["finished", "finished", "refused", "timed_out", "finished"],
        met=[False, False, False, False, True],
    )
    found = misses(run_with(rows))
    assert found["id"].tolist() == [3, 2, 1, 0]
    assert found.index.tolist() == [3, 2, 1, 0]


def test_met_requests_those_without_an_objective_and_the_warm_up_are_no_misses():
    rows = frame(arrival_s=[0.0, 1.0, 2.0, 3.0], met=[False, True, None, False])
    assert misses(run_with(rows, warmup_s=0.5))["id"].tolist() == [3]


def test_a_run_without_a_miss():
    found = misses(run_with(frame(met=[True, True])))
    assert len(found) == 0
    assert counts(found) == dict.fromkeys(REASONS, 0)


def test_counts_are_of_all_misses():
    rows = frame(
        met=[False] * 3 + [True],
        status=["refused", "refused", "failed", "finished"],
        finished_s=[NAN, NAN, NAN, 1.0],
    )
    found = counts(misses(run_with(rows)))
    assert {reason: count for reason, count in found.items() if count} == {
        "refused": 2,
        "failed": 1,
    }


def test_what_is_told_names_the_numbers():
    assert told(one(id=7, status="refused", finished_s=NAN), {7: "too long for the cache"}) == (
        "too long for the cache"
    )
    assert "no reason" in told(one(status="refused", finished_s=NAN), {})
    assert "2.00 s held by the policy, 0.5" in told(late(held_s=2.0, wait_s=0.5), {})
    assert "held" not in told(late(wait_s=2.0), {})
    assert "2.00 s until its attempt no. 3 was admitted" in told(late(held_s=2.0, attempts=3), {})
    assert "preempted 3 times" in told(late(decode_s=2.0, preemptions=3), {})
    assert "alone on an idle replica" in told(late(wait_s=5.0, sla_s=1e-3), {})
    never = {"status": "timed_out", "finished_s": NAN}
    assert "never admitted" in told(one(**never, admitted_s=NAN, first_token_s=NAN), {})
    assert "no token yet" in told(one(**never, first_token_s=NAN), {})
    assert "had its first token and not its last" in told(one(**never), {})


def test_what_broke_off_says_when_and_how_far_it_had_come():
    requests = frame(
        arrival_s=[1.0, 2.0],
        met=[False, False],
        status=["timed_out", "unfinished"],
        finished_s=[NAN, NAN],
        first_token_s=[NAN, NAN],
        attempts=[2, 1],
    )
    found = misses(replace(run_with(requests), gone_s={0: 4.5}))
    assert found["gone_s"].tolist() == pytest.approx([3.5, NAN], nan_ok=True)
    first, second = (told(miss, {}) for _, miss in found.iterrows())
    assert first == "over 3.50 s after its arrival: attempt no. 2 was admitted and had no token yet"
    assert second == "still there when the run ended: it was admitted and had no token yet"


def reasons_of(trace, policy="static(256)", **options):
    run = run_of(simulate(trace, PROFILE, policy=policy, seed=0, **options))
    found = misses(run)
    assert len(found) == (~run.requests["met"].fillna(True).astype(bool)).sum()
    return counts(found)


def batch(n, prompt=200, output=100, sla_s=3.0, gap_s=0.0):
    return Trace(
        arrival_s=np.arange(n) * gap_s,
        prompt_tokens=np.full(n, prompt),
        output_tokens=np.full(n, output),
        sla_s=sla_s,
    )


def test_a_queue_before_one_seat_makes_requests_wait():
    found = reasons_of(batch(12), "static(1)")
    assert found["waited"] > 5
    assert sum(found.values()) == found["waited"]


def test_a_crowd_decodes_slowly():
    found = reasons_of(batch(200, prompt=20, output=400, sla_s=1.25 * alone_s(20, 400)))
    assert found["slow decode"] == sum(found.values()) > 0


def test_a_small_kv_cache_preempts():
    found = reasons_of(
        batch(20, prompt=32, output=600, sla_s=1.5 * alone_s(32, 600)), kv_tokens=4096
    )
    assert found["preempted"] > 0


def test_an_sla_no_one_could_keep_is_impossible():
    found = reasons_of(batch(3, sla_s=0.01))
    assert found["impossible"] == 3


def test_what_does_not_fit_is_refused():
    found = reasons_of(batch(2, prompt=500), kv_tokens=320)
    assert found["refused"] == 2


def test_what_the_clock_cuts_off_is_unfinished():
    found = reasons_of(batch(4, output=2000), until_s=1.0)
    assert found["unfinished"] == 4


def test_a_crash_without_retries_fails_requests():
    crash = Failures((Outage(at_s=0.5),), on_failure="lost")
    found = reasons_of(batch(3, output=500), failures=crash)
    assert found["failed"] == 3


def test_clients_that_hang_up_time_out_and_users_who_type_on_cancel():
    assert reasons_of(batch(3, output=2000), clients=Clients(timeout_s=1.0))["timed out"] == 3
    assert reasons_of(batch(3, output=2000), clients=Clients(cancel_after="1"))["cancelled"] == 3


def test_a_run_under_load_has_reasons_for_all_its_misses():
    run = simulated("static(8)", n=150, rps=30)
    found = misses(run)
    assert sum(counts(found).values()) == len(found) > 20
