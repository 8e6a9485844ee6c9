"""The whole study as `saber figures` makes it, simulated once for all tests that look at it."""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATIENCE_S = 1800


def whole_study(folder: Path) -> Path:
    """Return the folder of the study's files, made by whichever process comes first.

    Test workers share nothing but the file system, and each would simulate it again.
    """
    done, failed = folder / "done", folder / "failed"
    try:
        folder.mkdir()
    except FileExistsError:
        started = time.monotonic()
        while not done.exists():
            assert not failed.exists(), failed.read_text()
            assert time.monotonic() - started < PATIENCE_S, f"{folder}: nobody finishes it"
            time.sleep(0.5)
        return folder / "figures"
    finished = subprocess.run(
        [sys.executable, "-P", "-m", "sim.cli", "figures", "--out", str(folder / "figures")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        failed.write_text(finished.stderr)
    assert finished.returncode == 0, finished.stderr
    (folder / "stdout.txt").write_text(finished.stdout)
    done.touch()
    return folder / "figures"
