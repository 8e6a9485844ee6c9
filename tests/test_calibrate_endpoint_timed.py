"""The cost of an engine, recovered from what its sessions showed."""

import numpy as np
import pytest
from endpoint_cases import COST, Virtual, measured

from calibrate.endpoint.findings import Seen
from calibrate.endpoint.plan import Facts
from calibrate.endpoint.session import Session
from calibrate.endpoint.timed import timed
from calibrate.fit import fit_cost


@pytest.mark.parametrize("name", ["chunked", "prefill-first"])
@pytest.mark.parametrize("jitter_s", [0.0, 0.0005])
def test_the_cost_is_recovered(name, jitter_s):
    facts, sessions = measured(discipline=name, jitter_s=jitter_s)
    found = timed(sessions, facts)
    # Up 2 ms, down 1 ms, and what a late first token adds: no more than twice the jitter.
    assert found.client_overhead_s == pytest.approx(0.003, abs=0.0003 + 2 * jitter_s)
    fit = fit_cost(found.measurements, engine_overhead_s=0.0, rng=np.random.default_rng(0))
    kinds = {m.step.kind for m in found.measurements}
    assert kinds == ({"decode", "prefill"} | ({"chunk", "mixed"} if name == "chunked" else set()))
    for batch, context in ((1, 100), (4, 1000), (12, 500)):
        expected_s = COST.decode_s(batch, batch * context)
        assert fit.cost.decode_s(batch, batch * context) == pytest.approx(expected_s, rel=0.01)
    for tokens in (100, 300, 500):
        work = (tokens, tokens**2 / 2)
        close = pytest.approx(COST.prefill_s(*work), rel=0.03 + 40 * jitter_s)
        assert fit.cost.prefill_s(*work) == close
        if name == "chunked":
            mixed = (4, 4 * 200, *work)
            assert fit.cost.mixed_s(*mixed) == pytest.approx(COST.mixed_s(*mixed), rel=0.03)
    if name == "chunked":
        later = (512, 512 * (1024 + 256))
        assert fit.cost.prefill_s(*later) == pytest.approx(COST.prefill_s(*later), rel=0.03)


def test_repeats_of_a_step_are_one_measurement_by_round():
    facts, sessions = measured()
    found = timed(sessions, facts)
    steps = [m.step for m in found.measurements]
    assert len(set(steps)) == len(steps)
    mixed = {(s.batch, s.prompt_tokens, s.past_tokens) for s in steps if s.kind == "mixed"}
    assert mixed >= {(4, 256, 0), (4, 508, 0), (4, 508, 508), (12, 500, 500)}
    chunks = {(s.prompt_tokens, s.past_tokens) for s in steps if s.kind == "chunk"}
    assert chunks == {(512, 512), (512, 1024), (512, 1536)}
    for m in found.measurements:
        assert sorted(found.rounds[m.step]) == [0, 1, 2]
        assert sum(map(len, found.rounds[m.step].values())) == len(m.samples_s)


def test_a_first_token_that_came_with_the_second_is_no_time_to_the_first():
    session = Session(1, (8,), 34)
    (good,) = Virtual().run(session)
    held = (good.reply.token_s[1], *good.reply.token_s[1:])
    reply = type(good.reply)("finished", good.reply.sent_s, held[-1], held, 8)
    sessions = [Seen.of(session, [good]), Seen.of(session, [type(good)(8, reply)])]
    prefills = [m for m in timed(sessions, Facts()).measurements if m.step.kind == "prefill"]
    assert [len(m.samples_s) for m in prefills] == [1]
