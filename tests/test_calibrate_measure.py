"""Timing a grid: what is repeated how often, what stops it, and what is kept."""

import numpy as np
import pytest
from bench_cases import COST, CostBench

from calibrate.grid import CPU_QUICK, grid
from calibrate.measure import Effort, OutOfMemory, drift, measure, repeat
from calibrate.partial import Partial
from calibrate.predict import predict_s
from calibrate.steps import Step

STEPS = grid(CPU_QUICK, 4096)
EFFORT = Effort(rounds=3, least=3, most=8, visit_s=0.05)


@pytest.fixture
def kept(tmp_path):
    partial = Partial(tmp_path / "partial", {"model": "m"}, resume=False)
    yield partial
    partial.close(remove=True)


def run(bench, kept, *, steps=STEPS, effort=EFFORT, out_of_time=lambda: False, progress=None):
    return measure(
        bench,
        steps,
        kept,
        effort=effort,
        rng=np.random.default_rng(0),
        out_of_time=out_of_time,
        on_progress=progress or (lambda done, total: None),
    )


def test_every_step_is_visited_in_every_round_and_takes_what_it_takes(kept):
    bench, seen = CostBench(), []
    assert run(bench, kept, progress=lambda *at: seen.append(at))
    n = len(STEPS)
    assert seen == [(i, 3 * n) for i in range(1, 3 * n + 1)]
    assert bench.calls[:n] == list(STEPS)
    assert sorted(bench.calls[n : 2 * n]) == sorted(bench.calls[2 * n :]) == sorted(STEPS)
    assert bench.calls[n : 2 * n] != bench.calls[2 * n :]
    for m in kept.measurements(STEPS):
        assert m.median_s == pytest.approx(predict_s(COST, m.step))


def test_nothing_is_measured_twice_after_an_interruption(tmp_path):
    class Stop(Exception):
        pass

    def stop(step):
        if len(first.calls) == 70:
            raise Stop

    path = tmp_path / "p"
    kept = Partial(path, {}, resume=False)
    first = CostBench(before=stop)
    with pytest.raises(Stop):
        run(first, kept)
    kept.close(remove=False)

    kept = Partial(path, {}, resume=True)
    second, seen = CostBench(), []
    assert run(second, kept, progress=lambda *at: seen.append(at))
    assert len(first.calls) + len(second.calls) == 3 * len(STEPS)
    assert seen[-1] == (3 * len(STEPS), 3 * len(STEPS))
    assert all(list(kept.samples_by_round(step)) == [0, 1, 2] for step in STEPS)
    kept.close(remove=True)


def test_a_budget_ends_between_two_visits(kept):
    asked = iter([False] * 20 + [True])
    bench = CostBench()
    assert not run(bench, kept, out_of_time=lambda: next(asked))
    assert bench.calls == list(STEPS[:20])
    assert [m.step for m in kept.measurements(STEPS)] == list(STEPS[:20])


def test_out_of_memory_ends_a_row_and_is_kept(kept):
    bench = CostBench(fits=2000)
    assert run(bench, kept)
    found = {m.step: m for m in kept.measurements(STEPS)}
    assert len(found) == len(STEPS)
    for step, m in found.items():
        needed = step.total_context_tokens + step.past_tokens + step.prompt_tokens
        assert bool(m.problem) == (needed > 2000)
        assert m.problem.startswith("out of memory") == bool(m.problem)
    # What is larger than a step that did not fit is not tried at all, and nothing is tried twice.
    failed = [s for s in bench.calls if found[s].problem]
    assert len(failed) == len(set(failed)) < sum(bool(m.problem) for m in found.values())
    assert found[Step(2, 1024)].problem == "out of memory: no room"
    assert found[Step(32, 1024)].problem == "out of memory: a smaller step did not fit"


def test_out_of_memory_while_it_runs_counts_as_well(kept):
    class Late(CostBench):
        def prepare(self, step):
            def fail(n):
                raise OutOfMemory("late")

            return fail

    assert run(Late(), kept, steps=STEPS[:1])
    assert kept.measurements(STEPS)[0].problem == "out of memory: late"


def test_a_disturbed_round_counts_no_more_than_the_others(kept):
    class Disturbed(CostBench):
        def prepare(self, step):
            run = super().prepare(step)
            if self.calls.count(step) != 2:
                return run
            return lambda n: list(self.rng.uniform(2, 9, n) * run(1)[0])

    run(Disturbed(), kept, steps=STEPS[:5])
    for step, m in zip(STEPS, kept.measurements(STEPS[:5]), strict=False):
        assert len({len(samples) for samples in kept.samples_by_round(step).values()}) == 1
        assert m.median_s == pytest.approx(predict_s(COST, step))


def test_steady_steps_need_few_repeats_and_noisy_ones_more():
    assert len(repeat(lambda n: [0.001] * n, Effort(least=5, most=50))) == 5
    rng = np.random.default_rng(0)
    noisy = repeat(lambda n: list(rng.uniform(0.001, 0.002, n)), Effort(least=5, most=50))
    assert len(noisy) == 50


def test_slow_steps_stop_at_the_time_allowed():
    rng = np.random.default_rng(0)
    effort = Effort(least=4, most=50, visit_s=0.5)
    samples = repeat(lambda n: list(rng.uniform(0.1, 0.2, n)), effort)
    assert 4 <= len(samples) <= 8
    assert len(repeat(lambda n: [1.0] * n, Effort(least=5, most=50, visit_s=0.2))) == 2
    assert len(repeat(lambda n: [9.0] * n, Effort(least=5, most=50, visit_s=0.2))) == 1


def test_the_error_of_the_median_is_the_one_asked_for():
    # A thousand visits of a step with 5 % noise: their medians scatter by no more than the
    # precision, within the standard error of that scatter (1 / sqrt(2 * 1000) = 2.2 %; 4 of it),
    # and 20 % for the p10 and p90 of few samples.
    rng = np.random.default_rng(1)
    effort = Effort(least=20, most=10_000, precision=0.005, visit_s=1e9)
    medians = [
        np.median(repeat(lambda n: list(rng.normal(1.0, 0.05, n)), effort)) for _ in range(1000)
    ]
    assert np.std(medians) <= 0.005 * 1.2 * 1.09


def test_drift_is_what_the_slowest_round_lies_above_the_fastest(kept):
    for step in STEPS:
        for number, factor in enumerate((1.0, 1.1, 0.9)):
            kept.keep_samples(step, number, [factor * predict_s(COST, step)])
    assert drift(kept, STEPS) == pytest.approx(1.1 / 0.9 - 1)
    not_all_rounds = Step(99, 64)
    kept.keep_samples(not_all_rounds, 0, [5.0])
    assert drift(kept, [*STEPS, not_all_rounds]) == pytest.approx(1.1 / 0.9 - 1)


def test_there_is_no_drift_to_tell_from_one_round(kept):
    assert drift(kept, STEPS) is None
    run(CostBench(), kept, effort=Effort(rounds=1, visit_s=0.05))
    assert drift(kept, STEPS) is None
