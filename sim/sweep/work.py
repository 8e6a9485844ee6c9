"""What a worker does: run a few cells and send back a line for each."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol

from sim.options import RunOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.result import Result
    from sim.sweep.cells import Cell


class Runner(Protocol):
    """What is made of a cell."""

    def __call__(self, cell: Cell, supply: Supply) -> Mapping[str, Any]:
        """Return what is to be sent back, in JSON's types."""
        ...


class Supply(Protocol):
    """How a worker gets at traces and profiles; it keeps what it has once had."""

    def __call__(self, digest: str) -> Any:
        """Return the trace or profile with this digest."""
        ...


@dataclass(frozen=True)
class Batch:
    """Cells that travel together.

    Attributes
    ----------
    number : int
        Counts the batches of a sweep.
    cells : tuple of Cell
        What to run.
    supply : Supply
        Where the inputs are.
    folder : str
        Where modules of the user's own are looked for, after everything else.
    run : Runner or None
        What is made of each cell; None is `run_cell`.
    """

    number: int
    cells: tuple[Cell, ...]
    supply: Supply
    folder: str
    run: Runner | None = None


@dataclass(frozen=True)
class Line:
    """What became of one cell.

    Attributes
    ----------
    key : str
        The cell's.
    text : str
        What was made of it, as a JSON object; empty for a cell that failed.
    error : str
        Why it failed, in one line; empty for one that did not.
    """

    key: str
    text: str = ""
    error: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a batch.

    Attributes
    ----------
    number : int
        The batch's.
    lines : tuple of Line
        One for each cell.
    worker : str
        Host and process that ran it.
    wall_s, cpu_s : float
        What it took [s].
    """

    number: int
    lines: tuple[Line, ...]
    worker: str
    wall_s: float
    cpu_s: float


def run_batch(batch: Batch) -> Outcome:
    """Run the cells of a batch; one that fails does not keep the others from running."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    if batch.folder not in sys.path:
        sys.path.append(batch.folder)  # last, so that a folder named `traces` hides nothing of ours
    lines = tuple(_line(cell, batch) for cell in batch.cells)
    return Outcome(
        number=batch.number,
        lines=lines,
        worker=f"{socket.gethostname()}:{os.getpid()}",
        wall_s=time.perf_counter() - wall_s,
        cpu_s=time.process_time() - cpu_s,
    )


def _line(cell: Cell, batch: Batch) -> Line:
    try:
        return Line(cell.key, text=json.dumps((batch.run or run_cell)(cell, batch.supply)))
    except (Exception, SystemExit) as error:  # a user's policy may do anything
        return Line(cell.key, error=" ".join(f"{type(error).__name__}: {error}".split()))


def run_cell(cell: Cell, supply: Supply) -> dict[str, Any]:
    """Run one cell.

    Returns
    -------
    dict
        The row of its results in JSON's types: key, what was asked for, the options that the run
        used, and the numbers of `Result.summary` under names with dots.
    """
    return row_of(cell, result_of(cell, supply))


def result_of(cell: Cell, supply: Supply, most: int | None = None) -> Result:
    """Return the result of one cell, of its first `most` requests where that is given."""
    from sim.cluster.fleet import Replica
    from sim.simulation import simulate
    from sim.sweep.build import kinds_of, options_of
    from sim.sweep.requests import requests_of

    setting, digests = cell.setting, cell.digests
    options = options_of(setting)
    profile: Any
    if "fleet" in setting:
        kinds = kinds_of(setting["fleet"])
        first = supply(digests[kinds[0].name])
        profile = [Replica(supply(digests[k.name]), k.count or 1, k.price_per_h) for k in kinds]
    else:
        profile = first = supply(digests[setting["profile"]])
        if "price_per_h" in setting:
            profile = [Replica(first, setting["replicas"], setting["price_per_h"])]
    count = {"replicas": setting["replicas"]} if not isinstance(profile, list) else {}
    trace = requests_of(
        setting,
        supply(digests["trace"]) if "trace" in digests else None,
        supply(digests["sla_profile"]) if "sla_profile" in digests else first,
        options,
    )
    return simulate(
        trace[:most],
        profile,
        policy=setting["policy"],
        seed=setting["seed"],
        **count,
        **vars(options),
    )


def row_of(cell: Cell, result: Result) -> dict[str, Any]:
    """Return the row of a cell's results; what has no value is left out."""
    options = {field.name: getattr(result.options, field.name) for field in fields(RunOptions)}
    used = {name: getattr(value, "label", value) for name, value in options.items()}
    row = {"key": cell.key, **{n: v for n, v in cell.setting.items() if v is not None}}
    row |= {n: v for n, v in used.items() if n not in row and isinstance(v, str | int | float)}
    for name, value in flat(result.summary()):
        if value is not None:
            row[name if name not in row else f"result.{name}"] = value
    return row


def flat(numbers: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return the numbers in nested tables by their path, in their order, NumPy's as Python's."""
    found: list[tuple[str, Any]] = []
    for name, value in numbers.items():
        if hasattr(value, "items"):
            found += flat(value, f"{prefix}{name}.")
        else:
            found.append((prefix + name, value.tolist() if hasattr(value, "tolist") else value))
    return found
