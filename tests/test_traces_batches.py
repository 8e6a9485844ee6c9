"""A file read batch by batch holds the requests that it holds when read at once."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from traces import containers
from traces.batches import load_batches
from traces.formats import load, save
from traces.request import Trace, TraceError
from traces.transform import scale_rate

FIXTURES = Path(__file__).parent / "fixtures" / "traces"
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


@pytest.fixture
def small_pieces(monkeypatch):
    """Let files come in pieces of a few rows."""
    monkeypatch.setattr(containers, "_BATCH_ROWS", 3)
    monkeypatch.setattr(containers, "_CSV_BATCH_BYTES", 200)


def labelled(n: int = 40) -> Trace:
    rng = np.random.default_rng(0)
    arrival = np.sort(rng.integers(0, 12, n) / 2)
    return Trace(
        5 + arrival,
        rng.integers(1, 900, n),
        rng.integers(1, 90, n),
        task=[["code", "chat", None][i % 3] for i in range(n)],
        session=[f"s{i // 4}" for i in range(n)],
        sla_s=np.where(rng.random(n) < 0.2, np.nan, 3.0),
    )


@pytest.mark.parametrize(
    "name",
    ["own.csv", "azure2023.csv", "azure2024.csv", "azure2025_lmm.csv", "burstgpt_sessions.csv",
     "mooncake.jsonl", "vidur.csv", "splitwise.csv", "llmservingsim.jsonl"],
)  # fmt: skip
@pytest.mark.parametrize("rows", [1, 2, 100])
def test_batches_together_are_the_file(name, rows):
    whole = load(FIXTURES / name)
    batches = list(load_batches(FIXTURES / name, rows=rows))
    assert all(0 < len(batch) <= rows for batch in batches)
    same(batches, whole)
    assert batches[-1].warnings == whole.warnings
    assert not any(batch.warnings for batch in batches[:-1])
    assert batches[0].meta == whole.meta


def same(batches: list[Trace], whole: Trace) -> None:
    """Check all but parents: turns wait for no others in batches."""
    for name in ("arrival_s", "prompt_tokens", "output_tokens", "max_tokens", "sla_s"):
        column = np.concatenate([getattr(batch, name) for batch in batches])
        np.testing.assert_array_equal(column, getattr(whole, name))
    for kind in ("task", "session", "tenant"):
        names = [name for batch in batches for name in batch.labels(kind).decode()]
        assert names == whole.labels(kind).decode()
    if whole.hash_ids is not None:
        rows = [b.hash_ids.row(i).tolist() for b in batches for i in range(len(b))]
        assert rows == [whole.hash_ids.row(i).tolist() for i in range(len(whole))]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_pieces_of_a_file_are_coded_anew(suffix, tmp_path, small_pieces):
    path = tmp_path / f"t{suffix}"
    save(labelled(), path)
    batches = list(load_batches(path))
    assert len(batches) >= 5
    same(batches, load(path))
    # What is not kept does not grow.
    assert max(len(batch.sessions) for batch in batches) < len(load(path).sessions)


def test_a_file_may_be_read_again(tmp_path):
    save(labelled(), tmp_path / "t.csv")
    batches = load_batches(tmp_path / "t.csv", rows=7)
    assert list(batches) == list(batches)


def test_compressed_text_is_read_in_pieces_too(tmp_path, small_pieces):
    save(labelled(), tmp_path / "t.csv")
    packed = tmp_path / "t.csv.gz"
    packed.write_bytes(gzip.compress((tmp_path / "t.csv").read_bytes()))
    batches = list(load_batches(packed))
    assert len(batches) >= 5
    same(batches, load(packed))


def test_arrivals_count_from_the_first_request_of_the_file(tmp_path, small_pieces):
    rows = [f"2024-05-10 00:00:{second:02d}.5+00:00,10,5\n" for second in range(20)]
    (tmp_path / "a.csv").write_text(AZURE + "".join(rows))
    arrival = np.concatenate([b.arrival_s for b in load_batches(tmp_path / "a.csv")])
    np.testing.assert_array_equal(arrival, np.arange(20.0))


def test_disorder_within_a_piece_is_sorted_and_between_pieces_refused(tmp_path, small_pieces):
    seconds = [0, 2, 1, *range(3, 20)]
    path = tmp_path / "a.csv"
    row = "2024-05-10 00:00:{:02d}.0+00:00,10,5\n"
    path.write_text(AZURE + "".join(row.format(second) for second in seconds))
    batches = list(load_batches(path))
    assert batches[-1].warnings == load(path).warnings
    assert "rows out of order, now sorted by arrival: 1 of 20" in batches[-1].warnings
    path.write_text(AZURE + "".join(row.format(second) for second in [*range(1, 20), 0]))
    with pytest.raises(
        TraceError,
        match=r"a\.csv: a request between line \d+ and line 21 arrives \d+ s before one ahead of "
        "it; expected rows in order of arrival to read batch by batch: saber trace convert",
    ):
        list(load_batches(path))


def test_bad_rows_are_found_when_they_are_read_or_counted(tmp_path, small_pieces):
    path = tmp_path / "a.csv"
    rows = [
        f"2024-05-10 00:00:{second:02d}.0+00:00,{10 * (second != 15)},5\n" for second in range(20)
    ]
    path.write_text(AZURE + "".join(rows))
    batches = load_batches(path)
    with pytest.raises(TraceError, match=r"line 17: ContextTokens is '?0"):
        list(batches)
    *_, last = load_batches(path, skip_bad=True)
    assert last.warnings == load(path, skip_bad=True).warnings
    assert "dropped bad rows: 1" in last.warnings[0]


def test_files_that_cannot_be_cut_are_refused_at_once(tmp_path):
    with pytest.raises(TraceError, match="has no arrival times"):
        (tmp_path / "s.json").write_text('[{"prompt_len": 3, "output_len": 4}]')
        load_batches(tmp_path / "s.json")
    with pytest.raises(TraceError, match="names its sessions by chains through the whole file"):
        load_batches(FIXTURES / "bailian.jsonl")
    with pytest.raises(TraceError, match="no such file"):
        load_batches(tmp_path / "none.csv")
    with pytest.raises(TraceError, match="rows is 0; expected a whole number of at least 1"):
        load_batches(FIXTURES / "own.csv", rows=0)
    with pytest.raises(TraceError, match="azuer"):
        load_batches(FIXTURES / "own.csv", format="azuer")


def test_an_sla_by_task_holds_for_batches_that_lack_a_task(tmp_path):
    n = 30
    names = ["chat"] * 20 + ["code"] * 10
    trace = Trace(np.arange(n, dtype=float), [5] * n, [5] * n, task=names)
    save(trace, tmp_path / "t.csv")
    batches = load_batches(tmp_path / "t.csv", rows=8)
    by_task = {"chat": 2.0, "code": "0.1*output"}
    found = np.concatenate([batch.sla_s for batch in batches.with_sla(by_task)])
    np.testing.assert_array_equal(found, trace.with_sla(by_task).sla_s)
    with pytest.raises(TraceError, match=r"unknown task 'cod'.*code"):
        list(batches.with_sla({"chat": 2.0, "code": 3.0, "cod": 1.0}))
    with pytest.raises(TraceError, match="no SLA given for task 'code'"):
        list(batches.with_sla({"chat": 2.0}))


def test_a_rate_is_that_of_the_whole_file(tmp_path):
    save(labelled(), tmp_path / "t.csv")
    batches = load_batches(tmp_path / "t.csv", rows=8).at_rate(2.5).with_sla(4.0)
    faster = scale_rate(load(tmp_path / "t.csv"), 2.5).with_sla(4.0)
    same(list(batches), faster)
