"""Batches on a Dask cluster, through joblib."""

from __future__ import annotations

import logging
import pickle
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from distributed import Client, LocalCluster, WorkerPlugin, get_worker
from joblib._dask import DaskDistributedBackend

from sim.options import OptionError
from sim.sweep.pools import Pool, core_count, in_parallel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

CONNECT_S = 15.0
"""How long to wait for a cluster, and for its first worker."""

RESTART_S = 120.0
"""How long to wait for a worker when all have died."""


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

    def effective_n_jobs(self, n_jobs: int) -> int:
        return max(2, int(super().effective_n_jobs(n_jobs)))

    def submit(self, func: Any, callback: Callable[[Any], None]) -> Any:
        future = super().submit(func, callback)

        def lost(done: Any) -> None:
            if done.exception() is not None:
                callback(_Lost(done.exception()))

        future.add_done_callback(lost)
        return future

    def retrieve_result_callback(self, out: Any) -> Any:
        if isinstance(out, _Lost):
            raise out.error
        return super().retrieve_result_callback(out)


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
            target = stack.enter_context(
                LocalCluster(
                    n_workers=core_count(jobs),
                    threads_per_worker=1,
                    processes=True,
                    protocol="tcp",
                    dashboard_address=None,
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
            lambda batches: in_parallel(
                batches,
                n_jobs=-1,
                backend=_Backend(client=client, wait_for_workers_timeout=RESTART_S),
            ),
        )


def _forget(client: Any, name: str) -> None:
    """Take the inputs off the workers again; a cluster that is gone has none."""
    try:
        client.unregister_worker_plugin(name)
    except (OSError, TimeoutError, ValueError):
        return
