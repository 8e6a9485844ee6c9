"""One spelling for each meaning, and the defaults that a cell's key and its row are to name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.options import OptionError
from sim.sweep.build import CALLS, canonical_call, kinds_of
from sim.sweep.words import CLUSTER, OPTIONS, REQUESTS, typed

if TYPE_CHECKING:
    from sim.sweep.grid import Setting

DEFAULT_PROFILE = "paper-qwen2.5-coder-3b"
WORKLOAD = {"workload": "W3", "rps": 10.0, "n": 100, "arrivals": "poisson"}
TIMES = ("start_s", "end_s", "block_s", "scale", "scale_to_rps")
"""What is done to the arrival times of a trace that has some."""


def canonical(written: Setting) -> Setting:
    """Return a setting with one spelling for each meaning, and the defaults that matter.

    Raises
    ------
    OptionError, PolicyError
        For a value of the wrong kind, and for names that contradict each other.
    """
    setting = {name: typed(name, value) for name, value in written.items()}
    setting = {n: v for n, v in setting.items() if v is not None or n in OPTIONS}
    if "trace" in setting:
        _refuse(setting, ("workload", "n"), "beside trace, which has its own requests")
        if "rps" in setting:
            _refuse(setting, TIMES, "beside rps, which draws the arrivals")
            setting.setdefault("arrivals", WORKLOAD["arrivals"])
        else:
            _refuse(setting, ("arrivals",), "without rps, for a file without times")
        if "scale" in setting:
            _refuse(setting, ("scale_to_rps",), "beside scale")
    else:
        _refuse(setting, ("skip_bad", *TIMES), "without trace")
        setting = {**WORKLOAD, **setting}
        setting["workload"] = setting["workload"].upper()
    if "arrivals" in setting:
        setting["arrivals"] = "".join(setting["arrivals"].split())
    if "fleet" in setting:
        _refuse(setting, ("profile", "replicas", "price_per_h"), "beside fleet, which has its own")
        setting["fleet"] = ", ".join(kind.text for kind in kinds_of(setting["fleet"]))
    else:
        setting.setdefault("profile", DEFAULT_PROFILE)
        setting.setdefault("replicas", 1)
    setting.setdefault("policy", "saber")
    setting.setdefault("seed", 0)
    for name in CALLS:
        if setting.get(name) is not None:
            setting[name] = canonical_call(name, setting[name])
    if isinstance(setting.get("goodput_ms"), str):
        setting |= _limits(setting.pop("goodput_ms"))
    for name in setting:
        if name == "sla" or name.startswith("sla."):
            if not setting[name]:
                raise OptionError(f"{name} = {setting[name]!r}: expected such as unloaded*3 or 5")
            setting[name] = "".join(setting[name].split())
    for name, least in (("n", 1), ("replicas", 1), ("seed", 0)):
        if name in setting and setting[name] < least:
            raise OptionError(f"{name} = {setting[name]}: expected at least {least}")
    order = {name: place for place, name in enumerate((*REQUESTS, *CLUSTER, "router"))}
    return dict(
        sorted(setting.items(), key=lambda s: order.get(s[0].partition(".")[0], len(order)))
    )


def _limits(text: str) -> Setting:
    from sim.cli_options import goodput_limits

    return {f"goodput_ms.{key}": limit for key, limit in (goodput_limits([text]) or {}).items()}


def _refuse(setting: Setting, names: tuple[str, ...], why: str) -> None:
    for name in names:
        if name in setting:
            raise OptionError(f"{name} = {setting[name]!r} has no effect {why}: leave it out")
