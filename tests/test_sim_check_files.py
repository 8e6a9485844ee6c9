"""Files that are there whole or not at all."""

import pytest

from sim.check.files import write_whole


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "a.txt"
    for text in ("é\n", "b\n"):
        write_whole(path, text)
        assert path.read_bytes() == text.encode()
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_there_stays_until_all_is_written(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_whole(path, "before\n")

    def full(scratch, path):
        raise OSError(28, "No space left on device", str(scratch))

    monkeypatch.setattr("sim.check.files.put", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "after\n")
    assert path.read_text() == "before\n"
    assert list(tmp_path.iterdir()) == [path]
