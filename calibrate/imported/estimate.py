"""From imported runs to measured steps: what can be told of an engine from outside, after the fact.

Decode steps come from three sources, a worse one for batches beyond those of the better ones:

1. gaps between tokens while the same requests were generated and none waited for its first token:
   these are decode steps alone, of a known batch and context. Means over `GROUP` gaps in a row
   from one token to another that none came together with: of those that were held up on their
   way only the last one tells when its step ended.
2. requests as a whole, where a file has no gaps: the time from first to last token over the steps,
   less the steps of others' prompts in between, which the prefill times say. What these do not
   explain stays in the step: it is an upper bound rather than a mean.
3. statistics of closed loops: as 2 with the means of all requests.

Prefills come from the time to the first token of requests that were alone on the server, without
those whose second token came together with it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from calibrate.imported.arrivals import together_s
from calibrate.imported.decodes import from_gaps, from_means, from_requests
from calibrate.imported.loads import Lives
from calibrate.imported.prompts import (
    LEAST_SAMPLES,
    Stall,
    client_overhead_s,
    prefills,
    prompts_alone,
)
from calibrate.steps import Measurement, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from calibrate.imported.decodes import Sample
    from calibrate.imported.result import Imported

DENSE_BATCHES = 16
"""Up to here every batch is kept, beyond it the best known one in each `BATCH_RATIO`."""
BATCH_RATIO = 2**0.25
CONTEXT_RATIO = 2.0
"""Contexts closer than this are one: the difference of their times would be noise."""


@dataclass(frozen=True)
class Estimate:
    """What imported runs tell of an engine's steps.

    Parameters
    ----------
    prefills, decodes : tuple of Measurement
        Of whole prompts, less the client overhead, and of decode steps.
    client_overhead_s : float or None
        None where no prompt was short enough to tell: it is then within the prefills.
    sources : mapping of str to tuple of int
        The batches whose steps come from "gaps", "requests" and "statistics".
    """

    prefills: tuple[Measurement, ...]
    decodes: tuple[Measurement, ...]
    client_overhead_s: float | None
    sources: dict[str, tuple[int, ...]]


def estimate(runs: Sequence[Imported], discipline: str) -> Estimate:
    """Return the steps that the runs determine, which may be none.

    Parameters
    ----------
    runs : sequence of Imported
    discipline : str
        Of the engine: with "prefill-first" a prompt holds others up for all of its prefill, with
        "chunked" for what it adds to their decode step.
    """
    lives = {i: _successful(Lives.of(run.requests)) for i, run in enumerate(runs) if run.has_loads}
    prompts = prompts_alone(runs, lives)
    stall = Stall(prompts, discipline)
    found: dict[str, list[Measurement]] = {"gaps": [], "requests": [], "statistics": []}
    found["gaps"] = _measurements(
        [
            sample
            for i, each in lives.items()
            for sample in from_gaps(each, together_s(runs[i].requests))
        ],
        LEAST_SAMPLES,
    )
    found["requests"] = _measurements(
        [sample for each in lives.values() for sample in from_requests(each, stall)],
        LEAST_SAMPLES,
    )
    found["statistics"] = _measurements(
        [
            sample
            for i, run in enumerate(runs)
            if i not in lives
            for sample in from_means(run, stall)
        ],
        1,
    )
    known: dict[int, list[Measurement]] = {}
    sources = {}
    for name, measurements in found.items():
        own: dict[int, list[Measurement]] = defaultdict(list)
        for measurement in measurements:
            own[measurement.step.batch].append(measurement)
        span = (min(known), max(known)) if known else (0, 0)
        new = {batch: own[batch] for batch in own if not span[0] <= batch <= span[1]}
        known |= new
        sources[name] = tuple(sorted(new))
    decodes = [m for batch in _thinned(known) for m in known[batch]]
    kept = {m.step.batch for m in decodes}
    overhead_s = client_overhead_s(prompts, decodes)
    return Estimate(
        prefills=tuple(prefills(prompts, overhead_s or 0.0)),
        decodes=tuple(decodes),
        client_overhead_s=overhead_s,
        sources={name: tuple(b for b in batches if b in kept) for name, batches in sources.items()},
    )


def tell_contexts_apart(decodes: Sequence[Measurement]) -> bool:
    """Whether any batch was measured at contexts far enough apart to say what they cost."""
    by_batch: dict[int, list[int]] = defaultdict(list)
    for measurement in decodes:
        by_batch[measurement.step.batch].append(measurement.step.context_tokens)
    return any(max(c) >= CONTEXT_RATIO * min(c) for c in by_batch.values())


def _successful(lives: Lives) -> Lives:
    """Return the lives with the tokens of those that failed taken for none."""
    requests = [
        replace(r, gaps_s=(), output_tokens=max(r.output_tokens, 1)) if r.error else r
        for r in lives.requests
    ]
    return replace(lives, requests=requests)


def _measurements(samples: Iterable[Sample], least: int) -> list[Measurement]:
    """Return the samples as measurements: a batch at contexts at least `CONTEXT_RATIO` apart."""
    by_batch: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_batch[sample.batch].append(sample)
    found = []
    for batch in sorted(by_batch):
        for rows in _by_context(by_batch[batch]):
            if len(rows) >= least:
                context = max(round(float(np.median([row.context_tokens for row in rows]))), 1)
                found.append(
                    Measurement(
                        Step(batch=batch, context_tokens=context),
                        tuple(row.step_s for row in rows),
                    )
                )
    return found


def _by_context(samples: list[Sample]) -> list[list[Sample]]:
    """Return the samples in equal parts of the logarithm of their contexts, as many as fit."""
    low = min(sample.context_tokens for sample in samples)
    high = max(sample.context_tokens for sample in samples)
    parts = 1 + int(math.log(high / low) / math.log(CONTEXT_RATIO))
    if parts == 1:
        return [samples]
    cells: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        share = math.log(sample.context_tokens / low) / math.log(high / low)
        cells[min(int(share * parts), parts - 1)].append(sample)
    return [cells[cell] for cell in sorted(cells)]


def _thinned(known: dict[int, list[Measurement]]) -> list[int]:
    """Return every small batch, and of larger ones that with most samples in each ratio."""
    best: dict[int, int] = {}
    for batch in sorted(known):
        cell = batch
        if batch > DENSE_BATCHES:
            cell = -round(math.log(batch) / math.log(BATCH_RATIO))
        count = sum(len(m.samples_s) for m in known[batch])
        if cell not in best or count > sum(len(m.samples_s) for m in known[best[cell]]):
            best[cell] = batch
    return sorted(best.values())
