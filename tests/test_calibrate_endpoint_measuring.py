"""A whole calibration over HTTP: the cost is found, the agreement kept, faults survived."""

import json

import pytest
from endpoint_cases import QUICK, make_brief
from servers.paced import Paced, serving

from calibrate import ProfileError, load_profile
from calibrate.endpoint import measuring, plan
from calibrate.endpoint.measuring import calibrate_endpoint
from calibrate.endpoint.options import EndpointOptions
from calibrate.speed import fit_speed
from calibrate.steptime import StepCost

COST = StepCost.affine(
    decode_s=0.006,
    sequence_s=0.0005,
    context_token_s=1e-7,
    prefill_s=0.006,
    prompt_token_s=5e-5,
)


class Heard:
    """A reporter that remembers."""

    def __init__(self):
        self.lines, self.done = [], []

    def say(self, line):
        self.lines.append(line)

    def progress(self, done, total):
        self.done.append((done, total))


@pytest.fixture
def brief(monkeypatch):
    make_brief(monkeypatch)


def options(url, tmp_path, **changes):
    given = {"model": "m", "out": tmp_path / "p.json", "levels": (1, 2, 4), "max_requests": 200}
    return EndpointOptions(url + "/v1", **{**given, **changes})


def calibrated(paced, tmp_path, heard=None, **changes):
    with serving(paced.app) as url:
        return calibrate_endpoint(options(url, tmp_path, **changes), heard or Heard())


@pytest.mark.slow
def test_the_cost_of_a_server_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "ROUNDS", 2)
    heard = Heard()
    paced = Paced(COST, max_num_seqs=64)
    found = calibrated(paced, tmp_path, heard, device_name="d")
    profile = load_profile(tmp_path / "p.json")
    assert profile == found.profile
    assert found.complete and not found.partial.exists()
    # A late client sees late tokens: the medians of a busy machine are some percent off.
    for batch, context in ((1, 100), (2, 1000), (4, 1000)):
        expected_s = COST.decode_s(batch, batch * context)
        assert profile.cost.decode_s(batch, batch * context) == pytest.approx(expected_s, rel=0.1)
    expected_s = COST.mixed_s(4, 400, 400, 400**2 / 2)
    assert profile.cost.mixed_s(4, 400, 400, 400**2 / 2) == pytest.approx(expected_s, rel=0.25)
    assert 0 <= profile.client_overhead_s < 0.02
    assert (profile.method, profile.discipline, profile.kv_tokens) == (
        "endpoint",
        "chunked",
        160_000,
    )
    assert profile.provenance["max_num_batched_tokens"] == 512
    assert profile.device["name"] == "d"
    assert not [caveat for caveat in profile.caveats if "kernel-only" in caveat]
    assert {load for load, _ in profile.speed_points} == {1.0, 2.0, 4.0}
    speeds = fit_speed(profile.speed_points, "linear")
    assert speeds.speed(1) > speeds.speed(4)
    assert profile.provenance["requests"] == len(paced.asked) <= 200
    assert heard.done[-1][0] < heard.done[-1][1]
    said = heard.lines[0]
    assert said.startswith("sending about") and "never more than 200 requests" in said


def test_the_limit_of_a_server_is_found(tmp_path, brief):
    found = calibrated(Paced(QUICK, max_num_seqs=3), tmp_path)
    assert found.profile.provenance["max_num_seqs"] == 3
    assert {load for load, _ in found.profile.speed_points} == {1.0, 2.0}


def test_no_more_is_sent_than_agreed_and_what_is_cut_is_said(tmp_path, brief):
    paced = Paced(QUICK, max_num_seqs=64)
    found = calibrated(paced, tmp_path, max_requests=40, levels=None)
    assert len(paced.asked) <= 40
    assert found.profile.provenance["left_out"]
    assert not found.complete and found.partial.exists()


def test_a_run_that_goes_on_sends_only_what_is_missing(tmp_path, brief):
    paced = Paced(QUICK, max_num_seqs=64)
    with serving(paced.app) as url:
        calibrate_endpoint(options(url, tmp_path, max_requests=40, levels=None), Heard())
        before = len(paced.asked)
        with pytest.raises(ProfileError, match="go on with --resume"):
            calibrate_endpoint(options(url, tmp_path, max_requests=40), Heard())
        with pytest.raises(ProfileError, match="were sent already"):
            calibrate_endpoint(options(url, tmp_path, max_requests=40, resume=True), Heard())
        assert len(paced.asked) == before
        found = calibrate_endpoint(options(url, tmp_path, resume=True), Heard())
    assert found.complete and not found.partial.exists()
    assert found.profile.provenance["requests"] == len(paced.asked) <= 200


def test_the_time_agreed_to_ends_it_and_keeps_what_there_is(tmp_path, brief):
    with pytest.raises(ProfileError, match=r"time agreed to is over|too few for a profile"):
        calibrated(Paced(QUICK), tmp_path, budget_s=0.4)
    assert (tmp_path / "p.json.partial").exists()


def test_a_server_that_dies_leaves_a_profile_of_what_was_measured(tmp_path, brief):
    paced = Paced(QUICK, max_num_seqs=64, lives=25)
    heard = Heard()
    found = calibrated(paced, tmp_path, heard)
    assert not found.complete and found.partial.exists()
    (warning,) = [w for w in found.profile.provenance["warnings"] if "not all" in w]
    assert "3 sessions in a row failed, the last with: HTTP 500: out of order" in warning
    assert found.profile.provenance["statuses"]["failed"] >= 3
    assert len([line for line in heard.lines if line.startswith("waiting")]) == 2


def test_a_server_that_dies_at_once_is_one_clear_line(tmp_path, brief):
    with pytest.raises(ProfileError, match=r"3 sessions in a row failed.*--resume") as error:
        calibrated(Paced(QUICK, lives=3), tmp_path)
    assert "\n" not in str(error.value)


def test_a_server_that_turns_many_away_is_measured_with_fewer(tmp_path, brief):
    heard = Heard()
    found = calibrated(Paced(QUICK, max_num_seqs=64, most_at_once=3), tmp_path, heard)
    assert {load for load, _ in found.profile.speed_points} == {1.0, 2.0}
    assert any("turned away" in line for line in heard.lines)
    assert found.profile.provenance["statuses"]["refused"] >= 3


def test_a_server_that_cuts_no_prompts_is_found_out(tmp_path, brief):
    found = calibrated(Paced(QUICK, discipline="prefill-first"), tmp_path)
    assert found.profile.discipline == "prefill-first"
    assert found.profile.sources["discipline"].startswith("found")


def test_what_is_given_is_not_looked_for(tmp_path, brief):
    given = {"discipline": "chunked", "max_num_batched_tokens": 512, "kv_tokens": 5000}
    found = calibrated(Paced(QUICK), tmp_path, max_num_seqs=16, **given).profile
    assert found.sources["discipline"] == "given: --discipline"
    assert found.provenance["max_num_batched_tokens"] == 512
    assert (found.kv_tokens, found.kv_source) == (5000, "given with --kv-tokens")


def test_a_server_that_tells_nothing_is_measured_all_the_same(tmp_path, brief):
    paced = Paced(QUICK, ids=False, keeps=(), counts="no", kv_blocks=None, max_model_len=None)
    found = calibrated(paced, tmp_path).profile
    assert found.kv_source.startswith("assumed")
    warnings = " ".join(found.provenance["warnings"])
    assert "does not count tokens" in warnings and "where the model ends them" in warnings


def test_a_model_without_room_for_prompts_is_refused_at_once(tmp_path, brief):
    paced = Paced(QUICK, max_model_len=200)
    with pytest.raises(ProfileError, match="too few to see what they cost"):
        calibrated(paced, tmp_path)
    assert len(paced.asked) == 1


def test_the_key_is_in_no_file(tmp_path, brief):
    calibrated(Paced(QUICK, key="secret-key", lives=25), tmp_path, key="secret-key")
    for path in tmp_path.iterdir():
        assert "secret-key" not in path.read_text()
    partial = (tmp_path / "p.json.partial").read_text().splitlines()
    assert set(json.loads(partial[0])["task"]) == {"url", "model", "api"}


def test_an_interrupted_run_keeps_what_it_has(tmp_path, brief, monkeypatch):
    paced = Paced(QUICK, max_num_seqs=64)
    send = measuring.Sender.send

    async def interrupted(self, session):
        if session.level == 4:
            raise KeyboardInterrupt
        return await send(self, session)

    monkeypatch.setattr(measuring.Sender, "send", interrupted)
    with serving(paced.app) as url:
        with pytest.raises(KeyboardInterrupt):
            calibrate_endpoint(options(url, tmp_path), Heard())
        before = len(paced.asked)
        monkeypatch.setattr(measuring.Sender, "send", send)
        found = calibrate_endpoint(options(url, tmp_path, resume=True), Heard())
    assert before > 15
    # Looked at and warmed up again, and the rest.
    assert found.profile.provenance["requests"] == len(paced.asked) <= 200
    assert found.complete


def test_a_folder_in_the_files_place_is_refused(tmp_path):
    with pytest.raises(ProfileError, match="is a folder"):
        calibrate_endpoint(options("http://127.0.0.1:9", tmp_path, out=tmp_path), Heard())
