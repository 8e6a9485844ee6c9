"""How the commands talk: results on stdout, everything else on stderr."""

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

STDOUT, STDERR = 1, 2

PIPED_WIDTH = 140
"""Columns of a table that goes to a file or pipe, where there is no terminal to ask."""

MISSING = "-"
"""Stands in tables for a number that does not exist."""

PATIENCE_S = 2.0
"""Work that takes longer than this shows its progress."""


def show_json(document: Mapping[str, Any]) -> None:
    """Print `document` as the one JSON document on stdout; missing numbers become null."""
    print(json.dumps(plain(document), indent=2, allow_nan=False))


@contextmanager
def stdout_for_json(wanted: bool) -> Iterator[None]:
    """Send what others print, a user's policy for one, to stderr: stdout is for the document."""
    if not wanted:
        yield
        return
    # The descriptor too: worker processes inherit it.
    kept = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, STDOUT)
        os.close(kept)


def plain(value: Any) -> Any:
    """Return `value` in JSON's own types: NumPy scalars unwrapped, NaN and infinities None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy scalars and arrays, without importing NumPy
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a title and a table whose first column is text and the others numbers."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, markup=False)
    console.print(title, highlight=False, soft_wrap=True, style="bold")
    console.print(table)


def show(*lines: str) -> None:
    """Print lines on stdout."""
    for line in lines:
        print(line)


def note(message: str) -> None:
    """Print one line on stderr."""
    print(f"saber: {' '.join(message.split())}", file=sys.stderr)


def number(value: float | None, digits: int = 3) -> str:
    """Return `value` with `digits` significant digits and no exponent, or a dash."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def writable(path: Path) -> Path:
    """Return `path` with its parent folders made, so that results never fail to be kept.

    Called before the work starts.

    Raises
    ------
    OSError
        When `path` is a folder or its parent cannot be made.
    """
    if path.is_dir():
        raise IsADirectoryError(21, "is a folder, expected a file name", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def folder(path: Path) -> Path:
    """Return `path` as a folder that is there, so that results never fail to be kept.

    Raises
    ------
    OSError
        When `path` is a file or can not be made.
    """
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(20, "is a file, expected a folder", str(path))
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def progress(label: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr once the work inside takes longer than `PATIENCE_S`.

    Only on a terminal.  Yields the function to call with the number of pieces done; without
    `total` the bar only shows that something is under way.
    """
    if not sys.stderr.isatty():
        yield lambda done: None
        return

    from threading import Timer

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = [TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()]
    if total is not None:
        columns.insert(2, MofNCompleteColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task(label, total=total)
    patience = Timer(PATIENCE_S, bar.start)
    patience.start()
    try:
        yield lambda done: bar.update(task, completed=done)
    finally:
        patience.cancel()
        patience.join()  # cancel() does not wait for a start that has begun
        bar.stop()
