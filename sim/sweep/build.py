"""From the settings of a cell, values by dotted name, to the objects a run is given."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from policies.catalog import make_policy
from policies.routers import make_router
from policies.scalers import make_scaler
from sim.autoscale import Autoscale
from sim.clients import Clients
from sim.failures import parse_failures
from sim.options import OptionError, RunOptions
from sim.sweep.words import NONE, OPTIONS
from sim.tenants import Tenants

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_KIND = re.compile(r"(?P<count>\d+)\s*\*\s*(?P<profile>.+?)(?:\s*@\s*(?P<price>[0-9.eE]+))?")


@dataclass(frozen=True)
class Kind:
    """Equal replicas of a fleet; the profile is named, as in the grid."""

    count: int
    profile: str
    price_per_h: float | None

    @property
    def text(self) -> str:
        """What to write in a grid to get it."""
        price = "" if self.price_per_h is None else f"@{self.price_per_h:g}"
        return f"{self.count}*{self.profile}{price}"


def parse_fleet(text: str) -> tuple[Kind, ...]:
    """Return the kinds of replicas `text` lists.

    Parameters
    ----------
    text : str
        Such as ``2*a.json@1.20 + 1*b.json``: how many, of which profile, at which price an hour.

    Raises
    ------
    OptionError
        For anything else.
    """
    kinds = []
    for part in re.split(r"\s\+\s", text):
        match = _KIND.fullmatch(part.strip())
        try:
            if match is None:
                raise ValueError
            price = match["price"]
            kinds.append(
                Kind(int(match["count"]), match["profile"], None if price is None else float(price))
            )
        except ValueError:
            raise OptionError(
                f'fleet = {text!r}: expected kinds such as "2*profile@1.20 + 1*profile" at {part!r}'
            ) from None
    return tuple(kinds)


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
    label: str = makers[name](text).label
    return label


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
