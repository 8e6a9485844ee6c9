"""Rows to Parquet: types, order of columns, and bytes that hang on the rows alone."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sim.sweep.table import ROW_GROUP, read_rows, write_rows


def write(path, rows):
    by_key = {row["key"]: row for row in rows}
    write_rows(path, list(by_key), lambda keys: [by_key[key] for key in keys], {"sabersim": "0"})
    return pq.read_schema(path)


def test_columns_are_sorted_by_meaning_and_not_by_which_row_came_first(tmp_path):
    rows = [
        {"key": "a", "seed": 1, "policy": "saber", "warnings": [], "zebra": 1, "ttft_s.p99": 0.5},
        {"key": "b", "rps": 5.0, "goodput_pct": 99.0, "ttft_s.mean": 0.25, "clients.retries": 3},
    ]
    names = write(tmp_path / "a.parquet", rows).names

    assert names == [
        *("key", "rps", "policy", "clients.retries", "seed"),
        *("goodput_pct", "ttft_s.mean", "ttft_s.p99", "zebra", "warnings"),
    ]
    assert write(tmp_path / "b.parquet", rows[::-1]).names == names


def test_types_hold_every_value(tmp_path):
    rows = [
        {"key": "a", "n": 1, "x": 1, "flag": True, "none": None, "each": [1], "odd": [{"a": 1}]},
        {"key": "b", "n": 2**40, "x": 0.5, "flag": False, "each": [0.5], "warnings": ["w"]},
        {"key": "c", "warnings": []},
    ]
    schema = write(tmp_path / "a.parquet", rows)

    assert schema.field("n").type == pa.int64()
    assert schema.field("x").type == pa.float64()
    assert schema.field("flag").type == pa.bool_()
    assert schema.field("each").type == pa.list_(pa.float64())
    assert schema.field("odd").type == pa.string()
    assert schema.field("warnings").type == pa.list_(pa.string())
    assert "none" not in schema.names
    assert schema.metadata == {b"sabersim": b"0"}
    frame = pd.read_parquet(tmp_path / "a.parquet")
    assert frame["odd"][0] == '[{"a": 1}]'
    assert frame["x"].tolist()[:2] == [1.0, 0.5]


def test_rows_read_and_written_again_are_the_same_bytes(tmp_path):
    rows = [
        {
            "key": f"{i:020x}",
            "i": i,
            "x": i / 7,
            "half": None if i % 2 else "even",
            "l": [i] * (i % 3),
        }
        for i in range(ROW_GROUP + 10)
    ]
    write(tmp_path / "a.parquet", rows)
    places = {row["key"]: row["i"] for row in rows}
    back = read_rows(tmp_path / "a.parquet", places)
    write(tmp_path / "b.parquet", [back[row["key"]] for row in rows])

    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert pq.ParquetFile(tmp_path / "a.parquet").metadata.num_row_groups == 2
    last = rows[-1]["key"]
    assert (
        read_rows(tmp_path / "a.parquet", {last: ROW_GROUP + 9})[last]["x"] == (ROW_GROUP + 9) / 7
    )
