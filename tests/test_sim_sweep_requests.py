"""The requests of a cell: a window of a trace, its blocks redrawn by the seed."""

import numpy as np
import pytest

from calibrate.library import load_profile
from sim.options import RunOptions
from sim.sweep.canonical import canonical
from sim.sweep.requests import requests_of
from traces.bootstrap import block_bootstrap
from traces.request import Trace
from traces.seeds import stream

TRACE = Trace(
    arrival_s=np.arange(100) / 2, prompt_tokens=np.arange(1, 101), output_tokens=np.full(100, 5)
)


def requests(**setting):
    written = canonical({"trace": "a.csv", **setting})
    return requests_of(written, TRACE, load_profile("paper-qwen2.5-coder-3b"), RunOptions())


def test_a_window_counts_from_its_start():
    trace = requests(start_s=10, end_s=12)

    assert trace.prompt_tokens.tolist() == [21, 22, 23, 24]
    assert trace.arrival_s.tolist() == [0, 0.5, 1, 1.5]
    assert len(requests(start_s=10)) == 80
    assert len(requests(end_s=10)) == 20


def test_each_seed_draws_the_blocks_of_the_window():
    one, again, other = (requests(start_s=10, block_s=4, seed=seed) for seed in (1, 1, 2))
    alone = block_bootstrap(requests(start_s=10), stream(1, "blocks"), 4)

    assert one.prompt_tokens.tolist() == again.prompt_tokens.tolist()
    assert one.prompt_tokens.tolist() == alone.prompt_tokens.tolist()
    assert one.prompt_tokens.tolist() != other.prompt_tokens.tolist()
    assert min(one.prompt_tokens) > 20


def test_without_blocks_every_seed_has_the_trace_as_it_is():
    assert requests(seed=1).prompt_tokens.tolist() == TRACE.prompt_tokens.tolist()


def test_a_window_is_cut_and_redrawn_before_the_rate_changes():
    slow, fast = requests(start_s=10, block_s=4), requests(start_s=10, block_s=4, scale=2)

    assert fast.prompt_tokens.tolist() == slow.prompt_tokens.tolist()
    assert fast.arrival_s == pytest.approx(slow.arrival_s / 2)
