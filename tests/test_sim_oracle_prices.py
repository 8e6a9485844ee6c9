"""Prices of a token: what each step is charged is never less than they say."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from oracle_cases import profile_of, random_profile, random_trace

from calibrate.steptime import StepCost
from sim.options import RunOptions
from sim.oracle.needs import needs_of
from sim.oracle.prices import prices_of
from traces.request import Trace


@pytest.mark.parametrize("seed", range(8))
def test_a_share_of_a_step_is_never_below_its_price_less_the_discount_for_its_time(seed):
    dice = Random(seed)
    profile = random_profile(dice, "prefill-first")
    needs = needs_of(random_trace(dice, 12, profile), profile, RunOptions())
    prices = prices_of(needs)
    for at, instant_s in enumerate(prices.at_s[:-1]):
        decoding = needs.start_s + needs.alone_prefill_s <= instant_s
        for batch in range(1, int((decoding & (needs.end_s > instant_s)).sum()) + 1):
            for step_s in needs.step_s[batch - 1] * np.array([1.0, 1.5, 4.0]):
                charged = prices.price_s - prices.discount[:, at] * step_s
                assert (step_s / batch >= charged - 1e-12).all()


def test_the_discount_is_as_small_as_can_be_and_its_integral_its_own():
    # Two can be decoding from 2 s to 10 s, one before and after: steps of 1 s for either.
    trace = Trace.trusted(
        np.array([0.0, 1.0]), np.ones(2, int), np.full(2, 3), sla_s=np.array([10.0, 11.0])
    )
    profile = profile_of(StepCost.affine(decode_s=1.0, prefill_s=1.0))
    prices = prices_of(needs_of(trace, profile, RunOptions()))
    assert prices.at_s.tolist() == [0.0, 1.0, 2.0, 10.0, 12.0]
    high = prices.price_s[-1]
    assert prices.price_s[0] == 0.5
    assert prices.discount[0].tolist() == [0.0] * 5
    assert prices.discount[-1] == pytest.approx([0, high - 1, high - 0.5, high - 1, 0])
    whole = prices.over(np.array([0.0]), np.array([12.0]))[-1, 0]
    assert whole == pytest.approx(3 * (high - 1) + 8 * (high - 0.5))
    spans = np.array([0.0, 2.0, 3.0]), np.array([12.0, 10.0, 4.0])
    assert prices.least(*spans)[-1] == pytest.approx([0, high - 0.5, high - 0.5])
