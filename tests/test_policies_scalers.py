"""Scalers: how many replicas a load asks for, and what they are called."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.guarded import GuardedScaler
from policies.protocol import PolicyError
from policies.scalers import SCALERS, Goodput, QueueLength, Utilisation, make_scaler
from policies.scalers_schedule import Schedule
from policies.scaling import Load

if TYPE_CHECKING:
    from pathlib import Path

QUIET = Load(
    now_ps=0, taking=4, starting=0, utilisation=0.0, waiting=0, running=0, arrived=0, ended=0, met=0
)
"""Four replicas and nobody there."""


def load(**numbers) -> Load:
    return QUIET._replace(**numbers)


@pytest.mark.parametrize(
    ("text", "scaler"),
    [
        ("utilisation", Utilisation()),
        ("utilisation(0.8, tolerance=0)", Utilisation(target=0.8, tolerance=0)),
        ("queue", QueueLength()),
        ("queue(target=2.5)", QueueLength(2.5)),
        ("goodput(0.9, step=2, idle=0.3)", Goodput(0.9, 2, 0.3)),
        ("schedule('0:2, 28800:6, 64800:2')", Schedule("0:2, 28800:6, 64800:2")),
        ('schedule("0:2,60:1", period_s=120)', Schedule("0:2,60:1", period_s=120)),
    ],
)
def test_a_text_names_a_scaler_and_its_label_names_it_again(text, scaler):
    assert make_scaler(text) == scaler
    assert make_scaler(scaler.label) == scaler
    assert make_scaler(scaler) is scaler


def test_every_name_begins_a_label():
    for name in SCALERS:
        text = f"{name}('0:1')" if name == "schedule" else name
        assert make_scaler(text).label.startswith(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("utilization", "unknown scaler 'utilization', did you mean 'utilisation'?"),
        ("utilisation(0)", "utilisation: target=0: expected a number above 0 and at most 1"),
        ("utilisation(60)", "utilisation: target=60: expected a number above 0 and at most 1"),
        ("utilisation(tolerance=-0.1)", "tolerance=-0.1: expected a number of at least 0"),
        ("queue(0)", "queue: target=0: expected a number above 0"),
        ("queue(few)", "queue: target='few': expected a number above 0"),
        ("goodput(95)", "goodput: target=95: expected a number above 0 and at most 1"),
        ("goodput(step=0)", "goodput: step=0: expected a whole number of at least 1"),
        ("goodput(step=0.5)", "goodput: step=0.5: expected a whole number of at least 1"),
        ("goodput(idle=50)", "goodput: idle=50: expected a number of at least 0 and at most 1"),
        ("schedule", "steps is missing: expected schedule(steps=...)"),
        ("schedule(0:2)", "scaler 'schedule(0:2)': expected a name such as utilisation"),
    ],
)
def test_what_a_text_can_not_mean(text, message):
    with pytest.raises(PolicyError) as error:
        make_scaler(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("utilisation", "desired"),
    [
        (1.0, 7),
        (0.9, 6),
        (0.67, 5),
        (0.66, 4),
        (0.6, 4),
        (0.54, 4),
        (0.53, 4),
        (0.45, 3),
        (0.15, 1),
    ],
)
def test_utilisation_in_proportion_outside_a_band(utilisation, desired):
    # 4 * utilisation / 0.6, rounded up; no change from 0.54 to 0.66.
    assert Utilisation().desired(load(utilisation=utilisation, running=1)) == desired


def test_utilisation_is_rounded_up_but_not_by_rounding_errors():
    # 3 * 0.4 / 0.6 is 2.0000000000000004.
    assert Utilisation().desired(load(taking=3, utilisation=0.4, running=9)) == 2
    assert Utilisation(tolerance=0).desired(load(taking=3, utilisation=0.6, running=9)) == 3


def test_what_starts_is_not_asked_for_again():
    scaler = Utilisation()
    # Six are needed: with two on their way there are six, with one there are five.
    assert scaler.desired(load(utilisation=0.9, starting=2, running=9)) == 6
    assert scaler.desired(load(utilisation=0.9, starting=1, running=9)) == 6
    # What starts is not taken back while the others are above the target, or at it.
    assert scaler.desired(load(utilisation=0.9, starting=4, running=9)) == 8
    assert scaler.desired(load(utilisation=0.6, starting=4, running=9)) == 8
    assert scaler.desired(load(utilisation=0.3, starting=4, running=9)) == 2


@pytest.mark.parametrize(
    ("waiting", "desired"), [(16, 4), (17, 5), (20, 5), (21, 6), (1, 4), (0, 3), (400, 100)]
)
def test_a_queue_grows_in_proportion_and_shrinks_by_one(waiting, desired):
    assert QueueLength().desired(load(waiting=waiting, running=9, utilisation=1.0)) == desired


def test_a_queue_counts_what_starts():
    assert QueueLength().desired(load(waiting=20, starting=2)) == 6
    assert QueueLength().desired(load(waiting=40, starting=2)) == 10
    # Just started, because somebody waited; not to be given up the moment nobody does.
    assert QueueLength().desired(load(waiting=0, starting=2, running=1)) == 6


@pytest.mark.parametrize(
    ("numbers", "desired"),
    [
        ({"ended": 100, "met": 94, "utilisation": 1.0}, 5),
        ({"ended": 100, "met": 95, "utilisation": 1.0}, 4),
        ({"ended": 100, "met": 95, "utilisation": 0.5}, 4),
        ({"ended": 100, "met": 95, "utilisation": 0.49}, 3),
        ({"ended": 100, "met": 95, "utilisation": 0.49, "waiting": 1}, 4),
        ({"ended": 100, "met": 94, "utilisation": 0.1}, 5),
        # What starts has not helped yet.
        ({"ended": 100, "met": 0, "utilisation": 1.0, "starting": 1}, 5),
        ({"ended": 100, "met": 100, "utilisation": 0.1, "starting": 1}, 5),
        # Nothing ended: only idleness says anything.
        ({"utilisation": 1.0}, 4),
        ({"utilisation": 1.0, "waiting": 50}, 4),
        ({"utilisation": 0.1}, 3),
        ({"utilisation": 0.1, "waiting": 1}, 4),
    ],
)
def test_goodput_grows_below_its_target_and_shrinks_when_idle(numbers, desired):
    assert Goodput().desired(load(running=1, **numbers)) == desired


def test_goodput_goes_by_its_step_and_no_rounding_error():
    assert Goodput(step=3).desired(load(ended=10, met=5)) == 7
    assert Goodput(step=3, idle=1).desired(load(ended=10, met=10, running=1)) == 1
    # 0.55 * 100 is 55.00000000000001.
    assert Goodput(target=0.55).desired(load(ended=100, met=55, utilisation=0.9)) == 4


@pytest.mark.parametrize("scaler", [Utilisation(), QueueLength(), Goodput()])
@pytest.mark.parametrize("somebody", ["arrived", "waiting", "running"])
def test_there_is_one_while_there_is_somebody_to_serve(scaler, somebody):
    nobody_there = load(taking=0)
    assert scaler.desired(nobody_there) == 0
    assert scaler.desired(nobody_there._replace(**{somebody: 1})) == 1
    assert scaler.desired(nobody_there._replace(starting=2)) == 2
    one = load(taking=1, utilisation=0.01)
    assert scaler.desired(one._replace(**{somebody: 1})) == 1
    assert scaler.desired(one) == (0 if scaler != Utilisation() else 1)
    assert scaler.desired(one._replace(utilisation=0.0)) == 0


@given(
    st.sampled_from([Utilisation(), QueueLength(), Goodput(), Schedule("0:3")]),
    st.builds(
        Load,
        now_ps=st.integers(0, 10**18),
        taking=st.integers(0, 50),
        starting=st.integers(0, 50),
        utilisation=st.floats(0, 1),
        waiting=st.integers(0, 10**6),
        running=st.integers(0, 10**4),
        arrived=st.integers(0, 10**6),
        ended=st.integers(0, 10**4),
        met=st.integers(0, 10**4),
    ),
)
def test_every_load_has_an_answer(scaler, any_load):
    desired = scaler.desired(any_load)
    assert type(desired) is int
    assert desired >= 0


@given(st.floats(0.05, 1), st.integers(1, 64), st.floats(0.02, 1))
def test_utilisation_is_a_fixed_point_at_its_target(target, taking, work):
    # So much work as `work * taking` replicas do: once there, it stays.
    scaler = Utilisation(target=target)
    first = scaler.desired(load(taking=taking, utilisation=work, running=1))
    spread = min(1.0, work * taking / first)
    if spread < 1:
        again = scaler.desired(load(taking=first, utilisation=spread, running=1))
        assert again == first


MODULE = """
def one_each(load):
    return load.running + load.waiting

def half(load):
    return 0.5

def less(load):
    return -1

def fails(load):
    raise KeyError("oh")

class Mine:
    label = "mine"
    def desired(self, load):
        return 7

mine = Mine()
number = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "own_scalers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("own_scalers", None)


def test_a_scaler_of_a_module(module):
    scaler = make_scaler("own_scalers:mine")
    assert isinstance(scaler, GuardedScaler)
    assert (scaler.label, scaler.desired(QUIET)) == ("mine", 7)
    function = make_scaler("own_scalers:one_each")
    assert (function.label, function.desired(load(running=2))) == ("own_scalers:one_each", 2)
    assert make_scaler(lambda load: np.int64(3)).desired(QUIET) == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("half", "scaler own_scalers:half wants 0.5 replicas: expected a whole number of at least"),
        (
            "less",
            "scaler own_scalers:less wants -1 replicas: expected a whole number of at least 0",
        ),
        ("fails", "scaler own_scalers:fails: its desired failed with KeyError: 'oh' at "),
        ("Mine", "scaler own_scalers:Mine: is a class: name an instance of it"),
        (
            "number",
            "3 is neither a scaler (desired(load)) nor a function of one argument, the load",
        ),
    ],
)
def test_what_goes_wrong_in_a_module_is_one_line(module, name, message):
    with pytest.raises(PolicyError) as error:
        make_scaler(f"own_scalers:{name}").desired(QUIET)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
