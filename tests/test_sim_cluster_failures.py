"""Failures as users describe them: what a text means, what is refused."""

from __future__ import annotations

import pickle
from dataclasses import asdict

import numpy as np
import pytest

from sim.cluster.failures import Failures, Maintenance, Outage, RandomOutages, parse_failures
from sim.options import LONGEST_S, OptionError


@pytest.mark.parametrize(
    ("text", "outages"),
    [
        ("at(120)", [Outage(120)]),
        ("at(120, replica=1, for_s=60)", [Outage(120, 1, 60)]),
        ("at(120, 1, 60), at(120, 2, 60)", [Outage(120, 1, 60), Outage(120, 2, 60)]),
        ("drain(300, replica=1, for_s=60)", [Maintenance(300, 1, 60)]),
        ("random(3600)", [RandomOutages(3600, 300)]),
        ("random(mtbf_s=3600, repair_s=0)", [RandomOutages(3600, 0)]),
        ("random(1e3),at(0.5)", [RandomOutages(1000), Outage(0.5)]),
    ],
)
def test_what_a_text_means(text, outages):
    assert parse_failures(text) == Failures(outages)
    assert parse_failures(text, "failover") == Failures(tuple(outages), "failover")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "failures '': expected outages separated by commas"),
        ("at(1),,at(2)", "failures 'at(1),,at(2)': expected outages separated by commas"),
        ("at", "failure 'at': at_s is missing: expected at(at_s=...)"),
        ("at(-1)", "at_s=-1: expected seconds of at least 0, up to 9e+06"),
        ("at(9.1e6)", "at_s=9100000.0: expected seconds"),
        ("at(1, for_s=-1)", "for_s=-1: expected seconds"),
        ("at(1, replica=-1)", "replica=-1: expected a whole number of at least 0"),
        ("at(1, replica=0.5)", "replica=0.5: expected a whole number"),
        ("at(1, replicas=0)", "at: unknown parameter 'replicas', did you mean 'replica'?"),
        ("at(x)", "at_s='x': expected seconds"),
        ("at(True)", "at_s=True: expected seconds"),
        ("random(0)", "mtbf_s=0: expected seconds above 0"),
        ("random(60, repair_s=-1)", "repair_s=-1: expected seconds of at least 0"),
        ("random(60), random(70)", "failures: random is given twice: expected it once"),
        ("randm(60)", "unknown failure 'randm', did you mean 'random'?"),
        ("at(1", "failure 'at(1': expected a name such as drain"),
    ],
)
def test_a_text_that_names_no_failure_is_one_clear_line(text, message):
    with pytest.raises(OptionError) as error:
        parse_failures(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("outages", "on_failure", "message"),
    [
        ([Outage(1)], "resume", "on_failure='resume': expected lost, retry, failover"),
        (Outage(1), "retry", "outages=Outage("),
        ("random(60)", "retry", "outages='random(60)': expected a list of Outage, Maintenance and"),
        (["random(60)"], "retry", "see sim.cluster.failures.parse_failures(text)"),
        (None, "retry", "outages=None: expected a list"),
    ],
)
def test_objects_of_the_wrong_kind(outages, on_failure, message):
    with pytest.raises(OptionError) as error:
        Failures(outages, on_failure)
    assert message in str(error.value)


def test_what_is_not_finite_is_refused():
    for value in (float("nan"), float("inf"), None):
        with pytest.raises(OptionError, match="at_s"):
            Outage(value)
        with pytest.raises(OptionError, match="mtbf_s"):
            RandomOutages(value)


def test_scripted_and_random_are_told_apart():
    failures = Failures([Outage(1), RandomOutages(60), Maintenance(2)])
    assert failures.random == RandomOutages(60)
    assert failures.scripted == (Outage(1), Maintenance(2))
    assert Failures([Outage(1)]).random is None
    assert Outage(1).for_s == LONGEST_S


def test_numbers_of_any_kind_and_other_processes():
    failures = Failures([Outage(np.float64(1), np.int64(2)), RandomOutages(60)], "lost")
    assert type(failures.scripted[0].replica) is int
    assert pickle.loads(pickle.dumps(failures)) == failures
    assert asdict(failures)["outages"][0]["replica"] == 2
