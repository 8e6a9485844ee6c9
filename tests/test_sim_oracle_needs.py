"""What each request needs at the least, from the costs of its engine."""

from __future__ import annotations

import numpy as np
import pytest
from oracle_cases import profile_of

from calibrate.steptime import PiecewiseLinear, StepCost
from sim.options import RunOptions
from sim.oracle.needs import needs_of
from traces.request import Trace

# Prompts: flat up to 100 tokens, then 0.01 s a token. Decodes: a batch of 4 as fast as one of 2.
COST = StepCost(
    decode_fixed=PiecewiseLinear((1.0, 2.0, 3.0, 4.0), (1.0, 2.0, 2.5, 2.0)),
    decode_context=PiecewiseLinear((1.0,), (0.001,)),
    prefill=PiecewiseLinear((0.0, 100.0, 200.0), (1.0, 1.0, 2.0)),
)
TRACE = Trace.trusted(
    np.array([3.0, 3.0, 4.0, 5.0]),
    np.array([9, 50, 150, 9]),
    np.array([2, 3, 4, 5]),
    sla_s=np.array([40.0, 40.0, 40.0, 1.0]),
)


def test_prompts_cost_the_best_average_alone_and_the_best_margin_in_chunks():
    whole = needs_of(TRACE, profile_of(COST), RunOptions())
    assert whole.prefill_s == pytest.approx([0.09, 0.5, 1.5])
    assert whole.alone_prefill_s == pytest.approx([1.0, 1.0, 1.5])
    chunks = needs_of(TRACE, profile_of(COST, "chunked"), RunOptions())
    assert chunks.prefill_s == pytest.approx([0, 0, 0], abs=1e-9)
    assert chunks.alone_prefill_s == pytest.approx([1.0, 1.0, 1.0])


def test_steps_have_the_base_context_and_those_that_are_met_share_the_cheapest():
    needs = needs_of(TRACE, profile_of(COST), RunOptions())
    # The base is 10 tokens, 0.01 s for each of the batch.
    assert needs.step_s == pytest.approx([1.01, 2.02, 2.04, 2.04])
    assert needs.step_s[2] == needs.step_s[3]
    assert needs_of(TRACE, profile_of(COST), RunOptions(max_num_seqs=2)).step_s.shape == (2,)
    # Beyond the base: 0 of the first; 41 and 42 tokens of the second.
    assert needs.context_s(needs.tokens)[:2] == pytest.approx([0.0, 0.083])


def test_who_cannot_be_met_alone_is_left_out_and_still_counts():
    needs = needs_of(TRACE, profile_of(COST), RunOptions())
    assert needs.id.tolist() == [0, 1, 2]
    assert needs.objectives == 4
    assert needs.start_s.tolist() == [0.0, 0.0, 1.0]


def test_where_the_cache_is_short_a_recompute_may_be_the_shortest_step():
    quick = StepCost.affine(decode_s=5.0, prefill_s=0.5, prompt_token_s=0.01)
    trace = TRACE.with_sla(99.0)
    ample = needs_of(trace, profile_of(quick), RunOptions())
    assert ample.least_step_s.tolist() == [5.0] * 4
    assert np.isinf(ample.most_price_s).all()
    short = needs_of(trace, profile_of(quick, kv_tokens=192), RunOptions())
    assert short.least_step_s == pytest.approx([0.6, 1.01, 2.01, 0.6])
    assert np.isfinite(short.most_price_s).all()
