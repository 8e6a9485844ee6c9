"""Writes the leaderboard into a folder, all of it or nothing."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sim.console import plain
from sim.leaderboard.frames import goodput_frame, label_frame, run_frame, told_frame

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.leaderboard.board import Leaderboard


def write_leaderboard(
    board: Leaderboard, document: Mapping[str, Any], out: Path
) -> tuple[Path, ...]:
    """Write the files of a leaderboard into the folder `out`, which is there.

    goodput.csv, a row for each cell and policy; labels.csv, for each task and tenant too;
    told_wrong.csv, for each untruth; runs.parquet, a row for each run; leaderboard.json,
    `document`.

    Returns
    -------
    tuple of Path
    """
    frames = {
        "goodput.csv": goodput_frame(board),
        "labels.csv": label_frame(board),
        "told_wrong.csv": told_frame(board),
    }
    # Made beside their places and then renamed: a file that is there is whole.
    with TemporaryDirectory(dir=out, prefix=".unfinished-") as folder:
        unfinished = Path(folder)
        for name, frame in frames.items():
            text = frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")
            (unfinished / name).write_bytes(text.encode())
        run_frame(board).to_parquet(unfinished / "runs.parquet", index=False)
        text = json.dumps(plain(document), indent=2, allow_nan=False)
        (unfinished / "leaderboard.json").write_text(f"{text}\n", encoding="utf-8")
        made = [unfinished / name for name in (*frames, "runs.parquet", "leaderboard.json")]
        return tuple(path.replace(out / path.name) for path in made)
