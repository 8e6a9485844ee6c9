"""The requests of a cell: drawn, or cut from a file, at its rate and with its SLAs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

from sim.feasible import Unloaded
from sim.sources import Drawn, Timed
from sim.sweep.build import nested

if TYPE_CHECKING:
    from collections.abc import Mapping

    from calibrate.profile import Profile
    from sim.options import RunOptions
    from traces.request import Trace


def requests_of(
    setting: Mapping[str, Any],
    recorded: Trace | None,
    profile: Profile,
    options: RunOptions,
) -> Trace:
    """Return the requests of a cell.

    Parameters
    ----------
    setting : mapping
        In canonical form.
    recorded : Trace or None
        The file's, where the cell has one.
    profile : Profile
        On whose idle engine ``unloaded`` of an SLA is.
    options : RunOptions
        Of that engine.

    Raises
    ------
    TraceError
        For a workload, an arrival process, a rate or an SLA that is wrong.
    """
    engine = Unloaded(profile, options)
    sla = _sla(nested(setting).get("sla"))
    if recorded is None:
        names = ("workload", "rps", "n", "arrivals")
        return Drawn(**{n: setting[n] for n in names}, sla=sla, engine=engine)(setting["seed"])
    trace = _redrawn(setting, recorded)
    if "rps" in setting:
        trace = Timed("", trace, setting["rps"], setting["arrivals"])(setting["seed"])
    if "scale" in setting or "scale_to_rps" in setting:
        from traces.transform import scale_rate

        trace = scale_rate(trace, setting.get("scale"), rps=setting.get("scale_to_rps"))
    return trace if sla is None else trace.with_sla(sla, profile=engine)


def _redrawn(setting: Mapping[str, Any], recorded: Trace) -> Trace:
    """Return the window that is asked for, its blocks drawn anew by the seed."""
    trace = recorded
    if "start_s" in setting or "end_s" in setting:
        from traces.transform import window

        trace = window(trace, setting.get("start_s", 0.0), setting.get("end_s", math.inf))
    if "block_s" in setting:
        from traces.bootstrap import block_bootstrap
        from traces.seeds import stream

        trace = block_bootstrap(trace, stream(setting["seed"], "blocks"), setting["block_s"])
    return trace


def _sla(given: str | dict[str, str] | None) -> float | str | dict[str, float | str] | None:
    if isinstance(given, dict):
        return {task: cast("float | str", _sla(text)) for task, text in given.items()}
    try:
        return None if given is None else float(given)
    except ValueError:
        return given
