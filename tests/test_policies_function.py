"""Plain functions as policies: what they are shown, and what they may answer."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from calibrate import load_profile
from policies.function import FunctionPolicy
from policies.protocol import NEVER_PS, Choice, Pending, PolicyError, View
from policies.static import Static
from sim import simulate
from traces import workload
from traces.request import Trace

PAPER = load_profile("paper-qwen2.5-coder-3b")
EXAMPLES = Path(__file__).parents[1] / "notebooks" / "examples"

THREE = Trace([0.0, 0.0, 1.0], [10, 20, 30], [5, 5, 5])


def admitted_s(function, trace: Trace = THREE) -> list[float]:
    return simulate(trace, PAPER, function).requests.admitted_s.tolist()


def all_of(view):
    return view.queue


@pytest.mark.parametrize(
    "answer",
    [
        all_of,
        lambda view: list(view.queue),
        lambda view: (request for request in view.queue),
        lambda view: [request.id for request in view.queue],
        lambda view: np.array([request.id for request in view.queue], dtype=int),
        lambda view: {request.id for request in view.queue},
        lambda view: Choice([request.id for request in view.queue]),
    ],
)
def test_a_function_releases_what_it_returns(answer):
    assert admitted_s(answer) == admitted_s(Static(256)) == [0, 0, 1]


@pytest.mark.parametrize("nothing", [None, [], (), Choice()])
def test_a_function_may_release_nothing(nothing):
    result = simulate(THREE, PAPER, lambda view: nothing)
    assert result.summary()["statuses"]["unfinished"] == 3
    assert "3 requests were never released by the policy" in result.warnings


def test_the_queue_holds_what_was_not_released_oldest_first():
    seen = []

    def newest(view):
        seen.append([request.id for request in view.queue])
        return view.queue[-1:] if view.now_s >= 1 else None

    simulate(THREE, PAPER, newest)
    # Two arrivals, the third, which is released; then one at each completion.
    assert seen == [[0], [0, 1], [0, 1, 2], [0, 1], [0], []]


def test_a_choice_may_refuse_demote_and_set_a_timer():
    def later(view):
        ids = [request.id for request in view.queue]
        if view.now_s >= 0.5:
            return Choice(release=ids[1:], refuse=ids[:1])
        return Choice(demote=ids, wake_ps=500_000_000_000)

    r = simulate(THREE, PAPER, later).requests
    # At 0.5 request 0 is refused; request 2, alone at 1, too.
    assert r.status.tolist() == ["refused", "finished", "refused"]
    assert r.admitted_s[1] == 0.5
    assert r.demoted.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda view: [7], "chose request 7, which is not in view.queue"),
        (lambda view: [view.queue[0]] * 2, "chose request 0, which is not in view.queue"),
        (lambda view: Choice([0], refuse=[0]), "chose request 0, which is not in view.queue"),
        (lambda view: 0, "returned 0: expected a Choice, or the requests (or ids) to release"),
        (lambda view: "all", "returned 'all': expected a Choice"),
        (lambda view: [0.5], "returned [0.5]: expected a Choice"),
        (lambda view: ["0"], "returned ['0']: expected a Choice"),
        (lambda view: [None], "returned [None]: expected a Choice"),
        (lambda view: True, "returned True: expected a Choice"),
    ],
)
def test_a_wrong_answer_is_one_clear_line(answer, message):
    with pytest.raises(PolicyError) as error:
        simulate(THREE, PAPER, answer)
    assert message in str(error.value)
    assert str(error.value).startswith("policy <lambda> ")
    assert "\n" not in str(error.value)


def test_an_error_of_the_function_itself_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        simulate(THREE, PAPER, lambda view: 1 / 0)


def test_replicas_and_runs_do_not_share_a_queue():
    sizes = []

    def keep(view):
        sizes.append(len(view.queue))

    for _ in range(2):
        simulate(THREE, PAPER, keep, replicas=3)
    assert sizes == [1] * 6


def test_the_queue_forgets_who_gave_up_and_knows_who_comes_back():
    seen = []

    def keep(view):
        seen.append([(request.id, request.arrival_ps) for request in view.queue])

    decider = FunctionPolicy(keep, "keep").start(np.random.default_rng(0), PAPER)
    view = View(None)
    for now_ps, arrived, cancelled in (
        (0, 0, ()), (1, 1, ()), (2, None, (0,)), (3, 0, ()), (4, None, (7,)),
    ):  # fmt: skip
        view.now_ps, view.cancelled = now_ps, cancelled
        view.arrived = None if arrived is None else Pending(arrived, now_ps, NEVER_PS, 1, 1)
        decider.decide(view)
    back = [(1, 1), (0, 3)]
    assert seen == [[(0, 0)], [(0, 0), (1, 1)], [(1, 1)], back, back]


def test_the_example_of_twenty_lines_works(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    assert len((EXAMPLES / "own_policy.py").read_text().splitlines()) <= 20
    trace = workload("W3", rps=20, n=100, seed=0)
    try:
        result = simulate(trace, PAPER, "own_policy:shortest_first")
        batch = sys.modules["own_policy"].BATCH
    finally:
        sys.modules.pop("own_policy", None)
    assert result.policy == "own_policy:shortest_first"
    assert result.summary()["statuses"]["finished"] == 100
    assert result.accounts[0].peak_batch == batch
    # Of those that wait, the shortest goes first: no long one is released past a short one.
    r = result.requests
    for row in r.itertuples():
        waits = r[(r.arrival_s < row.admitted_s) & (r.admitted_s > row.admitted_s)]
        assert (waits.output_tokens >= row.output_tokens).all()
