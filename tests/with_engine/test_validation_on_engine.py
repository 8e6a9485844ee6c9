"""`saber calibrate endpoint` and `saber validate` on vLLM, from the command line.

Bounded to about two and a half minutes. How near the simulation comes is looked at only where this
machine kept up.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pace import step_s
from running import MAX_NUM_BATCHED_TOKENS, MAX_NUM_SEQS

from calibrate import load_profile
from calibrate.endpoint.probe import MOST_PROBES
from policies.catalog import make_policy
from traces.formats import save
from traces.request import Trace

PATIENCE_S = 180.0
BUDGET_S, MOST_REQUESTS = 90, 400
REQUESTS, RATE_RPS = 30, 2.5
POLICIES = ("static(4)", "saber")
E2E_PCT, GOODPUT_POINTS, STEP_PCT = 10.0, 5.0, 15.0
QUIET_S = 0.02
"""Where the driver's event loop is later than this at p99, nothing it times can be trusted."""
LIMITS = "e2e:100000,tpot:100000,ttft:100000,goodput:100"


@dataclass(frozen=True)
class Validation:
    """What the two commands left."""

    profile: Path
    folder: Path
    document: dict


def saber(*words):
    """Run a command and return the document that it prints."""
    finished = subprocess.run(
        [sys.executable, "-m", "sim.cli", *words, "--json"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


@pytest.fixture(scope="module")
def validation(engine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("validation")
    profile, trace, out = folder / "profile.json", folder / "trace.csv", folder / "out"
    server = [engine.url, "--model", engine.model]
    saber(
        *["calibrate", "endpoint", *server, "--levels", "1,4,16", "--out", str(profile)],
        *["--budget", f"{BUDGET_S}s", "--max-requests", str(MOST_REQUESTS)],
    )
    rng = np.random.default_rng(0)
    arrival_s = np.cumsum(rng.exponential(1 / RATE_RPS, REQUESTS))
    lengths = rng.integers(16, 257, REQUESTS), rng.integers(8, 65, REQUESTS)
    save(Trace(arrival_s, *lengths, sla_s=np.full(REQUESTS, 3.0)), trace)
    document = saber(
        *["validate", *server, "--profile", str(profile), "--trace", str(trace)],
        *["--policies", ",".join(POLICIES), "--max-num-seqs", str(MAX_NUM_SEQS)],
        *["--max-num-batched-tokens", str(MAX_NUM_BATCHED_TOKENS), "--tolerance", LIMITS],
        *["--out", str(out), "--figure", str(folder / "cdf.png")],
    )
    return Validation(profile, out, document)


def test_the_profile_is_one_of_this_engine(validation):
    profile = load_profile(str(validation.profile))

    assert profile.method == "endpoint"
    assert profile.kv_tokens and profile.kv_tokens > 100_000
    assert 1 <= profile.provenance["requests"] <= MOST_REQUESTS
    probes = profile.provenance["requests"] - sum(profile.provenance["statuses"].values())
    assert 1 <= probes <= MOST_PROBES
    assert not profile.provenance["statuses"].get("failed")
    assert {len(level) for level in profile.speed_points} == {2}
    assert 0 < profile.cost.decode_s(1, 100) < 0.1


def test_every_request_is_counted_on_both_sides(validation):
    document = validation.document

    submitted = {policy["policy"]: policy["submitted"] for policy in document["policies"]}
    assert submitted == {make_policy(text).label: REQUESTS for text in POLICIES}
    for policy in document["policies"]:
        [replay] = policy["replays"]
        assert replay["ending"] == "complete"
        for side in ("measured", "simulated"):
            assert replay[side]["statuses"]["finished"] == REQUESTS
            assert sum(replay[side]["statuses"].values()) == REQUESTS
    rows = (validation.folder / "requests.csv").read_text().splitlines()
    assert len(rows) == 1 + REQUESTS * len(POLICIES)


def test_the_files_are_there(validation):
    names = {path.name for path in validation.folder.iterdir()}

    assert {"validation.json", "requests.csv"} <= names
    assert json.loads((validation.folder / "validation.json").read_text()) == validation.document
    assert (validation.folder.parent / "cdf.png").stat().st_size > 10_000


def lateness_s(validation):
    return max(
        replay["driver"]["event_loop"]["p99_s"]
        for policy in validation.document["policies"]
        for replay in policy["replays"]
    )


def test_the_simulation_is_near_where_the_machine_kept_up(validation):
    if lateness_s(validation) > QUIET_S:
        pytest.skip(f"too busy: the event loop was {1e3 * lateness_s(validation):.0f} ms late")
    for policy in validation.document["policies"]:
        [replay] = policy["replays"]
        measured, simulated = replay["measured"], replay["simulated"]
        median_s = measured["e2e_s"]["p50"]
        assert simulated["e2e_s"]["p50"] == pytest.approx(median_s, rel=E2E_PCT / 100)
        goodput_pct = measured["goodput_pct"]
        assert simulated["goodput_pct"] == pytest.approx(goodput_pct, abs=GOODPUT_POINTS)


def test_steps_are_those_of_the_device_and_what_the_engine_adds(validation):
    if lateness_s(validation) > QUIET_S:
        pytest.skip(f"too busy: the event loop was {1e3 * lateness_s(validation):.0f} ms late")
    cost = load_profile(str(validation.profile)).cost
    for batch in (1, 4, 16):
        device_s = step_s(batch, batch * 100, 0)
        assert device_s <= cost.decode_s(batch, batch * 100) <= device_s * (1 + STEP_PCT / 100)
    device_s = step_s(0, 0, MAX_NUM_BATCHED_TOKENS)
    assert cost.prefill_s(MAX_NUM_BATCHED_TOKENS) == pytest.approx(device_s, rel=STEP_PCT / 100)
