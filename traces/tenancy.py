"""Tenants of a trace that has none: each request, or each session, belongs to one by lot."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from traces.errors import TraceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from traces.request import Trace


def with_tenants(trace: Trace, shares: Mapping[str, float], rng: np.random.Generator) -> Trace:
    """Return the trace with a tenant for each request, drawn by the shares of its traffic.

    Parameters
    ----------
    shares : {tenant: weight}, weights above 0
    rng : draws one tenant for each session, and one for each request without a session

    Raises
    ------
    TraceError
        The trace has tenants of its own, or the weights are none.
    """
    if trace.tenants:
        known = ", ".join(trace.tenants[:5])
        raise TraceError(f"the trace has tenants of its own ({known}); expected one without")
    weights = np.array([float(weight) for weight in shares.values()])
    if not len(weights) or not (weights > 0).all() or not math.isfinite(weights.sum()):
        raise TraceError(f"tenant shares are {dict(shares)}; expected weights above 0")
    share = weights / weights.sum()
    code = rng.choice(len(share), len(trace), p=share)
    if trace.sessions:
        of_session = rng.choice(len(share), len(trace.sessions), p=share)
        code = np.where(trace.session_code < 0, code, of_session[trace.session_code])
    return trace.replace(tenant_code=code.astype(np.int32), tenants=tuple(shares))
