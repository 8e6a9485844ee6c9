"""What the runs of a page share: bins, values, axes."""

import numpy as np
import pytest
from report_cases import frame, run_with, simulated, timeline

from sim.report.shared import ended_s, observed, shared_by

NAN = float("nan")


def test_latencies_are_those_of_finished_requests_after_the_warm_up():
    requests = frame(
        arrival_s=[0.0, 10.0, 20.0],
        first_token_s=[0.5, 10.5, 20.5],
        finished_s=[1.0, 14.5, NAN],
        status=["finished", "finished", "cancelled"],
        output_tokens=[10, 5, 10],
        met=[True, False, False],
    )
    found = observed(run_with(requests, warmup_s=5.0))
    assert found["ttft"][1] == pytest.approx(0.5)
    assert found["tpot"][1] == pytest.approx(1000.0)
    assert found["e2e"][1] == pytest.approx(4.5)
    assert found["ratio"][1] == pytest.approx(2.25)
    assert all(np.isnan(values[[0, 2]]).all() for values in found.values())


def test_one_token_has_no_tpot_and_no_sla_no_ratio():
    found = observed(run_with(frame(output_tokens=[1, 2], sla_s=[1.0, NAN])))
    assert np.isnan(found["tpot"]).tolist() == [True, False]
    assert np.isnan(found["ratio"]).tolist() == [False, True]


def test_equal_times_are_one_value_whenever_they_were_taken():
    arrival = np.arange(60) * 0.1
    run = run_with(frame(arrival_s=arrival, first_token_s=arrival + 0.0282))
    assert len(set(run.requests["first_token_s"] - run.requests["arrival_s"])) > 1
    assert shared_by([run]).distributions["ttft"].tolist() == [0.0282]


def test_the_medians_are_those_of_the_summary():
    run = simulated(n=80)
    found = observed(run)
    assert np.nanmedian(found["ttft"]) == pytest.approx(run.summary["ttft_s"]["p50"])
    assert np.nanmedian(found["tpot"]) == pytest.approx(1e3 * run.summary["tpot_s"]["p50"])
    assert np.nanmedian(found["e2e"]) == pytest.approx(run.summary["e2e_s"]["p50"])
    assert np.nanmean(found["ratio"]) == pytest.approx(run.summary["sla_ratio"]["mean"])


def test_the_span_holds_every_run_to_its_end():
    long = run_with(frame(arrival_s=[3.0], finished_s=[50.0]))
    early = run_with(frame(arrival_s=[1.0]))
    shared = shared_by([long, early])
    assert shared.edges_s[0] <= 1.0
    assert shared.edges_s[-1] > 50.0


def test_a_run_ends_when_its_timeline_does():
    from dataclasses import replace

    recorded = timeline([[0] * 9], [[0] * 9], [[0] * 9], [[0] * 9], [[(0.0, 8.0)]], interval_s=2.0)
    run = replace(run_with(frame(arrival_s=[1.0])), timeline=recorded)
    assert ended_s(run) == 16.0


@pytest.mark.parametrize(
    ("end_s", "unit"), [(60.0, "s"), (590.0, "s"), (3000.0, "min"), (40_000.0, "h"), (5e6, "h")]
)
def test_time_is_in_the_unit_that_keeps_numbers_small(end_s, unit):
    run = run_with(frame(arrival_s=[0.0], finished_s=[end_s]))
    assert shared_by([run]).time_unit[0] == unit or end_s in (590.0,)


def test_an_axis_is_logarithmic_where_values_spread_far():
    near = frame(first_token_s=np.linspace(0.1, 0.2, 50))
    far = frame(first_token_s=np.geomspace(0.01, 10, 50), finished_s=np.full(50, 20.0))
    assert shared_by([run_with(near)]).ticks["ttft"] is None
    ticks = shared_by([run_with(far)]).ticks["ttft"]
    assert ticks == [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]
    some = far.assign(first_token_s=np.geomspace(0.1, 9, 50))
    assert {0.1, 0.2, 0.5, 1.0} < set(shared_by([run_with(some)]).ticks["ttft"])
    zero = far.assign(first_token_s=np.r_[0.0, far["first_token_s"][1:]])
    assert shared_by([run_with(zero)]).ticks["ttft"] is None


def test_a_metric_without_values_has_no_chart():
    shared = shared_by([run_with(frame(output_tokens=[1], sla_s=[NAN], met=[None]))])
    assert set(shared.distributions) == {"ttft", "e2e"}
