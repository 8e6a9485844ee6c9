"""Counts by task and replica: they add up to the whole, whatever is chosen."""

import numpy as np
from report_cases import frame

from sim.report.cells import (
    MOST_REPLICAS,
    MOST_TASKS,
    cells_of,
    replica_groups,
    sparse,
    task_groups,
)


def unpacked(pairs, length):
    counts, place = [0] * length, -1
    for further, count in zip(pairs[::2], pairs[1::2], strict=True):
        place += further
        counts[place] = count
    return counts


def test_sparse_keeps_what_is_not_zero():
    assert sparse(np.array([0, 0, 3, 0, 1])) == [3, 3, 2, 1]
    assert sparse(np.zeros(4, dtype=int)) == []
    assert unpacked(sparse(np.array([5, 0, 0, 7])), 4) == [5, 0, 0, 7]


def test_tasks_are_ordered_by_how_many_requests_they_have():
    groups = task_groups([frame(task=["b", "a", "a"]), frame(task=["c", "c", "c", "b"])])
    assert groups.labels == ("c", "a", "b")
    assert groups.codes(np.array(["b", "c"])).tolist() == [2, 0]


def test_requests_without_a_task_have_a_group_of_their_own():
    groups = task_groups([frame(task=[None, "a", None])])
    assert groups.labels == ("(no task)", "a")


def test_replicas_are_in_order_and_nowhere_is_last():
    groups = replica_groups([frame(replica=[10, -1, 2, 2, -1, -1])])
    assert groups.labels == ("replica 2", "replica 10", "sent nowhere")


def test_too_many_groups_are_summed_up_and_said_so():
    tasks = [f"t{k:02}" for k in range(MOST_TASKS + 3) for _ in range(k + 1)]
    groups = task_groups([frame(task=tasks)])
    assert len(groups.labels) == MOST_TASKS
    assert groups.labels[0] == f"t{MOST_TASKS + 2:02}"
    assert groups.labels[-1] == "4 other tasks"
    assert groups.others == 4
    assert groups.codes(np.array(["t00"])).tolist() == [MOST_TASKS - 1]
    few = replica_groups([frame(replica=list(range(MOST_REPLICAS)))])
    assert len(few.labels) == MOST_REPLICAS
    assert few.others == 0


def test_cells_are_those_that_have_requests():
    requests = frame(task=["a", "a", "b", "a"], replica=[0, 1, 1, 0])
    cells = cells_of(requests, task_groups([requests]), replica_groups([requests]))
    assert list(zip(cells.task.tolist(), cells.replica.tolist(), strict=True)) == [
        (0, 0), (0, 1), (1, 1)
    ]  # fmt: skip
    assert cells.of.tolist() == [0, 1, 2, 0]
    assert cells.totals(np.array([True, True, False, True])) == [2, 1, 0]


def test_histograms_of_cells_add_up_to_that_of_all():
    rng = np.random.default_rng(0)
    requests = frame(
        task=rng.choice(list("abc"), 500).tolist(), replica=rng.integers(0, 4, 500).tolist()
    )
    cells = cells_of(requests, task_groups([requests]), replica_groups([requests]))
    bins = rng.integers(-1, 7, 500)
    parts = [unpacked(pairs, 7) for pairs in cells.histogram(bins, 7)]
    assert np.sum(parts, axis=0).tolist() == np.bincount(bins[bins >= 0], minlength=7).tolist()
    first = (cells.of == 0) & (bins >= 0)
    assert parts[0] == np.bincount(bins[first], minlength=7).tolist()
