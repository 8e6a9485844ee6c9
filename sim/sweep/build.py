"""From the settings of a cell, values by dotted name, to the objects a run is given."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from policies.catalog import make_policy
from policies.protocol import PolicyError
from policies.routers import make_router
from policies.scalers import make_scaler
from sim.cluster.autoscale import Autoscale
from sim.cluster.clients import Clients
from sim.cluster.failures import parse_failures
from sim.cluster.fleet import Kind, parse_fleet
from sim.cluster.tenants import Tenants
from sim.options import OptionError, RunOptions
from sim.sweep.words import NONE, OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def kinds_of(text: str) -> tuple[Kind, ...]:
    """Return the kinds of replicas a fleet lists, one of each where it does not say how many."""
    return tuple(replace(kind, count=kind.count or 1) for kind in parse_fleet(text))


def options_of(setting: Mapping[str, Any]) -> RunOptions:
    """Return the options of a run; what is not set has its default.

    Raises
    ------
    OptionError, PolicyError
        In one line.
    """
    given = nested(setting)
    return RunOptions(
        **{name: _MAKE.get(name, _as_it_is)(given[name]) for name in OPTIONS if name in given}
    )


def nested(setting: Mapping[str, Any]) -> dict[str, Any]:
    """Return tables where names have dots."""
    tree: dict[str, Any] = {}
    for name, value in setting.items():
        *path, last = name.split(".")
        place = tree
        for word in path:
            place = place.setdefault(word, {})
        place[last] = value
    return tree


@lru_cache(maxsize=256)
def canonical_call(name: str, text: str) -> str:
    """Return the one spelling of a policy, a router or a scaler.

    That is its label where the label means the very same; one of a user's own that does not, as
    one that a class inherited, would have another run in its place, and the text is kept.

    Raises
    ------
    PolicyError
        If there is no such thing.
    """
    makers: Mapping[str, Callable[[object], Any]] = {
        "policy": make_policy,
        "router": make_router,
        "autoscale.scaler": make_scaler,
    }
    made = makers[name](text)
    label: str = made.label
    try:
        same = makers[name](label) == made
    except PolicyError:
        same = False
    return label if same else text.strip()


CALLS = ("policy", "router", "autoscale.scaler")
"""Settings that name a policy, a router or a scaler."""


def _as_it_is(value: Any) -> Any:
    return value


def _failures(value: Any) -> Any:
    if value is None:
        return None
    table = dict(value) if isinstance(value, dict) else {"outages": value}
    if "outages" not in table:
        raise OptionError('[failures]: outages is missing: expected such as "random(mtbf_s=3600)"')
    return parse_failures(table.pop("outages"), **table)


def _clients(value: Any) -> Any:
    if value is None:
        return None
    table = dict(_a_table("clients", value))
    tasks = table.pop("cancel_tasks", None)
    if tasks is not None:
        table["cancel_tasks"] = tuple(task.strip() for task in tasks.split(","))
    return Clients(**table)


def _autoscale(value: Any) -> Any:
    if value is None:
        return None
    table = dict(_a_table("autoscale", value))
    for name in ("scaler", "max_replicas"):
        if name not in table:
            raise OptionError(f"[autoscale]: {name} is missing")
    return Autoscale(scaler=make_scaler(table.pop("scaler")), **table)


def _tenants(value: Any) -> Any:
    if value is None:
        return None
    table = dict(_a_table("tenants", value))
    for name in ("shares", "max_requests"):
        if name not in table:
            raise OptionError(f"[tenants]: {name} is missing")
    return Tenants(**table)


def _a_table(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise OptionError(f'{name} = {value!r}: expected a table, or "{NONE}"')
    return value


_MAKE: dict[str, Callable[[Any], Any]] = {
    "router": make_router,
    "failures": _failures,
    "clients": _clients,
    "autoscale": _autoscale,
    "tenants": _tenants,
}
