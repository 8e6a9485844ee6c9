"""From text to policy: ``saber(estimator=linear)`` on a command line is an object here."""

from __future__ import annotations

import ast
import importlib
import inspect
from dataclasses import MISSING, fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

from policies.function import FunctionPolicy
from policies.guarded import Guarded
from policies.protocol import PolicyError
from policies.saber import Saber
from policies.static import Static

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

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
    return _from_call(text)


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


def _from_call(text: str) -> Policy:
    shape = f"policy {text!r}: expected a name such as saber, or name(parameter=value, ...)"
    try:
        node = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError):
        raise PolicyError(shape) from None
    call = node if isinstance(node, ast.Call) else ast.Call(func=node, args=[], keywords=[])
    if not isinstance(call.func, ast.Name):
        raise PolicyError(shape)
    name = call.func.id
    if name not in POLICIES:
        raise PolicyError(
            f"unknown policy {name!r}{_nearest(name, POLICIES)} (module:object names your own)"
        )
    factory = POLICIES[name]
    parameters = [field.name for field in fields(factory)]
    if len(call.args) > len(parameters):
        raise PolicyError(
            f"policy {text!r}: {len(call.args)} values for {len(parameters)} parameters "
            f"({', '.join(parameters)})"
        )
    given: dict[str, Any] = {}
    pairs: list[tuple[str | None, ast.expr]] = [
        *zip(parameters, call.args, strict=False),
        *((keyword.arg, keyword.value) for keyword in call.keywords),
    ]
    for parameter, value in pairs:
        if parameter not in parameters:
            raise PolicyError(
                f"{name}: unknown parameter {parameter!r}{_nearest(str(parameter), parameters)}"
            )
        if parameter in given:
            raise PolicyError(f"{name}: parameter {parameter!r} is given twice")
        given[parameter] = _value(value, f"{name}: {parameter}")
    required = [f.name for f in fields(factory) if f.default is MISSING and f.name not in given]
    if required:
        raise PolicyError(
            f"policy {text!r}: {required[0]} is missing: expected {name}({required[0]}=...)"
        )
    return factory(**given)


def _value(node: ast.expr, what: str) -> object:
    """Return the number, word or None a parameter is set to."""
    if isinstance(node, ast.Name):
        return node.id
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        raise PolicyError(
            f"{what}={ast.unparse(node)}: expected a number, a word or None"
        ) from None


def _nearest(word: str, known: Iterable[str]) -> str:
    names = list(known)
    close = get_close_matches(word.lower(), names, n=1)
    return f", did you mean {close[0]!r}?" if close else f": expected one of {', '.join(names)}"


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
            f"policy {text!r}: module {module_name} has no {path!r}{_nearest(path, names)}"
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
