"""Files that list lengths rather than rows of a trace: ShareGPT-like records, vLLM results."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from traces.containers import Batch, Document, Table
from traces.errors import TraceError
from traces.layouts import SHAREGPT, VLLM, Layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_COUNTED = (
    *(("prompt_tokens", "output_tokens"), ("prompt_tokens", "completion_tokens")),
    *(("prompt_len", "output_len"), ("input_len", "output_len"), ("prompt_len", "completion_len")),
    *(("input_length", "output_length"), ("input_tokens", "output_tokens")),
    *(("input_toks", "output_toks"), ("num_prefill_tokens", "num_decode_tokens")),
)
_WRITTEN = (
    *(("prompt", "completion"), ("prompt", "response"), ("prompt", "output")),
    *(("instruction", "output"), ("question", "answer")),
)
_TURNS = ("conversations", "conversation", "messages")
_MODEL_ROLES = {"gpt", "assistant", "model", "chatgpt", "bing", "bard"}

_LENGTHS = Layout(SHAREGPT, None, "prompt", "output", failures=True)
_RESULT = Layout(VLLM, "start_times", "input_lens", "output_lens", failures=True)
_SUMMARY = frozenset({"total_input_tokens", "request_throughput"})

# What a tokenizer makes of English text, roughly; code is denser. The warning says so.
CHARS_PER_TOKEN = 4.0


def lengths_of_result(document: Document) -> tuple[Table, Layout] | None:
    """Return a vLLM benchmark result as a table, None if the document is not one.

    Raises
    ------
    TraceError
        It was saved without per-request details, or its lists are not of one length.
    """
    content = document.content
    if content.keys() >= _SUMMARY and "input_lens" not in content:
        raise no_details()
    if not {"input_lens", "output_lens"} <= content.keys():
        return None
    layout = _RESULT if content.get("start_times") else replace(_RESULT, arrival=None)
    lists = {name: content[name] for name in layout.needs}
    lengths = {name: len(v) if isinstance(v, list) else None for name, v in lists.items()}
    if None in lengths.values() or len(set(lengths.values())) != 1:
        shown = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise TraceError(f"expected lists of one length, one entry a request; lengths are {shown}")
    n = len(lists["input_lens"])

    def read(names: Sequence[str]) -> Iterator[Batch]:
        yield Batch({name: lists[name] for name in names}, np.arange(n), [])

    return Table(frozenset(layout.needs), read, lambda row: f"request {row}"), layout


def no_details() -> TraceError:
    """Return the error for a benchmark result without per-request lengths."""
    return TraceError(
        "is a benchmark summary without input_lens and output_lens; "
        "save the result with --save-detailed"
    )


def lengths_of_records(table: Table, chars_per_token: float) -> tuple[Table, Layout, bool] | None:
    """Return ShareGPT-like records as a table of lengths and whether these were estimated.

    Token counts are read where the records state them. Otherwise the prompt is all that precedes
    the model's first answer, and lengths are characters over `chars_per_token`; a conversation
    without an answer counts as one without response. None if the records are nothing like it.
    """
    if table.fields >= _SUMMARY and "input_lens" not in table.fields:
        raise no_details()
    for prompt, output in _COUNTED:
        if {prompt, output} <= table.fields:
            return table, replace(_LENGTHS, prompt=prompt, output=output), False
    pair = next((pair for pair in _WRITTEN if table.fields.issuperset(pair)), None)
    turns = next((name for name in _TURNS if name in table.fields), None)
    if pair is None and turns is None:
        return None

    def read(names: Sequence[str]) -> Iterator[Batch]:
        fields = (turns,) if turns is not None else pair
        for batch in table.read(fields or ()):
            if turns is not None:
                texts = [_first_exchange(talk) for talk in batch.values[turns]]
            else:
                texts = list(zip(*batch.values.values(), strict=True))
            lengths = [[_tokens(text, chars_per_token) for text in texts_] for texts_ in texts]
            columns = {"prompt": [p for p, _ in lengths], "output": [o for _, o in lengths]}
            yield Batch(columns, batch.rows, batch.broken)

    return Table(frozenset({"prompt", "output"}), read, table.where), _LENGTHS, True


def _first_exchange(turns: Any) -> tuple[Any, Any]:
    """Return the text before the model's first answer, and that answer ("" if there is none)."""
    if not isinstance(turns, list):
        return None, None
    before: list[str] = []
    for turn in turns:
        role = turn.get("from", turn.get("role")) if isinstance(turn, dict) else None
        text = turn.get("value", turn.get("content")) if isinstance(turn, dict) else None
        if not isinstance(role, str) or not isinstance(text, str):
            return None, None
        if role.lower() in _MODEL_ROLES and any(before):
            return "".join(before), text
        before.append(text)
    return "".join(before), ""


def _tokens(text: Any, chars_per_token: float) -> int | None:
    if not isinstance(text, str):
        return None
    return max(1, round(len(text) / chars_per_token)) if text else 0
