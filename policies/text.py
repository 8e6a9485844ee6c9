"""From text to object and back: ``name(value, parameter=value)``."""

from __future__ import annotations

import ast
from dataclasses import MISSING, fields
from difflib import get_close_matches
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

from policies.protocol import PolicyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def parse_call(
    text: str,
    factories: Mapping[str, type[Any]],
    kind: str,
    *,
    hint: str = "",
    error: type[ValueError] = PolicyError,
) -> Any:
    """Return the object that `text` names.

    Parameters
    ----------
    text : str
        ``name`` or ``name(value, parameter=value)``; values are numbers, words or None.  A name
        may be written with hyphens, and may end in a plus.
    factories : mapping of str to dataclass
        What the names stand for; the parameters are the fields of each, in order.
    kind : str
        What the object is, for messages: policy, router.
    hint : str
        Said after an unknown name.
    error : type of ValueError
        What to raise.

    Raises
    ------
    ValueError
        Of type `error`, in one line, if the name, a parameter or a value is not known.
    """
    shape = (
        f"{kind} {text!r}: expected a name such as {list(factories)[-1]}, or "
        "name(parameter=value, ...)"
    )
    head, bracket, rest = text.strip().partition("(")
    try:
        node = ast.parse(_identifier(head) + bracket + rest, mode="eval").body
    except (SyntaxError, ValueError):
        raise error(shape) from None
    call = node if isinstance(node, ast.Call) else ast.Call(func=node, args=[], keywords=[])
    if not isinstance(call.func, ast.Name):
        raise error(shape)
    names = {_identifier(name): name for name in factories}
    if call.func.id not in names:
        raise error(f"unknown {kind} {head.strip()!r}{nearest(head.strip(), factories)}{hint}")
    name = names[call.func.id]
    factory = factories[name]
    parameters = [field.name for field in fields(factory)]
    if not parameters and (call.args or call.keywords):
        raise error(f"{kind} {text!r}: {name} has no parameters")
    if len(call.args) > len(parameters):
        raise error(
            f"{kind} {text!r}: {len(call.args)} values for {len(parameters)} parameters "
            f"({', '.join(parameters)})"
        )
    given: dict[str, Any] = {}
    pairs: list[tuple[str | None, ast.expr]] = [
        *zip(parameters, call.args, strict=False),
        *((keyword.arg, keyword.value) for keyword in call.keywords),
    ]
    for parameter, value in pairs:
        if parameter not in parameters:
            raise error(
                f"{name}: unknown parameter {parameter!r}{nearest(str(parameter), parameters)}"
            )
        if parameter in given:
            raise error(f"{name}: parameter {parameter!r} is given twice")
        given[parameter] = _value(value, f"{name}: {parameter}", error)
    required = [
        f.name
        for f in fields(factory)
        if f.default is MISSING and f.default_factory is MISSING and f.name not in given
    ]
    if required:
        raise error(
            f"{kind} {text!r}: {required[0]} is missing: expected {name}({required[0]}=...)"
        )
    return factory(**given)


def _identifier(name: str) -> str:
    return name.strip().replace("-", "_").replace("+", "_plus")


def call_text(name: str, instance: Any) -> str:
    """Return the text from which `parse_call` makes an equal object.

    Parameters
    ----------
    name : str
        What the text is to begin with.
    instance : dataclass
        The object; parameters that have their defaults are left out.
    """
    given = [
        f"{field.name}={_literal(value)}"
        for field in fields(instance)
        if (value := getattr(instance, field.name)) != field.default
    ]
    return f"{name}({', '.join(given)})" if given else name


def _literal(value: object) -> str:
    """Return how a value is written: words bare, any other text in quotes."""
    if isinstance(value, str):
        # Python would replace some other letters by ones that look alike.
        is_word = value.isascii() and value.isidentifier() and not iskeyword(value)
        return value if is_word else repr(value)
    return str(value)  # and not repr, by which a numpy number names its type too


def _value(node: ast.expr, what: str, error: type[ValueError]) -> object:
    """Return the number, word or None a parameter is set to."""
    if isinstance(node, ast.Name):
        return node.id
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        raise error(f"{what}={ast.unparse(node)}: expected a number, a word or None") from None


def nearest(word: str, known: Iterable[str]) -> str:
    """Return what to say after an unknown word: the closest known one, or all of them."""
    names = list(known)
    close = get_close_matches(word.lower(), names, n=1)
    return f", did you mean {close[0]!r}?" if close else f": expected one of {', '.join(names)}"
