"""Options that commands share as a whole: a dataclass of flags in place of a list of parameters."""

import inspect
from collections.abc import Callable, Collection
from dataclasses import MISSING, fields
from functools import wraps
from typing import Any, get_type_hints


def flags_of(
    name: str, group: type[Any], *, without: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that spreads a command's parameter `name` into the fields of `group`.

    The command line reads a signature: the decorated command has one option for each field that is
    not in `without`, with the field's annotation and default, and is called with one `group`.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(group, include_extras=True)
        options = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None if field.default is MISSING else field.default,
                annotation=hints[field.name],
            )
            for field in fields(group)
            if field.name not in without
        ]
        own = inspect.signature(command, eval_str=True)
        kept = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in own.parameters.values()
            if parameter.name != name
        ]

        @wraps(command)
        def spread(**values: Any) -> None:
            given = {option.name: values.pop(option.name) for option in options}
            command(**values, **{name: group(**given)})

        spread.__signature__ = own.replace(parameters=[*kept, *options])  # type: ignore[attr-defined]
        spread.__annotations__ = {p.name: p.annotation for p in (*kept, *options)}
        return spread

    return decorate
