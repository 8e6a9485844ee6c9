"""Several policies on the same requests: means, intervals, paired differences, and the figure."""

import math

import numpy as np
import pytest
from scipy import stats

from calibrate.library import load_profile
from policies.protocol import PolicyError
from sim.compare import Comparison, Row, compare
from sim.figures import plot_comparison
from sim.interval import Estimate
from sim.options import OptionError, RunOptions
from sim.simulation import simulate
from traces.request import Trace
from traces.workloads import workload

PROFILE = load_profile("paper-qwen2.5-coder-3b")


def draw(seed: int) -> Trace:
    return workload("W3", rps=10, n=40, seed=seed)


def row(policy: str, goodput: list[float | None], fixed_size: bool) -> Row:
    known = [value for value in goodput if value is not None]
    estimate = Estimate(math.fsum(known) / len(known), None, None) if known else None
    return Row(policy, fixed_size, {"goodput_pct": estimate}, {}, tuple(goodput))


def test_rows_are_the_runs_averaged_over_seeds():
    found = compare(draw, PROFILE, ["static(30)", "saber"], seeds=range(4))

    assert [r.policy for r in found.rows] == ["static(max_num_seqs=30)", "saber"]
    runs = [simulate(draw(seed), PROFILE, "saber", seed=seed).summary() for seed in range(4)]
    goodput = [run["goodput_pct"] for run in runs]
    saber = found.rows[1]
    assert saber.goodput_by_seed == tuple(goodput)
    assert saber.goodput_pct is not None
    assert saber.goodput_pct.mean == pytest.approx(np.mean(goodput))
    low, high = stats.t.interval(0.95, 3, np.mean(goodput), stats.sem(goodput))
    assert saber.goodput_pct.low == pytest.approx(max(low, 0))
    assert saber.goodput_pct.high == pytest.approx(min(high, 100))
    p99 = np.mean([run["ttft_s"]["p99"] for run in runs])
    assert saber.metrics["ttft_s"]["p99"].mean == pytest.approx(p99)
    assert saber.statuses["finished"] == sum(run["statuses"]["finished"] for run in runs) == 160


def test_results_do_not_depend_on_the_number_of_workers():
    one = compare(draw, PROFILE, ["static(20)", "saber"], seeds=range(3), jobs=1)
    two = compare(draw, PROFILE, ["static(20)", "saber"], seeds=range(3), jobs=2)

    assert one == two


def test_the_seed_reaches_the_policy_too():
    fixed = workload("W3", rps=20, n=100)
    found = compare(lambda seed: fixed, PROFILE, ["saber"], seeds=range(3))

    runs = [simulate(fixed, PROFILE, "saber", seed=seed).summary() for seed in range(3)]
    assert found.rows[0].metrics["e2e_s"]["mean"].mean == pytest.approx(
        np.mean([run["e2e_s"]["mean"] for run in runs]), rel=1e-12
    )
    assert len({run["e2e_s"]["mean"] for run in runs}) == 3


def test_options_reach_the_runs():
    chunked = RunOptions(discipline="chunked", goodput_ms={"ttft": 1e9})
    found = compare(draw, PROFILE, ["static(20)"], seeds=[0], options=chunked)

    assert found.rows[0].goodput_by_seed == (100.0,)
    assert any("chunked" in warning for warning in found.warnings)


def test_one_seed_has_a_mean_and_no_interval():
    found = compare(draw, PROFILE, ["static(20)", "saber"], seeds=[5])

    goodput = found.rows[0].goodput_pct
    assert goodput == Estimate(goodput.mean, None, None)
    assert found.differences[0].goodput_points.low is None
    assert found.to_dict()["rows"][0]["goodput_pct"]["low"] is None


def test_interval_of_goodput_stays_between_0_and_100():
    def easy(seed: int) -> Trace:
        hard = [0.011] if seed == 2 else []
        return Trace([0.0, 1.0, 2.0], [10] * 3, [5] * 3, sla_s=[100.0, 100.0, *(hard or [100.0])])

    found = compare(easy, PROFILE, ["static(20)"], seeds=range(3))

    assert found.rows[0].goodput_by_seed == pytest.approx((100, 100, 200 / 3))
    assert found.rows[0].goodput_pct.high == 100.0


def test_differences_are_paired_and_against_the_best_static_size():
    found = Comparison(
        rows=(
            row("static(max_num_seqs=10)", [10.0, 20.0, 30.0], True),
            row("static(max_num_seqs=20)", [50.0, 40.0, 60.0], True),
            row("saber", [55.0, 46.0, 64.0], False),
        ),
        seeds=(0, 1, 2),
        warnings=(),
    )

    [difference] = found.differences
    assert difference.policy == "saber"
    assert difference.baseline == "static(max_num_seqs=20)"
    # By hand: differences 5, 6, 4; mean 5, standard error 1/sqrt(3); Student's t(2) at 97.5 %.
    assert difference.goodput_points.mean == pytest.approx(5)
    assert difference.goodput_points.high == pytest.approx(5 + 4.302652729911275 / math.sqrt(3))
    assert difference.goodput_points.low == pytest.approx(5 - 4.302652729911275 / math.sqrt(3))


def test_without_slas_there_is_no_goodput_and_no_difference():
    def bare(seed: int) -> Trace:
        return Trace([0.0, 1.0], [10, 10], [5, 5])

    found = compare(bare, PROFILE, ["static(20)", "saber"], seeds=range(2))

    assert found.rows[0].goodput_pct is None
    assert found.differences == ()
    assert found.rows[0].metrics["ttft_s"]["p50"].mean > 0
    with pytest.raises(OptionError, match="no request has an SLA"):
        plot_comparison(found)


def test_a_warning_that_differs_in_its_numbers_is_said_once():
    def growing(seed: int) -> Trace:
        return Trace([0.0], [3000 + seed], [5], sla_s=100.0)

    found = compare(growing, PROFILE, ["static(20)"], seeds=range(3))

    [context] = [warning for warning in found.warnings if "context tokens" in warning]
    assert "3004" in context


@pytest.mark.parametrize(
    ("policies", "seeds", "jobs", "named"),
    [
        ([], [0], 1, "no policy"),
        (["saber"], [], 1, "no seed"),
        (["saber"], [0], 0, "jobs=0"),
        (["saber", "static(8)", "saber()"], [0], 1, "saber is given 2 times"),
    ],
)
def test_what_cannot_be_compared_is_refused(policies, seeds, jobs, named):
    with pytest.raises(OptionError, match=named):
        compare(draw, PROFILE, policies, seeds=seeds, jobs=jobs)


def test_an_unknown_policy_is_refused():
    with pytest.raises(PolicyError, match="sabre"):
        compare(draw, PROFILE, ["sabre"])


def test_the_figure_shows_every_policy_with_its_interval(tmp_path):
    found = compare(draw, PROFILE, ["static(10)", "static(30)", "saber"], seeds=range(3))

    axes = plot_comparison(found, title="W3")

    assert [label.get_text() for label in axes.get_yticklabels()] == [r.policy for r in found.rows]
    drawn = [container.lines[0].get_xdata()[0] for container in axes.containers]
    assert drawn == [r.goodput_pct.mean for r in found.rows]
    assert "[%]" in axes.get_xlabel()
    assert "3 seeds" in axes.get_xlabel()
    ends = [bars[0].get_segments()[0][:, 0] for _, _, bars in axes.containers]
    intervals = [[r.goodput_pct.low, r.goodput_pct.high] for r in found.rows]
    np.testing.assert_allclose(ends, intervals)
    axes.figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_the_figure_says_what_goodput_is():
    found = compare(draw, PROFILE, ["saber"], seeds=[0])

    assert "within their SLA" in plot_comparison(found).get_xlabel()
    limited = plot_comparison(found, goodput_ms={"ttft": 200.0}).get_xlabel()
    assert "within the goodput limits" in limited
    assert "SLA" not in limited


def test_the_figure_is_drawn_on_the_axes_given():
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    found = compare(draw, PROFILE, ["saber"], seeds=[0])

    assert plot_comparison(found, ax=axes) is axes
