"""What a policy is told of the engine that it stands in front of."""

import pytest

from calibrate import load_profile
from policies.static import PassThrough
from sim import simulate
from traces import workload


class Curious:
    """Passes requests through, and keeps the profile that it was started with."""

    label = "curious"

    def start(self, rng, profile):
        self.profile = profile
        return PassThrough()


@pytest.mark.parametrize(
    ("options", "discipline", "overhead_s"),
    [
        ({}, "prefill-first", None),
        ({"discipline": "chunked"}, "chunked", None),
        ({"client_overhead_s": 0.25}, "prefill-first", 0.25),
        ({"kv_tokens": 40_000}, "prefill-first", None),
    ],
)
def test_a_policy_knows_the_engine_as_it_is_run(options, discipline, overhead_s):
    profile, policy = load_profile("paper-qwen2.5-coder-3b"), Curious()
    simulate(workload("W3", rps=5, n=5, seed=0), profile, policy=policy, **options)
    told = policy.profile
    assert told.discipline == discipline
    expected_s = profile.client_overhead_s if overhead_s is None else overhead_s
    assert told.client_overhead_s == expected_s
    assert told.kv_tokens == options.get("kv_tokens", profile.kv_tokens)
    assert told.mean_context_tokens > 100
    assert told.cost == profile.cost
