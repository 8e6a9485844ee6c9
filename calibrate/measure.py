"""Time the steps of a grid on a bench: in rounds, within a budget, keeping every result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from calibrate.partial import Partial
    from calibrate.steps import Step
    from calibrate.work import Hardware

OUT_OF_MEMORY = "out of memory"


class OutOfMemory(Exception):
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


@dataclass(frozen=True)
class Effort:
    """How much is spent on a step in a round.

    In its first round it is repeated until the standard error of its median is about `precision`
    of it, but at least `least` and at most `most` times, and no longer than `visit_s` seconds once
    it has the least (ten times that in any case); in the others as often as in the first.
    """

    rounds: int = 3
    least: int = 5
    most: int = 50
    precision: float = 0.005
    visit_s: float = 0.3


def measure(
    bench: Bench,
    steps: Sequence[Step],
    kept: Partial,
    *,
    effort: Effort,
    rng: np.random.Generator,
    out_of_time: Callable[[], bool],
    on_progress: Callable[[int, int], None],
) -> bool:
    """Time the steps that `kept` lacks and keep them there; return whether all are done.

    Every round visits every step. A device that slows down for a minute then touches a few
    repeats of many steps, where the median drops them, instead of all repeats of a few. The first
    round goes in the order given (coarse first), later ones are shuffled, so that a step does not
    always follow the same one.

    Parameters
    ----------
    bench : Bench
    steps : sequence of Step
    kept : Partial
        Where results are kept; what it holds already is not measured again.
    effort : Effort
    rng : numpy.random.Generator
        For the order of the later rounds.
    out_of_time : callable
        Asked before each visit; once it is true, nothing more is begun.
    on_progress : callable
        Called with the visits done and their total.
    """
    total = effort.rounds * len(steps)
    done = 0
    for round_number in range(effort.rounds):
        order = np.arange(len(steps)) if round_number == 0 else rng.permutation(len(steps))
        for place in order:
            step = steps[place]
            if not kept.has(step, round_number):
                if out_of_time():
                    return False
                _visit(bench, step, round_number, kept, effort)
            done += 1
            on_progress(done, total)
    return True


def _visit(bench: Bench, step: Step, round_number: int, kept: Partial, effort: Effort) -> None:
    if kept.too_large(step):
        kept.keep_problem(step, f"{OUT_OF_MEMORY}: a smaller step did not fit")
        return
    earlier = next(iter(kept.samples_by_round(step).values()), ())
    try:
        run = bench.prepare(step)
        # As often in every round: a disturbed one, which would ask for more, must not outvote the
        # others in the median.
        samples_s = run(len(earlier)) if earlier else repeat(run, effort)
    except OutOfMemory as error:
        detail = " ".join(str(error).split())
        kept.keep_problem(step, f"{OUT_OF_MEMORY}: {detail}" if detail else OUT_OF_MEMORY)
        return
    kept.keep_samples(step, round_number, samples_s)


def repeat(run: Callable[[int], Sequence[float]], effort: Effort) -> list[float]:
    """Return the seconds of as many repeats as `effort` asks for."""
    samples_s = list(run(1))
    # A step that is slow beyond all patience gives what it gave.
    while len(samples_s) < effort.most and sum(samples_s) < 10 * effort.visit_s:
        if len(samples_s) >= effort.least:
            low, median, high = np.quantile(samples_s, (0.1, 0.5, 0.9))
            # p90 - p10 is 2.56 standard deviations of a normal, whose median has an error of
            # 1.25 standard deviations over the root of n: together 0.49.
            error = 0.49 * (high - low) / len(samples_s) ** 0.5
            if error <= effort.precision * median or sum(samples_s) >= effort.visit_s:
                break
        goal = effort.least if len(samples_s) < effort.least else effort.most
        samples_s += run(min(len(samples_s), goal - len(samples_s)))
    return samples_s


def drift(kept: Partial, steps: Sequence[Step]) -> float | None:
    """Return how far the slowest round lies above the fastest, as a share; None for one round.

    The median over the steps that all rounds reached of a round's time over the step's mean.
    """
    rows = [kept.samples_by_round(step) for step in steps]
    rounds = max((len(row) for row in rows), default=0)
    medians = [
        [float(np.median(row[number])) for number in sorted(row)]
        for row in rows
        if len(row) == rounds
    ]
    if rounds < 2 or not medians:
        return None
    table = np.array(medians)
    by_round = np.median(table / table.mean(axis=1, keepdims=True), axis=0)
    return float(by_round.max() / by_round.min() - 1)
