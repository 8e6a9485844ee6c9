"""What a check says: in words, as JUnit's XML, as Markdown, as JSON."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sim.check.guard import Guard
from sim.check.junit import junit
from sim.check.markdown import markdown
from sim.check.report import Finding, Report
from sim.check.wording import allowed, bounds, change, headline, told
from sim.console import plain

PASS = Finding(
    Guard("W1", "saber", "goodput_pct", "higher", tolerance=1.0), "pass", 20, 72.0, 72.0, 0, 0
)
FAIL = Finding(
    Guard("W1", "static(max_num_seqs=8)", "ttft_s.p99", "lower", tolerance=0.05, relative=True),
    *("fail", 40, 4.0, 5.25, 0.5, 2.0),
)
OPEN = Finding(
    Guard("W3 | <b>", "saber", "goodput_pct", "higher", "static(max_num_seqs=8)", at_least=3.0),
    *("inconclusive", 80, 50.0, 53.5, 2.5, 4.5, 300),
)
BROKEN = Finding(PASS.guard, "fail", reason="the run of saber failed: E: \x00bad", broken=True)
SKIPPED = Finding(Guard("T", "saber", "preemptions", "same"), "skipped", reason="no trace")


def report(*findings, **parts):
    about = {
        "suite": Path("a/suite.toml"),
        "findings": findings,
        "skipped": {},
        "reference": "the baseline",
        "confidence": 0.95,
        "versions": {"sabersim": "2", "Python": "3.12"},
        "reference_versions": ({"Python": "3.11", "sabersim": "1"},),
        "command": "saber check a/suite.toml --only 'W3 | <b>'",
        "wall_s": 1.5,
    }
    return Report(**{**about, **parts})


@pytest.mark.parametrize(
    ("parts", "words", "signs"),
    [
        ({"tolerance": 1.0}, "at most 1 lower", "≥ -1"),
        ({"tolerance": 1.0, "better": "lower"}, "at most 1 higher", "≤ +1"),
        ({"tolerance": 0.025, "relative": True}, "at most 2.5 % lower", "≥ -2.5 %"),
        ({"tolerance": 1.0, "better": "same"}, "at most 1 either way", "± 1"),
        ({}, "no lower", "≥ 0"),
        ({"better": "same"}, "no change", "± 0"),
        ({"at_least": 3.0}, "at least 3 higher", "≥ +3"),
        ({"at_least": 3.0, "better": "lower"}, "at least 3 lower", "≤ -3"),
        ({"against": "number", "number": 70.0}, "at least 70", "≥ 70"),
        ({"against": "number", "number": 70.0, "tolerance": 2.0}, "at least 68", "≥ 68"),
        ({"against": "number", "number": 0.5, "better": "lower"}, "at most 0.5", "≤ 0.5"),
        ({"against": "number", "number": 5.0, "tolerance": 1.0, "better": "same"},
         "4 to 6", "4 to 6"),
    ],
)  # fmt: skip
def test_what_is_allowed(parts, words, signs):
    guard = Guard("s", "p", "m", **{"better": "higher", **parts})
    assert allowed(guard) == words
    assert bounds(guard) == signs


def test_findings_in_a_sentence():
    assert told(PASS, "the baseline") == (
        "W1: goodput_pct of saber is 72.00, as the baseline (72.00) over 20 seeds, the same on "
        "every seed; allowed: at most 1 lower"
    )
    assert told(FAIL, "git:main") == (
        "W1: ttft_s.p99 of static(max_num_seqs=8) is 5.250, 1.25 higher than git:main (4.000) over "
        "40 seeds, change +0.500 to +2.00; allowed: at most 5 % higher"
    )
    assert told(OPEN, "").endswith(
        "3.50 higher than static(max_num_seqs=8) (50.00) over 80 seeds, change +2.50 to +4.50; "
        "allowed: at least 3 higher; more seeds needed, about 300: --max-seeds 300"
    )
    assert "is not known: the run of saber failed" in told(BROKEN, "")
    target = replace(FAIL, guard=replace(PASS.guard, against="number", number=4.0))
    assert ", 1.25 higher than 4 over 40 seeds," in told(target, "")
    few = Finding(PASS.guard, "inconclusive", reason="the baseline holds 3 seeds")
    assert told(few, "") == "W1: goodput_pct of saber: the baseline holds 3 seeds"
    assert told(SKIPPED, "") == "T: preemptions of saber was not looked at: no trace"


def test_changes_in_a_table():
    assert change(PASS) == "none"
    assert change(FAIL) == "+1.25 (+0.500 to +2.00)"
    assert change(SKIPPED) == "-"


@pytest.mark.parametrize(
    ("findings", "parts", "line", "code"),
    [
        ([PASS], {}, "No regression: 1 passed of 1 guards", 0),
        ([PASS, SKIPPED], {}, "No regression: 1 passed, 1 skipped of 2 guards", 0),
        ([PASS, FAIL, OPEN], {}, "Regression: 1 failed, 1 inconclusive, 1 passed of 3 guards", 1),
        ([SKIPPED], {}, "Nothing was judged: 1 skipped of 1 guards", 2),
        ([PASS, replace(OPEN, needed=None)], {},
         "Inconclusive: 1 inconclusive, 1 passed of 2 guards", 3),
        ([PASS, OPEN], {},
         "Inconclusive: more seeds needed: 1 inconclusive, 1 passed of 2 guards", 3),
        ([PASS, Finding(OPEN.guard, "incomplete")], {"interrupted": True},
         "Interrupted: 1 not finished, 1 passed of 2 guards", 130),
        ([FAIL, Finding(OPEN.guard, "incomplete")], {"interrupted": True},
         "Regression: 1 failed, 1 not finished of 2 guards", 130),
    ],
)  # fmt: skip
def test_what_it_comes_to(findings, parts, line, code):
    made = report(*findings, **parts)
    assert headline(made) == line
    assert made.exit_code == code


def test_junit_has_a_case_for_each_guard_and_counts_them():
    text = junit(report(PASS, FAIL, BROKEN, OPEN, SKIPPED))
    root = ElementTree.fromstring(text)

    assert root.tag == "testsuites"
    assert {k: root.get(k) for k in ("tests", "failures", "errors", "skipped")} == {
        **{"tests": "5", "failures": "1", "errors": "2", "skipped": "1"}
    }
    suites = {suite.get("name"): suite for suite in root}
    assert {k: suites["W1"].get(k) for k in ("tests", "failures", "errors", "skipped")} == {
        **{"tests": "3", "failures": "1", "errors": "1", "skipped": "0"}
    }
    passed, failed, broken = suites["W1"]
    assert passed.get("classname") == "suite.W1"
    assert passed.get("name") == "goodput_pct of saber"
    assert not [each for each in passed if each.tag in ("failure", "error", "skipped")]
    [failure] = failed
    assert (failure.tag, failure.get("type")) == ("failure", "regression")
    assert failure.get("message") == failure.text == told(FAIL, "the baseline")
    [error] = broken
    assert (error.tag, error.get("type")) == ("error", "run failed")
    assert "?bad" in error.text
    [[undecided]] = suites["W3 | <b>"]
    assert (undecided.tag, undecided.get("type")) == ("error", "inconclusive")
    [[skipped]] = suites["T"]
    assert (skipped.tag, skipped.text) == ("skipped", None)


def test_markdown_says_what_is_wrong_first_and_folds_the_rest_away():
    text = markdown(report(PASS, OPEN, FAIL, SKIPPED, skipped={"T": "no *trace*"}))
    shown, folded = text.split("<details>")

    assert shown.startswith("## ❌ Regression: 1 failed, 1 inconclusive, 1 passed, 1 skipped of 4")
    assert shown.index("ttft\\_s.p99") < shown.index("W3 \\| \\<b\\>")
    assert "- T: no \\*trace\\*" in shown
    assert "72.00" not in shown
    assert "<summary>What held</summary>" in folded
    assert "| W1 | goodput\\_pct of saber | the baseline | 72.00 | 72.00 | none |" in folded
    assert "Checked: sabersim 2, Python 3.12." in folded
    assert "the baseline: sabersim 1, Python 3.11." in folded
    assert text.endswith("```\nsaber check a/suite.toml --only 'W3 | <b>'\n```\n")
    for table in (shown, folded):
        rows = [line for line in table.splitlines() if line.startswith("|")]
        cells = {row.replace("\\|", "").count("|") for row in rows}
        assert cells == {10}


def test_markdown_of_a_pass_has_nothing_but_the_headline_unfolded():
    text = markdown(report(PASS))
    assert text.startswith("## ✅ No regression: 1 passed of 1 guards\n\n<details>\n<summary>All 1")
    assert markdown(report(OPEN)).startswith("## ⚠️ Inconclusive")


def test_markdown_of_a_check_that_judged_nothing_is_a_warning():
    text = markdown(report(SKIPPED, skipped={"T": "no trace"}))
    assert text.startswith("## ⚠️ Nothing was judged: 1 skipped of 1 guards")


def test_markdown_calls_nobody_and_ends_no_block():
    hostile = replace(FAIL, guard=replace(PASS.guard, scenario="- @team #1 <b> ``` x"))
    text = markdown(report(hostile, command="saber check --only '```` x'"))
    assert "- \\- \\@&#8203;team \\#&#8203;1 \\<b\\> \\`\\`\\` x: goodput" in text
    assert text.endswith("\n`````\nsaber check --only '```` x'\n`````\n")
    numbered = replace(FAIL, guard=replace(PASS.guard, scenario="2. x"))
    assert "- 2\\. x: goodput" in markdown(report(numbered))


def test_json_holds_all_of_it():
    document = plain(report(FAIL, SKIPPED, skipped={"T": "no trace"}).to_dict())

    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert (document["outcome"], document["exit_code"]) == ("fail", 1)
    first = document["guards"][0]
    assert first["change"] == {"mean": 1.25, "low": 0.5, "high": 2.0}
    assert (first["scenario"], first["metric"], first["tolerance"]) == ("W1", "ttft_s.p99", 0.05)
    assert document["skipped"] == [{"scenario": "T", "reason": "no trace"}]
