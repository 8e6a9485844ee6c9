"""From text to policy: ``saber(estimator=linear)`` on a command line is an object here."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, cast

from policies.function import FunctionPolicy
from policies.guarded import Guarded
from policies.protocol import PolicyError
from policies.saber import Saber
from policies.static import Static
from policies.text import nearest, parse_call

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from policies.protocol import Policy

POLICIES: Mapping[str, type[Static] | type[Saber]] = {"static": Static, "saber": Saber}
"""Policies by name; the parameters are the fields of each class, in order."""


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
    if not isinstance(source, str):
        return _from_object(source, getattr(source, "__name__", type(source).__name__))
    text = source.strip()
    if ":" in text.split("(")[0]:
        return _from_module(text)
    return cast(
        "Policy", parse_call(text, POLICIES, "policy", hint=" (module:object names your own)")
    )


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


def _from_module(text: str) -> Policy:
    module_name, _, path = text.partition(":")
    if not path.isidentifier() or not all(part.isidentifier() for part in module_name.split(".")):
        raise PolicyError(f"policy {text!r}: expected module:object")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise PolicyError(
            f"policy {text!r}: no module named {error.name!r} (run from its folder, or install it)"
        ) from None
    except (Exception, SystemExit) as error:
        raise PolicyError(
            f"policy {text!r}: importing {module_name} failed: {type(error).__name__}: {error}"
        ) from error
    if not hasattr(module, path):
        names = [name for name in vars(module) if not name.startswith("_")]
        raise PolicyError(
            f"policy {text!r}: module {module_name} has no {path!r}{nearest(path, names)}"
        )
    policy = _from_object(getattr(module, path), text)
    return policy if isinstance(policy, tuple(POLICIES.values())) else Guarded(policy)


def _from_object(candidate: object, label: str) -> Policy:
    """Return a policy as it is and wrap a function; call neither."""
    if isinstance(candidate, type):
        raise PolicyError(f"policy {label}: is a class: name an instance of it")
    if callable(getattr(candidate, "start", None)):
        if isinstance(getattr(candidate, "label", None), str):
            return cast("Policy", candidate)
        raise PolicyError(f"policy {label}: has no text attribute 'label'")
    if not callable(candidate) or not _takes_a_view(candidate):
        raise PolicyError(
            f"policy {label}: {candidate!r:.60} is neither a policy (start(rng, profile)) nor a "
            "function of one argument, the view"
        )
    return FunctionPolicy(candidate, label)


def _takes_a_view(function: Callable[..., object]) -> bool:
    """Whether the function can be called with one positional argument."""
    try:
        inspect.signature(function).bind(object())
    except (TypeError, ValueError):
        return False
    return True
