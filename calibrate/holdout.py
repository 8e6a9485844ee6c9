"""Which measurements a fit is judged by without having seen them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from calibrate.steps import Step

# A row is all steps of a region that share one of these sizes.
ROWS_OF = {
    "decode": ("batch",),
    "prefill": ("prompt_tokens",),
    "chunk": ("past_tokens", "prompt_tokens"),
    "mixed": ("batch", "prompt_tokens"),
}
Rows = dict[str, list[dict[str, int]]]


def held_out_rows(steps: Sequence[Step]) -> Rows:
    """Return a third of the rows of every region, spread over it, the same for the same steps.

    Rows run along the size that a region has most of. The first and the last row are never held
    out, for beyond them there is nothing to draw a line to, nor are two neighbours, so that every
    row held out lies between two that are not. A region of less than three rows has none.

    Returns
    -------
    dict
        By region, the rows as `{"batch": 16}`: the size and its value.
    """
    rows: Rows = {}
    for region, names in ROWS_OF.items():
        sizes = {
            name: sorted({getattr(step, name) for step in steps if step.kind == region})
            for name in names
        }
        name = max(names, key=lambda name: len(sizes[name]))  # the first of equals
        if len(sizes[name]) >= 3:
            rows[region] = [{name: sizes[name][place]} for place in _third(len(sizes[name]))]
    return rows


def is_held_out(step: Step, rows: Mapping[str, Sequence[Mapping[str, int]]]) -> bool:
    """Return whether `step` belongs to one of the rows."""
    return any(
        getattr(step, name) == size for row in rows.get(step.kind, ()) for name, size in row.items()
    )


def _third(n: int) -> list[int]:
    """Return the places of about a third of n >= 3 rows, evenly, without the first and last."""
    return [int(place) for place in np.round(np.linspace(1, n - 2, round(n / 3)))]
