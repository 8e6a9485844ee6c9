"""How long a sweep will take, by some of its cells cut short."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sim.sweep.pools import InMemory
from sim.sweep.work import result_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.sweep.cells import Cell
    from sim.sweep.inputs import Inputs

TRIED = 12
FIRST_REQUESTS = 2000


def estimated_cpu_s(cells: Sequence[Cell], inputs: Inputs) -> float:
    """Return about how many seconds of one processor the cells take.

    Cells from all over the grid are run with their first requests only; those that fail say
    nothing.  A queue that grows with the length of a trace is not seen.
    """
    supply = InMemory(inputs.objects)
    step = max(1, len(cells) // TRIED)
    tried = cells[step // 2 :: step] or cells
    # Once for nothing: what is loaded and fitted first is not paid for again.
    for _ in range(2):
        requests, start_s = 0, time.process_time()
        for cell in tried:
            try:
                result_of(cell, supply, FIRST_REQUESTS).summary()
            except Exception:
                continue
            requests += min(cell.requests, FIRST_REQUESTS)
        cpu_s = time.process_time() - start_s
    return cpu_s / requests * sum(cell.requests for cell in cells) if requests else 0.0
