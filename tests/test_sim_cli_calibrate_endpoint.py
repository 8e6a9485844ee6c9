"""`saber calibrate endpoint` as a user types it, against a server of known cost on loopback."""

import json

import pytest
from endpoint_cases import QUICK, make_brief
from servers.paced import Paced, serving

from calibrate.library import load_profile
from calibrate.steptime import StepCost
from sim.cli import main


@pytest.fixture(autouse=True)
def brief(tmp_path, monkeypatch):
    make_brief(monkeypatch)
    monkeypatch.chdir(tmp_path)


# Steps so long that a busy machine's late tokens do not hide what prompts do to them.
UNHURRIED = StepCost.affine(
    decode_s=0.02, sequence_s=0.001, context_token_s=1e-7, prefill_s=0.02, prompt_token_s=0.0002
)


def typed(url, *words):
    return main(["calibrate", "endpoint", url + "/v1", "--model", "m", "--out", "p.json", *words])


def test_it_measures_shows_what_it_found_and_its_profile_serves_the_other_commands(capsys):
    paced = Paced(UNHURRIED, max_num_seqs=8)
    with serving(paced.app) as url:
        assert typed(url, "--levels", "1,2,4") == 0
    told = capsys.readouterr()
    assert "never more than 1,000 requests" in told.err
    for word in ("decode", "prefill", "mixed"):
        assert any(line.split()[:1] == [word] for line in told.out.splitlines())
    assert f"{len(paced.asked):,} requests sent" in told.out
    assert "Discipline: chunked (found" in told.out
    assert "Tokens of a step: 512 (found" in told.out
    assert "KV cache: 160,000 tokens (told by the server's metrics" in told.out
    assert "saber run --profile p.json --max-num-batched-tokens 512" in told.out
    assert "--resume" not in told.out

    assert main(["calibrate", "show", "p.json", "--no-figure"]) == 0
    assert "m-endpoint" in capsys.readouterr().out
    assert main(["calibrate", "speed", "p.json", "--json"]) == 0
    speeds = json.loads(capsys.readouterr().out)
    assert speeds["points"] == len(load_profile("p.json").speed_points)
    assert speeds["points_source"].startswith("measured in closed loops")
    run = [
        "run",
        "--profile",
        "p.json",
        "--max-num-batched-tokens",
        "512",
        "--rps",
        "0.5",
        "--sla",
        "unloaded*3",
        "--json",
    ]
    assert main(run) == 0
    summary = json.loads(capsys.readouterr().out)
    assert not [w for w in summary["warnings"] if "kernel-only" in w]


def test_json_is_one_document_on_stdout(capsys):
    with serving(Paced(QUICK).app) as url:
        assert typed(url, "--levels", "1,2", "--json", "--device-name", "d") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["path"] == "p.json" and document["complete"]
    assert document["profile"]["method"] == "endpoint"
    assert document["profile"]["device"] == {"name": "d"}


def test_what_was_left_out_is_shown_and_resumed(capsys):
    with serving(Paced(QUICK, max_num_seqs=64).app) as url:
        assert typed(url, "--max-requests", "40") == 0
        out = capsys.readouterr().out
        assert "Left out: level 16: 0 of 1 sessions" in out
        assert "--resume goes on from p.json.partial" in out
        assert typed(url, "--max-requests", "300", "--resume", "--levels", "1,2,4") == 0
    assert "Left out" not in capsys.readouterr().out


def test_the_key_comes_from_the_variable_and_is_never_shown(capsys, monkeypatch):
    monkeypatch.setenv("A_KEY", "secret-key")
    with serving(Paced(QUICK, key="secret-key").app) as url:
        assert typed(url, "--api-key-env", "A_KEY", "--levels", "1,2", "--json") == 0
        told = capsys.readouterr()
        assert "secret-key" not in told.out + told.err
        assert typed(url, "--resume") == 2
    assert "--api-key-env" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on(capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("calibrate.endpoint.measuring.endpoint_profile", interrupted)
    with serving(Paced(QUICK).app) as url:
        assert typed(url, "--levels", "1,2") == 130
    assert "go on with --resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--levels", "1,two"), "--levels '1,two'"),
        (("--budget", "soon"), "--budget 'soon'"),
        (("--max-requests", "3"), "--max-requests 3 is too few"),
        (("--api-key-env", "NOT_SET_HERE"), "NOT_SET_HERE is not set"),
        (("--discipline", "chunky"), "did you mean 'chunked'"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(capsys, words, message):
    assert typed("http://127.0.0.1:9", *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_server_that_is_not_there_and_a_wrong_model_are_one_line(capsys):
    assert typed("http://127.0.0.1:9") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no connection" in line
    with serving(Paced(QUICK, model="n").app) as url:
        assert typed(url) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "has no model 'm', expected one of: n, other" in line
