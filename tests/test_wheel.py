"""What users install: the wheel, in an environment of its own, used from an empty folder."""

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OFFLINE = ("No matching distribution", "Could not find a version", "Temporary failure in name")

pytestmark = pytest.mark.slow


def pip(python, *words):
    """Run pip; skip where no package index can be reached."""
    finished = subprocess.run(
        [python, "-m", "pip", *words], capture_output=True, text=True, check=False
    )
    if finished.returncode and any(sign in finished.stderr for sign in OFFLINE):
        pytest.skip(f"no package index: {finished.stderr.splitlines()[-1]}")
    assert finished.returncode == 0, finished.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    # From a copy without former builds: an old build folder would end up in the wheel.
    source = tmp_path_factory.mktemp("source") / "sabersim"
    leave = shutil.ignore_patterns(".*", "build", "dist", "out", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=leave)
    target = tmp_path_factory.mktemp("wheel")
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(target), str(source))
    [built] = target.glob("sabersim-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Return the folder with the programs of an environment that has the wheel and nothing else."""
    home = tmp_path_factory.mktemp("home") / "env"
    venv.create(home, with_pip=True)
    programs = home / ("Scripts" if os.name == "nt" else "bin")
    pip(str(programs / "python"), "install", str(wheel))
    return programs


def test_the_wheel_holds_the_packages_and_the_profiles_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()

    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"traces", "calibrate", "policies", "sim"}
    assert "calibrate/profiles/paper-qwen2.5-coder-3b.json" in names
    assert "sim/study/published.json" in names
    shipped = {name for name in names if name.endswith(".py")}
    packages = ("traces", "calibrate", "policies", "sim")
    ours = {str(path.relative_to(ROOT)) for top in packages for path in (ROOT / top).rglob("*.py")}
    assert shipped == ours
    assert {f"{top}/py.typed" for top in packages} <= set(names)


def test_saber_compare_works_from_an_empty_folder(installed, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    finished = subprocess.run(
        [installed / "saber", "compare", "--n", "20", "--seeds", "2", "--json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr
    document = json.loads(finished.stdout)
    assert len(document["rows"]) == 11
    assert [path.name for path in tmp_path.iterdir()] == ["saber-compare.png"]


def test_the_version_is_the_one_of_the_wheel(installed, wheel, tmp_path):
    finished = subprocess.run(
        [installed / "saber", "--version"], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert finished.stdout.split() == ["saber", wheel.name.split("-")[1]]
