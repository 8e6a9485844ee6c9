"""SLAs for a trace: numbers, one a task, or expressions over what a request is."""

from __future__ import annotations

import ast
import operator
from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from traces.errors import TraceError, brief, unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from traces.columns import FloatColumn
    from traces.request import Trace, UnloadedLatency

_VARIABLES = ("unloaded", "prompt", "output", "max_tokens")
_FUNCTIONS: dict[str, Any] = {"min": np.minimum, "max": np.maximum}
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_EXAMPLE = 'expected an expression such as "unloaded*3" or "0.5+0.05*output"'
# Long enough for any sensible SLA, short enough that nesting cannot exhaust the parser's stack.
_LONGEST = 200


def sla_seconds(
    trace: Trace,
    sla: float | str | Mapping[str, float | str],
    profile: UnloadedLatency | None = None,
) -> FloatColumn:
    """Return the SLA of each request of `trace` in seconds, float64[n], finite and above zero.

    See `Trace.with_sla` for what `sla` may be and the errors raised.
    """
    if not isinstance(sla, Mapping):
        seconds = _evaluate(trace, sla, profile)
        _refuse_useless(seconds, sla)
        return seconds
    codes, names = trace.labels("task")
    for task in sla:
        if task not in names:
            raise unknown("task", str(task), names)
    present = set(np.unique(codes).tolist())
    uncovered = [name for code, name in enumerate(names) if code in present and name not in sla]
    if uncovered:
        raise TraceError(f"no SLA given for task {', '.join(map(repr, uncovered))} of the trace")
    if -1 in present:
        count = int((codes < 0).sum())
        raise TraceError(f"{count} of {len(trace)} requests have no task, so no SLA by task")
    seconds = np.empty(len(trace))
    for task, value in sla.items():
        rows = np.flatnonzero(codes == names.index(task))
        seconds[rows] = _evaluate(trace.take(rows), value, profile)
        _refuse_useless(seconds[rows], value, rows)
    return seconds


def _evaluate(trace: Trace, sla: float | str, profile: UnloadedLatency | None) -> FloatColumn:
    if isinstance(sla, str):
        value = _value(_parsed(sla), trace, profile, sla)
    elif isinstance(sla, Real) and not isinstance(sla, bool):
        value = float(sla)
    else:
        raise TraceError(f"SLA {brief(sla)} is neither seconds nor an expression; {_EXAMPLE}")
    # A copy: a column of the trace may be the whole expression.
    return np.array(np.broadcast_to(value, len(trace)), dtype=np.float64)


def _refuse_useless(seconds: FloatColumn, sla: object, rows: Any = None) -> None:
    bad = ~((seconds > 0) & (seconds < np.inf))
    if bad.any():
        i = int(bad.argmax())
        row = i if rows is None else rows[i]
        raise TraceError(
            f"SLA {brief(sla)} gives {seconds[i]:g} s for row {row}; expected finite and above 0"
        )


def _parsed(text: str) -> ast.expr:
    if len(text) > _LONGEST:
        raise TraceError(f"SLA {brief(text)} is longer than {_LONGEST} characters")
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
        raise TraceError(f"SLA {brief(text)} cannot be read; {_EXAMPLE}") from e


def _value(node: ast.expr, trace: Trace, profile: UnloadedLatency | None, text: str) -> Any:
    """Return the value of an expression node: a float, or float64[n]."""

    def value(child: ast.expr) -> Any:
        return _value(child, trace, profile, text)

    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            # Via the text, so that a number too large becomes inf rather than an OverflowError.
            return np.float64(repr(number))
        case ast.Name(id=name):
            return _variable(name, trace, profile, text)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -value(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            with np.errstate(all="ignore"):  # what is not finite in the end is refused there
                return _BINARY[type(op)](value(left), value(right))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if (
            name in _FUNCTIONS and len(args) >= 2
        ):
            first, *rest = (value(argument) for argument in args)
            for other in rest:
                first = _FUNCTIONS[name](first, other)
            return first
    part = ast.get_source_segment(text.strip(), node) or text
    raise TraceError(
        f"SLA {brief(text)} uses {brief(part)}; expected {', '.join(_VARIABLES)}, numbers, "
        "+ - * / ( ) and min or max of several values"
    )


def _variable(name: str, trace: Trace, profile: UnloadedLatency | None, text: str) -> FloatColumn:
    if name == "prompt":
        return trace.prompt_tokens.astype(np.float64)
    if name == "output":
        return trace.output_tokens.astype(np.float64)
    if name == "max_tokens":
        return trace.max_tokens.astype(np.float64)
    if name != "unloaded":
        error = unknown("name", name, [*_VARIABLES, *_FUNCTIONS])
        raise TraceError(f"SLA {brief(text)}: {error}")
    if profile is None:
        raise TraceError(f"SLA {brief(text)} uses 'unloaded', which needs a profile")
    seconds = np.asarray(profile.unloaded_s(trace.prompt_tokens, trace.output_tokens), np.float64)
    if seconds.shape != (len(trace),):
        raise TraceError(
            f"the profile's unloaded_s gave shape {seconds.shape}; expected ({len(trace)},)"
        )
    return seconds
