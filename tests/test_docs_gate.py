"""What docs/gate.md tells a team to do works: its commands, files and CI examples."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

from sim.cli import app

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "gate.md").read_text()
BLOCKS = re.findall(r"((?:[^\n]+\n)?)\n```(\w*)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
NAMED = re.compile(r"`(\w+\.(?:py|toml))`")
WORKFLOW = yaml.safe_load((ROOT / "docs" / "gate" / "github-actions.yml").read_text())
PRE_COMMIT = yaml.safe_load((ROOT / "docs" / "gate" / "pre-commit-config.yaml").read_text())
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]


def follow(block):
    """Run the commands of a block; each ends as the comment beside it says, or with 0."""
    for line in block.splitlines():
        program, *words = shlex.split(line, comments=True)
        assert program in ("git", "saber")
        # As a user would, in processes of their own: the module is another one the next time.
        command = [program] if program == "git" else [sys.executable, "-P", "-m", "sim.cli"]
        done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
        expected = re.search(r"# exits with (\d)", line)
        said = f"{line}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == int(expected[1] if expected else 0), said


@pytest.mark.slow
def test_a_team_can_do_what_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "A Team")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "team@example.com")
    [first] = re.findall(r"`(git init [^`]*)`", PAGE)
    follow(first)
    for before, language, block in BLOCKS:
        named = NAMED.findall(before)
        if language == "python" and not named:
            exec(block, {})
        elif language:
            Path(named[-1]).write_text(block)
        else:
            follow(block)
    for name in ("comment.md", "check.xml", "trace.json.gz", "metrics.prom", "static.om"):
        assert Path(name).stat().st_size > 500
    assert "Regression" not in Path("comment.md").read_text()


def test_the_page_shows_what_the_example_suite_calls_things():
    suites = [tomllib.loads(block) for _, language, block in BLOCKS if language == "toml"]
    assert [len(suite["scenario"]) for suite in suites] == [1, 1]
    assert suites[0]["seeds"] < suites[0]["max_seeds"]


def flags(command):
    """Return the flags of a command of the tool."""
    found = typer.main.get_command(app)
    for word in command:
        found = found.commands[word]
    return {flag for parameter in found.params for flag in parameter.opts}


def saber_lines(text):
    """Return the words of each call of the tool in a shell text."""
    calls = re.findall(r"^\s*(?:\S*/)?saber (.*)$", text, re.MULTILINE)
    return [shlex.split(call.split("||")[0]) for call in calls]


def check_calls(calls):
    for name, *words in calls:
        given = {word for word in words if word.startswith("--")}
        assert given <= flags([name]), f"saber {name}"


def test_the_workflow_calls_commands_and_flags_that_exist():
    calls = [call for step in STEPS for call in saber_lines(step.get("run", ""))]
    assert [call[0] for call in calls] == ["check", "run", "report"]
    check_calls(calls)
    assert {"--markdown", "--junit"} <= set(calls[0])


def test_the_workflow_keeps_what_it_writes():
    [upload] = [step for step in STEPS if "upload-artifact" in step.get("uses", "")]
    kept = set(upload["with"]["path"].split())
    written = {
        word
        for step in STEPS
        for call in saber_lines(step.get("run", ""))
        for word in call
        if re.fullmatch(r"\w+\.(md|xml|html|json\.gz)", word)
    }
    assert kept == written


def test_only_the_job_that_comments_may_write_and_it_runs_no_code_of_the_change():
    assert WORKFLOW["permissions"] == {}
    check, comment = WORKFLOW["jobs"]["check"], WORKFLOW["jobs"]["comment"]
    assert check["permissions"] == {"contents": "read"}
    assert comment["permissions"] == {"pull-requests": "write"}
    uses = [step.get("uses", "") for step in comment["steps"]]
    assert not [each for each in uses if "checkout" in each]
    [checkout] = [step for step in check["steps"] if "checkout" in step.get("uses", "")]
    assert checkout["with"]["persist-credentials"] is False
    # What anybody can write into a pull request is never part of a script.
    for step in STEPS:
        assert "${{ github.event" not in step.get("run", "")


def test_actions_are_pinned_to_a_major_version():
    used = [step["uses"] for step in STEPS if "uses" in step]
    assert len(used) == 4
    for each in used:
        assert re.fullmatch(r"actions/[a-z-]+@v\d+", each)


@pytest.mark.parametrize("step", [step for step in STEPS if "run" in step], ids=str)
def test_scripts_of_the_workflow_are_shell(step):
    subprocess.run(["bash", "-n"], input=step["run"], text=True, check=True)


def test_the_comment_is_posted_once_and_then_updated(tmp_path):
    """With a stand-in for GitHub's command line."""
    [step] = [step for step in WORKFLOW["jobs"]["comment"]["steps"] if "run" in step]
    fake = tmp_path / "gh"
    fake.write_text('#!/bin/sh\necho "$*" >> calls\ncase "$*" in *--jq*) echo "$MINE";; esac\n')
    fake.chmod(0o755)
    (tmp_path / "comment.md").write_text("## No regression\n")
    for mine, expected in (("", "--method POST there"), ("7\n9", "--method PATCH edit/7")):
        (tmp_path / "calls").write_text("")
        subprocess.run(
            ["bash", "-e", "-c", step["run"]],
            cwd=tmp_path,
            check=True,
            env={
                "PATH": f"{tmp_path}:/usr/bin:/bin",
                "COMMENTS": "there",
                "EDIT": "edit",
                "MINE": mine,
            },
        )
        asked, posted = (tmp_path / "calls").read_text().splitlines()[:2]
        assert "--paginate there" in asked
        assert expected in posted
        body = (tmp_path / "body.md").read_text().splitlines()
        assert body[0].startswith("<!-- ")
        assert body[1] == "## No regression"


def test_the_hook_calls_a_command_that_exists():
    [hook] = HOOKS
    assert saber_lines(hook["entry"]) == [["check"]]
    assert hook["pass_filenames"] is False
    script = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert hook["entry"].split()[0] in script
    [repository] = PRE_COMMIT["repos"]
    [used] = repository["hooks"]
    assert used["id"] == hook["id"]
    assert used["args"] == ["suite.toml"]
    for name in ("own_policy.py", "suite.toml", "suite.baseline.json", "code.csv"):
        assert re.search(used["files"], name)
    assert not re.search(used["files"], "README.md")
