"""A trace larger than one wants in memory: read through, and a part of it run, batch by batch.

``python tests/bench_stream.py`` writes a CSV of 16.8 million rows (676 MB, as many rows as the
week of code completions that Azure published in 2024) into a temporary folder, and deletes it;
``--quick`` takes a twentieth of everything.  Each measurement has a process of its own, for its
peak memory.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from bench_measure import PROFILE, Rows, peak_mib

from calibrate import load_profile
from sim.feasible import Unloaded
from sim.options import RunOptions
from sim.streaming.stream import simulate_stream
from traces.batches import Batches, load_batches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from traces.request import Trace

ROWS = 16_800_000
WEEK_S = 7 * 86_400
REPLICAS = 16
PART_ROWS = 1 << 18
MEMORY_RATIO = 1.15
"""How much more memory four times the requests may take."""


def write_trace(path: Path, rows: int) -> None:
    """Write a file in the format of the Azure traces of 2024, a part at a time.

    Requests come in bursts at the mean rate of that week; lengths are log-normal, prompts long and
    answers short, as in code completion.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv as pv

    rng = np.random.default_rng(0)
    gap_s, cv2 = WEEK_S / ROWS, 4.0
    now_us = np.datetime64("2024-05-10T00:00:00", "us").astype(np.int64)
    names = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"]
    kinds = [pa.string(), pa.int64(), pa.int64()]
    options = pv.WriteOptions(quoting_style="none")
    schema = pa.schema(list(zip(names, kinds, strict=True)))
    with pv.CSVWriter(path, schema, write_options=options) as file:
        for start in range(0, rows, PART_ROWS):
            n = min(PART_ROWS, rows - start)
            gaps_s = rng.gamma(1 / cv2, cv2 * gap_s, n)
            times_us = now_us + np.cumsum(np.rint(gaps_s * 1e6).astype(np.int64))
            now_us = times_us[-1]
            written = pa.array(times_us).cast(pa.timestamp("us")).cast(pa.string())
            written = pc.binary_join_element_wise(written, "+00:00", "")
            prompts = np.clip(rng.lognormal(7.2, 0.9, n), 3, 7437).astype(np.int64)
            outputs = np.clip(rng.lognormal(2.6, 1.1, n), 1, 1899).astype(np.int64)
            columns = [written, pa.array(prompts), pa.array(outputs)]
            file.write_batch(pa.record_batch(columns, schema=schema))


@dataclass(frozen=True)
class Beginning:
    """The first rows of a trace in batches, to be read again and again."""

    batches: Batches
    rows: int

    def __iter__(self) -> Iterator[Trace]:
        left = self.rows
        for batch in self.batches:
            yield batch[:left]
            left -= len(batch)
            if left <= 0:
                return


def read_through(path: Path) -> tuple[int, float, float]:
    """Return rows, rows a CPU second and peak MiB of reading a file once."""
    start_s = time.process_time()
    rows = sum(len(batch) for batch in load_batches(path))
    return rows, rows / (time.process_time() - start_s), peak_mib()


def run_beginning(path: Path, rows: int, policy: str) -> tuple[int, float, float]:
    """Return requests, requests a CPU second and peak MiB of a run of the first rows."""
    profile = load_profile(PROFILE)
    engine = Unloaded(profile, RunOptions())
    batches = load_batches(path).with_sla("unloaded*3", profile=engine)
    start_s = time.process_time()
    result = simulate_stream(
        Beginning(batches, rows), profile, policy, replicas=REPLICAS, router="least-tokens"
    )
    rate = result.submitted / (time.process_time() - start_s)
    return result.submitted, rate, peak_mib()


def streams(scale: int) -> None:
    """Measure and print; `scale` divides the rows."""
    rows = Rows(
        f"batch by batch, each in a process of its own; runs on {REPLICAS} replicas behind "
        "least-tokens",
        *("what", "rows", "policy"),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "week.csv"
        start_s = time.perf_counter()
        write_trace(path, ROWS // scale)
        took_s = time.perf_counter() - start_s
        print(
            f"{ROWS // scale:,} rows written: {path.stat().st_size / 1e6:,.0f} MB, {took_s:.0f} s"
        )
        with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
            found, rate, mib = pool.submit(read_through, path).result()
            rows.add("all read once", found, "", rate=rate, mib=mib)
            for policy in ("static(256)", "saber"):
                peaks = []
                for part in (500_000 // scale, 2_000_000 // scale):
                    found, rate, mib = pool.submit(run_beginning, path, part, policy).result()
                    peaks.append(mib)
                    rows.add("beginning run", found, policy, rate=rate, mib=mib)
                if peaks[1] > MEMORY_RATIO * peaks[0]:
                    print(f"{policy}: memory grows from {peaks[0]:.0f} to {peaks[1]:.0f} MiB")
    rows.show()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a twentieth of the rows")
    streams(20 if parser.parse_args().quick else 1)


if __name__ == "__main__":
    main()
