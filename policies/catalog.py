"""From text to policy: ``saber(estimator=linear)`` on a command line is an object here."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from policies.aimd import Aimd
from policies.concur import Concur
from policies.dynamic_batch import DynamicBatch
from policies.edf import Edf
from policies.fcfs import Fcfs
from policies.function import FunctionPolicy
from policies.guarded import Guarded
from policies.naming import Kind
from policies.protocol import PolicyError
from policies.qoserve import QoServe
from policies.saber import Saber
from policies.saber_plus import SaberPlus
from policies.scorpio import Scorpio
from policies.sjf import Sjf
from policies.slack import Slack
from policies.slai import Slai
from policies.static import Static
from policies.vtc import Vtc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from policies.protocol import Policy

POLICIES: Mapping[str, type[Policy]] = {
    "static": Static,
    "fcfs": Fcfs,
    "edf": Edf,
    "slack": Slack,
    "sjf": Sjf,
    "aimd": Aimd,
    "concur": Concur,
    "dynamic-batch": DynamicBatch,
    "vtc": Vtc,
    "qoserve": QoServe,
    "slai": Slai,
    "scorpio": Scorpio,
    "saber+": SaberPlus,
    "saber": Saber,
}
"""Policies by name; the parameters are the fields of each class, in order.

The last is the example that messages give.
"""

_POLICY = Kind("policy", POLICIES, "start(rng, profile)", ("view",), FunctionPolicy, Guarded)


def make_policy(source: object) -> Policy:
    """Return the policy that `source` means.

    Parameters
    ----------
    source : str, Policy or callable
        ``name``, ``name(value, parameter=value)``, ``module:object``, a policy, or a function that
        takes a view and returns a choice.

    Raises
    ------
    PolicyError
        If the name, a parameter or a value is not known, or the object is no policy.
    """
    return cast("Policy", _POLICY.make(source))


def split_policies(text: str) -> list[str]:
    """Split a comma-separated list of policies, leaving commas inside parentheses alone."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    parts.append(text[start:])
    names = [part.strip() for part in parts]
    if not all(names):
        raise PolicyError(f"policies {text!r}: expected names separated by single commas")
    return names
