"""Another version beside the present one: its numbers are its own, and nothing stays behind."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sim.check import against
from sim.check.against import other_version
from sim.options import OptionError

ROOT = Path(__file__).parents[1]
NO_INDEX = ("No matching distribution", "Could not find a version", "Temporary failure in name")

POLICY = """
def policy(view):
    seats = {seats} - view.in_engine
    return [request.id for request in view.queue[:max(0, seats)]]
"""
SUITE = """
seeds = 5

[[scenario]]
name = "small"
n = 20
policies = ["{policy}"]

[[scenario.guard]]
metric = "goodput_pct"
tolerance = 1
"""


def git(folder, *words):
    done = subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, check=True)
    return done.stdout


def commit(folder, message):
    who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
    git(folder, "add", ".")
    git(folder, *who, "commit", "--quiet", "--no-gpg-sign", "-m", message)
    return git(folder, "rev-parse", "HEAD").strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Return a folder with two versions of a policy: 2 seats, then 12; it is the working folder."""
    # The packages are found wherever another version of the policy runs.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    folder = tmp_path / "mine"
    (folder / "checks").mkdir(parents=True)
    git(tmp_path, "init", "--quiet", str(folder))
    (folder / "own.py").write_text(POLICY.format(seats=2))
    commit(folder, "two")
    (folder / "own.py").write_text(POLICY.format(seats=12))
    (folder / "checks" / "suite.toml").write_text(SUITE.format(policy="own:policy"))
    commit(folder, "twelve")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Return the folder that temporary folders are made in."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def values(baseline):
    policies = json.loads(baseline.read_text())["scenarios"]["small"]["values"]
    [[numbers]] = [by_metric.values() for by_metric in policies.values()]
    return numbers


def here(suite, baseline, seeds):
    """Make a baseline with the code that is checked out."""
    command = [sys.executable, "-P", "-m", "sim.cli", "check", suite, "--update-baseline",
               "--baseline", baseline, "--seeds", str(seeds)]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return values(baseline)


def test_a_policy_in_the_repository_is_that_of_the_other_version(repository, tmp_path):
    suite = Path("checks/suite.toml")  # which the other version does not have
    now = here(suite, tmp_path / "now.json", 5)
    with other_version("HEAD~1", suite) as other:
        other.make_baseline(tmp_path / "was.json", 5)
        first = values(tmp_path / "was.json")
        other.make_baseline(tmp_path / "was.json", 8)
    git(repository, "checkout", "--quiet", "HEAD~1", "--", "own.py")
    really = here(suite, tmp_path / "really.json", 8)

    assert other.label == "git:" + git(repository, "rev-parse", "HEAD~1")[:7]
    assert first == really[:5] != now
    assert values(tmp_path / "was.json") == really


def test_modules_searched_for_in_the_repository_are_those_of_the_other_version(
    repository, tmp_path, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(repository)]))
    monkeypatch.chdir(tmp_path)
    was, now = tmp_path / "was.json", tmp_path / "now.json"
    with other_version("HEAD~1", repository / "checks" / "suite.toml") as other:
        other.make_baseline(was, 5)
    here(repository / "checks" / "suite.toml", now, 5)

    assert values(was) != values(now)


@pytest.mark.parametrize("end", [None, OptionError, KeyboardInterrupt, SystemExit])
def test_nothing_stays_and_nothing_of_the_user_changes(repository, scratch, end):
    (repository / "own.py").write_text("changed")
    (repository / "staged.py").write_text("staged")
    git(repository, "add", "staged.py")
    before = git(repository, "status", "--porcelain"), git(repository, "diff", "--cached")
    try:
        with other_version("HEAD~1", repository / "checks" / "suite.toml") as other:
            assert (other.folder / "own.py").read_text() == POLICY.format(seats=2)
            if end is not None:
                raise end("enough")
    except BaseException as raised:
        assert type(raised) is end

    assert (git(repository, "status", "--porcelain"), git(repository, "diff", "--cached")) == before
    assert len(git(repository, "worktree", "list").splitlines()) == 1
    assert list(scratch.iterdir()) == []


def test_from_within_a_hook_the_index_of_the_user_stays(repository, monkeypatch):
    (repository / "staged.py").write_text("staged")
    git(repository, "add", "staged.py")
    index = (repository / ".git" / "index").read_bytes()
    hook = repository / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch '{repository / 'ran'}'\n")
    hook.chmod(0o755)
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(repository / ".git" / "index"))
    with other_version("HEAD~1", repository / "checks" / "suite.toml") as other:
        assert not (other.folder / "staged.py").exists()

    assert (repository / ".git" / "index").read_bytes() == index
    assert not (repository / "ran").exists()


@pytest.mark.parametrize("rev", ["no-such-branch", "--all", "HEAD:own.py", ""])
def test_an_unknown_version_is_one_line(repository, rev):
    with (
        pytest.raises(OptionError, match=f"git:{rev}: there is no such commit in .*mine"),
        other_version(rev, repository / "checks" / "suite.toml"),
    ):
        pass


def test_no_repository_is_one_line(tmp_path):
    (tmp_path / "suite.toml").write_text(SUITE)
    with (
        pytest.raises(OptionError, match="is in no git repository") as raised,
        other_version("HEAD", tmp_path / "suite.toml"),
    ):
        pass

    assert "\n" not in str(raised.value)


def test_no_git_is_one_line(repository, monkeypatch):
    monkeypatch.setenv("PATH", str(repository))
    with (
        pytest.raises(OptionError, match="needs git, which is not installed"),
        other_version("HEAD", repository / "checks" / "suite.toml"),
    ):
        pass


def test_what_the_other_version_says_is_passed_on_in_one_line(repository, tmp_path):
    suite = repository / "checks" / "suite.toml"
    suite.write_text(SUITE.format(policy="own:missing"))
    with (
        pytest.raises(OptionError, match=r"^git:\w{7}: .*own:missing.*missing") as raised,
        other_version("HEAD~1", suite) as other,
    ):
        other.make_baseline(tmp_path / "was.json", 5)

    assert "\n" not in str(raised.value)


def test_a_version_without_the_command_is_told_at_once(repository, scratch, monkeypatch):
    (repository / "pyproject.toml").write_text("[project]\nname = 'sabersim'\n")
    commit(repository, "installable")
    old = repository / "old"
    old.write_text("#!/bin/sh\necho \"saber: error: No such command 'check'\" >&2\nexit 2\n")
    old.chmod(0o755)
    monkeypatch.setattr(against, "_installed", lambda *words: old)
    with (
        pytest.raises(OptionError, match=r"cannot run `saber check` \(No such command 'check'\)"),
        other_version("HEAD", repository / "checks" / "suite.toml"),
    ):
        pass

    assert list(scratch.iterdir()) == []


@pytest.mark.slow
def test_what_cannot_be_installed_is_one_line(repository, capsys):
    (repository / "pyproject.toml").write_text("[project]\nname = 'not a name'\n")
    commit(repository, "broken")
    with (
        pytest.raises(OptionError, match=r"pip install failed: \S") as raised,
        other_version("HEAD", repository / "checks" / "suite.toml"),
    ):
        pass

    assert "\n" not in str(raised.value)
    assert "making an environment for it" in capsys.readouterr().err


@pytest.mark.slow
def test_this_project_against_an_older_version_of_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    folder = tmp_path / "sabersim"
    leave = shutil.ignore_patterns(
        ".*", "build", "dist", "out", "tests", "notebooks", "*.egg-info", "__pycache__"
    )
    shutil.copytree(ROOT, folder, ignore=leave)
    git(tmp_path, "init", "--quiet", str(folder))
    policy = folder / "policies" / "saber.py"
    now = policy.read_text("utf-8")
    planted = "speeds = [speed / 2 for speed in speed_model(profile, self.estimator).table(4096)]"
    snippet = "speeds = speed_model(profile, self.estimator).table(SPEED_TABLE)"
    assert snippet in now
    policy.write_text(now.replace(snippet, planted), "utf-8")
    commit(folder, "older")
    policy.write_text(now, "utf-8")
    commit(folder, "newer")
    (folder / "suite.toml").write_text(SUITE.format(policy="saber"))
    made = {}
    for rev in ("HEAD~1", "HEAD"):
        try:
            with other_version(rev, folder / "suite.toml") as other:
                other.make_baseline(tmp_path / f"{rev}.json", 5)
        except OptionError as error:
            if any(sign in str(error) for sign in NO_INDEX):
                pytest.skip(f"no package index: {error}")
            raise
        made[rev] = values(tmp_path / f"{rev}.json")

    assert made["HEAD"] == here(folder / "suite.toml", tmp_path / "now.json", 5)
    assert made["HEAD~1"] != made["HEAD"]
