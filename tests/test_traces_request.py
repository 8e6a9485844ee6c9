"""Trace and Request: columns, slicing, validation, equality."""

import pickle
import sys
from subprocess import run

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trace_strategies import any_trace

from traces.columns import HashIds, Labels
from traces.request import Request, Trace, TraceError


def small(**columns: object) -> Trace:
    values = {"arrival_s": [0.0, 1.0, 2.5], "prompt_tokens": [5, 6, 7], "output_tokens": [1, 2, 3]}
    return Trace(**{**values, **columns})


def test_columns_have_the_promised_types_and_are_read_only() -> None:
    t = small(task=["a", None, "a"], sla_s=[1, float("nan"), 3])
    for name, dtype in {
        "arrival_s": np.float64,
        "prompt_tokens": np.int64,
        "output_tokens": np.int64,
        "max_tokens": np.int64,
        "sla_s": np.float64,
        "task_code": np.int32,
        "session_code": np.int32,
        "tenant_code": np.int32,
        "parent": np.int64,
    }.items():
        column = getattr(t, name)
        assert column.dtype == dtype
        assert len(column) == 3
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1
    with pytest.raises(AttributeError, match="immutable"):
        t.tasks = ()
    with pytest.raises(TypeError):
        t.meta["x"] = 1


def test_the_callers_arrays_stay_the_callers() -> None:
    arrival = np.array([0.0, 1.0, 2.5])
    t = small(arrival_s=arrival)
    arrival[0] = 0.5
    assert t.arrival_s[0] == 0.0


def test_max_tokens_default_to_output_tokens() -> None:
    assert small().max_tokens.tolist() == [1, 2, 3]


def test_rows_are_requests() -> None:
    t = small(task=["a", None, "b"], sla_s=[1.5, float("nan"), 3], parent=[-1, 0, -1], tenant="x")
    expected = Request(1.0, 6, 2, 2, task=None, sla_s=None, session=None, parent=0, tenant="x")
    assert t[1] == expected
    assert t[-2] == expected
    assert list(t) == [t[0], t[1], t[2]]
    assert t[0].sla_s == 1.5
    with pytest.raises(IndexError):
        t[3]


@given(any_trace(), st.data())
def test_a_part_has_the_requests_a_list_would_have(t: Trace, data: st.DataObject) -> None:
    rows = list(t)

    def same(part: Trace, numbers: list[int]) -> None:
        assert len(part) == len(numbers)
        place = {row: i for i, row in reversed(list(enumerate(numbers)))}
        for i, (got, row) in enumerate(zip(part, numbers, strict=True)):
            want = rows[row]
            parent = place.get(want.parent)
            assert got.parent == parent
            assert (got.arrival_s, got.task, got.session) == (
                want.arrival_s,
                want.task,
                want.session,
            )
            assert (got.prompt_tokens, got.max_tokens) == (want.prompt_tokens, want.max_tokens)
            assert (got.sla_s, got.tenant) == (want.sla_s, want.tenant)
            if t.hash_ids is not None:
                assert part.hash_ids.row(i).tolist() == t.hash_ids.row(row).tolist()

    n = len(t)
    piece = data.draw(st.slices(n))
    same(t[piece], sorted(range(n)[piece]))
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    same(t[mask], np.flatnonzero(mask).tolist())
    index = data.draw(st.lists(st.integers(-n, n - 1), max_size=n, unique_by=lambda i: i % n))
    same(t[np.array(index, dtype=int)], sorted(i % n for i in index))
    same(t[index], sorted(i % n for i in index))


def test_a_slice_counts_from_its_own_start() -> None:
    blocks = HashIds(np.array([0, 2, 3, 5]), np.array([4, 5, 6, 7, 8]), 16)
    part = small(parent=[-1, 0, 1], hash_ids=blocks)[1:]
    assert part.parent.tolist() == [-1, 0]
    assert part.hash_ids.offsets.tolist() == [0, 1, 3]
    assert part.hash_ids.row(0).tolist() == [6]
    assert part.hash_ids.row(1).tolist() == [7, 8]


def test_a_child_follows_the_first_copy_of_its_parent() -> None:
    t = small(parent=[-1, 0, 1])
    assert t[[0, 0, 1, 1, 2]].parent.tolist() == [-1, -1, 0, 0, 2]


@given(any_trace())
def test_equal_means_equal_requests(t: Trace) -> None:
    assert t == t[:]
    assert t == pickle.loads(pickle.dumps(t))
    assert t[1:] != t
    assert t.replace(arrival_s=t.arrival_s + 1) != t
    assert t.replace(meta={"source": "elsewhere"}, warnings=("w",)) == t
    coded_backwards = t.replace(
        tasks=t.tasks[::-1],
        task_code=np.where(t.task_code < 0, -1, len(t.tasks) - 1 - t.task_code).astype(np.int32),
    )
    assert coded_backwards == t


def test_an_unpickled_trace_is_read_only() -> None:
    copy = pickle.loads(pickle.dumps(small(task="a")))
    assert not copy.arrival_s.flags.writeable
    assert not copy.task_code.flags.writeable


def test_what_a_trace_lacks_takes_no_memory() -> None:
    n = 100_000
    t = Trace(np.zeros(n), np.ones(n), np.ones(n))
    assert len(pickle.dumps(t)) < 3.1 * 8 * n
    assert t[np.arange(0, n, 2)].sla_s.strides == (0,)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"prompt_tokens": [5, 0, 7]},
            "row 1: prompt_tokens is 0; expected a whole number .* >= 1",
        ),
        ({"output_tokens": [1, 2, 2.5]}, r"row 2: output_tokens is 2\.5; expected a whole number"),
        ({"output_tokens": [1, 2, float("nan")]}, "row 2: output_tokens is nan"),
        (
            {"arrival_s": [0, float("inf"), 1]},
            "row 1: arrival_s is inf; expected a finite time",
        ),
        ({"arrival_s": [-1, 0, 1]}, r"row 0: arrival_s is -1; expected a finite time >= 0"),
        ({"arrival_s": [0, 2, 1]}, r"row 2: arrival_s is 1\.0, before the row above \(2\.0\)"),
        ({"max_tokens": [1, 1, 3]}, "row 1: max_tokens is 1; expected at least output_tokens, 2"),
        ({"sla_s": [1, 2, 0]}, "row 2: sla_s is 0; expected a finite number of seconds > 0"),
        ({"sla_s": float("inf")}, "row 0: sla_s is inf"),
        ({"prompt_tokens": [5, 6]}, r"prompt_tokens has shape \(2,\); expected \(3,\)"),
        ({"prompt_tokens": ["5", "6", "x"]}, "prompt_tokens holds .* values; expected numbers"),
        ({"prompt_tokens": [True] * 3}, "prompt_tokens holds bool values"),
        ({"task": ["a", "b"]}, "task has 2 labels; expected 3"),
        ({"task": ["a", "b\nc", "d"]}, r"task is 'b\\nc'; expected a non-empty, printable text"),
        ({"tenant": ["", "b", "d"]}, "tenant is ''"),
        ({"task": Labels(np.array([0, 1, 2]), ("a", "b"))}, r"task has codes outside -1\.\.1"),
        ({"task": Labels(np.array([0, 1, 1]), ("a", "a"))}, "task has a name twice"),
        ({"parent": [-1, 1, 0]}, "row 1: parent is 1; expected an earlier row, or -1"),
        ({"hash_ids": HashIds(np.array([0, 1]), np.array([7]), 16)}, "hash_ids.offsets must rise"),
        (
            {"hash_ids": HashIds(np.array([0, 1, 1, 1]), np.array([7]), 0)},
            "block_tokens is 0; expected at least 1",
        ),
    ],
)
def test_bad_values_are_named(columns: dict, message: str) -> None:
    with pytest.raises(TraceError, match=message) as caught:
        small(**columns)
    assert "\n" not in str(caught.value)


def test_to_frame() -> None:
    frame = small(task=["a", None, "b"], sla_s=[1.5, float("nan"), 3]).to_frame()
    assert list(frame.columns) == [
        *("arrival_s", "prompt_tokens", "output_tokens", "max_tokens", "task", "sla_s"),
        *("session", "parent", "tenant"),
    ]
    assert frame["task"].isna().tolist() == [False, True, False]
    assert frame["task"].astype(object).tolist()[::2] == ["a", "b"]
    assert frame["sla_s"].tolist()[0] == 1.5
    frame.loc[0, "arrival_s"] = 9.0  # a copy, so writing to it is the caller's right


def test_importing_traces_imports_nothing_heavy() -> None:
    code = (
        "import sys, traces; "
        "print([m for m in ('pandas', 'pyarrow', 'scipy', 'zstandard') if m in sys.modules])"
    )
    done = run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
