"""Which tokens came together: held up on their way, they do not tell when they were made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from calibrate.imported.result import ImportedRequest

TOGETHER = 0.05
"""A gap below this share of a run's long ones (their 90th percentile): the token came together with
the one before it."""


def together_s(requests: Iterable[ImportedRequest]) -> float:
    """Return the gap below which two tokens of these requests came together."""
    gaps = [np.array(request.gaps_s) for request in requests if request.gaps_s]
    return TOGETHER * float(np.quantile(np.concatenate(gaps), 0.9)) if gaps else 0.0


def share_together(requests: Iterable[ImportedRequest]) -> float:
    """Return the share of tokens that came together with the one before; 0 without gaps."""
    rows = [request for request in requests if request.gaps_s]
    limit_s = together_s(rows)
    together = sum(int((np.array(row.gaps_s) < limit_s).sum()) for row in rows)
    return together / max(sum(len(row.gaps_s) for row in rows), 1)
