"""Where batches run: in this process, in worker processes, on a Dask or a Ray cluster."""

from __future__ import annotations

import os
import pickle
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, simplefilter

from sim.options import OptionError
from sim.sweep.work import run_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sim.sweep.work import Batch, Outcome, Supply

BACKENDS = ("loky", "dask", "ray")
IDLE_S = 30
"""Workers without work end after so long."""

WATCH_S = 1.0
"""How often a worker looks whether the process it works for is still there."""

WAVE = 16
"""Batches a worker gets at a time where joblib has no results before all are there."""


class WorkersLost(OptionError):
    """There are no workers any more, nor will there be."""


@dataclass(frozen=True)
class Pool:
    """Workers.

    Attributes
    ----------
    workers : int
        How many run at once.
    supply : Supply
        How they get at traces and profiles.
    run : callable
        Yields what becomes of batches, in any order, as soon as it is there.
    apart : bool
        Whether a worker's death leaves this process alive.
    """

    workers: int
    supply: Supply
    run: Callable[[Iterable[Batch]], Iterator[Outcome]]
    apart: bool = True


@contextmanager
def opened_pool(
    backend: str,
    jobs: int,
    address: str | None,
    objects: Mapping[str, Any],
    scratch: Path | None = None,
) -> Iterator[Pool]:
    """Open workers that have some traces and profiles at hand.

    Parameters
    ----------
    backend : {"loky", "dask", "ray"}
        Processes of this machine, or a cluster.
    jobs : int
        Processes, -1 for one a core; of a cluster that is there already its own.
    address : str or None
        Of a cluster; None starts one on this machine.
    objects : mapping of str to Trace or Profile
        By digest.
    scratch : Path, optional
        Where processes of this machine may find them, the system's own place by default.

    Raises
    ------
    OptionError
        If the backend's library is not installed, or no cluster answers.
    """
    check_pool(backend, jobs, address)
    with ExitStack() as stack:
        if backend == "dask":
            from sim.sweep.on_dask import dask_pool

            yield stack.enter_context(dask_pool(jobs, address, objects))
        elif backend == "ray":
            from sim.sweep.on_ray import ray_pool

            yield stack.enter_context(ray_pool(jobs, address, objects))
        else:
            yield stack.enter_context(_loky_pool(jobs, objects, scratch))


def check_pool(backend: str, jobs: int, address: str | None) -> None:
    """Refuse what cannot be opened, before any work is done.

    Raises
    ------
    OptionError
        In one line.
    """
    from importlib.util import find_spec

    if backend not in BACKENDS:
        raise OptionError(f"--backend {backend}: expected {', '.join(BACKENDS)}")
    if jobs == 0 or jobs < -1:
        raise OptionError(f"--jobs {jobs}: expected at least 1, or -1 for one a core")
    if address is not None and backend == "loky":
        raise OptionError(
            f"--address {address} has no effect with --backend loky: name dask or ray"
        )
    if address is not None and jobs != -1:
        raise OptionError(
            f"--jobs {jobs} has no effect with --address {address}: the cluster has its workers"
        )
    library = {"dask": "distributed", "ray": "ray"}.get(backend)
    if library is not None and find_spec(library) is None:
        raise OptionError(
            f"--backend {backend} needs {library}, which is not installed: "
            f'python -m pip install "sabersim[{backend}]"'
        )


def in_parallel(batches: Iterable[Batch], **where: Any) -> Iterator[Outcome]:
    """Yield what joblib makes of batches, in any order; `where` is for `joblib.Parallel`."""
    from joblib import Parallel, delayed

    outcomes = Parallel(return_as="generator_unordered", batch_size=1, **where)(
        delayed(run_batch)(batch) for batch in batches
    )
    try:
        yield from islice(outcomes, None)  # itself, `yield from` would close them before we do
    finally:
        # When it is cut short, nobody needs to hear that workers had more to give.
        with catch_warnings():
            simplefilter("ignore")
            outcomes.close()


def in_waves(batches: Iterable[Batch], workers: int, **where: Any) -> Iterator[Outcome]:
    """Yield what joblib makes of batches where it returns lists only: some batches at a time."""
    from joblib import Parallel, delayed

    rest, size = iter(batches), workers
    while wave := list(islice(rest, size)):
        yield from Parallel(n_jobs=workers, batch_size=1, **where)(
            delayed(run_batch)(batch) for batch in wave
        )
        size = WAVE * workers


def core_count(jobs: int) -> int:
    """Return a number of workers, one for each core this process may use where it is -1."""
    from joblib import cpu_count

    return int(cpu_count()) if jobs == -1 else jobs


@dataclass(frozen=True)
class InMemory:
    """Inputs of this very process."""

    objects: Mapping[str, Any]

    def __call__(self, digest: str) -> Any:
        """Return the input."""
        return self.objects[digest]


@dataclass(frozen=True)
class InFolder:
    """Inputs in files that workers of this machine read once each."""

    folder: str

    def __call__(self, digest: str) -> Any:
        """Return the input."""
        return _unpickled(str(Path(self.folder) / digest))


@lru_cache(maxsize=256)
def _unpickled(path: str) -> Any:
    with open(path, "rb") as file:
        return pickle.load(file)


@contextmanager
def _loky_pool(jobs: int, objects: Mapping[str, Any], scratch: Path | None) -> Iterator[Pool]:
    workers = core_count(jobs)
    if workers == 1:
        yield Pool(1, InMemory(objects), lambda batches: map(run_batch, batches), apart=False)
        return
    # From the root: workers that were there before may have begun in another folder.
    where = None if scratch is None else scratch.resolve()
    with tempfile.TemporaryDirectory(prefix=".inputs-", dir=where) as folder:
        for digest, value in objects.items():
            (Path(folder) / digest).write_bytes(pickle.dumps(value))
        yield Pool(
            workers,
            InFolder(folder),
            lambda batches: in_parallel(
                batches,
                n_jobs=workers,
                backend="loky",
                idle_worker_timeout=IDLE_S,
                initializer=_end_with,
                initargs=(os.getpid(),),
            ),
        )


def _end_with(parent: int) -> None:
    """Let this worker end soon after its parent, which may have been killed.

    Left alone it would wait for ever for somebody to take its results.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_S)
        os._exit(1)

    Thread(target=watch, daemon=True).start()
