"""From the tables of a suite to its guards."""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING, Any, get_args

from policies.protocol import PolicyError
from policies.text import nearest
from sim.check.guard import BASELINE, MOST, Better, Guard
from sim.check.metrics import good_direction
from sim.options import OptionError, is_number
from sim.sweep.build import canonical_call

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEYS = ("metric", "policy", "better", "tolerance", "at_least", "against")
NUMBER = "number"
_SHARE = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*%\s*")


def guards_of(scenario: str, policies: Sequence[str], tables: Any) -> tuple[Guard, ...]:
    """Return the guards in the tables of a scenario, one for each metric and policy.

    Parameters
    ----------
    scenario : str
        Its name.
    policies : sequence of str
        Its policies, canonical.
    tables : object
        What ``[[scenario.guard]]`` holds.

    Raises
    ------
    OptionError, PolicyError
        In one line.
    """
    if not isinstance(tables, list) or not tables or not all(isinstance(t, dict) for t in tables):
        raise OptionError("no guard: expected at least one, begun by [[scenario.guard]]")
    guards: list[Guard] = []
    for number, table in enumerate(tables, 1):
        try:
            for guard in _guards(scenario, policies, table):
                if guard.name in {other.name for other in guards}:
                    raise OptionError(f"{guard.name} is guarded twice: expected it once")
                guards.append(guard)
        except (OptionError, PolicyError) as error:
            raise OptionError(f"guard {number}: {error}") from None
    return tuple(guards)


def _guards(scenario: str, policies: Sequence[str], table: Mapping[str, Any]) -> list[Guard]:
    for key in table:
        if key not in KEYS:
            raise OptionError(f"unknown key {key!r}{nearest(key, KEYS)}")
    metrics = _texts("metric", table.get("metric", []))
    against, number = _against(table.get("against", BASELINE), policies)
    guarded = [_one_of(policy, policies) for policy in _texts("policy", table.get("policy", []))]
    guarded = guarded or [policy for policy in policies if policy != against]
    if not guarded or against in guarded:
        raise OptionError(
            f"against = {table['against']!r} is the guarded policy itself: name another one"
        )
    tolerance, at_least, relative = _room(table, against, number)
    return [
        Guard(
            scenario=scenario,
            policy=policy,
            metric=metric,
            better=_better(metric, table, at_least, tolerance, against),
            against=against,
            number=number,
            tolerance=tolerance,
            at_least=at_least,
            relative=relative,
        )
        for metric, policy in product(metrics, guarded)
    ]


def _texts(name: str, value: Any) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise OptionError(f"{name} = {value!r}: expected a text, or a list of texts")
    if name == "metric" and not texts:
        raise OptionError("metric is missing: expected such as goodput_pct")
    return texts


def _against(value: Any, policies: Sequence[str]) -> tuple[str, float | None]:
    """Return what is compared with, and the number if it is one."""
    if is_number(value) and abs(value) <= MOST:
        return NUMBER, float(value)
    if not isinstance(value, str):
        raise OptionError(
            f'against = {value!r}: expected "{BASELINE}", a policy of the scenario, or a number'
        )
    return (value, None) if value == BASELINE else (_one_of(value, policies), None)


def _one_of(text: str, policies: Sequence[str]) -> str:
    policy = canonical_call("policy", text)
    if policy not in policies:
        raise OptionError(f"{text!r} is no policy of the scenario: expected {', '.join(policies)}")
    return policy


def _room(
    table: Mapping[str, Any], against: str, number: float | None
) -> tuple[float, float, bool]:
    """Return tolerance, least gain, and whether they are shares."""
    if "tolerance" in table and "at_least" in table:
        raise OptionError("tolerance and at_least contradict each other: expected one of them")
    if "at_least" in table:
        if number is not None:
            raise OptionError(
                f"at_least = {table['at_least']!r} beside against = {number:.15g}: put the bound "
                "itself into against"
            )
        amount, relative = _amount("at_least", table["at_least"])
        if not amount:
            raise OptionError("at_least = 0 asks for nothing: expected tolerance = 0")
        return 0.0, amount, relative
    if "tolerance" not in table:
        if against == BASELINE:
            raise OptionError(
                'tolerance is missing: expected how much worse it may be, such as 1 or "2 %"'
            )
        return 0.0, 0.0, False
    amount, relative = _amount("tolerance", table["tolerance"])
    if relative and number == 0:
        raise OptionError(
            f"tolerance = {table['tolerance']!r} of 0 is 0: expected a number in the metric's unit"
        )
    return amount, 0.0, relative


def _amount(name: str, value: Any) -> tuple[float, bool]:
    """Return an amount in the metric's unit, or a share."""
    if is_number(value) and 0 <= value <= MOST:
        return float(value), False
    match = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if match is None or float(match[1]) > MOST:
        raise OptionError(
            f"{name} = {value!r}: expected a number of at least 0 in the metric's unit, or a "
            'share of what is compared with, such as "2 %"'
        )
    return float(match[1]) / 100, True


def _better(
    metric: str, table: Mapping[str, Any], at_least: float, tolerance: float, against: str
) -> Better:
    default = good_direction(metric)
    better: Better | None = table.get("better", default)
    if better is None:
        raise OptionError(
            f"better is missing: which direction of {metric} is good hangs on the scenario; "
            f"expected {', '.join(get_args(Better))}"
        )
    if better not in get_args(Better):
        raise OptionError(f"better = {better!r}: expected {', '.join(get_args(Better))}")
    if better == "same" and at_least:
        raise OptionError('better = "same" and at_least contradict each other: give tolerance')
    if better == "same" and not tolerance and against != BASELINE:
        raise OptionError('better = "same" needs a tolerance here: nothing else is just the same')
    return better
