"""Hypothesis strategies for traces."""

import numpy as np
from hypothesis import strategies as st

from traces.columns import HashIds
from traces.request import Trace


@st.composite
def any_trace(draw: st.DrawFn, max_size: int = 12) -> Trace:
    """Return traces with everything a trace can hold, ties and gaps included."""
    n = draw(st.integers(1, max_size))
    seconds = st.one_of(st.integers(0, 5).map(float), st.floats(0, 1e6))
    counts = st.integers(1, 10**6)
    # What a careless file format would lose: blanks, quotes, commas, what looks like nothing.
    label = st.sampled_from(
        ["a", "b", " x ", 'say "é", twice', "NA", "1.0", "-1", "a~2", "#", "日本"]
    )

    def column(values: st.SearchStrategy) -> list:
        return draw(st.lists(values, min_size=n, max_size=n))

    output = np.array(column(counts))
    blocks = None
    if draw(st.booleans()):
        lengths = column(st.integers(0, 3))
        ids = np.array(
            draw(st.lists(st.integers(0, 9), min_size=sum(lengths), max_size=sum(lengths)))
        )
        blocks = HashIds(np.cumsum([0, *lengths]), ids, 16)
    return Trace(
        sorted(column(seconds)),
        column(counts),
        output,
        max_tokens=output + np.array(column(st.integers(0, 5))),
        task=column(st.none() | label),
        session=column(st.none() | label),
        tenant=column(st.none() | label),
        sla_s=column(st.just(float("nan")) | st.floats(1e-3, 1e3)),
        parent=[draw(st.integers(-1, i - 1)) for i in range(n)],
        hash_ids=blocks,
    )
