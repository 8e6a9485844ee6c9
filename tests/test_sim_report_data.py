"""What the page's script is given: small, in JSON's types, and adding up to the summary."""

import json
from dataclasses import replace

import numpy as np
import pytest
from report_cases import frame, run_with, simulated, timeline

from sim.report.data import data_of, labels, limits_of, run_data
from sim.report.misses import REASONS
from sim.report.shared import shared_by


def dense(histograms, length):
    counts = [0] * length
    for pairs in histograms:
        place = -1
        for further, count in zip(pairs[::2], pairs[1::2], strict=True):
            place += further
            counts[place] += count
    return counts


@pytest.fixture(scope="module")
def loaded():
    return simulated("static(8)", n=120, rps=30, replicas=2, timeline=True)


def test_counts_add_up_to_the_summary(loaded):
    shared = shared_by([loaded])
    found = run_data(loaded, shared)
    summary, bins = loaded.summary, len(shared.edges_s) - 1
    assert sum(found["cells"]["requests"]) == summary["requests"] == 120
    assert sum(found["cells"]["finished"]) == summary["statuses"]["finished"]
    goodput = 100 * sum(found["cells"]["met"]) / sum(found["cells"]["promised"])
    assert goodput == pytest.approx(summary["goodput_pct"])
    assert sum(dense(found["load"]["offered"], bins)) == 120
    assert sum(dense(found["load"]["met"], bins)) == sum(found["cells"]["met"])
    tokens = sum(dense(found["load"]["tokens"], bins))
    assert tokens == pytest.approx(loaded.requests["output_tokens"].sum(), rel=0.01)
    missed = sum(found["cells"]["promised"]) - sum(found["cells"]["met"])
    assert sum(dense(found["missed"], len(REASONS))) == missed > 0
    for name, edges in shared.distributions.items():
        assert sum(dense(found["curves"][name], len(edges))) == 120


def test_a_warm_up_is_left_out_of_counts_but_not_of_the_load():
    run = run_with(frame(arrival_s=[0.0, 5.0], met=[False, False]), warmup_s=1.0)
    shared = shared_by([run])
    found = run_data(run, shared)
    assert found["cells"]["requests"] == found["cells"]["promised"] == [1]
    assert sum(dense(found["load"]["offered"], len(shared.edges_s) - 1)) == 2
    assert sum(dense(found["missed"], len(REASONS))) == 1


def test_instants_are_told_apart_where_a_trace_begins_late():
    arrival = 8e6 + np.arange(40) * 0.05
    run = run_with(frame(arrival_s=arrival, met=[False] * 40))
    found = data_of([run], shared_by([run]))
    unit_s = {"s": 1, "min": 60, "h": 3600}[found["unit"]]
    assert np.diff(found["edges"]) * unit_s == pytest.approx(found["binS"], rel=1e-3)
    assert sorted(miss["arrival"] for miss in found["runs"][0]["worst"]) == pytest.approx(
        arrival, abs=1e-6
    )


def test_states_are_of_all_replicas_and_of_each(loaded):
    found = run_data(loaded, shared_by([loaded]))["states"]
    assert len(found["each"]) == 2
    both = [a + b for a, b in zip(*(each["running"] for each in found["each"]), strict=True)]
    assert both == pytest.approx(found["all"]["running"], abs=1e-3)
    assert len(found["x"]) <= 320


def test_replicas_that_are_summed_up_have_their_states_together():
    count = 20
    recorded = timeline(*([[k] for k in range(count)] for _ in range(4)), [[(0.0, 1.0)]] * count)
    requests = frame(replica=[k for k in range(count) for _ in range(1 + (k < 15))] + [-1] * 9)
    run = replace(run_with(requests), timeline=recorded)
    shared = shared_by([run])
    found = run_data(run, shared)["states"]
    assert shared.replicas.labels[-2:] == ("sent nowhere", "6 other replicas")
    assert found["each"][-2] is None
    assert found["each"][0]["queue"] == [0]
    assert found["each"][-1]["running"] == [sum(range(14, count))]


def test_no_timeline_has_no_states():
    found = run_data(simulated(), shared_by([simulated()]))
    assert found["states"] is None
    assert found["up"] is None


def test_limits_stand_in_the_units_of_the_axes():
    run = run_with(frame(met=[True]), goodput_ms={"ttft": 200.0, "tpot": 20.0, "e2el": 3000.0})
    assert limits_of(run) == {"ttft": 0.2, "tpot": 20.0, "e2e": 3.0}
    assert limits_of(run_with(frame(met=[True]))) == {}


def test_runs_of_one_name_are_numbered():
    run = simulated(name="a")
    assert labels([run, simulated(name="b"), run]) == [
        "a (saber) #1", "b (saber)", "a (saber) #2"
    ]  # fmt: skip


def test_every_pair_of_runs_has_its_differences():
    runs = [simulated(policy) for policy in ("saber", "static(4)", "static(64)")]
    found = data_of(runs, shared_by(runs))
    first = found["summary"][0]
    assert first["path"] == "goodput_pct"
    assert set(first["changes"]) == {f"{a}-{b}" for a in range(3) for b in range(3) if a != b}
    assert first["changes"]["0-1"]["absolute"][1:] == first["changes"]["1-0"]["absolute"][1:]
    assert found["pairs"]["0-1"]["requests"] == 40
    json.dumps(found, allow_nan=False)


def test_a_run_without_objectives_or_finishes_is_described_too():
    bare = run_with(
        frame(
            met=[None], sla_s=[float("nan")], finished_s=[float("nan")], status=["unfinished"],
            first_token_s=[float("nan")], replica=[-1],
        )
    )  # fmt: skip
    found = data_of([bare], shared_by([bare]))
    assert found["curves"] == {}
    assert found["runs"][0]["worst"] == []
    json.dumps(found, allow_nan=False)
