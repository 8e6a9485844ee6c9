"""Batches on a Ray cluster, through joblib."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import ray
from ray.util.joblib import register_ray

from sim.options import OptionError
from sim.sweep.pools import Pool, core_count, in_waves

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class _FromRay:
    """Inputs in Ray's object store, which brings each to every node once."""

    references: Mapping[str, Any]

    def __call__(self, digest: str) -> Any:
        return _fetched(self.references[digest])


@lru_cache(maxsize=256)
def _fetched(reference: Any) -> Any:
    return ray.get(reference)


@contextmanager
def ray_pool(jobs: int, address: str | None, objects: Mapping[str, Any]) -> Iterator[Pool]:
    """Open a pool on the cluster at an address, or on `jobs` processes of this machine.

    Raises
    ------
    OptionError
        If no cluster answers.
    """
    workers = core_count(jobs)
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    try:
        if address is None:
            ray.init(num_cpus=workers, include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
            workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
    except (ConnectionError, OSError, ValueError, RuntimeError, TimeoutError) as error:
        raise OptionError(
            f"--address {address}: no Ray cluster answers there ({' '.join(str(error).split())})"
        ) from None
    try:
        register_ray()
        supply = _FromRay({digest: ray.put(value) for digest, value in objects.items()})
        yield Pool(
            workers,
            supply,
            lambda batches: in_waves(batches, workers, backend="ray"),
            apart=workers > 1,  # joblib runs all in this process for one
        )
    finally:
        ray.shutdown()
