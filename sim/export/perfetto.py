"""A run as a trace that ui.perfetto.dev and chrome://tracing open: the Trace Event Format.

A process stands for a replica.  Counter events show its queues, batch and KV cache (runs with a
timeline), complete events when it was up, nestable asynchronous events its requests with their
phases, instants those that ended badly.  Timestamps are microseconds on the trace's clock.

What the phases are: `held` by the policy, from arrival to release; `waiting + prefill`, from
release to the first token, as a run does not keep when a prompt was first scheduled; `decode`, up
to the last token.  They end when the engine says; the request ends when its client sees it, later
by the client overhead.  A request that was sent more than once shows its last attempt.

Requests that did not finish last until the cluster let them go, or the run stopped.

The format: "Trace Event Format", N. Duca and D. Sinclair, the document that ui.perfetto.dev links.
"""

from __future__ import annotations

import json
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.export.ends import ends_s, overheads_s
from sim.export.files import text_file
from sim.options import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from sim.runfile import Run
    from sim.timeline import Timeline

US_PER_S = 1e6
SUFFIXES = (".json", ".json.gz")
BADLY = ("refused", "failed", "timed_out", "cancelled")
"""Statuses that get an instant of their own, on the replica where the request was last."""

ROWS_AT_ONCE = 1 << 13

PHASES = ("held", "waiting + prefill", "decode")
SAID = (
    "id", "task", "prompt_tokens", "output_tokens", "sla_s", "met", "status", "preemptions",
    "demoted",
)  # fmt: skip
"""Columns of `Run.requests` that are told of every request."""

LANES = ("replica", "ended badly")
"""Threads of a process: when it was up, and the instants."""


def write_perfetto(run: Run, path: Path) -> None:
    """Write a run as Chrome trace JSON; the same run gives the same bytes.

    Parameters
    ----------
    run : Run
        `sim.runfile.read_run` or `sim.runfile.run_of`.
    path : Path
        Ends in ``.json`` or ``.json.gz``.

    Raises
    ------
    OptionError
        In one line, if it does not.
    """
    check_perfetto(path)
    head = {"displayTimeUnit": "ms", "otherData": _about(run)}
    with text_file(path) as file:
        file.write(json.dumps(head)[:-1] + ', "traceEvents": [\n')
        for index, text in enumerate(_events(run)):
            file.write(",\n" + text if index else text)
        file.write("\n]}\n")


def check_perfetto(path: Path) -> None:
    """Raise an OptionError, in one line, unless the name is one of a trace for Perfetto."""
    if not path.name.endswith(SUFFIXES):
        raise OptionError(f"{path}: expected a name that ends in {' or '.join(SUFFIXES)}")


def _about(run: Run) -> dict[str, Any]:
    return {
        "run": run.label,
        "seed": run.seed,
        "clock": "the trace's; 0 is its beginning",
        **run.provenance,
    }


def _events(run: Run) -> Iterator[str]:
    """Yield the events in JSON, one or several with commas."""
    yield from _names(run)
    if run.timeline is not None:
        for replica in range(run.timeline.replicas):
            yield from _counters(run.timeline, replica)
            yield from _periods(run.timeline, replica)
    over_s = ends_s(run)
    for start in range(0, len(run.requests), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        yield from _requests(run.requests[rows], over_s[rows], run)


def _event(phase: str, replica: int, ts_us: float, name: str, **more: Any) -> str:
    event = {"ph": phase, "pid": _pid(replica), "ts": round(ts_us, 3), "name": name, **more}
    return json.dumps(event, separators=(",", ":"))


def _pid(replica: int) -> int:
    """Return the process of a replica; -1 is where requests are that were sent nowhere.

    Process 0 has a meaning of its own in Perfetto.
    """
    return replica + 2


def _lane(replica: int, name: str) -> int:
    """Return the thread of a process, a number that no other process uses."""
    return _pid(replica) * 10 + LANES.index(name)


def _names(run: Run) -> Iterator[str]:
    kinds = [profile.name for profile, count, _ in run.fleet for _ in range(count)]
    labels = {r: f"replica {r} ({kind})" for r, kind in enumerate(kinds)}
    if (run.requests["replica"] < 0).any():
        labels[-1] = "sent nowhere"
    for replica, label in labels.items():
        place = replica if replica >= 0 else len(kinds)
        yield _event("M", replica, 0, "process_name", args={"name": label})
        yield _event("M", replica, 0, "process_sort_index", args={"sort_index": place})
        for name in LANES:
            tid = _lane(replica, name)
            yield _event("M", replica, 0, "thread_name", tid=tid, args={"name": name})


def _counters(timeline: Timeline, replica: int) -> Iterator[str]:
    """Yield the queues and the KV cache where they change, and at the last sample."""
    at_us = timeline.at_s * US_PER_S
    queues = {name: getattr(timeline, name)[replica] for name in ("held", "waiting", "running")}
    usage = {"usage %": np.round(100 * timeline.kv_usage[replica], 3)}
    for name, series in (("requests", queues), ("KV cache", usage)):
        table = np.stack(list(series.values()))
        shown = np.ones(table.shape[1], dtype=bool)
        shown[1:-1] = (table[:, 1:-1] != table[:, :-2]).any(axis=0)
        for k in np.flatnonzero(shown):
            values = dict(zip(series, table[:, k].tolist(), strict=True))
            yield _event("C", replica, float(at_us[k]), name, args=values)


def _periods(timeline: Timeline, replica: int) -> Iterator[str]:
    tid = _lane(replica, "replica")
    for begin_s, end_s in timeline.up_s[replica]:
        begin_us, end_us = begin_s * US_PER_S, end_s * US_PER_S
        dur = round(end_us, 3) - round(begin_us, 3)
        yield _event("X", replica, begin_us, "up", tid=tid, dur=round(dur, 3))


def _requests(frame: pd.DataFrame, over_s: NDArray[np.float64], run: Run) -> Iterator[str]:
    """Yield the slices of each request, and an instant for those that ended badly."""
    late_s = overheads_s(run)[frame["replica"].to_numpy()]
    close_us = over_s * US_PER_S
    marks_us = US_PER_S * np.stack(
        [
            frame["arrival_s"].to_numpy(),
            frame["admitted_s"].to_numpy(),
            frame["first_token_s"].to_numpy() - late_s,
            frame["finished_s"].to_numpy() - late_s,
        ],
        axis=1,
    )
    # Subtracting the overhead must not turn instants round by their last digit.
    rising = np.minimum(np.fmax.accumulate(marks_us, axis=1), close_us[:, np.newaxis])
    marks_us = np.where(np.isnan(marks_us), np.nan, rising)
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    for row, marks, close in zip(rows, marks_us.tolist(), close_us.tolist(), strict=True):
        yield _request(row, marks, close, _said(row, run.reasons))


def _request(row: Mapping[Any, Any], marks: list[float], close: float, args: str) -> str:
    """Return the events of a request; by hand, as most of a trace is these."""
    pid = _pid(row["replica"])
    same = f'"pid":{pid},"cat":"request","id":"{row["id"]:#x}"'
    name = json.dumps(row["task"] or "request")
    events = [f'{{"ph":"b",{same},"ts":{marks[0]:.3f},"name":{name},"args":{args}}}']
    for phase, start, stop in zip(PHASES, marks[:3], marks[1:], strict=True):
        until = close if isnan(stop) else stop  # what did not come is where it was until the end
        if until > start:  # never where the phase itself did not come
            events.append(f'{{"ph":"b",{same},"ts":{start:.3f},"name":"{phase}"}}')
            events.append(f'{{"ph":"e",{same},"ts":{until:.3f},"name":"{phase}"}}')
    events.append(f'{{"ph":"e",{same},"ts":{close:.3f},"name":{name}}}')
    if row["status"] in BADLY:
        lane = f'"pid":{pid},"tid":{_lane(row["replica"], "ended badly")}'
        what = f'"s":"t","name":"{row["status"]}","args":{args}'
        events.append(f'{{"ph":"i",{lane},"ts":{close:.3f},{what}}}')
    return ",\n".join(events)


def _said(row: Mapping[Any, Any], reasons: Mapping[int, str]) -> str:
    """Return what is told of a request, in JSON; null is not known or not promised."""
    said = {name: row[name] for name in SAID}
    if row["finished_s"] is not None:
        said["e2e_s"] = round(row["finished_s"] - row["arrival_s"], 9)
    if row.get("attempts", 1) > 1:
        said["attempts"] = row["attempts"]
    if row["id"] in reasons:
        said["reason"] = reasons[row["id"]]
    return json.dumps(said, separators=(",", ":"))
