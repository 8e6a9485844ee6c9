"""What a validation leaves in a folder: runs for `saber report`, a row per request, a document."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from policies.protocol import PS_PER_S
from sim.console import plain, writable
from sim.ledger import UNSET
from sim.validate.compare import latencies_s

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from sim.validate.document import Replay, Validated

DOCUMENT, REQUESTS = "validation.json", "requests.csv"


def write_all(
    folder: Path,
    validated: Sequence[Validated],
    document: Mapping[str, Any],
    configuration: Mapping[str, Any],
) -> list[Path]:
    """Write everything into a folder, which is made, and return the files.

    For each policy and repeat `measured-POLICY.parquet` and `simulated-POLICY.parquet`, with
    `-2`, `-3` and so on for further repeats.
    """
    import pandas as pd

    written = []
    frames = []
    for name, each in zip(names_of([v.text for v in validated]), validated, strict=True):
        for replay in each.replays:
            job = replay.done.job
            suffix = f"-{job.repeat + 1}" if job.repeat else ""
            sides = {"measured": replay.pair.measured, "simulated": replay.pair.simulated}
            for side, result in sides.items():
                path = writable(folder / f"{side}-{name}{suffix}.parquet")
                result.save(path, {**configuration, "side": side, "seed": job.seed})
                written.append(path)
            frames.append(_rows(each.policy, replay))
    path = writable(folder / REQUESTS)
    pd.concat(frames, ignore_index=True).to_csv(path, index=False)
    written.append(path)
    path = writable(folder / DOCUMENT)
    path.write_text(json.dumps(plain(document), indent=2, allow_nan=False) + "\n", "utf-8")
    written.append(path)
    return written


def names_of(policies: Sequence[str]) -> list[str]:
    """Return a part of a file's name for each policy, no two alike."""
    names: list[str] = []
    for text in policies:
        name = re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.") or "policy"
        same = sum(re.fullmatch(rf"{re.escape(name)}(~\d+)?", other) is not None for other in names)
        names.append(f"{name}~{same + 1}" if same else name)
    return names


def _rows(policy: str, replay: Replay) -> pd.DataFrame:
    """Return a row per request, both sides in it; times in seconds since the replay began."""
    import pandas as pd

    pair, records = replay.pair, replay.done.replayed.records
    ours, theirs = pair.measured.requests, pair.simulated.requests
    asked = replay.done.job.trace.output_tokens[: len(records)]
    frame = pd.DataFrame(
        {
            "policy": policy,
            "repeat": replay.done.job.repeat + 1,
            "id": ours["id"],
            "task": ours["task"].astype(object),
            "prompt_tokens": ours["prompt_tokens"],
            "output_tokens": ours["output_tokens"],
            "asked_tokens": asked,
            "sla_s": ours["sla_s"],
            "planned_s": [record.planned_ps / PS_PER_S for record in records],
            "arrival_s": ours["arrival_s"],
            "sent_s": [_seconds(record.sent_ps) for record in records],
            "known_s": [_seconds(record.known_ps) for record in records],
            "reason": [record.reason for record in records],
        }
    )
    kept = ("status", "admitted_s", "first_token_s", "finished_s", "met", "demoted")
    for side, requests in (("measured", ours), ("simulated", theirs)):
        for column in kept:
            frame[f"{side}_{column}"] = requests[column].astype(object)
    for side, result in (("measured", pair.measured), ("simulated", pair.simulated)):
        for name, seconds in latencies_s(result.columns).items():
            frame[f"{side}_{name}_s"] = seconds
    return frame


def _seconds(instant_ps: int) -> float:
    return float("nan") if instant_ps == UNSET else instant_ps / PS_PER_S
