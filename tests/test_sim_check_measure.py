"""Measuring a suite: every run once, the same numbers whoever makes them."""

import pytest
from check_cases import SUITE, TRACE, suite_of

from calibrate.library import load_profile
from sim.breakdown import breakdown
from sim.check.measure import Bench, Run, cells_of_suite
from sim.options import OptionError
from sim.simulation import simulate
from sim.sweep.inputs import Inputs
from sim.sweep.pools import opened_pool
from traces.workloads import workload

METRICS = ("goodput_pct", "ttft_s.p99", "by_task.code_qna.goodput_pct", "by_task.none.met")
STATIC = "static(max_num_seqs=8)"


def bench_of(suite, pool, inputs, cells=None):
    cells = cells_of_suite(suite, suite.scenarios, inputs) if cells is None else cells
    return Bench(cells, METRICS, suite.first_seed, pool)


def measured(folder, text=SUITE, jobs=1, seeds=3, backend="loky"):
    suite, inputs = suite_of(folder, text), Inputs(folder)
    cells = cells_of_suite(suite, suite.scenarios, inputs)
    with opened_pool(backend, jobs, None, inputs.objects) as pool:
        bench = bench_of(suite, pool, inputs, cells)
        bench.measure(bench.missing(cells, seeds), lambda done: None)
    return bench


def test_values_are_those_of_the_runs_themselves(tmp_path):
    bench = measured(tmp_path)
    profile = load_profile("paper-qwen2.5-coder-3b")
    results = [
        simulate(workload("W1", rps=8, n=20, seed=s), profile, policy="saber", seed=s)
        for s in range(3)
    ]

    assert bench.values("small", "saber", "goodput_pct", 3) == [
        result.summary()["goodput_pct"] for result in results
    ]
    assert bench.values("small", "saber", "by_task.code_qna.goodput_pct", 3) == [
        breakdown(result, "task")["code_qna"]["goodput_pct"] for result in results
    ]
    assert bench.values("small", "saber", "by_task.none.met", 3) == [None] * 3
    assert bench.values("small", STATIC, "ttft_s.p99", 3) != bench.values(
        "small", "saber", "ttft_s.p99", 3
    )


def test_any_number_of_workers_gives_the_same(tmp_path):
    one, two = measured(tmp_path), measured(tmp_path, jobs=2)
    for scenario, policy in (("small", "saber"), ("small", STATIC), ("other", STATIC)):
        for metric in METRICS:
            assert one.values(scenario, policy, metric, 3) == two.values(
                scenario, policy, metric, 3
            )


def test_only_what_is_missing_is_run(tmp_path):
    bench = measured(tmp_path, seeds=2)

    assert bench.missing([("small", "saber")], 2) == []
    assert bench.missing([("small", "saber")], 3) == [Run("small", "saber", 2)]
    assert bench.values("small", "saber", "goodput_pct", 3) == bench.values(
        "small", "saber", "goodput_pct", 2
    )


def test_seeds_are_counted_from_the_first(tmp_path):
    late = measured(tmp_path, "first_seed = 1" + SUITE, seeds=2)
    assert (
        late.values("small", "saber", "ttft_s.p99", 2)
        == measured(tmp_path).values("small", "saber", "ttft_s.p99", 3)[1:]
    )


def test_a_run_that_fails_says_why_and_the_others_go_on(tmp_path, monkeypatch):
    (tmp_path / "failing_of_the_tests.py").write_text(
        "def raises(view):\n    raise RuntimeError('no\\nway')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    bench = measured(
        tmp_path, SUITE.replace('"saber", ', '"failing_of_the_tests:raises", '), seeds=2
    )

    seed, why = bench.error("small", "failing_of_the_tests:raises", 2)
    assert seed == 0
    assert "its decide failed with RuntimeError: no way" in why
    assert bench.error("small", STATIC, 2) is None
    assert bench.missing([("small", "failing_of_the_tests:raises")], 2) == []
    assert len(bench.values("small", STATIC, "goodput_pct", 2)) == 2


def test_a_trace_is_redrawn_by_each_seed(tmp_path):
    (tmp_path / "a.csv").write_text(TRACE)
    text = SUITE.replace('workload = "W1"\nrps = 8\nn = 20', 'trace = "a.csv"\nblock_s = 2')
    values = measured(tmp_path, text).values("small", STATIC, "ttft_s.p99", 3)
    assert len(set(values)) == 3


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ('trace = "a.csv"', "trace = 'a.csv': there is no file"),
        ('workload = "W9"', "unknown workload 'W9'"),
        ("n = 0", "n = 0: expected at least 1"),
        ('profile = "papr"', "there is no profile 'papr'"),
    ],
)
def test_what_cannot_be_run_is_said_with_its_scenario(tmp_path, setting, message):
    suite = suite_of(tmp_path, SUITE.replace("n = 15", setting))
    with pytest.raises(OptionError, match=r"suite\.toml: scenario 'other': ") as caught:
        cells_of_suite(suite, suite.scenarios, Inputs(tmp_path))
    assert message in str(caught.value)
