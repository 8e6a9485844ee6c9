"""The public trace formats, as a table: which field means what, in which unit.

A layout is recognised by its field names, in whatever container they come (CSV, JSONL, a JSON
list, Parquet), never by a file's name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from traces.errors import TraceError, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping, Set


@dataclass(frozen=True)
class Layout:
    """One trace format.

    Attributes
    ----------
    name : what users call it
    arrival, prompt, output : the fields of arrival time (None: there is none), prompt and output
        tokens
    unit_s : seconds in one unit of `arrival`; None for a written date and time
    marks : further fields that must be there to tell it from its relatives
    labels : "task", "session", "tenant" to the field that says it
    options : "max_tokens", "sla_s" to the field that says it
    chain : the fields of a row's own id and of its parent's; own id None counts rows from 0
    hash_ids : the field of the prompt's block ids
    block_tokens : tokens in a block, or the field that says it
    images : the field that counts images, which are not modelled
    ones : fields that must be 1 wherever they are present
    failures : whether zero output tokens stand for a request without response, to be dropped
    exact : whether arrivals stay as written, and fields that are not known are errors
    """

    name: str
    arrival: str | None
    prompt: str
    output: str
    unit_s: float | None = 1.0
    marks: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    chain: tuple[str | None, str] | None = None
    hash_ids: str | None = None
    block_tokens: int | str = 0
    images: str | None = None
    ones: tuple[str, ...] = ()
    failures: bool = False
    exact: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        """The fields without which it is not this format."""
        arrival = () if self.arrival is None else (self.arrival,)
        return (*arrival, *self.marks, self.prompt, self.output)

    @property
    def knows(self) -> tuple[str, ...]:
        """All fields it reads."""
        further = (*self.labels.values(), *self.options.values(), *(self.chain or ()))
        blocks = (self.hash_ids, self.block_tokens if isinstance(self.block_tokens, str) else None)
        names = (*self.needs, *further, *blocks, self.images, *self.ones)
        return tuple(dict.fromkeys(name for name in names if name is not None))


OWN = Layout(
    "sabersim",
    *("arrival_s", "prompt_tokens", "output_tokens"),
    labels={"task": "task", "session": "session", "tenant": "tenant"},
    options={"max_tokens": "max_tokens", "sla_s": "sla_s"},
    chain=(None, "parent"),
    hash_ids="hash_ids",
    block_tokens="block_tokens",
    exact=True,
)

# Ordered: where one format's fields include another's, the richer comes first.
LAYOUTS = (
    OWN,
    Layout(
        "azure-lmm",
        *("TIMESTAMP", "ContextTokens", "GeneratedTokens"),
        unit_s=None,
        marks=("NumImages",),
        images="NumImages",
    ),
    Layout("azure", "TIMESTAMP", "ContextTokens", "GeneratedTokens", unit_s=None),
    Layout(
        "burstgpt",
        *("Timestamp", "Request tokens", "Response tokens"),
        marks=("Log Type",),
        labels={"task": "Log Type", "session": "Session ID"},
        failures=True,
    ),
    Layout(
        "bailian",
        *("timestamp", "input_length", "output_length"),
        marks=("chat_id",),
        labels={"task": "type"},
        chain=("chat_id", "parent_chat_id"),
        hash_ids="hash_ids",
        block_tokens=16,
    ),
    Layout(
        "mooncake",
        *("timestamp", "input_length", "output_length"),
        unit_s=1e-3,
        hash_ids="hash_ids",
        block_tokens=512,
    ),
    Layout("vidur", "arrived_at", "num_prefill_tokens", "num_decode_tokens"),
    Layout(
        "splitwise",
        *("arrival_timestamp", "prompt_size", "token_size"),
        labels={"tenant": "application_id"},
        ones=("batch_size",),
    ),
    Layout("llmservingsim", "arrival_time_ns", "input_toks", "output_toks", unit_s=1e-9),
)

# Read by traces/lengths.py: their fields do not lie flat in a row.
SHAREGPT, VLLM = "sharegpt", "vllm-bench"
FORMATS = (*(layout.name for layout in LAYOUTS), SHAREGPT, VLLM)


def find_layout(fields: Set[str], name: str | None = None) -> Layout | None:
    """Return the layout these fields fit (the one called `name`, if given), None if none does.

    Raises
    ------
    TraceError
        `name` is given but fields of it are missing, or a field of our own format is misspelled.
    """
    for layout in LAYOUTS:
        if name is not None and layout.name != name:
            continue
        missing = [need for need in layout.needs if need not in fields]
        if not missing:
            if layout.exact:
                for stranger in sorted(fields - set(layout.knows)):
                    raise unknown("column", stranger, layout.knows)
            return layout
        if name is not None:
            raise TraceError(f"is not in the {name} format: {', '.join(missing)} is missing")
    return None


def looked_for() -> str:
    """Return, on one line, the formats there are and what each is recognised by."""
    tables = "; ".join(f"{layout.name} ({','.join(layout.needs)})" for layout in LAYOUTS)
    return (
        f"{tables}; {SHAREGPT} (JSON records with prompt and output lengths or conversations); "
        f"{VLLM} (JSON with input_lens,output_lens)"
    )
