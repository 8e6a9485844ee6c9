"""The file of measurements so far: nothing is lost, nothing of another run is taken."""

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrate import ProfileError
from calibrate.partial import Partial
from calibrate.steps import Step

TASK = {"model": {"name": "m"}, "device": "cpu", "axes": {"batches": (1, 2)}}
ONE, TWO = Step(1, 64), Step(2, 64)


def filled(path):
    kept = Partial(path, TASK, resume=False)
    kept.keep_fact("device", {"name": "d"})
    kept.keep_samples(ONE, 0, [0.5, 0.25])
    kept.keep_samples(ONE, 1, [0.75])
    kept.keep_problem(TWO, "out of memory")
    kept.close(remove=False)


def contents(kept):
    return (
        kept.facts,
        kept.samples_by_round(ONE),
        kept.problem(TWO),
        kept.has(ONE, 0),
        kept.has(ONE, 2),
        kept.has(TWO, 2),
    )


def test_what_was_kept_is_there_again(tmp_path):
    path = tmp_path / "p"
    filled(path)
    kept = Partial(path, TASK, resume=True)
    assert contents(kept) == (
        {"device": {"name": "d"}},
        {0: (0.5, 0.25), 1: (0.75,)},
        "out of memory",
        True,
        False,
        True,
    )
    one, two = kept.measurements([ONE, Step(9, 64), TWO])
    assert (one.step, one.samples_s) == (ONE, (0.5, 0.25, 0.75))
    assert (two.step, two.problem) == (TWO, "out of memory")
    kept.close(remove=True)
    assert not path.exists()


@given(cut=st.integers(0, 400))
def test_a_file_cut_anywhere_loses_only_what_comes_after(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("p") / "p"
    filled(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    kept = Partial(path, TASK, resume=True)
    lines = whole[:cut].count(b"\n")
    assert (kept.facts != {}) == (lines > 1)
    assert list(kept.samples_by_round(ONE)) == [0, 1][: max(lines - 2, 0)]
    assert bool(kept.problem(TWO)) == (lines > 4)
    kept.keep_samples(TWO, 7, [0.125])
    kept.close(remove=False)
    again = Partial(path, TASK, resume=True)  # what follows a torn line is not glued to it
    assert again.samples_by_round(TWO) == {7: (0.125,)}
    again.close(remove=False)


def test_an_earlier_run_is_never_overwritten(tmp_path):
    path = tmp_path / "p"
    filled(path)
    before = path.read_bytes()
    with pytest.raises(ProfileError, match=r"a run that did not end: go on with --resume"):
        Partial(path, TASK, resume=False)
    assert path.read_bytes() == before


def test_resuming_from_nothing_begins(tmp_path):
    kept = Partial(tmp_path / "p", TASK, resume=True)
    kept.keep_samples(ONE, 0, [0.5])
    kept.close(remove=False)
    first, _ = (tmp_path / "p").read_text().splitlines()
    assert json.loads(first)["task"]["device"] == "cpu"


def test_a_file_without_a_measurement_is_not_left_behind(tmp_path):
    kept = Partial(tmp_path / "p", TASK, resume=False)
    kept.keep_fact("device", {"name": "d"})
    kept.close(remove=False)
    assert not (tmp_path / "p").exists()


def test_measurements_of_another_task_are_refused(tmp_path):
    filled(tmp_path / "p")
    with pytest.raises(ProfileError, match=r'measured with device "cpu", this run has "cuda"'):
        Partial(tmp_path / "p", {**TASK, "device": "cuda"}, resume=True)


def test_what_differs_between_long_tasks_is_named(tmp_path):
    filled(tmp_path / "p")
    other = {**TASK, "model": {"name": "m", "dtype": "bf16"}}
    with pytest.raises(ProfileError, match=r'with model.dtype null, this run has "bf16"'):
        Partial(tmp_path / "p", other, resume=True)


@pytest.mark.skipif(sys.platform == "win32", reason="no locks there")
@pytest.mark.parametrize("resume", [True, False])
def test_two_runs_never_share_a_file(tmp_path, resume):
    first = Partial(tmp_path / "p", TASK, resume=False)
    with pytest.raises(ProfileError, match="in use by another run"):
        Partial(tmp_path / "p", TASK, resume=resume)
    first.keep_samples(ONE, 0, [0.5])
    first.close(remove=False)
    again = Partial(tmp_path / "p", TASK, resume=True)
    assert again.has(ONE, 0)
    again.close(remove=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_line(tmp_path):
    (tmp_path / "p").symlink_to("/dev/full")
    with pytest.raises(ProfileError, match=r"p: cannot keep a measurement: No space left"):
        Partial(tmp_path / "p", TASK, resume=False)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("nonsense", ":3: not a measurement"),
        ("[1]", ":3: not a measurement"),
        ('{"step": [1, 64, 0, 0], "round": 0}', ":3: not a measurement"),
        ('{"step": [1], "round": 0, "samples_s": [1]}', ":3: not a measurement"),
        ('{"step": [1, 64, 0, 0], "round": 0, "samples_s": [-1]}', ":3: not a measurement"),
        ('{"step": [1, 64, 0, 0], "round": 0, "samples_s": []}', ":3: not a measurement"),
        ('{"step": [1, 64, 0, 0], "round": 1e999, "samples_s": [1]}', ":3: not a measurement"),
    ],
)
def test_a_line_that_is_no_measurement_is_named(tmp_path, line, problem):
    path = tmp_path / "p"
    filled(path)
    lines = path.read_text().splitlines()
    lines[2] = line
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ProfileError, match=problem):
        Partial(path, TASK, resume=True)


@pytest.mark.parametrize("line", ['{"version": 2, "task": {}}', '{"a": 1}', '{"version": 1}'])
def test_another_kind_of_file_is_refused(tmp_path, line):
    (tmp_path / "p").write_text(line + "\n")
    with pytest.raises(ProfileError, match=":1: not a file of partial measurements"):
        Partial(tmp_path / "p", TASK, resume=True)
