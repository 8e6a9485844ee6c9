"""Suites: what they mean, and what cannot be meant."""

import tomllib

import pytest
from check_cases import SUITE, suite_of, written

from sim.check.guard import Guard
from sim.check.suite import Suite, read_suite
from sim.options import OptionError

STATIC = "static(max_num_seqs=8)"


def one(guard, policies='["saber", "static(8)"]', settings="", top=""):
    return f"""{top}
[[scenario]]
name = "s"
policies = {policies}
{settings}
[[scenario.guard]]
{guard}
"""


def guards(folder, guard):
    return suite_of(folder, one(guard)).guards


def test_a_suite_has_scenarios_with_settings_policies_and_guards(tmp_path):
    suite = suite_of(tmp_path)

    assert (suite.seeds, suite.max_seeds, suite.first_seed, suite.confidence) == (6, 12, 0, 0.95)
    small, other = suite.scenarios
    assert small.name == "small"
    assert small.setting == {"workload": "W1", "rps": 8, "n": 20}
    assert small.policies == ("saber", STATIC)
    assert [guard.name for guard in small.guards] == [
        *("goodput_pct of saber", f"goodput_pct of {STATIC}"),
        *("ttft_s.p99 of saber", f"ttft_s.p99 of {STATIC}"),
    ]
    assert other.guards == (Guard("other", STATIC, "e2e_s.mean", "lower", tolerance=0.1),)
    assert suite.guards == small.guards + other.guards
    assert suite.tail == pytest.approx(0.05 / 2 / 5)


def test_what_a_baseline_has_to_hold(tmp_path):
    [scenario] = suite_of(
        tmp_path,
        one('metric = "goodput_pct"\npolicy = "saber"\nagainst = "static(8)"')
        + '[[scenario.guard]]\nmetric = "preemptions"\npolicy = "saber"\ntolerance = 0\n',
    ).scenarios
    assert scenario.needs() == {"saber": ["preemptions"]}


def test_settings_may_have_parts(tmp_path):
    settings = 'sla = "unloaded*3"\nclients = { timeout_s = 3 }\n[scenario.failures]\n'
    settings += 'outages = "at(5)"'
    [scenario] = suite_of(
        tmp_path, one("metric = 'preemptions'\ntolerance = 0", settings=settings)
    ).scenarios
    assert scenario.setting == {
        "sla": "unloaded*3",
        "clients.timeout_s": 3,
        "failures.outages": "at(5)",
    }


def test_seeds_left_out(tmp_path):
    text = one("metric = 'preemptions'\ntolerance = 0")

    def seeds(top):
        suite = suite_of(tmp_path, f"{top}\n{text}")
        return suite.seeds, suite.max_seeds

    assert seeds("") == (20, 20)
    assert seeds("seeds = 30") == (30, 30)
    assert seeds("max_seeds = 100") == (20, 100)
    assert seeds("max_seeds = 10") == (10, 10)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("tolerance = 1", {"tolerance": 1.0}),
        ('tolerance = "2 %"', {"tolerance": 0.02, "relative": True}),
        ('tolerance = "0.5%"', {"tolerance": 0.005, "relative": True}),
        ("at_least = 3", {"at_least": 3.0}),
        ('tolerance = 1\nagainst = "baseline"', {"tolerance": 1.0}),
        ('against = "static(8)"', {"against": STATIC}),
        ('against = "static(8)"\nat_least = "5 %"',
         {"against": STATIC, "at_least": 0.05, "relative": True}),
        ("against = 70", {"against": "number", "number": 70.0}),
        ("against = 70\ntolerance = 2", {"against": "number", "number": 70.0, "tolerance": 2.0}),
        ('tolerance = 1\nbetter = "same"', {"tolerance": 1.0, "better": "same"}),
    ],
)  # fmt: skip
def test_guards_mean_what_they_say(tmp_path, words, expected):
    found = guards(tmp_path, f'metric = "goodput_pct"\npolicy = "saber"\n{words}')
    assert found == (Guard("s", "saber", "goodput_pct", **{"better": "higher", **expected}),)


def test_a_guard_against_a_policy_guards_the_others(tmp_path):
    [guard] = guards(tmp_path, 'metric = "goodput_pct"\nagainst = "static(8)"')
    assert guard.policy == "saber"


@pytest.mark.parametrize(
    ("metric", "better"),
    [
        ("goodput_pct", "higher"),
        ("throughput_tok_s", "higher"),
        ("ttft_s.p99", "lower"),
        ("statuses.refused", "lower"),
        ("preemptions", "lower"),
        ("by_task.code_qna.goodput_pct", "higher"),
        ("by_task.dotted.name.ttft_s.p50", "lower"),
        ("by_replica.0.e2e_s.p99", "lower"),
    ],
)
def test_the_direction_that_is_good_is_known(tmp_path, metric, better):
    found = guards(tmp_path, f'metric = "{metric}"\ntolerance = 0')
    assert {guard.better for guard in found} == {better}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no scenario: expected at least one, begun by [[scenario]]"),
        ("seed = 3", "unknown key 'seed', did you mean 'seeds'?"),
        ("rps = 3", "unknown key 'rps': it belongs in a [[scenario]], as rps = ..."),
        ("scenario = 3", "no scenario: "),
        ("[[scenario]]\nn = 3", "scenario 1: name is missing: expected a text on one line"),
        ("[[scenario]]\nname = 3", "scenario 1: name = 3: expected a text"),
        (SUITE.replace('"other"', '"small"'), "scenario 'small' is there twice"),
        (SUITE.replace("rps = 8", "rp = 8"), "'small': unknown key 'rp', did you mean 'rps'?"),
        (SUITE.replace("rps = 8", "rps = [8]"), "rps = [8]: expected one value, not a list"),
        (SUITE.replace("rps = 8", "policy = 'saber'"), "expected policies = [...]"),
        (SUITE.replace("rps = 8", "seed = 8"), "unknown key 'seed'"),
        (SUITE.replace("rps = 8", "skip_if_missing = true"), "skip_if_missing = true has no"),
        (SUITE.replace("rps = 8", "skip_if_missing = 1"), "skip_if_missing = 1: expected true or"),
        (SUITE.replace('["static(8)"]', "[]"), 'policies = []: expected a list such as ["saber"'),
        (SUITE.replace('policies = ["static(8)"]', ""), "policies is missing: expected a list"),
        (SUITE.replace('["static(8)"]', '["sabre"]'), "unknown policy 'sabre', did you"),
        (SUITE.replace('["static(8)"]', '["static(8)", "static(max_num_seqs=8)"]'),
         "policies: 'static(max_num_seqs=8)' is there twice"),
        (SUITE.replace("seeds = 6", "seeds = 4", 1), "seeds = 4: expected a whole number from 5"),
        (SUITE.replace("seeds = 6", "seeds = true", 1), "seeds = True: expected a whole number"),
        (SUITE.replace("seeds = 12", "seeds = 5"), "max_seeds = 5 is less than seeds = 6"),
        ("first_seed = -1" + SUITE, "first_seed = -1: expected a whole number from 0"),
        ("confidence = 95" + SUITE, "confidence = 95: expected a number between 0.5 and 1"),
        ("[[scenario", "not a TOML file"),
        ("x = " + "[" * 100_000, "not a TOML file"),
        ('[[scenario]]\nname = "s"\npolicies = ["saber"]', "no guard: expected at least one"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_said_in_one_line(tmp_path, text, message):
    with pytest.raises(OptionError) as caught:
        suite_of(tmp_path, text)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'suite.toml'}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("metric = 'goodput'\ntolerance = 1", "unknown metric 'goodput', did you mean 'goodput_"),
        ("metric = 'by_task.chat'\ntolerance = 1", "expected by_task.NAME. and one of"),
        ("metric = 3", "metric = 3: expected a text, or a list of texts"),
        ("metric = []", "metric is missing: expected such as goodput_pct"),
        ("tolerance = 3", "metric is missing: expected such as goodput_pct"),
        ("metric = 'goodput_pct'\ntolerence = 1", "unknown key 'tolerence', did you mean"),
        ("metric = 'goodput_pct'", "tolerance is missing: expected how much worse"),
        ("metric = 'goodput_pct'\ntolerance = -1", "tolerance = -1: expected a number"),
        ("metric = 'goodput_pct'\ntolerance = '2 points'", "tolerance = '2 points': expected"),
        ("metric = 'goodput_pct'\ntolerance = true", "tolerance = True: expected a number"),
        ("metric = 'goodput_pct'\ntolerance = nan", "tolerance = nan: expected a number"),
        ("metric = 'goodput_pct'\ntolerance = 1e308", "tolerance = 1e+308: expected a number"),
        (f"metric = 'goodput_pct'\ntolerance = '{10**30} %'", "0 %': expected a number"),
        ("metric = 'goodput_pct'\nagainst = -1e308", "against = -1e+308: expected"),
        ("metric = 'goodput_pct'\ntolerance = 1\nat_least = 1", "contradict each other"),
        ("metric = 'goodput_pct'\nat_least = 0", "at_least = 0 asks for nothing"),
        ("metric = 'goodput_pct'\nat_least = 3\nagainst = 70", "put the bound itself into against"),
        ("metric = 'goodput_pct'\ntolerance = '1 %'\nagainst = 0", "tolerance = '1 %' of 0 is 0"),
        ("metric = 'goodput_pct'\nagainst = 'static(9)'", "'static(9)' is no policy of"),
        ("metric = 'goodput_pct'\npolicy = 'saber'\nagainst = 'saber'", "is the guarded policy"),
        ("metric = 'goodput_pct'\nagainst = true", 'against = True: expected "baseline", a policy'),
        ("metric = 'goodput_pct'\ntolerance = 1\nbetter = 'more'", "better = 'more': expected"),
        ("metric = 'goodput_pct'\nat_least = 1\nbetter = 'same'", "contradict each other: give"),
        ("metric = 'goodput_pct'\nagainst = 3\nbetter = 'same'", 'better = "same" needs a toler'),
        ("metric = 'utilisation'\ntolerance = 1", "better is missing: which direction"),
        ("metric = ['goodput_pct', 'goodput_pct']\ntolerance = 1", "is guarded twice"),
    ],
)  # fmt: skip
def test_guards_that_cannot_be_meant(tmp_path, words, message):
    with pytest.raises(OptionError) as caught:
        guards(tmp_path, words)
    assert message in str(caught.value)
    assert "scenario 's': guard 1: " in str(caught.value)


def test_a_missing_file_is_the_systems_to_say(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_suite(tmp_path / "nowhere.toml")


def test_the_example_is_a_suite_and_its_commented_part_is_one_too(tmp_path):
    from importlib.resources import files

    text = files("sim.check").joinpath("example.toml").read_text("utf-8")
    assert isinstance(suite_of(tmp_path, text), Suite)
    start = text.index("# [[scenario]]")
    commented = "".join(
        line.removeprefix("#").removeprefix(" ") for line in text[start:].splitlines(keepends=True)
    )
    assert tomllib.loads(commented)
    [scenario] = read_suite(written(tmp_path, commented)).scenarios
    assert scenario.skip_if_missing
