"""`saber validate` against servers on loopback: an engine of known cost, and faulty ones."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from servers.paced import Paced, serving

from calibrate.profile import Profile
from calibrate.steptime import StepCost
from sim.cli import main

ROOT = Path(__file__).parent.parent
COST = StepCost.affine(
    decode_s=0.008,
    sequence_s=0.0002,
    context_token_s=1e-7,
    prefill_s=0.008,
    prompt_token_s=5e-5,
    attention_token2_s=1e-9,
)
KEY = "sk-very-secret-0123456789"
WIDE = "e2e:400,tpot:400,ttft:4000,goodput:99"
"""A test's machine may be busy: that numbers are near is tested in virtual time."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("validate")
    profile = Profile(
        name="known",
        method="endpoint",
        cost=replace(COST, engine_overhead_s=0.0),
        kv_tokens=160_000,
        kv_source="told",
        discipline="chunked",
        client_overhead_s=0.002,
        speed_points=((1.0, 110.0), (4.0, 100.0), (8.0, 90.0), (16.0, 80.0)),
    )
    profile.save(folder / "known.json")
    rows = [f"{0.08 * i:.2f},{20 + 5 * (i % 7)},{5 + i % 9},2.0" for i in range(30)]
    (folder / "t.csv").write_text(
        "arrival_s,prompt_tokens,output_tokens,sla_s\n" + "\n".join(rows) + "\n"
    )
    return folder


def words(folder, url, *more):
    return [
        "validate", f"{url}/v1", "--model", "m", "--profile", str(folder / "known.json"),
        "--trace", str(folder / "t.csv"), "--tolerance", WIDE, "--drain", "10s",
        "--max-num-seqs", "16", "--max-num-batched-tokens", "512", *more,
    ]  # fmt: skip


@pytest.fixture
def server():
    paced = Paced(COST)
    with serving(paced.app) as url:
        yield url, paced


def test_both_policies_are_measured_simulated_and_kept(folder, server, tmp_path, capsys):
    url, paced = server
    out, picture = tmp_path / "deep" / "out", tmp_path / "cdf.png"
    more = ("--policies", "static(2), saber", "--out", str(out), "--figure", str(picture))
    assert main(words(folder, url, *more, "--json")) == 0
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert "at most 2 replays: 60 requests" in said.err
    assert document["outcome"] == "within"
    assert [each["policy"] for each in document["policies"]] == [
        "static(max_num_seqs=2)",
        "saber",
    ]
    for each in document["policies"]:
        [replay] = each["replays"]
        assert {v["name"]: v["limit"] for v in each["verdicts"]} == {
            "e2e.p50": 400, "tpot.p50": 400, "ttft.p50": 4000, "goodput": 99,
        }  # fmt: skip
        assert {v["outcome"] for v in each["verdicts"]} == {"within"}
        assert replay["measured"]["statuses"]["finished"] == 30
        assert replay["simulated"]["statuses"]["finished"] == 30
        assert replay["driver"]["event_loop"]["p50_s"] < 1
        assert {error["metric"] for error in each["errors"]} == {
            "ttft", "tpot", "e2e", "goodput", "throughput",
        }  # fmt: skip
        # However busy the machine, an engine of 8 ms a step does not serve faster.
        tpot = next(e for e in each["errors"] if (e["metric"], e["part"]) == ("tpot", "p50"))
        assert tpot["measured"] > 0.0079
        assert tpot["simulated"] == pytest.approx(0.0085, abs=0.001)
    assert document["configuration"]["max_num_seqs"] == 16
    assert document["configuration"]["feedback_delay_s"] == 0.002
    assert document["server"]["max_model_len"] == 4096
    prompts = [tuple(body["prompt"]) for body in paced.asked]
    assert len(set(prompts)) == len(prompts) == 60 + document["server"]["probes"]
    assert json.loads((out / "validation.json").read_text()) == document
    rows = pd.read_csv(out / "requests.csv")
    assert len(rows) == 60
    assert rows["measured_status"].eq("finished").all()
    waited_s = rows["measured_finished_s"] - rows["arrival_s"]
    assert waited_s.to_list() == pytest.approx(rows["measured_e2e_s"].to_list())
    assert (rows["arrival_s"] >= rows["planned_s"]).all()
    assert (rows["sent_s"] >= rows["measured_admitted_s"]).all()
    assert (rows["known_s"] >= rows["measured_finished_s"]).all()
    assert picture.read_bytes().startswith(b"\x89PNG")
    runs = sorted(str(path) for path in out.glob("*.parquet"))
    assert [Path(run).stem for run in runs] == [
        "measured-saber", "measured-static-2", "simulated-saber", "simulated-static-2",
    ]  # fmt: skip
    assert main(["report", runs[0], runs[2], "--out", str(tmp_path / "page.html")]) == 0


def test_tables_say_what_is_judged_and_how_it_came_out(folder, server, capsys):
    url, _ = server
    assert main(words(folder, url, "--policies", "static(8)", "--repeats", "2", "--n", "1")) == 2
    capsys.readouterr()
    assert main(words(folder, url, "--policies", "static(8)", "--duration", "1s")) == 3
    said = capsys.readouterr()
    assert "13 sent, 13 finished on both sides" in said.out
    assert "± 400" in said.out
    assert "too few requests" in said.out  # 13 of them
    assert "TTFT p99 [s]" in said.out
    assert "event loop late by" in said.out
    assert "they share its cores" in said.err


def test_a_dry_run_contacts_nobody(folder, capsys):
    assert main(words(folder, "http://127.0.0.1:9", "--dry-run", "--json")) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["sending"]["requests"] == 30
    assert document["sending"]["output_tokens"] == sum(5 + i % 9 for i in range(30))
    [run] = document["simulated"]
    assert run["statuses"]["finished"] == 30
    assert main(words(folder, "http://127.0.0.1:9", "--dry-run")) == 0
    assert "nothing was sent" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--tolerance", "e2e"], "--tolerance 'e2e'"),
        (["--drain", "0s"], "--drain '0s'"),
        (["--duration", "soon"], "--duration 'soon'"),
        (["--max-requests", "29"], "would send 30 completions"),
        (["--policies", "static(17)"], "expected a smaller batch"),
        (["--api-key-env", "NO_SUCH_VARIABLE"], "NO_SUCH_VARIABLE is not set"),
        (["--api", "grpc"], "api"),
        (["--figure", "cdf.txt"], "expected a name that ends in"),
        (["--dry-run", "--out", "x"], "no effect with --dry-run"),
        ([], "no connection"),
    ],
)
def test_what_cannot_be_is_one_line_and_nothing_is_sent(folder, more, said, capsys):
    assert main(words(folder, "http://127.0.0.1:9", *more)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert said in lines[-1]
    assert lines[-1].startswith("saber: error: ")


def test_a_model_that_the_server_does_not_have(folder, server, capsys):
    url, paced = server
    given = words(folder, url)
    given[given.index("m")] = "n"
    assert main(given) == 2
    assert "expected one of: m, other" in capsys.readouterr().err
    assert not paced.asked


def test_probes_count_among_the_requests(folder, server, capsys):
    url, paced = server
    assert main(words(folder, url, "--max-requests", "30")) == 2
    assert "beside 1 to find out what the server takes" in capsys.readouterr().err
    assert len(paced.asked) == 1


def test_a_key_is_sent_and_neither_shown_nor_kept(folder, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("MY_KEY", KEY)
    paced = Paced(COST, key=KEY)
    with serving(paced.app) as url:
        more = ("--api-key-env", "MY_KEY", "--out", str(tmp_path), "--duration", "1s", "--json")
        assert main(words(folder, url, *more)) in (0, 3)
    said = capfd.readouterr()
    assert KEY not in said.out + said.err
    for path in tmp_path.iterdir():
        assert KEY.encode() not in path.read_bytes()


def test_a_server_that_fails_is_counted_and_not_hammered(folder, capsys):
    paced = Paced(COST, lives=1)
    with serving(paced.app) as url:
        assert main(words(folder, url, "--policies", "static(4),saber", "--json")) == 1
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert document["outcome"] == "nothing was served"
    [policy] = document["policies"]  # the second one is not even tried
    [replay] = policy["replays"]
    assert replay["ending"] == "stopped"
    assert "HTTP 500: out of order" in replay["account"]
    assert replay["measured"]["statuses"]["failed"] >= 10
    assert "requests were not sent" in said.err
    assert len(paced.asked) <= 16


def test_what_a_server_turns_away_is_counted_and_not_sent_again(folder, capsys):
    paced = Paced(COST, most_at_once=1)
    more = ("--policies", "static(8)", "--rate-scale", "4", "--json")
    with serving(paced.app) as url:
        assert main(words(folder, url, *more)) in (0, 3)
    said = capsys.readouterr()
    [policy] = json.loads(said.out)["policies"]
    statuses = policy["replays"][0]["measured"]["statuses"]
    assert statuses["refused"] > 0
    assert statuses["finished"] > 0
    assert statuses["refused"] + statuses["finished"] == 30
    assert len(paced.asked) == 31
    assert "HTTP 429: too many" in said.err


def test_requests_beyond_the_model_are_not_sent(folder, capsys):
    paced = Paced(COST, max_model_len=50)
    with serving(paced.app) as url:
        assert main(words(folder, url, "--policies", "static(8)", "--json")) in (0, 3)
    said = capsys.readouterr()
    [policy] = json.loads(said.out)["policies"]
    [replay] = policy["replays"]
    refused = replay["measured"]["statuses"]["refused"]
    assert 0 < refused == replay["simulated"]["statuses"]["refused"]
    assert len(paced.asked) == 31 - refused
    assert "the server's max_model_len is 50" in said.err


def test_what_takes_too_long_is_given_up_and_counted(folder, capsys):
    long = folder / "long.csv"
    rows = [f"{0.3 * i:.1f},20,{300 if i == 1 else 5},60" for i in range(4)]
    long.write_text("arrival_s,prompt_tokens,output_tokens,sla_s\n" + "\n".join(rows) + "\n")
    with serving(Paced(COST).app) as url:
        given = words(folder, url, "--policies", "static(8)", "--timeout", "1s", "--json")
        given[given.index(str(folder / "t.csv"))] = str(long)
        assert main(given) == 3
    [policy] = json.loads(capsys.readouterr().out)["policies"]
    statuses = policy["replays"][0]["measured"]["statuses"]
    assert statuses["timed_out"] == 1
    assert statuses["finished"] == 3


def test_ctrl_c_gives_what_there_is_by_then(folder, tmp_path):
    paced = Paced(COST)
    slow = folder / "slow.csv"
    rows = [f"{0.1 * i:.1f},20,{8 if i < 5 else 2000},60" for i in range(300)]
    slow.write_text("arrival_s,prompt_tokens,output_tokens,sla_s\n" + "\n".join(rows) + "\n")
    with serving(paced.app) as url:
        given = words(folder, url, "--policies", "static(8),saber", "--out", str(tmp_path))
        given[given.index(str(folder / "t.csv"))] = str(slow)
        running = subprocess.Popen(
            [sys.executable, "-m", "sim.cli", *given, "--json"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        try:
            until_s = time.monotonic() + 60
            while len(paced.asked) < 10 and time.monotonic() < until_s:
                time.sleep(0.05)
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=60)
        finally:
            running.kill()
        deadline_s = time.monotonic() + 10
        while paced.streams and time.monotonic() < deadline_s:
            time.sleep(0.05)
        assert not paced.streams, "what was in flight is given up"
    assert running.returncode == 130, err
    document = json.loads(out)
    assert document["interrupted"] is True
    [policy] = document["policies"]  # the second one never began
    [replay] = policy["replays"]
    assert replay["ending"] == "interrupted"
    statuses = replay["measured"]["statuses"]
    assert statuses["finished"] >= 1
    assert statuses["cancelled"] >= 1
    assert sum(statuses.values()) < 300
    assert replay["simulated"]["requests"] == sum(statuses.values())
    assert (tmp_path / "measured-static-8.parquet").is_file()
    assert "interrupted: this is what there was by then" in err
    assert "Traceback" not in err
