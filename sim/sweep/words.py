"""The names a grid may set, and what kind of value each takes.

Options of a run are taken from the fields of `RunOptions` and of what it holds: an option that is
added there can be swept at once.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sim.cluster.autoscale import Autoscale
from sim.cluster.clients import Clients
from sim.cluster.failures import Failures
from sim.cluster.tenants import Tenants
from sim.options import GOODPUT_KEYS, OptionError, RunOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

NONE = "none"
"""How a grid says that an option is left out."""

REQUESTS = {
    "trace": "str | None",
    "skip_bad": "bool",
    "start_s": "float | None",
    "end_s": "float | None",
    "block_s": "float | None",
    "workload": "str",
    "rps": "float",
    "n": "int",
    "arrivals": "str",
    "scale": "float | None",
    "scale_to_rps": "float | None",
    "sla": "str | None",
    "sla_profile": "str | None",
}
CLUSTER = {
    "profile": "str",
    "replicas": "int",
    "price_per_h": "float | None",
    "fleet": "str | None",
    "policy": "str",
}
OPTIONS: Mapping[str, str] = {field.name: str(field.type) for field in fields(RunOptions)}
KNOWN: Mapping[str, str] = {**REQUESTS, **CLUSTER, **OPTIONS, "seed": "int"}
"""Annotations of everything a cell can be given, by name."""

TABLES: Mapping[str, Mapping[str, str]] = {
    **{
        name: {field.name: str(field.type) for field in fields(kind)}
        for name, kind in {
            "failures": Failures,
            "clients": Clients,
            "autoscale": Autoscale,
            "tenants": Tenants,
        }.items()
    },
    "goodput_ms": dict.fromkeys(GOODPUT_KEYS, "float"),
    "sla": {},
    "tenants.shares": {},
}
"""Names that may be tables: annotations of their parts, or nothing where parts are named freely."""


def parts_of(name: str) -> Mapping[str, str] | None:
    """Return the parts of a name that may be a table, None for one that may not."""
    return TABLES.get(name)


def typed(name: str, value: Any) -> Any:
    """Return a value in the type its name asks for: 5 becomes 5.0 where a fraction may stand.

    Raises
    ------
    OptionError
        If it is of another kind.
    """
    annotation = _annotation(name)
    words = {word.strip() for word in annotation.split("|")}
    if isinstance(value, dict):  # an empty table: everything in it at its default
        return value
    if "None" in words and value == NONE:
        return None
    if words & {"int", "float"}:
        whole = "int" in words
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            expected = "a whole number" if whole else "a number"
            raise OptionError(
                f"{name} = {value!r}: expected {expected}"
                + (f', or "{NONE}"' if "None" in words else "")
            )
        return value if whole else float(value)
    if "bool" in words:
        if not isinstance(value, bool):
            raise OptionError(f"{name} = {value!r}: expected true or false")
        return value
    if isinstance(value, bool):
        raise OptionError(f"{name} = {str(value).lower()}: expected a text")
    return value.strip() if isinstance(value, str) else f"{value:.15g}"


def _annotation(name: str) -> str:
    if name in KNOWN:
        return KNOWN[name]
    table, _, part = name.partition(".")
    deeper = table + "." + part.partition(".")[0]
    if deeper in TABLES:
        return "float"
    return TABLES[table].get(part, "str")
