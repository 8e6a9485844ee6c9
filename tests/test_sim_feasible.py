"""Goals that cannot be reached and requests that cannot be held, at their exact limits."""

import pytest

from calibrate.library import load_profile
from sim.feasible import Unloaded, refuse_hopeless_goals, refuse_oversized
from sim.options import EngineLimits, OptionError, RunOptions
from sim.simulation import simulate
from traces.request import Trace

PROFILE = load_profile("paper-qwen2.5-coder-3b")


def limits(blocks: int) -> EngineLimits:
    return EngineLimits("prefill-first", 1, 2048, blocks, 16)


@pytest.mark.parametrize(
    "options",
    [
        RunOptions(),
        RunOptions(discipline="chunked", max_num_batched_tokens=300),
        RunOptions(client_overhead_s=0.5),
    ],
    ids=["profile", "chunked", "overhead"],
)
def test_unloaded_is_what_a_lone_request_takes(options):
    trace = Trace([0.0], [1000], [40], sla_s=100.0)
    [alone_s] = Unloaded(PROFILE, options).unloaded_s(trace.prompt_tokens, trace.output_tokens)

    result = simulate(trace, PROFILE, "static(256)", **vars(options))
    assert result.summary()["e2e_s"]["mean"] == pytest.approx(alone_s, abs=1e-9)


def test_one_request_that_can_meet_its_sla_is_enough():
    engine = Unloaded(PROFILE, RunOptions())
    trace = Trace([0.0, 1.0, 2.0], [100, 100, 100], [10, 20, 30])
    alone_s = engine.unloaded_s(trace.prompt_tokens, trace.output_tokens)

    refuse_hopeless_goals(trace, [engine])
    refuse_hopeless_goals(trace.with_sla(float(alone_s[0])), [engine])
    with pytest.raises(OptionError, match=r"no request can meet its SLA.* 1\.01 times"):
        refuse_hopeless_goals(trace.with_sla(float(alone_s[0]) / 1.01), [engine])


def test_goodput_limits_replace_slas():
    engine = Unloaded(PROFILE, RunOptions())
    trace = Trace([0.0], [100], [10], sla_s=1e-6)

    refuse_hopeless_goals(trace, [engine], {"ttft": 1.0})
    refuse_hopeless_goals(trace, [engine], {"e2el": 1e6})
    with pytest.raises(OptionError, match=r"e2el limit of 0\.001 s"):
        refuse_hopeless_goals(trace, [engine], {"e2el": 1.0})


def test_a_request_fits_up_to_the_last_block_above_the_watermark():
    # 200 blocks less 1 % leave 198 to give; the last token is never stored.
    fits = Trace([0.0], [3000], [198 * 16 - 3000 + 1])
    too_long = Trace([0.0, 1.0], [10, 3000], [10, 198 * 16 - 3000 + 2])

    refuse_oversized(fits, limits(200))
    with pytest.raises(OptionError, match=r"1 of 2 requests .*request 1 .*3000 prompt") as error:
        refuse_oversized(too_long, limits(200))
    assert "--allow-refused" in str(error.value)


def test_what_the_longest_model_length_refuses_needs_no_cache():
    trace = Trace([0.0, 1.0], [5000, 10], [10, 10])

    refuse_oversized(trace, limits(200), max_model_len=4000)
    with pytest.raises(OptionError):
        refuse_oversized(trace, limits(200), max_model_len=5010)
