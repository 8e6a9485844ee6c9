"""Cells from trace files: windows, rates, SLAs."""

from pathlib import Path

import numpy as np
import pytest

from calibrate.library import load_profile
from sim.feasible import Unloaded
from sim.leaderboard.windows import LOADS, Windows, saturated_rps, trace_cells
from sim.options import OptionError, RunOptions
from sim.simulation import simulate
from traces.request import Trace, TraceError

PROFILE = load_profile("paper-qwen2.5-coder-3b")
ENGINE = Unloaded(PROFILE, RunOptions())


def made_trace(n=900, seed=4):
    rng = np.random.default_rng(seed)
    return Trace(
        np.cumsum(rng.exponential(3.0, n)), rng.integers(10, 900, n), rng.integers(1, 200, n)
    )


TRACE = made_trace()


def test_a_seed_takes_requests_in_a_row_from_its_own_place():
    windows = Windows(TRACE, rps=5.0)
    first, again, other = windows(0), windows(0), windows(1)

    assert first == again != other
    assert len(first) == windows.size == 300
    rows = [
        start
        for start in range(601)
        if (TRACE.prompt_tokens[start : start + 300] == first.prompt_tokens).all()
    ]
    assert len(rows) == 1
    gaps = np.diff(TRACE.arrival_s[rows[0] : rows[0] + 300])
    assert np.diff(first.arrival_s) == pytest.approx(
        gaps * np.diff(first.arrival_s).sum() / gaps.sum()
    )


def test_a_window_begins_at_zero_and_comes_at_its_rate():
    part = Windows(TRACE, rps=5.0)(3)
    assert part.arrival_s[0] == 0
    assert (len(part) - 1) / part.span_s == pytest.approx(5.0)


def test_a_short_trace_is_taken_whole():
    short = made_trace(n=40)
    windows = Windows(short, rps=2.0)
    assert windows.size == 40
    assert (windows(0).prompt_tokens == short.prompt_tokens).all()


def test_slas_are_three_times_the_unloaded_latency():
    [cell, *_] = trace_cells({Path("a_code.csv"): TRACE}, ENGINE)
    part = cell.draw(0)
    alone_s = ENGINE.unloaded_s(part.prompt_tokens, part.output_tokens)
    assert part.sla_s == pytest.approx(3 * alone_s)


def test_rates_are_shares_of_what_the_engine_can_serve():
    capacity_rps = saturated_rps(TRACE, ENGINE)
    cells = trace_cells({Path("a_code.csv"): TRACE}, ENGINE)
    for cell, load in zip(cells, LOADS, strict=True):
        part = cell.draw(0)
        rps = (len(part) - 1) / part.span_s
        assert rps == pytest.approx(load * capacity_rps, rel=0.05)
        assert cell.name == f"code @ {rps:.2g}"


def test_capacity_is_what_the_engine_can_serve():
    capacity_rps = saturated_rps(TRACE, ENGINE)

    def behind_s(share):
        """Seconds that the engine is still at work after the last arrival."""
        part = Windows(TRACE, rps=share * capacity_rps)(0)
        run = simulate(part, PROFILE, "static(256)").summary()
        return run["duration_s"] - part.span_s

    full_s = 300 / capacity_rps
    # Half as many keep it busy but never late; twice as many take it as long as all at once.
    assert behind_s(0.5) < 0.1 * full_s
    assert behind_s(2.0) == pytest.approx(full_s / 2, rel=0.3)


def test_names_tell_files_apart():
    traces = {Path("x/azure_code.csv"): TRACE, Path("azure_conv.csv"): TRACE}
    assert [cell.name.split(" @ ")[0] for cell in trace_cells(traces, ENGINE)][::3] == [
        "code",
        "conv",
    ]
    traces = {Path("big_code.csv"): TRACE, Path("small_code.csv"): TRACE}
    names = [cell.name.split(" @ ")[0] for cell in trace_cells(traces, ENGINE)]
    assert names[::3] == ["big_code", "small_code"]
    with pytest.raises(OptionError, match="two trace files are named code"):
        trace_cells({Path("a/code.csv"): TRACE, Path("b/code.csv"): TRACE}, ENGINE)


def test_a_trace_without_a_rate_is_refused():
    with pytest.raises(TraceError):
        trace_cells({Path("one.csv"): Trace([0.0], [10], [10])}, ENGINE)


def test_a_trace_that_never_fits_is_refused():
    huge = Trace([0.0, 1.0], [10**6, 10**6], [10, 10])
    with pytest.raises(OptionError, match="can serve none of its requests"):
        saturated_rps(huge, ENGINE)
