"""Errors of a simulation and how sure they are."""

from array import array

import numpy as np
import pytest

from policies.protocol import PS_PER_S
from sim.cluster.fleet import Replica
from sim.ledger import FAILED, FINISHED, Ledger, ReplicaLedger
from sim.options import RunOptions
from sim.result import Result
from sim.validate.compare import compare
from traces.request import Trace


def result(ttft_s, e2e_s, *, tokens=11, sla_s=10.0, lost=()):
    """Return a run whose latencies are given, a request a second."""
    n = len(ttft_s)
    trace = Trace(np.arange(n), [20] * n, [tokens] * n, sla_s=sla_s)
    arrival_ps = np.arange(n) * PS_PER_S
    ledger = Ledger(n)
    ledger.attempts = array("i", [1] * n)
    ledger.replica = array("h", [0] * n)
    ledger.status = bytearray([FINISHED] * n)
    for column, seconds in (("first_token_ps", ttft_s), ("finished_ps", e2e_s)):
        instants = arrival_ps + np.rint(np.array(seconds) * PS_PER_S).astype(np.int64)
        setattr(ledger, column, array("q", instants.tolist()))
    for id in lost:
        ledger.status[id] = FAILED
        ledger.finished_ps[id] = -1
    return Result(
        trace=trace,
        policy="p",
        fleet=(Replica.__new__(Replica),),
        seed=0,
        options=RunOptions(),
        warnings=(),
        arrival_ps=arrival_ps,
        sla_ps=np.full(n, round(sla_s * PS_PER_S)),
        overheads_ps=np.zeros(1, dtype=np.int64),
        ledger=ledger,
        accounts=(ReplicaLedger(),),
    )


def drawn(seed, n=200, scale=1.0):
    rng = np.random.default_rng(seed)
    ttft_s = 0.1 + rng.exponential(0.1, n)
    return ttft_s * scale, (ttft_s + 1 + rng.exponential(1.0, n)) * scale


def rng():
    return np.random.default_rng(7)


def test_a_simulation_that_is_a_tenth_too_slow_is_off_by_ten_percent_in_everything():
    found = compare([(result(*drawn(0)), result(*drawn(0, scale=1.1)))], rng())
    for metric in ("ttft", "tpot", "e2e"):
        for part in ("mean", "p50", "p90", "p99"):
            error = found.error(f"{metric}.{part}")
            assert error.error.mean == pytest.approx(10)
            assert (error.error.low, error.error.high) == pytest.approx((10, 10))
            assert error.simulated == pytest.approx(1.1 * error.measured)
        assert found.per_request_pct[metric] == pytest.approx(10)


def test_numbers_are_those_of_the_summary_where_everything_finished():
    ours, theirs = result(*drawn(1)), result(*drawn(2))
    found = compare([(ours, theirs)], rng())
    for metric in ("ttft", "tpot", "e2e"):
        for part in ("mean", "p50", "p90", "p99"):
            error = found.error(f"{metric}.{part}")
            assert error.measured == pytest.approx(ours.summary()[f"{metric}_s"][part])
            assert error.simulated == pytest.approx(theirs.summary()[f"{metric}_s"][part])
    assert found.error("goodput").measured == ours.summary()["goodput_pct"]
    assert found.error("throughput").simulated == pytest.approx(
        theirs.summary()["throughput_tok_s"]
    )


def test_latencies_are_over_what_finished_on_both_sides_and_goodput_over_everything():
    ttft_s, e2e_s = np.full(40, 0.5), np.arange(40) / 10 + 1
    ours = result(ttft_s, e2e_s, lost=[39])
    theirs = result(ttft_s, e2e_s, lost=[0, 1])
    found = compare([(ours, theirs)], rng())
    assert found.both_finished == 37
    assert found.submitted == 40
    assert found.error("e2e.mean").measured == pytest.approx(e2e_s[2:39].mean())
    assert found.error("e2e.mean").error.mean == 0
    assert found.error("goodput").measured == pytest.approx(100 * 39 / 40)
    assert found.error("goodput").error.mean == pytest.approx(-2.5)


def test_intervals_of_one_replay_know_how_requests_vary():
    """Two independent draws: the true error is 0, and 95 of 100 intervals should hold it."""
    held = 0
    for seed in range(60):
        pairs = [(result(*drawn(2 * seed)), result(*drawn(2 * seed + 1)))]
        error = compare(pairs, np.random.default_rng(seed)).error("e2e.mean").error
        assert error.low < error.mean < error.high
        held += error.low <= 0 <= error.high
    # Percentile intervals of 200 requests hold a little less than they should.
    assert held >= 51


def test_what_comes_together_widens_the_interval():
    n = 900
    rng_ = np.random.default_rng(3)
    ttft_s, e2e_s = np.full(n, 0.5), np.full(n, 2.0)
    apart = rng_.normal(0, 0.1, n)
    widths = {}
    for name, errors in (("apart", apart), ("together", np.repeat(apart[: n // 30], 30))):
        ours, theirs = result(ttft_s, e2e_s), result(ttft_s, e2e_s * (1 + errors))
        error = compare([(ours, theirs)], rng()).error("e2e.mean").error
        widths[name] = error.high - error.low
    # 95 % of a mean of n independent errors of 10 % each, and of 30 times fewer.
    assert widths["apart"] == pytest.approx(2 * 1.96 * 10 / n**0.5, rel=0.25)
    assert widths["together"] > 3 * widths["apart"]


def test_intervals_are_over_the_repeats_where_there_are_some():
    pairs = [(result(*drawn(0)), result(*drawn(0, scale=scale))) for scale in (1.02, 1.04, 1.06)]
    found = compare(pairs, rng())
    error = found.error("e2e.p50").error
    assert error.mean == pytest.approx(4)
    half = 4.302652729911275 * 2 / 3**0.5  # Student's t of 2 degrees of freedom, 97.5 %
    assert (error.low, error.high) == pytest.approx((4 - half, 4 + half))
    assert found.repeats == 3
    assert found.submitted == 600


def test_the_same_seed_gives_the_same_interval():
    pairs = [(result(*drawn(1)), result(*drawn(2)))]
    first, again, other = (compare(pairs, np.random.default_rng(s)) for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_handful_of_requests_gives_errors_without_intervals():
    found = compare([(result(*drawn(1, n=12)), result(*drawn(2, n=12)))], rng())
    error = found.error("e2e.p50").error
    assert error.low is None
    assert error.high is None
    assert error.mean != 0


def test_what_is_not_defined_is_missing():
    nothing = compare([(result([1.0], [2.0], lost=[0]), result([1.0], [2.0]))], rng())
    assert nothing.error("e2e.p50").error is None
    assert nothing.error("throughput").error is None
    assert nothing.per_request_pct["e2e"] is None
    assert nothing.error("goodput").error.mean == 100
    one = compare([(result(*drawn(1), tokens=1), result(*drawn(2), tokens=1))], rng())
    assert one.error("tpot.p50").error is None
    assert one.error("ttft.p50").error is not None


def test_different_requests_are_a_mistake():
    with pytest.raises(ValueError, match="requests differ"):
        compare([(result(*drawn(1)), result(*drawn(1, n=100)))], rng())
