"""What a policy is shown: all it may know, and never how long an answer will be."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from calibrate import load_profile
from policies.protocol import NEVER_PS, PS_PER_S, Choice, Pending
from sim import simulate
from traces.request import Trace

PAPER = load_profile("paper-qwen2.5-coder-3b")

# A number that nothing else in a run is.
OUTPUT = 1009
LABELLED = Trace(
    [0.0, 0.25, 0.25, 1.0],
    [11, 12, 13, 14],
    [OUTPUT] * 4,
    max_tokens=[2003, 2011, 2017, 2027],
    sla_s=[30.0, np.nan, 20.0, 60.0],
    task=["translate", None, "translate", "explain"],
    tenant=["a", "b", None, "a"],
    session=None,
)


def reachable(value: object, path: str = "view", depth: int = 0) -> dict[str, object]:
    """Return all that can be read from a value by names without an underscore, and by items."""
    found = {path: value}
    if depth > 6 or value is None or isinstance(value, int | float | str):
        return found
    if isinstance(value, tuple | list):
        for i, item in enumerate(value):
            found |= reachable(item, f"{path}[{i}]", depth + 1)
    for name in dir(value):
        attribute = getattr(value, name)
        if not name.startswith("_") and not callable(attribute):
            found |= reachable(attribute, f"{path}.{name}", depth + 1)
    return found


@pytest.mark.parametrize("leap", [True, False])
def test_nothing_a_policy_can_read_tells_the_output_length(leap):
    names: set[str] = set()
    values: set[object] = set()
    told: list[int] = []

    def curious(view):
        told.extend(view.finished_tokens)
        for path, value in reachable(view).items():
            if "finished_tokens" in path:
                continue
            names.add(path.split(".")[-1].split("[")[0])
            values.add(value if isinstance(value, int | float | str) else None)
        return Choice([r.id for r in view.queue], wake_ps=view.now_ps + PS_PER_S // 7)

    ran = simulate(LABELLED, PAPER, curious, leap=leap, until_s=30.0)
    assert {"max_tokens", "generated_tokens", "in_engine", "deadline_ps", "task"} <= names
    assert not [name for name in names if "output" in name or "remaining" in name]
    # Of a request that still runs there are fewer tokens to see.
    assert OUTPUT not in values
    assert 2003 in values
    # How long an answer was is told once, when it is over.
    assert told == [OUTPUT] * int((ran.requests["status"] == "finished").sum()) != []


def test_a_pending_request_carries_what_the_trace_knows():
    seen: list[Pending] = []

    def keep(view):
        if view.arrived is not None:
            seen.append(view.arrived)
        return view.queue

    simulate(LABELLED, PAPER, keep)
    s = PS_PER_S
    assert seen == [
        Pending(0, 0, 30 * s, 11, 2003, "translate", "a", ""),
        Pending(1, s // 4, NEVER_PS, 12, 2011, "", "b", ""),
        Pending(2, s // 4, 20 * s + s // 4, 13, 2017, "translate", "", ""),
        Pending(3, s, 61 * s, 14, 2027, "explain", "a", ""),
    ]
    assert [r.arrival_s for r in seen] == [0.0, 0.25, 0.25, 1.0]
    assert [r.deadline_s for r in seen] == [30.0, inf, 20.25, 61.0]


def test_a_deadline_beyond_the_clock_never_comes():
    seen: list[int] = []

    def keep(view):
        seen.extend(r.deadline_ps for r in view.queue)
        return view.queue

    simulate(Trace([5e6], [10], [5], sla_s=[8e6]), PAPER, keep)
    assert seen == [NEVER_PS]


def test_the_view_tells_who_runs_and_who_waits():
    views = []

    def look(view):
        running = [(r.id, r.prompt_tokens, r.generated_tokens) for r in view.running]
        views.append((view.now_s, view.in_engine, running, list(view.waiting_ids)))
        return view.queue

    # A prefill of 10 and one of 20 tokens, then steps of batch 2; one seat is missing.
    trace = Trace([0.0, 0.0, 0.0, 0.05], [10, 10, 10, 10], [50, 50, 50, 50])
    simulate(trace, PAPER, look, max_num_seqs=2)
    assert views[:3] == [(0.0, 0, [], []), (0.0, 1, [], [0]), (0.0, 2, [], [0, 1])]
    now_s, in_engine, running, waiting = views[3]
    # After 0.54 + 20 * 0.0861 = 2.26 ms of prefill, 47.7 ms hold 4 steps of 10.79 ms.
    assert (now_s, in_engine, running, waiting) == (0.05, 3, [(0, 10, 5), (1, 10, 5)], [2])
