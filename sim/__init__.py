"""The discrete-event simulator and the command line.

``from sim import simulate`` is the whole interface most programs need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.cluster.fleet import Replica
    from sim.result import Result
    from sim.simulation import simulate

__all__ = ["Replica", "Result", "simulate"]


def __getattr__(name: str) -> Any:
    # Resolved on first use: the command line must answer before SimPy and numpy are loaded.
    if name == "simulate":
        from sim.simulation import simulate

        return simulate
    if name == "Replica":
        from sim.cluster.fleet import Replica

        return Replica
    if name == "Result":
        from sim.result import Result

        return Result
    raise AttributeError(f"module 'sim' has no attribute {name!r}")
