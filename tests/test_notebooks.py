"""The notebooks are committed without outputs, listed, and their examples work."""

import importlib
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from calibrate import load_profile
from policies.protocol import PS_PER_S, Pending, View
from sim import simulate
from traces import Trace

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
EXAMPLES = sorted(path.stem for path in (FOLDER / "examples").glob("*.py"))


@pytest.fixture
def examples(monkeypatch):
    """Make the examples importable as for a user who works in their folder."""
    monkeypatch.syspath_prepend(str(FOLDER / "examples"))
    yield
    for name in EXAMPLES:
        sys.modules.pop(name, None)


def cells_of(path):
    return json.loads(path.read_text("utf-8"))["cells"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_committed_as_nbstripout_leaves_them(path):
    for number, cell in enumerate(cells_of(path)):
        assert cell["id"] == str(number)
        assert not cell.get("outputs"), "run nbstripout, or pre-commit, before a commit"
        assert cell.get("execution_count") is None
        assert cell["metadata"] == {}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_number_of_seeds_can_be_set_from_outside(path):
    source = "".join(line for cell in cells_of(path) for line in cell["source"])
    assert re.search(r'SEEDS = int\(os\.environ\.get\("SABER_SEEDS", "\d+"\)\)', source)
    assert "sys.path" not in source


def test_the_readme_lists_every_notebook_and_no_other():
    listed = re.findall(r"^#+ .*\[`(\w+\.ipynb)`\]\(\1\)", (FOLDER / "README.md").read_text(), re.M)
    assert sorted(listed) == [path.name for path in NOTEBOOKS]


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_import_and_say_how_to_try_them(name, examples):
    module = importlib.import_module(name)
    named = re.findall(rf"{name}:(\w+)", module.__doc__)
    assert named
    assert all(hasattr(module, each) for each in named)


def burst(prompt_tokens, sla_s):
    """Return requests that arrive at one instant and ask for ten tokens each."""
    n = len(prompt_tokens)
    return Trace([0.0] * n, prompt_tokens, [10] * n, sla_s=sla_s)


def test_counting_the_prefill_serves_a_part_of_a_burst_where_saber_serves_none(examples):
    # A prompt takes 0.173 s, and no token follows before all that were released are through.
    # SABER requires 7 tokens/s, so it releases all at once, which takes 2.07 s.
    trace = burst([2000] * 12, 1.5)
    profile = load_profile("paper-qwen2.5-coder-3b")
    met = {
        policy: simulate(trace, profile, policy).columns.met.sum()
        for policy in ("saber", "prefill_aware:prefill_aware")
    }
    assert met["saber"] == 0
    # Eight prefills take 1.38 s and nine decode steps 0.11 s more; nine prefills take 1.55 s.
    assert met["prefill_aware:prefill_aware"] == 8


def test_the_own_wait_alone_lets_newcomers_stall_the_others(examples):
    from prefill_aware import PrefillAware

    # The second comes once the first is prefilled, and its prompt would make the first late.
    trace = Trace([0.0, 0.2], [2000, 2000], [10, 10], sla_s=[0.4, 9.0])
    profile = load_profile("paper-qwen2.5-coder-3b")
    careless = simulate(trace, profile, PrefillAware(protect=False)).columns.met
    careful = simulate(trace, profile, PrefillAware()).columns.met
    assert careless.tolist() == [False, True]
    assert careful.tolist() == [True, True]


def test_the_earliest_deadline_goes_first_unless_told_otherwise(examples):
    from prefill_aware import PrefillAware

    # The first occupies the engine; of the two that wait for it one has no time to spare.
    trace = Trace([0.0, 0.01, 0.02], [2000, 2000, 2000], [10, 10, 10], sla_s=[0.3, 2.0, 0.6])
    profile = load_profile("paper-qwen2.5-coder-3b")
    by_deadline = simulate(trace, profile, PrefillAware()).requests["admitted_s"]
    by_arrival = simulate(trace, profile, PrefillAware(by_deadline=False)).requests["admitted_s"]
    assert by_deadline[2] < by_deadline[1]
    assert by_arrival[1] <= by_arrival[2]


def test_requests_without_a_deadline_and_hopeless_ones_finish_too(examples):
    trace = Trace([0.0, 0.0, 0.1], [500, 500, 500], [5, 5, 5], sla_s=[float("nan"), 0.01, 5.0])
    run = simulate(trace, load_profile("paper-qwen2.5-coder-3b"), "prefill_aware:prefill_aware")
    assert (run.requests["status"] == "finished").all()
    assert run.requests["demoted"].tolist() == [False, True, False]


def test_who_cannot_make_it_even_alone_is_given_up_on_arrival(examples):
    # 0.173 s of prefill and 0.096 s of decode: hopeless within 0.2 s, and nobody else is there.
    trace = Trace([1.0], [2000], [10], sla_s=[0.2])
    run = simulate(trace, load_profile("paper-qwen2.5-coder-3b"), "prefill_aware:prefill_aware")
    assert run.requests["demoted"].tolist() == [True]
    assert run.requests["admitted_s"].tolist() == [1.0]


def test_what_the_released_have_generated_counts_for_the_newcomer(examples):
    # Alone the first takes 1.06 s; at 0.8 s a stall of 0.17 s still leaves it in time.
    trace = Trace([0.0, 0.8], [100, 2000], [100, 10], sla_s=[1.5, 9.0])
    run = simulate(trace, load_profile("paper-qwen2.5-coder-3b"), "prefill_aware:prefill_aware")
    assert run.requests["admitted_s"].tolist() == [0.0, 0.8]
    assert run.requests["met"].all()


def test_who_gives_up_leaves_every_queue_and_may_come_back(examples):
    from prefill_aware import PrefillAware

    class Engine:
        def running(self, now_ps):
            return ()

    profile = load_profile("paper-qwen2.5-coder-3b")
    decider, view = PrefillAware().start(np.random.default_rng(0), profile), View(Engine())

    def arrive(request, sla_s, in_engine):
        deadline_ps = view.now_ps + round(sla_s * PS_PER_S)
        view.arrived = Pending(request, view.now_ps, deadline_ps, 2000, 10)
        view.cancelled, view.in_engine = (), in_engine
        return list(decider.decide(view).release)

    def give_up(request, in_engine):
        view.arrived, view.cancelled, view.in_engine = None, (request,), in_engine
        return list(decider.decide(view).release)

    assert arrive(0, 0.3, 0) == [0]
    assert arrive(1, 0.4, 1) == []  # it would stall request 0
    assert arrive(2, 0.1, 1) == []  # hopeless
    assert give_up(1, 1) == give_up(2, 1) == []
    assert give_up(0, 0) == []
    # Nobody is left whom a prompt could stall.
    view.now_ps = PS_PER_S
    assert arrive(1, 0.4, 0) == [1]
