"""Whether a request that has ended met its objective, asked while a run is under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.protocol import PS_PER_S
from sim.ledger import FINISHED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from sim.ledger import Ledger
    from traces.request import Trace


def goals_of(
    ledger: Ledger,
    trace: Trace,
    arrival_ps: NDArray[np.int64],
    sla_ps: NDArray[np.int64],
    overheads_ps: NDArray[np.int64],
    goodput_ms: Mapping[str, float] | None,
) -> Callable[[int], bool | None]:
    """Return whether a request met its objective, by id; None for one without.

    The same definition as `sim.summary.columns_of`, one request at a time.
    """
    limits_ps = {key: round(ms * PS_PER_S / 1000) for key, ms in (goodput_ms or {}).items()}

    def met(request: int) -> bool | None:
        if goodput_ms is None and sla_ps[request] < 0:
            return None
        if ledger.status[request] != FINISHED:
            return False
        sent_ps = ledger.moved_ps.get(request, int(arrival_ps[request]))
        overhead_ps = int(overheads_ps[ledger.replica[request]])
        e2e_ps = ledger.finished_ps[request] - sent_ps + overhead_ps
        if goodput_ms is None:
            return bool(e2e_ps <= sla_ps[request])
        ttft_ps = ledger.first_token_ps[request] - sent_ps + overhead_ps
        after_first = int(trace.output_tokens[request]) - 1
        observed: dict[str, float] = {"ttft": ttft_ps, "e2el": e2e_ps}
        if after_first:
            observed["tpot"] = (e2e_ps - ttft_ps) / after_first
        return all(observed.get(key, 0) <= limit_ps for key, limit_ps in limits_ps.items())

    return met
