"""Autoscaling as users ask for it: what is refused, and that bounds become plain numbers."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict

import numpy as np
import pytest

from policies.scalers import make_scaler
from sim.cluster.autoscale import Autoscale
from sim.options import OptionError

QUEUE = make_scaler("queue(4)")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_replicas": 0}, "max_replicas=0: expected a whole number of at least 1"),
        ({"max_replicas": 2.0}, "max_replicas=2.0: expected a whole number of at least 1"),
        ({"max_replicas": True}, "max_replicas=True: expected a whole number"),
        ({"min_replicas": -1}, "min_replicas=-1: expected a whole number of at least 0"),
        ({"min_replicas": 5}, "max_replicas=4 is below min_replicas=5"),
        ({"interval_s": 0}, "interval_s=0: expected seconds above 0"),
        ({"interval_s": float("nan")}, "interval_s=nan: expected seconds above 0"),
        ({"up_cooldown_s": -1}, "up_cooldown_s=-1: expected seconds of at least 0"),
        ({"down_cooldown_s": 1e9}, "down_cooldown_s=1000000000.0: expected seconds"),
        ({"scaler": "queue(4)"}, "scaler='queue(4)': expected a scaler, see policies.scalers"),
    ],
)
def test_what_can_not_be_meant_is_one_clear_line(change, message):
    with pytest.raises(OptionError) as error:
        Autoscale(**{"scaler": QUEUE, "max_replicas": 4, **change})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_numbers_of_any_kind_become_plain_ones():
    rules = Autoscale(QUEUE, np.int64(4), np.int32(2))
    assert rules == Autoscale(QUEUE, 4, 2)
    assert json.dumps(asdict(rules))


def test_rules_travel_to_other_processes():
    rules = Autoscale(QUEUE, 4)
    assert pickle.loads(pickle.dumps(rules)) == rules
