"""Another version of the code, checked out and run beside this one."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sim import console
from sim.options import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LOCATIONS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR")
"""Set where a hook of git runs: they would have git write into the user's index."""


@dataclass(frozen=True)
class OtherVersion:
    """A version that can be asked for its numbers.

    Attributes
    ----------
    label : str
        What it is called, such as ``git:abc1234``.
    suite : Path
        The file of the present checkout that it is asked about.
    python : Path
        The interpreter that finds its packages.
    folder : Path
        Where it runs, and ``module:object`` is looked for.
    environment : mapping of str to str
        Environment variables it runs with.
    """

    label: str
    suite: Path
    python: Path
    folder: Path
    environment: Mapping[str, str] = field(repr=False)

    def make_baseline(self, path: Path, seeds: int, flags: Sequence[str] = ()) -> None:
        """Write a baseline, or extend the one that is there.

        Parameters
        ----------
        path : Path
            The file.
        seeds : int
            How many it is to have.
        flags : sequence of str
            More for the command line, such as ``--only`` and a scenario.

        Raises
        ------
        OptionError
            If that version cannot do it; in its own words, in one line.
        """
        words = ["--update-baseline", "--baseline", str(path.absolute()), "--seeds", str(seeds)]
        done = self.saber("check", str(self.suite), *words, *flags)
        if done.returncode:
            said = _last_line(done.stderr) or f"ended with code {done.returncode}"
            raise OptionError(f"{self.label}: {said}")

    def saber(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Return what that version's command line answered."""
        # Without -P the working folder would be searched first, and hide packages of ours.
        command = [str(self.python), "-P", "-m", "sim.cli", *words]
        return _run(command, cwd=self.folder, env=self.environment)


@contextmanager
def other_version(rev: str, suite: Path) -> Iterator[OtherVersion]:
    """Yield another version of the code that a suite is about, ready to run.

    It is checked out into a temporary folder, which is gone at the end, whatever happens; the
    checkout and the index of the user stay as they are.  What can be installed gets an environment
    of its own, which takes the libraries of this one where they satisfy it.  A repository with no
    more than modules for ``module:object`` is run by this very version, in its folder.

    Parameters
    ----------
    rev : str
        As git names a commit: a branch, a tag, ``HEAD~1``.
    suite : Path
        A file in a git repository.

    Raises
    ------
    OptionError
        In one line: there is no such repository or commit, it cannot be installed, or it has no
        ``saber check``.
    """
    suite = suite.absolute()
    top = _repository(suite)
    commit = _commit(top, rev)
    label = f"git:{commit[:7]}"
    with (
        tempfile.TemporaryDirectory(prefix="saber-against-", ignore_cleanup_errors=True) as scratch,
        _worktree(top, commit, Path(scratch) / "tree") as tree,
    ):
        environment = _environment(top, tree)
        project = _project(tree, _moved(suite.parent, top, tree))
        if project is None:
            python = Path(sys.executable)
        else:
            console.note(f"{label}: making an environment for it, which may take a minute")
            python = _installed(project, Path(scratch) / "home", environment, label)
        folder = _moved(Path.cwd(), top, tree)
        other = OtherVersion(
            label=label,
            suite=suite,
            python=python,
            folder=folder if folder.is_relative_to(tree) and folder.is_dir() else tree,
            environment=environment,
        )
        tried = other.saber("check", "--help")
        if tried.returncode:
            raise OptionError(
                f"{label} cannot run `saber check` ({_last_line(tried.stderr)}): name a version "
                "that can"
            )
        yield other


def _repository(suite: Path) -> Path:
    """Return the top folder of the repository that holds a suite."""
    if not suite.is_file():
        raise OptionError(f"{suite}: there is no such file")
    done = _git(suite.parent, "rev-parse", "--show-toplevel")
    if done.returncode:
        raise OptionError(
            f"{suite.parent} is in no git repository that can be read ({_last_line(done.stderr)}): "
            "--against git:REV needs the suite to be in one"
        )
    return Path(done.stdout.rstrip("\n"))


def _commit(top: Path, rev: str) -> str:
    done = _git(top, "rev-parse", "--verify", "--quiet", f"{rev}^{{commit}}")
    if done.returncode:
        raise OptionError(
            f"git:{rev}: there is no such commit in {top}: expected a branch, a tag or a commit "
            "that git log shows; one of another repository has to be fetched first"
        )
    return done.stdout.strip()


@contextmanager
def _worktree(top: Path, commit: str, tree: Path) -> Iterator[Path]:
    # Hooks are for the user's own checkouts.
    quietly = ("-c", f"core.hooksPath={os.devnull}", "worktree")
    try:
        done = _git(top, *quietly, "add", "--detach", str(tree), commit)
        if done.returncode:
            raise OptionError(f"git:{commit[:7]} cannot be checked out: {_last_line(done.stderr)}")
        yield tree
    finally:
        _git(top, *quietly, "remove", "--force", "--force", str(tree))


def _project(tree: Path, folder: Path) -> Path | None:
    """Return the folder from this one upwards, within `tree`, that pip can install."""
    for each in (folder, *folder.parents):
        if not each.is_relative_to(tree):
            return None
        if (each / "setup.py").is_file():
            return each
        try:
            described = tomllib.loads((each / "pyproject.toml").read_text("utf-8"))
        except OSError:
            continue
        except ValueError:  # no TOML: pip will say what is wrong with it
            return each
        if "project" in described or "build-system" in described:
            return each
    return None


def _installed(project: Path, home: Path, environment: dict[str, str], label: str) -> Path:
    """Return the interpreter of a new environment in which `project` is installed."""
    made = _run([sys.executable, "-P", "-m", "venv", str(home)])
    if made.returncode:
        why = _last_line(made.stderr) or _last_line(made.stdout)
        raise OptionError(f"{label}: python -m venv failed: {why}")
    places = {"base": str(home), "platbase": str(home)}
    _borrow(Path(sysconfig.get_path("purelib", "venv", vars=places)), environment)
    python = Path(sysconfig.get_path("scripts", "venv", vars=places)) / "python"
    words = ["--quiet", "--disable-pip-version-check", "--no-input", str(project)]
    done = _run([str(python), "-P", "-m", "pip", "install", *words], env=environment)
    if done.returncode:
        raise OptionError(f"{label}: pip install failed: {_last_line(done.stderr)}")
    return python


def _borrow(site: Path, environment: dict[str, str]) -> None:
    """Let an environment find, after its own packages, those of the one that runs now.

    What is installed here for editing is not found, but for the packages of this project.
    """
    # Before its own packages, modules that are searched for everywhere would hide them.
    searched = [path for path in environment.pop("PYTHONPATH", "").split(os.pathsep) if path]
    ours = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    here = str(Path(__file__).resolve().parents[2])
    lines = [f"{path}\n" for path in (*searched, *ours, here)]
    (site / "borrowed.pth").write_text("".join(lines), "utf-8")


def _environment(top: Path, tree: Path) -> dict[str, str]:
    """Return this process's environment, with modules looked for in `tree` in place of `top`."""
    environment = {name: value for name, value in os.environ.items() if name not in LOCATIONS}
    searched = environment.pop("PYTHONPATH", "")
    if searched:
        moved = [str(_moved(Path(p).absolute(), top, tree)) for p in searched.split(os.pathsep)]
        environment["PYTHONPATH"] = os.pathsep.join(moved)
    return environment


def _moved(path: Path, top: Path, tree: Path) -> Path:
    """Return where a path of the repository is in another checkout; others as they are."""
    resolved, top = path.resolve(), top.resolve()
    return tree / resolved.relative_to(top) if resolved.is_relative_to(top) else path


def _git(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in LOCATIONS}
    try:
        return _run(["git", "-C", str(folder), *words], env=environment)
    except FileNotFoundError:
        raise OptionError("--against git:REV needs git, which is not installed") from None


def _run(
    command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False,
        text=True, encoding="utf-8", errors="replace",
    )  # fmt: skip


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("saber: ").removeprefix("error: ") if lines else ""
