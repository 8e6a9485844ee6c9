"""A file that grows line by line: nothing of another run, nothing torn, nobody else's."""

import pytest

from calibrate import ProfileError
from calibrate.journal import Journal

TASK = {"model": {"name": "m"}, "rounds": 2}


def journal(path, taken=None, resume=False, task=TASK):
    return Journal(path, task, resume=resume, take=([] if taken is None else taken).append)


def test_lines_are_there_again_in_their_order(tmp_path):
    first = journal(tmp_path / "p")
    first.append({"a": 1}, {"b": [2, 3]})
    first.append({"c": None})
    first.close(remove=False)
    taken = []
    again = journal(tmp_path / "p", taken, resume=True)
    assert taken == [{"a": 1}, {"b": [2, 3]}, {"c": None}]
    again.close(remove=True)
    assert not (tmp_path / "p").exists()


def test_a_torn_line_is_dropped_and_written_over(tmp_path):
    path = tmp_path / "p"
    first = journal(path)
    first.append({"a": 1})
    first.close(remove=False)
    path.write_text(path.read_text() + '{"a": ')
    again = journal(path, resume=True)
    again.append({"a": 2})
    again.close(remove=False)
    taken = []
    journal(path, taken, resume=True).close(remove=False)
    assert taken == [{"a": 1}, {"a": 2}]


def test_a_file_in_the_way_another_task_and_another_run_are_refused(tmp_path):
    path = tmp_path / "p"
    running = journal(path)
    running.append({"a": 1})
    with pytest.raises(ProfileError, match="in use by another run"):
        journal(path, resume=True)
    running.close(remove=False)
    with pytest.raises(ProfileError, match=r"go on with --resume, or remove the file"):
        journal(path)
    with pytest.raises(ProfileError, match=r"with model\.name \"m\", this run has \"n\""):
        journal(path, resume=True, task={"model": {"name": "n"}, "rounds": 2})


def test_a_line_that_nobody_can_use_is_named(tmp_path):
    def take(entry):
        return entry["needed"]

    path = tmp_path / "p"
    first = journal(path)
    first.append({"needed": 1}, {"other": 1})
    first.close(remove=False)
    with pytest.raises(ProfileError, match=r"p:3: not a measurement"):
        Journal(path, TASK, resume=True, take=take)
