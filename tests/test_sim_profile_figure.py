"""What the figure of a profile shows: read from the drawn lines, not from pixels."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from profile_cases import TRUE, profile_with_raw, scaled

from calibrate.evidence import points_of
from calibrate.library import load_profile
from calibrate.steps import Step
from sim.profile_figure import plot_decode, plot_errors, plot_prefill, profile_figure

PAPER = load_profile("paper-qwen2.5-coder-3b")
MEASURED = profile_with_raw()
SERVED = replace(MEASURED, cost=replace(TRUE, engine_overhead_s=1.0))


@pytest.fixture
def ax():
    return Figure().add_subplot()


def lines(ax, style):
    """Return the drawn data of the lines of a style, without empty ones."""
    found = [line.get_data() for line in ax.lines if line.get_linestyle() == style]
    return [(list(x), list(y)) for x, y in found if len(x)]


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_decode_lines_points_and_floors(ax):
    plot_decode([MEASURED], ax)

    assert labels(ax) == ["context 128", "context 1,024", "context 4,096", "context 8,192"]
    fitted = lines(ax, "-")
    assert len(fitted) == 4
    assert fitted[1][1][-1] == pytest.approx(TRUE.decode_s(256, 256 * 1024) * 1e3)
    points = [point for point in points_of(MEASURED) if point.step.context_tokens == 1024]
    alone = next(point for point in points if point.step == Step(1, 1024))
    [floor] = [y for x, y in lines(ax, ":") if y[0] == alone.floor_s * 1e3]
    assert len(floor) == 9
    bar = ax.containers[1]
    assert bar.lines[0].get_data()[1][0] == alone.median_s * 1e3
    low, high = bar.lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == (pytest.approx(alone.p10_s * 1e3), pytest.approx(alone.p90_s * 1e3))


def test_the_band_is_that_of_the_intervals(ax):
    plot_decode([MEASURED], ax)
    bands = [c for c in ax.collections if type(c).__name__ == "FillBetweenPolyCollection"]
    assert len(bands) == 4
    heights = bands[0].get_paths()[0].vertices[:, 1]
    alone_ms = TRUE.decode_s(1, 128) * 1e3
    assert heights.min() == pytest.approx(0.97 * alone_ms)

    other = Figure().add_subplot()
    plot_decode([replace(MEASURED, intervals={})], other)
    assert not [c for c in other.collections if "FillBetween" in type(c).__name__]


def test_prefill_has_a_line_for_each_past(ax):
    plot_prefill([MEASURED], ax)

    assert labels(ax) == ["whole prompts", "after 1,024 tokens", "after 8,192 tokens"]
    fitted = lines(ax, "-")
    last = fitted[2][1][-1]
    assert last == pytest.approx(TRUE.prefill_s(8192, 8192 * (8192 + 4096)) * 1e3)


def test_errors_are_in_percent_of_what_was_measured(ax):
    exact = profile_with_raw(noise=0.0)
    plot_errors([exact, replace(exact, name="slower", raw=(), cost=scaled(TRUE, 1.3))], ax)

    assert labels(ax) == ["decode", "prefill", "chunk", "mixed"]
    drawn = [(x, y) for x, y in lines(ax, "None")]
    assert [len(y) for _, y in drawn] == [35, 35, 9, 9, 6, 6, 6, 6]
    for own, other in zip(drawn[::2], drawn[1::2], strict=True):
        np.testing.assert_allclose(own[1], 0, atol=0.01)
        np.testing.assert_allclose(other[1], 30, atol=0.01)
    low, high = ax.get_ylim()
    assert low < -5
    assert high > 30


def test_an_engines_own_time_is_not_drawn(ax):
    plot_decode([SERVED], ax)
    assert max(max(y) for _, y in lines(ax, "-")) < 100
    assert "without the engine's own time" in profile_figure([SERVED]).get_suptitle()
    assert "own time" not in profile_figure([MEASURED]).get_suptitle()


def test_a_profile_without_context_or_points_is_one_line(ax):
    plot_decode([PAPER], ax)

    assert labels(ax) == ["any context"]
    [(x, y)] = lines(ax, "-")
    assert (x[0], x[-1]) == (1, 100)
    assert y[-1] == pytest.approx(PAPER.cost.decode_s(100, 0) * 1e3)
    assert len(profile_figure([PAPER]).axes) == 2


def test_the_second_profile_is_dashed_and_hollow(ax):
    again = profile_with_raw("again", scale=2.0)
    plot_decode([MEASURED, again], ax)

    assert len(lines(ax, "-")) == len(lines(ax, "--")) == 4
    top = [rows[0][1][0] for rows in (lines(ax, "-"), lines(ax, "--"))]
    assert top[1] == pytest.approx(2 * top[0])
    filled, hollow = (ax.containers[i].lines[0].get_markerfacecolor() for i in (0, 1))
    assert filled != "white" == hollow
    assert lines(ax, ":") == []  # whose floor would it be?


def test_a_figure_of_two_has_both_in_its_legend():
    figure = profile_figure([PAPER, MEASURED])

    assert len(figure.axes) == 3
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()][:2] == [
        "paper-qwen2.5-coder-3b, fitted",
        "synthetic, fitted",
    ]
    assert "of synthetic" in figure.axes[2].get_title("left")


def test_a_range_that_begins_at_0_can_be_drawn(ax):
    plot_prefill([replace(PAPER, measured_prefill_tokens=(0, 0))], ax)
    assert lines(ax, "-")[0][0] == [1]
