"""The folder of a sweep: killed at any moment it holds every finished cell once, in whole files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sim.options import OptionError
from sim.sweep.store import Store, opened
from sim.sweep.work import Line

ROOT = Path(__file__).parents[1]
ABOUT = {"sabersim": "0"}
KEYS = [f"{i:020x}" for i in range(12)]


def line(key):
    return Line(key, text=json.dumps({"key": key, "goodput_pct": int(key, 16) / 7, "rps": 5.0}))


def keys_in(folder):
    return pq.read_table(folder / "cells.parquet")["key"].to_pylist()


def kept_sorted(folder, keys=KEYS, wanted=KEYS):
    store = Store(folder)
    for key in keys:
        store.keep(line(key))
    store.sort(wanted, ABOUT)
    return store


def test_rows_come_out_in_the_order_asked_for_whatever_order_they_came_in(tmp_path):
    for name, order in (("a", KEYS), ("b", KEYS[::-1])):
        (tmp_path / name).mkdir()
        kept_sorted(tmp_path / name, order)

    assert keys_in(tmp_path / "a") == KEYS
    one, other = ((tmp_path / n / "cells.parquet").read_bytes() for n in "ab")
    assert one == other
    assert sorted(os.listdir(tmp_path / "a")) == ["cells.parquet"]


def test_what_is_flushed_is_found_again(tmp_path):
    store = Store(tmp_path)
    for key in KEYS[:5]:
        store.keep(line(key))
        store.flush()
    store.keep(line(KEYS[5]))  # never flushed

    again = Store(tmp_path)
    assert again.done == set(KEYS[:5])
    assert [row["goodput_pct"] for row in again.rows([KEYS[3], KEYS[1]])] == [3 / 7, 1 / 7]


def test_rows_of_another_grid_are_kept_outside_and_come_back(tmp_path):
    kept_sorted(tmp_path)
    store = Store(tmp_path)
    assert store.sort(KEYS[:4], ABOUT) == 8
    assert keys_in(tmp_path) == KEYS[:4]
    assert Store(tmp_path).done == set(KEYS)
    assert Store(tmp_path).sort(KEYS[2:], ABOUT) == 2
    assert keys_in(tmp_path) == KEYS[2:]
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    kept_sorted(fresh, KEYS[2:], KEYS[2:])
    assert (fresh / "cells.parquet").read_bytes() == (tmp_path / "cells.parquet").read_bytes()


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


@pytest.fixture
def deadly(monkeypatch):
    """Return a function that lets the process die at the n-th change of the disk from now on."""
    left = [0]

    def counted(change):
        def changed(*arguments, **options):
            left[0] -= 1
            if left[0] == 0:
                if change is write_text:  # torn in the middle
                    write_text(arguments[0], arguments[1][: len(arguments[1]) // 2])
                raise Killed
            return change(*arguments, **options)

        return changed

    write_text = Path.write_text
    for owner, name in ((Path, "write_text"), (Path, "replace"), (Path, "unlink"), (Path, "rmdir")):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))
    monkeypatch.setattr(os, "fsync", counted(os.fsync))

    def die_at(moment):
        left[0] = moment

    return die_at


def test_killed_at_any_moment_nothing_is_lost_or_there_twice(tmp_path, deadly):
    # Cells of an earlier grid, some of which were left out by a second one, come back in a third
    # together with new ones: kill at each change of the disk in turn, until a run comes through.
    reference = tmp_path / "reference"
    reference.mkdir()
    deadly(0)
    kept_sorted(reference, KEYS[2:], KEYS[2:])
    survived = False
    moment = 0
    while not survived:
        moment += 1
        folder = tmp_path / f"killed-{moment}"
        folder.mkdir()
        deadly(0)
        kept_sorted(folder, KEYS[:6], KEYS[:6])
        Store(folder).sort(KEYS[:4], ABOUT)
        flushed = set(KEYS[:6])
        deadly(moment)
        try:
            store = Store(folder)
            for key in KEYS[6:]:
                store.keep(line(key))
                store.flush()
                flushed.add(key)
            store.sort(KEYS[2:], ABOUT)
            survived = True
        except Killed:
            pass
        deadly(0)
        for path in folder.rglob("*.parquet"):
            if not path.name.startswith("."):
                pq.read_table(path)  # whole
        again = Store(folder)
        assert again.done >= flushed
        for key in KEYS[2:]:
            if key not in again.done:
                again.keep(line(key))
        again.sort(KEYS[2:], ABOUT)
        assert (folder / "cells.parquet").read_bytes() == (reference / "cells.parquet").read_bytes()
        assert Store(folder).done == set(KEYS)
        assert not list(folder.rglob(".*.tmp"))
    assert moment > 20


def test_what_is_no_table_of_ours_is_refused(tmp_path):
    (tmp_path / "cells.parquet").write_text("hello")
    with pytest.raises(OptionError, match=r"cells.parquet: not the results of a sweep .*"):
        Store(tmp_path)


def test_clear_removes_all(tmp_path):
    kept_sorted(tmp_path, KEYS, KEYS[:3])
    store = Store(tmp_path)
    store.keep_failures([{"key": "x", "error": "y"}])
    store.clear()
    assert os.listdir(tmp_path) == []
    assert store.done == set()


def test_one_process_at_a_time_and_none_that_is_dead(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from sim.sweep.store import opened\n"
        "with opened(Path(sys.argv[1])):\n    print('open', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with other:
        assert other.stdout.readline() == "open\n"
        with (
            pytest.raises(
                OptionError, match=rf"is in use by another sweep \(process {other.pid}\)"
            ),
            opened(tmp_path),
        ):
            pass
        other.kill()
        other.wait()
    with opened(tmp_path) as store:
        assert store.done == set()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(NotADirectoryError), opened(tmp_path / "taken"):
        pass


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, monkeypatch):
    with opened(tmp_path) as store:
        store.keep(line(KEYS[0]))
        store.flush()
    whole = Path.write_text

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    why = r"No space left on device.*--resume"
    with pytest.raises(OptionError, match=why), opened(tmp_path) as store:
        monkeypatch.setattr(Path, "write_text", full)
        store.keep(line(KEYS[1]))
        store.sort(KEYS, ABOUT)
    monkeypatch.setattr(Path, "write_text", whole)

    assert Store(tmp_path).done == {KEYS[0]}


def test_inputs_of_a_process_that_was_killed_are_removed(tmp_path):
    (tmp_path / ".inputs-x").mkdir()
    (tmp_path / ".inputs-x" / "digest").write_bytes(b"trace")

    Store(tmp_path)

    assert os.listdir(tmp_path) == []
