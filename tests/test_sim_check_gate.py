"""The gate: seeds are added while a guard is undecided, and a verdict that has fallen stays."""

import numpy as np
import pytest
from check_cases import no_bar

from sim.check.baseline import Meant, Recorded
from sim.check.gate import Gate, changes
from sim.check.guard import Guard
from sim.check.measure import Run
from sim.check.suite import Scenario, Suite
from sim.options import OptionError

MEANT = Meant({"n": 10}, {}, "abc")
SEEDS, MOST = 10, 40


class Runs:
    """A bench of made-up values; what is asked of it is written down."""

    def __init__(self, values, errors=(), stop_at=10**9):
        self.made = []
        self._values = values
        self._errors = dict(errors)
        self._stop_at = stop_at

    def missing(self, wanted, seeds):
        runs = [Run(*what, seed) for what in wanted for seed in range(seeds)]
        return [run for run in runs if run not in self.made]

    def measure(self, runs, on_done):
        for run in runs:
            if run.seed >= self._stop_at:
                raise KeyboardInterrupt
            self.made.append(run)

    def values(self, scenario, policy, metric, seeds):
        return [
            self._values[policy, metric][seed]
            for seed in range(seeds)
            if Run(scenario, policy, seed) in self.made
        ]

    def error(self, scenario, policy, seeds):
        seed, why = self._errors.get(policy, (seeds, ""))
        return (seed, why) if seed < seeds else None

    def seeds(self, policy):
        return sum(run.policy == policy for run in self.made)


def noise(seed, mean=0.0):
    return (mean + np.random.default_rng(seed).standard_normal(MOST)).tolist()


def guard(policy="saber", metric="goodput_pct", **parts):
    return Guard("s", policy, metric, **{"better": "higher", "tolerance": 1.0, **parts})


def recorded(seeds=MOST, **by_policy):
    return Recorded(MEANT, 0, {p: {"goodput_pct": v[:seeds]} for p, v in by_policy.items()}, {})


def gate(runs, guards, baseline, **suite):
    policies = tuple(dict.fromkeys(each.policy for each in guards))
    scenario = Scenario("s", {}, policies, tuple(guards))
    made = Suite(None, (scenario,), **{"seeds": SEEDS, "max_seeds": MOST, **suite})
    return Gate(made, runs, lambda seeds: baseline, "ask for {seeds}", no_bar).judge(guards)


def states(verdicts):
    return [(finding.state, finding.seeds) for finding in verdicts.findings]


def test_what_is_clear_is_decided_at_the_first_look():
    base = noise(0)
    runs = Runs({("saber", "goodput_pct"): base})
    assert states(gate(runs, [guard()], {"s": recorded(saber=base)})) == [("pass", SEEDS)]
    assert runs.seeds("saber") == SEEDS


def test_seeds_are_added_for_the_undecided_alone_and_verdicts_stay():
    values = {
        ("saber", "goodput_pct"): noise(1, -1.1),
        # At the first look far below, later far above: what it said first stays.
        ("edf", "goodput_pct"): [*noise(2, -50)[:SEEDS], *noise(3, 50)[SEEDS:]],
    }
    runs = Runs(values)
    base = {"s": recorded(saber=[0.0] * MOST, edf=[0.0] * MOST)}
    verdicts = gate(runs, [guard("edf"), guard()], base)

    assert states(verdicts)[0] == ("fail", SEEDS)
    assert verdicts.findings[1].seeds > SEEDS
    assert runs.seeds("edf") == SEEDS
    assert runs.seeds("saber") == verdicts.findings[1].seeds


def test_what_is_never_clear_stays_undecided_and_says_how_many_it_would_take():
    runs = Runs({("saber", "goodput_pct"): noise(1, -1.05)})
    [finding] = gate(runs, [guard()], {"s": recorded(saber=[0.0] * MOST)}).findings
    assert (finding.state, finding.seeds) == ("inconclusive", MOST)
    assert finding.needed > MOST


def test_more_guards_ask_for_more():
    # Alone it is decided; among a hundred guards the same values do not tell.
    scatter = np.array(noise(4)[:SEEDS])
    scatter = (scatter - scatter.mean()) / scatter.std(ddof=1)
    values = {("saber", "goodput_pct"): (scatter - 2.15).tolist()}
    base = {"s": recorded(saber=[0.0] * MOST)}
    alone = gate(Runs(values), [guard()], base, max_seeds=SEEDS)
    assert states(alone) == [("fail", SEEDS)]
    many = tuple(guard(against="number", number=-100.0 - i) for i in range(100))
    suite = Suite(None, (Scenario("s", {}, ("saber",), (guard(), *many)),), SEEDS, SEEDS)
    among = Gate(suite, Runs(values), lambda seeds: base, "", no_bar).judge([guard()])
    assert states(among) == [("inconclusive", SEEDS)]


def test_a_baseline_with_too_few_seeds_says_so():
    runs = Runs({("saber", "goodput_pct"): noise(1, -1.05)})
    [finding] = gate(runs, [guard()], {"s": recorded(SEEDS, saber=[0.0] * MOST)}).findings
    assert (finding.state, finding.seeds) == ("inconclusive", SEEDS)
    assert finding.reason == "the baseline holds 10 seeds, 20 are needed: ask for 20"
    assert finding.change == pytest.approx(np.mean(noise(1, -1.05)[:SEEDS]))
    [finding] = gate(runs, [guard()], {"s": recorded(3, saber=[0.0] * MOST)}).findings
    assert (finding.state, finding.change) == ("inconclusive", None)


def test_a_value_that_is_rare_is_waited_for():
    rare = [None] * SEEDS + noise(0)[SEEDS:]
    runs = Runs({("saber", "goodput_pct"): rare})
    [finding] = gate(runs, [guard()], {"s": recorded(saber=rare)}).findings
    assert (finding.state, finding.seeds) == ("pass", 2 * SEEDS)
    late = Runs({("saber", "goodput_pct"): noise(0)})
    [finding] = gate(late, [guard()], {"s": recorded(saber=rare)}).findings
    assert (finding.state, finding.seeds) == ("pass", 2 * SEEDS)
    none = Runs({("saber", "goodput_pct"): [None] * MOST})
    with pytest.raises(OptionError, match="has no value on any seed"):
        gate(none, [guard()], {"s": recorded(saber=[None] * MOST)})
    assert none.seeds("saber") == SEEDS


def test_policies_and_numbers_need_no_baseline():
    base = noise(0)
    runs = Runs({("a", "goodput_pct"): [v + 5 for v in base], ("b", "goodput_pct"): base})
    guards = [
        guard("a", against="b", tolerance=0.0, at_least=3.0),
        guard("b", against="a", tolerance=0.0),
        guard("b", against="number", number=-4.0, tolerance=0.0),
        guard("b", against="number", number=4.0, tolerance=0.0),
    ]
    assert [state for state, _ in states(gate(runs, guards, {}))] == [
        *("pass", "fail", "pass", "fail")
    ]


def test_a_run_that_raises_is_a_regression_of_what_needs_it():
    runs = Runs(
        {("a", "goodput_pct"): [1.0] * MOST, ("b", "goodput_pct"): [1.0] * MOST},
        errors={"b": (3, "RuntimeError: no way")},
    )
    guards = [guard("a"), guard("b"), guard("a", against="b")]
    found = gate(runs, guards, {"s": recorded(a=[1.0] * MOST, b=[1.0] * MOST)}).findings

    assert [finding.state for finding in found] == ["pass", "fail", "fail"]
    assert found[1].reason == "the run of b with seed 3 failed: RuntimeError: no way"
    assert [finding.broken for finding in found] == [False, True, True]


def test_a_run_that_was_never_possible_is_bad_input():
    errors = {"a": (0, "OptionError: max_num_seqs twice")}
    never = guard("a", against="number", number=1.0)
    with pytest.raises(OptionError, match="scenario 's': the run of a with seed 0 failed"):
        gate(Runs({}, errors=errors), [never], {})
    [finding] = gate(
        Runs({}, errors=errors), [guard("a")], {"s": recorded(a=[1.0] * MOST)}
    ).findings
    assert finding.state == "fail"


def test_an_interrupt_leaves_what_was_decided_and_the_means_of_the_rest():
    values = {("saber", "goodput_pct"): noise(1, -1.05), ("edf", "goodput_pct"): noise(2, -50)}
    base = {"s": recorded(saber=[0.0] * MOST, edf=[0.0] * MOST)}
    verdicts = gate(Runs(values, stop_at=13), [guard("edf"), guard()], base)

    assert verdicts.interrupted
    assert states(verdicts) == [("fail", SEEDS), ("incomplete", 13)]
    assert verdicts.findings[1].candidate == pytest.approx(np.mean(noise(1, -1.05)[:13]))


def test_what_the_baseline_does_not_hold_is_noticed():
    def changed(baseline, meant=MEANT, first_seed=0, *guards):
        scenario = Scenario("s", {}, ("saber",), guards or (guard(),))
        return changes([scenario], {"s": meant}, first_seed, baseline)

    held = {"s": recorded(saber=[1.0])}
    assert changed(held) == {}
    assert changed({}) == {"s": "it is new"}
    assert changed(held, Meant({"n": 12}, {}, "b")) == {"s": "n 10 -> 12"}
    assert changed(held, MEANT, 5) == {"s": "first_seed 0 -> 5"}
    new = (guard(metric="preemptions"), guard("edf"))
    assert changed(held, MEANT, 0, *new) == {
        "s": "preemptions of saber is new; goodput_pct of edf is new"
    }
    assert changed({}, MEANT, 0, guard(against="number", number=3.0)) == {}
