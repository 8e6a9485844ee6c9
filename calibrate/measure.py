"""Time the steps of a grid on a bench: in rounds, within a budget, keeping every result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from calibrate.partial import Partial
    from calibrate.steps import Step
    from calibrate.work import Hardware

OUT_OF_MEMORY = "out of memory"


class OutOfMemory(Exception):  # noqa: N818  # a fact about a step, expected and recorded
    """A step does not fit into the device's memory."""


@dataclass(frozen=True)
class Memory:
    """What a device's memory is used for, in bytes.

    Parameters
    ----------
    total_bytes : int
        Of the device.
    free_bytes : int
        After the weights were loaded, before any KV cache.
    reserve_bytes : int
        The peak of the activations of a large step.
    """

    total_bytes: int
    free_bytes: int
    reserve_bytes: int


class Bench(Protocol):
    """A model on a device, ready to be timed step by step."""

    def hardware(self) -> Hardware:
        """Return the measured bandwidth, matrix-product rate and launch latency."""

    def prepare(self, step: Step) -> Callable[[int], Sequence[float]]:
        """Warm `step` up and return a function that runs it n times for the seconds of each.

        Raises
        ------
        OutOfMemory
            Here or from the function returned.
        """

    def memory(self, largest: Step) -> Memory:
        """Return how the memory is used; `largest` sets the activation reserve."""

    def device_facts(self) -> Mapping[str, Any]:
        """Return the `device` block of a profile: name, count, memory_bytes, driver, ..."""

    def software_facts(self) -> Mapping[str, Any]:
        """Return the `software` block of a profile: torch, cuda, the attention kernel, ..."""

    def close(self) -> None:
        """Free the device."""
