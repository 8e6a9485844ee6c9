"""`saber check` as a user types it."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest
from check_cases import TRACE, written

from sim.check.baseline import read_baseline
from sim.cli import main

ROOT = Path(__file__).parents[1]
BASELINE = Path("suite.baseline.json")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    written(tmp_path)


def run(capsys, *argv, jobs="1"):
    """Return exit code, stdout and stderr of one call in this process."""
    code = main(["check", "suite.toml", "--jobs", jobs, *map(str, argv)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def changed(old, new):
    path = Path("suite.toml")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def edited(**values):
    """Write other values of the small scenario's SABER into the baseline."""
    document = json.loads(BASELINE.read_text())
    document["scenarios"]["small"]["values"]["saber"] |= values
    BASELINE.write_text(json.dumps(document))


def test_a_baseline_is_written_and_holds(capsys):
    code, out, _ = run(capsys, "--update-baseline")
    assert (code, out) == (0, "small: new\nother: new\nsuite.baseline.json written\n")
    assert read_baseline(BASELINE)["small"].seeds == 12

    code, out, err = run(capsys)
    assert (code, err) == (0, "")
    assert "No regression: 5 passed of 5 guards" in out
    assert [line.split()[0] for line in out.splitlines() if line.endswith(" pass ")] == [
        *("goodput_pct", "goodput_pct", "ttft_s.p99", "ttft_s.p99", "e2e_s.mean")
    ]


def test_a_regression_is_named_everywhere(capsys):
    run(capsys, "--update-baseline")
    edited(goodput_pct=[200.0] * 12, **{"ttft_s.p99": [1e-3] * 12})
    code, out, _ = run(capsys, "--junit", "out/j.xml", "--markdown", "out/m.md")

    assert code == 1
    assert "FAIL: small: goodput_pct of saber is " in out
    assert "FAIL: small: ttft_s.p99 of saber is " in out
    assert "Regression: 2 failed, 3 passed of 5 guards" in out
    root = ElementTree.parse("out/j.xml").getroot()
    assert (root.get("tests"), root.get("failures")) == ("5", "2")
    assert Path("out/m.md").read_text().startswith("## ❌ Regression: 2 failed, 3 passed")
    assert sorted(each.name for each in Path("out").iterdir()) == ["j.xml", "m.md"]


def test_json_is_one_document_and_the_same_on_any_number_of_workers(capsys):
    run(capsys, "--update-baseline")
    edited(goodput_pct=[200.0] * 12)
    code, out, err = run(capsys, "--json")
    document = json.loads(out)
    assert (code, err) == (1, "")
    assert [guard["outcome"] for guard in document["guards"]] == ["fail", *["pass"] * 4]
    assert document["reference"] == "the baseline"
    assert document["command"] == "saber check suite.toml"

    _, out, _ = run(capsys, "--json", jobs="2")
    assert {**json.loads(out), "wall_s": 0} == {**document, "wall_s": 0}


def test_undecided_guards_are_no_pass(capsys):
    changed('tolerance = "5 %"', "tolerance = 0\nbetter = 'higher'")
    run(capsys, "--update-baseline")
    values = read_baseline(BASELINE)["small"].values["saber"]["goodput_pct"]
    edited(goodput_pct=[v + (8 if i % 2 else -7.5) for i, v in enumerate(values)])
    code, out, _ = run(capsys)

    assert code == 3
    assert "inconclusive: small: goodput_pct of saber is " in out
    assert "over 12 seeds" in out
    assert "more seeds needed, about " in out


def test_a_changed_suite_is_noticed_and_never_compared(capsys):
    run(capsys, "--update-baseline")
    changed("rps = 8", "rps = 9")
    changed("n = 15", 'n = 15\nrouter = "random"')
    code, out, err = run(capsys)

    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "saber: small: rps 8 -> 9",
        "saber: other: router none -> random",
        "saber: error: 2 scenarios cannot be compared, small, other: if that is meant, run saber "
        "check suite.toml --update-baseline",
    ]
    code, out, _ = run(capsys, "--update-baseline")
    assert "small: rps 8 -> 9\nother: router none -> random\n" in out
    assert run(capsys)[0] == 0


def test_a_new_metric_is_noticed(capsys):
    run(capsys, "--update-baseline")
    changed('"e2e_s.mean"', '["e2e_s.mean", "itl_s.p99"]')
    code, _, err = run(capsys)
    assert code == 2
    assert "saber: other: itl_s.p99 of static(max_num_seqs=8) is new\n" in err


def test_an_update_keeps_what_did_not_change(capsys):
    run(capsys, "--update-baseline")
    before = BASELINE.read_bytes()
    code, out, _ = run(capsys, "--update-baseline")
    assert code == 0
    assert out.endswith("suite.baseline.json is up to date: nothing was written\n")
    assert BASELINE.read_bytes() == before

    edited(goodput_pct=[1.0] * 12)
    _, out, _ = run(capsys, "--update-baseline")
    assert "small: goodput_pct of saber: mean 1 -> " in out
    assert ", changed on 12 of 12 seeds\n" in out
    assert "other: as it was\n" in out
    assert BASELINE.read_bytes() == before


def test_an_update_leaves_alone_what_differs_by_rounding(capsys):
    run(capsys, "--update-baseline")
    values = read_baseline(BASELINE)["small"].values["saber"]["ttft_s.p99"]
    rounded = [value * (1 + 1e-11) for value in values]
    assert rounded != values
    edited(**{"ttft_s.p99": rounded, "goodput_pct": [1.0] * 12})
    run(capsys, "--update-baseline")
    held = read_baseline(BASELINE)["small"].values["saber"]
    assert held["ttft_s.p99"] == rounded
    assert held["goodput_pct"] != [1.0] * 12


def test_an_update_adds_seeds_and_never_takes_some(capsys):
    run(capsys, "--update-baseline", "--seeds", "6")
    few = read_baseline(BASELINE)["small"].values["saber"]["ttft_s.p99"]
    _, out, _ = run(capsys, "--update-baseline", "--seeds", "9", "--only", "small")
    assert "small: ttft_s.p99 of saber: 6 -> 9 seeds" in out
    more = read_baseline(BASELINE)
    assert (more["small"].seeds, more["other"].seeds) == (9, 6)
    assert more["small"].values["saber"]["ttft_s.p99"][:6] == few
    run(capsys, "--update-baseline", "--seeds", "6")
    assert read_baseline(BASELINE)["small"].seeds == 9
    edited(goodput_pct=[1.0] * 9)
    run(capsys, "--update-baseline", "--seeds", "6")
    assert read_baseline(BASELINE)["small"] == more["small"]


def test_an_update_drops_what_is_guarded_no_more(capsys):
    run(capsys, "--update-baseline")
    changed('["goodput_pct", "ttft_s.p99"]', '"goodput_pct"')
    text = Path("suite.toml").read_text()
    Path("suite.toml").write_text(text[: text.index('[[scenario]]\nname = "other"')])
    _, out, _ = run(capsys, "--update-baseline")
    assert "small: ttft_s.p99 of saber is guarded no more\n" in out
    assert "other: is gone\n" in out
    assert set(read_baseline(BASELINE)) == {"small"}


def test_a_baseline_with_too_few_seeds_says_how_it_gets_more(capsys):
    run(capsys, "--update-baseline", "--seeds", "3")
    code, out, _ = run(capsys)
    assert code == 3
    assert (
        "the baseline holds 3 seeds, 6 are needed: with the version it was made with, run saber "
        "check suite.toml --update-baseline --seeds 6"
    ) in out


def test_only_some_scenarios(capsys):
    run(capsys, "--update-baseline")
    changed("rps = 8", "rps = 9")
    code, out, _ = run(capsys, "--only", "other")
    assert code == 0
    assert "1 passed of 1 guards" in out
    assert "goodput_pct" not in out


def test_a_baseline_elsewhere(capsys):
    run(capsys, "--update-baseline", "--baseline", "kept/b.json")
    assert not BASELINE.exists()
    assert run(capsys, "--baseline", "kept/b.json")[0] == 0


def test_policies_against_each_other_need_no_baseline(capsys):
    Path("suite.toml").write_text(
        '[[scenario]]\nname = "s"\nn = 20\npolicies = ["static(32)", "static(1)"]\n'
        '[[scenario.guard]]\nmetric = "goodput_pct"\nagainst = "static(1)"\nat_least = 3\n'
        '[[scenario.guard]]\nmetric = "goodput_pct"\npolicy = "static(1)"\nagainst = 90\n'
    )
    code, out, _ = run(capsys)
    assert code == 1
    assert "goodput_pct against" in out
    assert "FAIL: s: goodput_pct of static(max_num_seqs=1) is " in out
    assert "lower than 90 over" in out
    code, _, err = run(capsys, "--baseline", "b.json")
    assert code == 2
    assert (
        "--baseline b.json has no effect: no guard of suite.toml that is asked for compares" in err
    )
    code, _, err = run(capsys, "--update-baseline")
    assert code == 2
    assert "no guard compares with a baseline: there is none to make" in err


def test_a_missing_trace_is_skipped_where_that_is_allowed(capsys):
    Path("a.csv").write_text(TRACE)
    changed("n = 15", 'trace = "a.csv"\nskip_if_missing = true')
    run(capsys, "--update-baseline")
    Path("a.csv").unlink()

    code, out, _ = run(capsys, "--junit", "j.xml", "--markdown", "m.md")
    assert code == 0
    assert "skipped: other: its trace a.csv is not there\n" in out
    assert "4 passed, 1 skipped of 5 guards" in out
    assert ElementTree.parse("j.xml").getroot().get("skipped") == "1"
    assert "- other: its trace a.csv is not there" in Path("m.md").read_text()
    _, out, err = run(capsys, "--json")
    assert json.loads(out)["skipped"][0]["scenario"] == "other"
    assert err == "saber: skipped: other: its trace a.csv is not there\n"

    _, out, _ = run(capsys, "--update-baseline")
    assert "other: its trace a.csv is not there; stays as it was\n" in out
    assert "other" in read_baseline(BASELINE)

    code, out, _ = run(capsys, "--only", "other")
    assert code == 2
    assert out.endswith("Nothing was judged: 1 skipped of 1 guards\n")
    code, out, err = run(capsys, "--update-baseline", "--only", "other", "--baseline", "b.json")
    assert (code, out) == (2, "")
    assert "there is nothing to measure: other: its trace a.csv is not there" in err
    assert not Path("b.json").exists()

    changed("skip_if_missing = true", "")
    code, _, err = run(capsys)
    assert code == 2
    assert "scenario 'other': trace = 'a.csv': there is no file" in err


def test_a_policy_that_comes_to_fail_is_a_regression(capsys):
    Path("own_of_the_check_tests.py").write_text(
        "def all_of_them(view):\n    return [request.id for request in view.queue]\n"
    )
    changed('"saber", ', '"own_of_the_check_tests:all_of_them", ')
    code, out, err = run(capsys, "--update-baseline")
    assert code == 0, err
    Path("own_of_the_check_tests.py").write_text(
        "def all_of_them(view):\n    raise RuntimeError('no way')\n"
    )
    sys.modules.pop("own_of_the_check_tests")
    code, out, _ = run(capsys)
    sys.modules.pop("own_of_the_check_tests")
    assert code == 1
    assert "FAIL: small: goodput_pct of own_of_the_check_tests:all_of_them is not known" in out
    assert "no way" in out
    assert "2 failed, 3 passed" in out

    code, _, err = run(capsys, "--update-baseline")
    assert code == 2
    assert "scenario 'small': the run of own_of_the_check_tests:all_of_them with seed 0" in err


def test_a_metric_without_any_value_is_bad_input(capsys):
    changed('"e2e_s.mean"', '"prefix_hit_pct"')
    for argv in (["--update-baseline"], []):
        code, _, err = run(capsys, *argv, "--only", "other")
        assert code == 2
    assert "there is no baseline" in err
    changed("tolerance = 0.1", "against = 3")
    code, _, err = run(capsys, "--only", "other")
    assert code == 2
    assert "scenario 'other': prefix_hit_pct of static(max_num_seqs=8) has no value on any" in err


class Other:
    """Another version, whose numbers are those of this one but for SABER's goodput."""

    label = "git:abc1234"

    def __init__(self, capsys, gain, **settings):
        self.asked = []
        self._capsys, self._gain, self._settings = capsys, gain, settings

    def make_baseline(self, path, seeds, flags=()):
        self.asked.append((seeds, *flags))
        run(self._capsys, "--update-baseline", "--baseline", path, "--seeds", seeds)
        document = json.loads(path.read_text())
        small = document["scenarios"]["small"]
        values = small["values"]["saber"]["goodput_pct"]
        small["values"]["saber"]["goodput_pct"] = [
            value + gain for value, gain in zip(values, self._gain * len(values), strict=False)
        ]
        small["configuration"] |= self._settings
        small["digest"] += "?" * len(self._settings)
        path.write_text(json.dumps(document))


@pytest.fixture
def other(capsys, monkeypatch):
    """Return a function that says what the other version is like."""

    def like(gain, **settings):
        made = Other(capsys, gain, **settings)

        @contextmanager
        def other_version(rev, suite):
            assert (rev, suite) == ("main", Path("suite.toml"))
            yield made

        monkeypatch.setattr("sim.check.against.other_version", other_version)
        return made

    return like


def test_another_version_of_the_code(capsys, other):
    version = other([20.0])
    code, out, _ = run(capsys, "--against", "git:main", "--json")
    document = json.loads(out)

    assert (code, document["reference"]) == (1, "git:abc1234")
    assert document["guards"][0]["change"]["mean"] == pytest.approx(-20)
    assert [guard["outcome"] for guard in document["guards"]] == ["fail", *["pass"] * 4]
    assert version.asked == [(6, "--jobs", "1")]
    assert not BASELINE.exists()


def test_another_version_is_asked_for_more_seeds_while_a_guard_is_undecided(capsys, other):
    version = other([20.0, -12.0])
    code, out, _ = run(capsys, "--against", "git:main", "--only", "small")
    assert code == 3
    assert "git:abc1234" in out
    assert version.asked == [(n, "--only", "small", "--jobs", "1") for n in (6, 12)]


def test_another_version_that_measures_something_else_is_not_compared(capsys, other):
    other([0.0], rps=9.0)
    code, out, err = run(capsys, "--against", "git:main")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "saber: small: rps 9 -> 8",
        "saber: error: 1 scenario cannot be compared, small: git:main measures something else",
    ]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "suite.baseline.json: there is no baseline: make one with saber check suite.toml"),
        (["--only", "smal"], "--only smal: suite.toml has none, did you mean 'small'?"),
        (["--seeds", "0"], "'0': expected a whole number of at least 1"),
        (["--seeds", "4"], "seeds = 4: expected a whole number from 5"),
        (["--max-seeds", "6", "--seeds", "8"], "--max-seeds 6 is less than --seeds 8"),
        (["--against", "main"], "--against main: expected git:REV, such as git:main"),
        (["--against", "git:"], "--against git:: expected git:REV"),
        (["--against", "git:main", "--baseline", "b"], "--baseline b has no effect with --against"),
        (["--backend", "threads"], "--backend threads: expected loky, dask, ray"),
        (["--address", "tcp://x:1"], "--address tcp://x:1 has no effect with --backend loky"),
        (
            ["--update-baseline", "--against", "git:x"],
            "--against git:x has no effect with --update",
        ),
        (["--update-baseline", "--max-seeds", "9"], "--max-seeds 9 has no effect with --update"),
        (["--update-baseline", "--junit", "j"], "--junit j has no effect with --update-baseline"),
        (["--update-baseline", "--markdown", "m"], "--markdown m has no effect with --update"),
        (["--junit", "."], ".: is a folder, expected a file name"),
        (["--junit", "./suite.toml"], "--junit suite.toml is the SUITE too: expected another name"),
        (["--markdown", "suite.baseline.json"], "suite.baseline.json is the baseline too"),
        (["--markdown", "a", "--junit", "a"], "--markdown a is the --junit too"),
        (["--update-baseline", "--seeds", "100001"], "--seeds 100001: expected at most 100,000"),
    ],
)
def test_mistakes_are_one_line(capsys, argv, message):
    code, out, err = run(capsys, *argv)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_file_that_is_no_suite(capsys):
    assert main(["check"]) == 2
    assert "SUITE is missing: expected a TOML file" in capsys.readouterr().err
    assert main(["check", "nowhere.toml"]) == 2
    assert "nowhere.toml: No such file" in capsys.readouterr().err


def test_the_example_runs(capsys):
    assert main(["check", "--example"]) == 0
    Path("suite.toml").write_text(capsys.readouterr().out)
    changed("max_seeds = 160", "max_seeds = 20")
    assert run(capsys, "--update-baseline")[0] == 0
    code, out, _ = run(capsys)
    assert code in (0, 3)
    assert out.count(" pass") >= 6


def test_an_interrupt_reports_what_is_there_and_writes_nothing_by_half():
    Path("slow_of_the_check_tests.py").write_text(
        "import pathlib, time\n"
        "def slow(view):\n"
        "    pathlib.Path('began').touch()\n"
        "    time.sleep(0.01)\n"
        "    return [request.id for request in view.queue]\n"
    )
    changed('"saber", ', '"slow_of_the_check_tests:slow", ')
    changed("seeds = 6", "seeds = 200")
    changed("max_seeds = 12", "")
    changed('tolerance = "5 %"', "against = 10")
    changed("tolerance = 0.1", "against = 10")

    def interrupted(*argv):
        Path("began").unlink(missing_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sim.cli", "check", "suite.toml", "--jobs", "1", *argv],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while not Path("began").exists():
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
        assert process.returncode == 130, out + err
        assert "Traceback" not in err
        return out

    document = json.loads(interrupted("--json", "--junit", "j.xml"))
    assert (document["outcome"], document["interrupted"]) == ("incomplete", True)
    assert {guard["outcome"] for guard in document["guards"]} == {"incomplete"}
    assert ElementTree.parse("j.xml").getroot().get("errors") == "5"

    changed("against = 10", "tolerance = 0")
    assert interrupted("--update-baseline") == ""
    assert not BASELINE.exists()
    assert not list(Path().glob(".*"))
