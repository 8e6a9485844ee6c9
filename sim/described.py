"""The options of a run in words and numbers, for documents."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.options import RunOptions


def described(options: RunOptions) -> dict[str, Any]:
    """Return the options in JSON's types, routers, scalers and outages by what they are called."""
    from policies.routers import make_router
    from sim.cluster.failures import OUTAGES

    names = {kind: name for name, kind in OUTAGES.items()}
    found = {**asdict(options), "router": make_router(options.router).label}
    if options.autoscale is not None:
        found["autoscale"]["scaler"] = options.autoscale.scaler.label
    if options.failures is not None:
        found["failures"]["outages"] = [
            {"kind": names[type(outage)], **asdict(outage)} for outage in options.failures.outages
        ]
    return found
