"""Batches on a Dask cluster, through joblib."""

from __future__ import annotations

import logging
import pickle
import sys
import time
from concurrent.futures import InvalidStateError
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from threading import Event, Thread
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import dask
from distributed import Client, LocalCluster, WorkerPlugin, get_worker
from joblib._dask import DaskDistributedBackend

from sim.options import OptionError
from sim.sweep.pools import Pool, WorkersLost, core_count, in_parallel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sim.sweep.work import Batch, Outcome

CONNECT_S = 15.0
"""How long to wait for a cluster, and for its first worker."""

RESTART_S = 60.0
"""How long to wait for a worker when all have died."""

WATCH_S = 2.0
"""How often to look whether there is one."""


class _Inputs(WorkerPlugin):  # type: ignore[misc]  # the library has no types here
    """Traces and profiles, brought to every worker once, also to those that join later."""

    def __init__(self, pickled: Mapping[str, bytes], *, ours: bool) -> None:
        self._pickled = dict(pickled)
        self._objects: dict[str, Any] = {}
        self._ours = ours

    def setup(self, worker: Any) -> None:
        if self._ours:  # joblib leaves a client in each, which complains at the very end
            sys.unraisablehook = _say_nothing

    def get(self, digest: str) -> Any:
        if digest not in self._objects:
            self._objects[digest] = pickle.loads(self._pickled[digest])
        return self._objects[digest]


def _say_nothing(unraisable: Any) -> None:
    return


@dataclass(frozen=True)
class _FromPlugin:
    name: str

    def __call__(self, digest: str) -> Any:
        return get_worker().plugins[self.name].get(digest)


@dataclass(frozen=True)
class _Lost:
    """What became of a batch whose workers died."""

    error: BaseException


class _Backend(DaskDistributedBackend):  # type: ignore[misc]  # the library has no types
    """joblib's, which would wait for ever for a batch whose workers all died.

    It would also run everything in this very process while the cluster has one core only.
    """

    def __init__(self, client: Any) -> None:
        super().__init__(client=client, wait_for_workers_timeout=RESTART_S)
        self._open: set[Any] = set()

    def effective_n_jobs(self, n_jobs: int) -> int:
        return max(2, int(super().effective_n_jobs(n_jobs)))

    def submit(self, func: Any, callback: Callable[[Any], None]) -> Any:
        future = super().submit(func, callback)
        self._open.add(future)

        def ended(done: Any) -> None:
            self._open.discard(done)
            if done.exception() is not None:
                callback(_Lost(done.exception()))

        future.add_done_callback(ended)
        return future

    def retrieve_result_callback(self, out: Any) -> Any:
        if isinstance(out, _Lost):
            raise out.error
        return super().retrieve_result_callback(out)

    def watch(self, stopped: Event) -> None:
        """Give up what is out when there has been no worker for long."""
        seen_s = time.monotonic()
        while not stopped.wait(WATCH_S):
            try:
                there = bool(self.client.ncores())
            except Exception:  # whatever a connection that is gone raises
                there = False
            if there:
                seen_s = time.monotonic()
            elif time.monotonic() - seen_s > RESTART_S:
                for future in list(self._open):
                    with suppress(InvalidStateError):
                        future.set_exception(TimeoutError("the cluster has no worker left"))


def _run(client: Any, batches: Iterable[Batch]) -> Iterator[Outcome]:
    """Yield what becomes of batches; WorkersLost when there has been no worker for long."""
    backend, stopped = _Backend(client), Event()
    watch = Thread(target=backend.watch, args=(stopped,), daemon=True)
    watch.start()
    try:
        yield from in_parallel(batches, n_jobs=-1, backend=backend)
    except TimeoutError:
        raise WorkersLost(f"the cluster has had no worker for {RESTART_S:g} s") from None
    finally:
        stopped.set()
        watch.join()


@contextmanager
def dask_pool(jobs: int, address: str | None, objects: Mapping[str, Any]) -> Iterator[Pool]:
    """Open a pool on the cluster at an address, or on one of `jobs` processes of this machine.

    Raises
    ------
    OptionError
        If no cluster, or no worker, answers in time.
    """
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is raised
    with ExitStack() as stack:
        target: Any = address
        if address is None:
            # A batch whose worker died is not sent to others: its cells are run one by one.
            stack.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": 0}))
            target = stack.enter_context(
                LocalCluster(
                    n_workers=core_count(jobs),
                    threads_per_worker=1,
                    processes=True,
                    protocol="tcp",
                    dashboard_address="127.0.0.1:0",
                    silence_logs=logging.CRITICAL,
                )
            )
        try:
            client = stack.enter_context(
                Client(target, timeout=CONNECT_S, set_as_default=False, direct_to_workers=False)
            )
            client.wait_for_workers(1, timeout=CONNECT_S)
        except (OSError, TimeoutError, ValueError) as error:
            raise OptionError(
                f"--address {address}: no Dask cluster with workers answers there "
                f"({' '.join(str(error).split()) or type(error).__name__})"
            ) from None
        name = f"saber-{uuid4().hex}"
        pickled = {digest: pickle.dumps(value) for digest, value in objects.items()}
        client.register_plugin(_Inputs(pickled, ours=address is None), name)
        stack.callback(_forget, client, name)
        yield Pool(
            max(1, sum(client.ncores().values())),
            _FromPlugin(name),
            lambda batches: _run(client, batches),
        )


def _forget(client: Any, name: str) -> None:
    """Take the inputs off the workers again; a cluster that is gone has none."""
    try:
        client.unregister_worker_plugin(name)
    except (OSError, TimeoutError, ValueError):
        return
