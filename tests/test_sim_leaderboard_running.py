"""The leaderboard as a whole, on few seeds of small cells."""

from dataclasses import replace

import numpy as np
import pytest

from calibrate.library import load_profile
from sim.compare import compare
from sim.leaderboard.cells import Cell
from sim.leaderboard.figure import plot_leaderboard
from sim.leaderboard.frames import goodput_frame, label_frame, run_frame, to_dict, told_frame
from sim.leaderboard.running import leaderboard
from sim.options import OptionError, RunOptions
from traces.workloads import workload

PROFILE = load_profile("paper-qwen2.5-coder-3b")
POLICIES = ["static(20)", "static(40)", "saber", "edf"]


def draw_heavy(seed):
    return workload("W1", rps=8, n=40, seed=seed)


def draw_light(seed):
    return workload("W2", rps=20, n=40, seed=seed)


CELLS = [
    Cell("W1 @ 8", "heavy", "heavy ones", draw_heavy),
    Cell("light", "light", "light ones", draw_light),
]


def run(jobs=1, **others):
    asked = {"seeds": range(3), "oracle_seeds": 0, "misled_seeds": 2, "jobs": jobs, **others}
    return leaderboard(CELLS, PROFILE, POLICIES, RunOptions(), **asked)


@pytest.fixture(scope="module")
def board():
    return run()


def test_results_do_not_depend_on_the_number_of_workers(board):
    other = run(jobs=2)
    assert replace(other, decision_us={}) == replace(board, decision_us={})
    assert other.decision_us.keys() == board.decision_us.keys()


def test_rows_are_those_of_a_comparison(board):
    found = compare(draw_light, PROFILE, POLICIES, seeds=range(3))
    light = board.standings[1].comparison
    assert [row.goodput_by_seed for row in light.rows] == [
        row.goodput_by_seed for row in found.rows
    ]
    assert light.differences == found.differences


def test_policies_are_misled_in_the_cells_meant_for_it_and_static_sizes_nowhere(board):
    frame = told_frame(board)
    assert set(frame["cell"]) == {"W1 @ 8"}
    assert set(frame["policy"]) == {"saber", "edf"}
    assert list(dict.fromkeys(frame["told"])) == list(board.tales)
    # Who only looks at deadlines believes nothing.
    assert (frame[frame["policy"] == "edf"]["change_points"] == 0).all()
    assert (frame[frame["policy"] == "saber"]["change_points"] != 0).any()


def test_policies_are_misled_on_the_first_seeds_only(board):
    once = run(misled_seeds=1)
    assert all(one.change_points.low is None for one in once.told)  # one seed has no interval
    assert all(one.change_points.low is not None for one in board.told)


def test_frames_hold_every_cell_policy_and_run(board):
    frame = goodput_frame(board)
    assert len(frame) == 2 * 4
    assert frame.groupby("cell")["best_static"].sum().tolist() == [1, 1]
    saber = frame[frame["policy"] == "saber"]
    assert saber["less_saber_points"].isna().all()
    runs = run_frame(board)
    assert len(runs) == 2 * 4 * 3
    means = runs.groupby(["cell", "policy"])["goodput_pct"].mean()
    for _, line in frame.iterrows():
        assert line["goodput_pct"] == pytest.approx(means[line["cell"], line["policy"]])
    paired = runs[(runs["cell"] == "light")].pivot(
        index="seed", columns="policy", values="goodput_pct"
    )
    less = frame[(frame["cell"] == "light") & (frame["policy"] == "edf")]["less_saber_points"]
    assert less.item() == pytest.approx((paired["edf"] - paired["saber"]).mean())


def test_labels_are_weighed_into_the_goodput_by_their_requests(board):
    frame = label_frame(board)
    light = frame[(frame["cell"] == "light") & (frame["policy"] == "saber")]
    share = {"code_qna": 0.4, "code_summary": 0.4, "code_translation": 0.1, "code_generation": 0.1}
    mean = sum(
        share[name] * pct for name, pct in zip(light["name"], light["goodput_pct"], strict=True)
    )
    [row] = [r for r in board.standings[1].comparison.rows if r.policy == "saber"]
    assert mean == pytest.approx(row.goodput_pct.mean)


def test_the_document_has_it_all(board):
    document = to_dict(board)
    assert [cell["cell"] for cell in document["cells"]] == ["W1 @ 8", "light"]
    assert [row["policy"] for row in document["cells"][0]["rows"]] == [
        "static(max_num_seqs=20)",
        "static(max_num_seqs=40)",
        "saber",
        "edf",
    ]
    assert document["words"]
    assert set(document["decision_us"]) == {row["policy"] for row in document["cells"][0]["rows"]}


def test_the_picture_shows_the_numbers(board):
    figure = plot_leaderboard(board)
    left, right = figure.axes
    shown = [text.get_text() for text in left.texts]
    rows = [label.get_text() for label in left.get_yticklabels()]
    assert rows == list(board.names)
    columns = [label.get_text() for label in left.get_xticklabels()]
    assert columns == ["mean", "W1 @ 8", "light"]
    by_place = np.array(shown).reshape(len(rows), len(columns))
    place = rows.index("saber")
    mean = board.standings[1].rows["saber"].goodput_pct.mean
    assert by_place[place, 2] == str(round(mean))
    assert by_place[place, 0] == str(round(board.average("saber")))
    assert len(right.texts) == 2 * len(board.tales)


def test_labels_of_the_picture_do_not_overlap(board):
    figure = plot_leaderboard(board)
    for ax in figure.axes:
        boxes = [text.get_window_extent() for text in ax.texts]
        assert not any(
            one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[i + 1 :]
        )
        assert ax.get_title(loc="left")
        title = ax._left_title.get_window_extent()
        assert title.x1 <= figure.bbox.x1


def test_the_oracle_sees_the_first_seeds_only():
    board = run(oracle_seeds=1, seeds=range(2))
    for each in board.standings:
        cap, best = each.oracle
        assert (cap.policy, best.policy) == ("oracle cap", "oracle best found")
        assert cap.goodput_by_seed[1] is best.goodput_by_seed[1] is None
        for row in each.comparison.rows:
            assert row.goodput_by_seed[0] <= best.goodput_by_seed[0] <= cap.goodput_by_seed[0]
    rows = plot_leaderboard(board).axes[0].get_yticklabels()
    assert [label.get_text() for label in rows][:2] == ["oracle cap", "oracle best found"]


def test_what_can_not_be_run_is_refused():
    with pytest.raises(OptionError, match="static sizes only"):
        leaderboard(CELLS, PROFILE, ["static(20)"], RunOptions(), seeds=[0])
    with pytest.raises(OptionError, match="no seed to run"):
        leaderboard(CELLS, PROFILE, POLICIES, RunOptions(), seeds=[])
    with pytest.raises(OptionError, match="given 2 times"):
        leaderboard(CELLS, PROFILE, ["saber", "saber"], RunOptions(), seeds=[0])
