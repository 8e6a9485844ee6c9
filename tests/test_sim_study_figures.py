"""The eight figures: their tables by hand, and pictures in which nothing collides or is cut off."""

from functools import lru_cache
from io import StringIO

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from study_cases import plausible, runs_of, size_of

from sim.study.completion import SETTINGS
from sim.study.figures import FIGURES
from sim.study.runs import RATES, SIZES
from sim.study.style import PNG_DPI, write_figure
from traces.workloads import TASKS, WORKLOADS, counts

BY_NUMBER = {figure.number: figure for figure in FIGURES}


def table_of(number, goodput, **options):
    figure = BY_NUMBER[number]
    return figure.table(runs_of(figure.cells(), goodput, **options))


def only(table, **values):
    for name, value in values.items():
        table = table[table[name] == value]
    return table


# --- tables ---------------------------------------------------------------------------------------


def test_figures_are_numbered_as_in_the_study_and_named_apart():
    assert [figure.number for figure in FIGURES] == list(range(1, 9))
    assert len({figure.slug for figure in FIGURES}) == 8


def test_maps_and_lines_have_every_cell_and_mark_the_best_of_each_rate():
    def goodput(cell):
        return {30: [80, 90], 50: [90, 80]}.get(size_of(cell), [10, 20])

    table = table_of(1, goodput)

    assert len(table) == 3 * len(RATES) * len(SIZES)
    assert {cell.arrivals for cell in BY_NUMBER[1].cells()} == {"uniform"}
    one_rate = only(table, workload="W1", rps=10.0).set_index("max_num_seqs")
    assert one_rate["goodput_pct"].tolist() == [15, 15, 85, 15, 85, 15, 15, 15, 15, 15]
    assert one_rate.index[one_rate["best"]].tolist() == [30, 50]
    assert one_rate["published_pct"].tolist() == [11, 21, 33, 17, 2, 1, 7, 10, 9, 10]
    assert one_rate.index[one_rate["published_best"]].tolist() == [30]
    assert one_rate["low"][10] == 0  # 12.7 standard errors, cut where goodput ends
    assert (table["seeds"] == 2).all()
    pd.testing.assert_frame_equal(table, table_of(2, goodput))


def test_the_light_workload_has_no_published_goodput():
    table = table_of(1, lambda cell: 50)
    light = only(table, workload="W2")

    assert light["published_pct"].isna().all()
    assert not light["published_best"].any()
    assert only(table, workload="W3")["published_pct"].notna().all()


def test_bars_hold_static_sizes_and_saber_with_the_arrivals_of_the_study():
    table = table_of(3, lambda cell: size_of(cell) or (75 if cell.arrivals == "poisson" else 0))

    assert len(table) == 3 * 3 * 11
    bars = only(table, workload="W3", rps=10.0)
    assert bars["goodput_pct"].tolist() == [*SIZES, 75]
    assert bars["published_pct"].tolist() == [19, 37, 56, 27, 42, 37, 49, 58, 41, 40, 74]
    static = [cell for cell in BY_NUMBER[3].cells() if cell.policy != "saber"]
    assert {cell.arrivals for cell in static} == {"uniform"}


def test_completion_is_the_share_of_all_requests_of_a_task():
    def times(cell):
        shares = counts(WORKLOADS[cell.workload], 100)
        tasks = {
            task.name: np.full((2, share), 0.9 * task.sla_s)
            for task, share in zip(TASKS, shares, strict=True)
        }
        if cell.policy == "saber":
            tasks["code_qna"][0, : shares[1] // 2] = 5.0  # half of them late on one seed of two
            tasks["code_summary"][:] = np.nan  # none finished
            tasks["code_summary"][:, 0] = 1.0
        return {task: values.ravel() for task, values in tasks.items()}

    table = table_of(4, lambda cell: 50, e2e_s=times)

    pairs = table[["workload", "rps", "policy"]].drop_duplicates().to_numpy().tolist()
    expected = [(w, r, p) for w, r, size in SETTINGS for p in (f"static({size})", "saber")]
    assert [tuple(pair) for pair in pairs] == expected
    at_sla = table[(table["time_s"] == table["sla_s"]) & table["completed_pct"].notna()]
    shares = at_sla.set_index(["workload", "policy", "task"])["completed_pct"]
    assert shares["W3", "static(80)", "code_qna"] == 100
    assert shares["W3", "saber", "code_qna"] == pytest.approx(100 - 100 * 12 / 50)
    assert shares["W3", "saber", "code_summary"] == 4
    band_low = at_sla.set_index(["workload", "policy", "task"])["band_low"]
    assert band_low["W3", "saber", "code_qna"] == pytest.approx(52 + 0.025 * 48)  # of 52 and 100
    assert shares["W1", "saber", "code_translation"] == 100
    deciles = table[table["published_pct"].notna()]
    assert len(deciles) == 2 * 4 * 9
    assert set(deciles["policy"]) == {"saber"}
    assert set(deciles["workload"]) == {"W1", "W3"}
    assert deciles["time_s"].max() <= table["time_s"][table["completed_pct"].notna()].max()


def lucky(cell):
    """Two sizes are equally good, each lucky on one seed; SABER is as good as the lucky one."""
    return {None: 60, 10: [40, 60], 20: [60, 40]}.get(size_of(cell), 0)


def test_gains_as_studied_and_fair():
    table = table_of(5, lucky)

    def value(series, rps=10.0):
        rows = only(table, workload="W1", series=series)
        rows = rows[rows["rps"].isna()] if rps is None else only(rows, rps=rps)
        return rows["value"].item()

    assert value("saber") == 60
    assert value("best static, as studied") == 50  # 60 in one study and 40 in the other
    assert value("gain, as studied") == value("gain, as studied", None) == 10
    assert value("best static, fair") == 40  # chosen where it was lucky, judged where it was not
    assert value("gain, fair") == value("gain, fair", None) == 20
    fair = only(table, workload="W1", series="gain, fair")
    assert (fair["low"] == 20).all()  # on the same requests there is no noise left
    assert set(table["unit"][table["series"].str.startswith("gain")]) == {"points"}


def test_gains_stand_beside_those_of_the_published_cells_and_the_printed_averages():
    table = table_of(5, lucky)
    studied = table[table["series"] == "gain, as studied"]
    averages = studied[studied["rps"].isna()].set_index("workload")["published"]

    assert averages.to_dict() == {"W1": 10.2, "W2": 1.2, "W3": 4.3}
    of_cells = studied[studied["rps"].notna()].groupby("workload")["published"]
    assert of_cells.mean().round(1).dropna().to_dict() == {"W1": 10.2, "W3": 4.3}
    assert only(studied, workload="W3", rps=20.0)["published"].item() == 26
    assert table[table["series"].str.endswith("fair")]["published"].isna().all()


def test_a_fair_gain_is_between_runs_of_the_same_requests():
    # What one seed makes easy is easy for both: the difference has no noise.
    table = table_of(5, lambda cell: {None: [50, 90], 10: [40, 80]}.get(size_of(cell), 0))
    fair = only(table, workload="W3", series="gain, fair")

    assert fair[["value", "low", "high"]].to_numpy().tolist() == [[10, 10, 10]] * 13


def test_one_seed_has_no_fair_comparison():
    table = table_of(5, lambda cell: 50, seeds=1)

    assert not table["series"].str.endswith("fair").any()
    assert set(table["series"]) == {"saber", "best static, as studied", "gain, as studied"}


def test_stability_is_the_variation_of_mean_ratios_over_the_rates():
    def ratio(cell):
        return 1 if RATES.index(cell.rps) % 2 else 3 if size_of(cell) is None else 1

    table = table_of(6, lambda cell: 50, ratio=ratio, std=0.4)
    overall = table[table["rps"].isna()].set_index(["workload", "policy"])

    assert overall.loc[("W1", "saber"), "value"] == pytest.approx(50)
    assert overall.loc[("W1", "best static"), "value"] == pytest.approx(0)
    assert overall.loc[("W1", "saber"), "published"] == pytest.approx(33.7, abs=0.05)
    assert overall.loc[("W1", "best static"), "published"] == 52.4
    assert overall.loc["W2", "published"].isna().all()
    by_rate = only(table, workload="W3", policy="saber", rps=20.0)
    assert by_rate["std"].item() == pytest.approx(0.4)
    assert by_rate[["published", "published_std"]].to_numpy().tolist() == [[1.284, 0.532]]


def test_estimators_stand_beside_their_own_published_series():
    policies = {"saber": 70, "saber(estimator=logistic)": 60, "saber(estimator=linear)": 50}
    table = table_of(7, lambda cell: policies.get(cell.policy, 40))
    rows = only(table, workload="W1", rps=7.0).set_index("policy")

    assert rows["goodput_pct"].to_dict() == {
        "usl": 70, "logistic": 60, "linear": 50, "best static": 40,
    }  # fmt: skip
    assert rows["published_pct"].to_dict() == {
        "usl": 52, "logistic": 57, "linear": 58, "best static": 32,
    }  # fmt: skip


def test_speeds_hold_the_points_the_fits_and_a_simulated_offline_phase():
    assert BY_NUMBER[8].cells() == ()
    table = BY_NUMBER[8].table({})
    kinds = dict(list(table.groupby("kind")))

    assert len(kinds["measured"]) == 255
    r2 = kinds["fitted"].groupby("estimator")[["r2", "published_r2"]].first()
    assert r2["r2"].round(4).to_dict() == r2["published_r2"].to_dict()
    printed = kinds["printed"].set_index(["estimator", "load"])["tokens_per_s"]
    assert printed["usl", 10] == pytest.approx(102.55 / (1 + 0.3 - 0.0146))
    assert printed["linear", 10] == pytest.approx(86.65 - 7.581)
    assert set(kinds["printed"]["estimator"]) == {"usl", "linear"}
    measured = kinds["measured"].groupby("load")["tokens_per_s"].mean()
    simulated = kinds["simulated"].set_index("load")["tokens_per_s"]
    assert (simulated / measured - 1).abs().max() < 0.1
    assert (kinds["simulated"]["band_low"] <= kinds["simulated"]["tokens_per_s"]).all()


# --- pictures -------------------------------------------------------------------------------------


@lru_cache
def picture_of(number, seeds):
    """Return a figure of noisy runs, drawn from its table after a way through CSV."""
    figure = BY_NUMBER[number]
    table = figure.table(plausible(figure.cells(), seeds))
    picture = figure.draw(pd.read_csv(StringIO(table.to_csv(index=False))))
    FigureCanvasAgg(picture)
    return picture


@pytest.fixture(params=[(number, seeds) for number in BY_NUMBER for seeds in (1, 2, 30)], ids=str)
def picture(request):
    return picture_of(*request.param)


def visible_texts(picture):
    """Return the texts that are drawn: not the tick labels beyond the ends of an axis."""
    texts = [text for legend in picture.legends for text in legend.findobj(Text)]
    for ax in picture.findobj(Axes):
        texts += [child for child in ax.get_children() if isinstance(child, Text)]
        if ax.get_legend() is not None:
            texts += ax.get_legend().findobj(Text)
        for axis in (ax.xaxis, ax.yaxis) if ax.axison else ():
            low, high = sorted(axis.get_view_interval())
            ticks = (*axis.get_major_ticks(), *axis.get_minor_ticks())
            shown = [tick.label1 for tick in ticks if low <= tick.get_loc() <= high]
            texts += [axis.label, *shown]
    return [text for text in texts if text.get_visible() and text.get_text().strip()]


def test_no_text_is_cut_off(picture):
    renderer = picture.canvas.get_renderer()
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in visible_texts(picture)]
    boxes += [("legend", each.get_window_extent(renderer)) for each in picture.legends]

    assert len(boxes) > 20
    for text, box in boxes:
        inside = box.x0 >= -1 and box.y0 >= -1
        assert inside and box.x1 <= picture.bbox.x1 + 1 and box.y1 <= picture.bbox.y1 + 1, text


def test_no_text_lies_over_another(picture):
    renderer = picture.canvas.get_renderer()
    texts = visible_texts(picture)
    # The box of a text is higher than its letters: a line above another may touch it.
    boxes = [text.get_window_extent(renderer).padded(-1.5) for text in texts]
    ends = np.array([(box.x0, box.y0, box.x1, box.y1) for box in boxes])
    apart_x = (ends[:, None, 0] >= ends[None, :, 2]) | (ends[:, None, 2] <= ends[None, :, 0])
    apart_y = (ends[:, None, 1] >= ends[None, :, 3]) | (ends[:, None, 3] <= ends[None, :, 1])

    colliding = np.argwhere(np.triu(~(apart_x | apart_y), 1))
    assert [(texts[a].get_text(), texts[b].get_text()) for a, b in colliding] == []


def test_every_axis_with_numbers_says_its_unit(picture):
    ratio = "completion time / SLA"
    for ax in picture.findobj(Axes):
        if not ax.axison:
            continue
        for axis in (ax.xaxis, ax.yaxis):
            names = [tick.label1.get_text() for tick in axis.get_major_ticks()]
            shown = any(tick.label1.get_visible() for tick in axis.get_major_ticks())
            numbers = shown and any(name.strip("\N{MINUS SIGN}.").isdigit() for name in names)
            label = axis.get_label_text()
            assert "[" in label or label == ratio or not numbers, (ax.get_title(loc="left"), label)


def test_letters_are_large_enough_for_print(picture):
    assert min(text.get_fontsize() for text in visible_texts(picture)) >= 5.5
    assert picture.get_figwidth() in (3.4, 7.0)


@pytest.mark.parametrize("number", BY_NUMBER)
def test_files_are_small_the_same_every_time_and_hold_text(number, tmp_path):
    picture = picture_of(number, 30)
    for name in ("one", "two"):
        write_figure(picture, tmp_path, name)

    png, svg = tmp_path / "one.png", tmp_path / "one.svg"
    assert png.stat().st_size < 200_000
    assert png.read_bytes() == (tmp_path / "two.png").read_bytes()
    assert svg.read_text() == (tmp_path / "two.svg").read_text()
    assert svg.read_text().count("<text") > 20
    width, height = picture.get_size_inches() * PNG_DPI
    assert matplotlib.image.imread(png).shape[:2] == (round(height), round(width))


def test_drawing_leaves_the_settings_of_others_alone():
    before = dict(matplotlib.rcParams)
    figure = BY_NUMBER[3]
    figure.draw(figure.table(plausible(figure.cells(), 2)))

    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("number", BY_NUMBER)
def test_what_is_only_simulated_is_called_so(number):
    texts = " ".join(text.get_text() for text in visible_texts(picture_of(number, 30)))

    assert ("simulated only" in texts) == (number not in (2, 8))


def test_lines_show_the_target():
    axes = [ax for ax in picture_of(2, 30).axes if ax.axison]

    assert len(axes) == 5
    for ax in axes:
        assert any(set(line.get_ydata()) == {95} for line in ax.lines)


@pytest.mark.parametrize("seeds", [1, 2, 30])
def test_the_numbers_of_gains_stand_clear_of_the_marks(seeds):
    picture = picture_of(5, seeds)
    renderer = picture.canvas.get_renderer()
    lower = picture.axes[3:6]
    tops = [ax.dataLim.y1 for ax in lower]

    assert all(len(ax.texts) == len(RATES) * (1 if seeds == 1 else 2) for ax in lower)
    for ax in lower:
        highest = ax.transData.transform((0, max(tops)))[1]
        assert min(text.get_window_extent(renderer).y0 for text in ax.texts) > highest


def test_frames_go_round_the_best_cells_of_a_map():
    figure = BY_NUMBER[1]
    cells = figure.cells()
    picture = figure.draw(figure.table(runs_of(cells, lambda c: size_of(c) in (20, 30, 50))))
    simulated = picture.axes[0]

    frames = {(patch.get_x(), patch.get_width()) for patch in simulated.patches}
    # The neighbours 20 and 30 share one frame; 50 has its own; at every rate in two tones.
    assert {(round(x), round(width)) for x, width in frames} == {(1, 2), (4, 1)}
    assert len(simulated.patches) == len(RATES) * 2 * 2


def test_published_points_are_where_they_were_measured():
    for ax, workload in zip(picture_of(7, 30).axes[:3], ("W1", "W2", "W3"), strict=True):
        open_markers = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
        measured = [line for line in open_markers if np.isfinite(line.get_ydata()).any()]
        assert len(measured) == (0 if workload == "W2" else 2)
        if workload == "W3":
            assert measured[1].get_ydata()[RATES.index(10.0)] == 74
