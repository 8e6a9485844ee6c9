"""Which misses a page holds: the worst of all, and some of every kind."""

import json

from report_cases import frame, run_with

from sim.report.cells import cells_of, replica_groups, task_groups
from sim.report.misses import REASONS, misses
from sim.report.worst import MOST, MOST_OF_EACH, rows_of, worst

NAN = float("nan")


def shown(requests):
    run = run_with(requests)
    cells = cells_of(requests, task_groups([requests]), replica_groups([requests]))
    found = misses(run)
    return worst(found, cells), cells, run


def test_the_worst_are_kept_and_some_of_every_task_replica_and_reason():
    late = [1000.0 - k for k in range(300)]
    requests = frame(
        met=[False] * 300,
        finished_s=late,
        first_token_s=[0.1] * 290 + [500.0] * 10,
        task=["a"] * 280 + ["b"] * 20,
        replica=[0] * 270 + [1] * 30,
    )
    kept, _, _ = shown(requests)
    ids = kept["id"].tolist()
    assert ids[:MOST] == list(range(MOST))
    assert [k for k in ids if k >= 280][:MOST_OF_EACH] == list(range(280, 280 + MOST_OF_EACH))
    assert [k for k in ids if 270 <= k < 280] == list(range(270, 270 + MOST_OF_EACH))
    assert (kept["reason"] == "waited").sum() == MOST_OF_EACH
    assert len(ids) == MOST + 3 * MOST_OF_EACH


def test_a_row_has_its_phases_and_none_for_what_did_not_come():
    requests = frame(
        arrival_s=[10.0, 20.0],
        admitted_s=[11.0, NAN],
        first_token_s=[11.5, NAN],
        finished_s=[15.0, NAN],
        met=[False, False],
        status=["finished", "timed_out"],
        preemptions=[2, 0],
    )
    kept, cells, run = shown(requests)
    never, slow = rows_of(kept, cells, run)
    assert (slow["held"], slow["wait"], slow["decode"]) == (1.0, 0.5, 3.5)
    assert (slow["late"], slow["limit"], slow["sla"]) == (3.0, "SLA", 2.0)
    assert REASONS[slow["reason"]] == "preempted"
    assert never["status"] == "timed out"
    assert [never[name] for name in ("held", "wait", "decode", "late")] == [None] * 4
    json.dumps([never, slow], allow_nan=False)
