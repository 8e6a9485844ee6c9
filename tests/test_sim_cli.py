"""The command line as a user types it: what it prints, where, and with which exit code."""

import json
import os
import resource
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from calibrate.library import load_profile
from sim.cli import join_goodput, main
from sim.simulation import simulate
from traces.formats import load
from traces.workloads import workload

ROOT = Path(__file__).parents[1]
QUICK = ["compare", "--n", "20", "--seeds", "3", "--policies", "static(10), static(30), saber"]
TRACE = "arrival_s,prompt_tokens,output_tokens,task,sla_s\n0.0,100,20,chat,5\n0.5,200,10,fim,5\n"


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def trace():
    Path("trace.csv").write_text(TRACE)
    return "trace.csv"


def run(capsys, *argv):
    """Return exit code, stdout and stderr of one call in this process."""
    code = main([str(word) for word in argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def json_of(capsys, *argv):
    code, out, err = run(capsys, *argv, "--json")
    assert code == 0, err

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(out, parse_constant=refuse)


def saber(*argv, **options):
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "sim.cli", *argv],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


# -- compare ---------------------------------------------------------------------------------------


def test_compare_prints_a_table_and_draws_a_figure(capsys):
    code, out, err = run(capsys, *QUICK)

    assert code == 0
    assert "W3 at 10 requests/s, 20 requests, poisson; 3 seeds" in out
    assert "static(max_num_seqs=30)" in out
    assert "paired by seed" in out
    assert "after the fact" in out
    assert Path("saber-compare.png").read_bytes().startswith(b"\x89PNG")
    assert "saber: figure written to saber-compare.png" in err


def test_compare_json_is_one_document_and_matches_the_library(capsys):
    document = json_of(capsys, *QUICK, "--no-figure")

    policies = [row["policy"] for row in document["rows"]]
    assert policies == ["static(max_num_seqs=10)", "static(max_num_seqs=30)", "saber"]
    profile = load_profile("paper-qwen2.5-coder-3b")
    runs = [simulate(workload("W3", 10, 20, seed), profile, seed=seed) for seed in range(3)]
    expected = np.mean([result.summary()["goodput_pct"] for result in runs])
    goodput = document["rows"][2]["goodput_pct"]
    assert goodput["mean"] == pytest.approx(expected)
    assert goodput["low"] <= goodput["mean"] <= goodput["high"]
    assert document["configuration"]["workload"] == "W3"
    assert document["differences"][0]["policy"] == "saber"
    assert not Path("saber-compare.png").exists()


def test_compare_with_one_seed_has_no_interval(capsys):
    document = json_of(capsys, *QUICK, "--seeds", "1", "--no-figure")

    assert document["rows"][0]["goodput_pct"]["low"] is None


def test_compare_on_a_trace_runs_once_by_default(capsys, trace):
    document = json_of(capsys, "compare", "--trace", trace, "--policies", "saber", "--no-figure")

    assert document["seeds"] == [0]
    assert document["configuration"]["trace"] == "trace.csv"
    assert document["rows"][0]["statuses"]["finished"] == 2


def test_the_figure_goes_where_it_is_told_and_makes_the_folder(capsys):
    code, _, _ = run(capsys, *QUICK, "--figure", "new/folder/figure.svg")

    assert code == 0
    assert "<svg" in Path("new/folder/figure.svg").read_text()


def test_the_figure_names_the_goodput_limits(capsys, monkeypatch):
    import matplotlib

    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")  # text stays text
    run(capsys, *QUICK, "--figure", "sla.svg")
    run(capsys, *QUICK, "--figure", "limits.svg", "--goodput", "ttft:200")

    assert "within their SLA" in Path("sla.svg").read_text()
    assert "within the goodput limits" in Path("limits.svg").read_text()


def test_a_trace_without_slas_has_no_figure_and_says_so(capsys):
    Path("bare.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,9,9\n")
    code, out, err = run(capsys, "compare", "--trace", "bare.csv", "--policies", "static(8)")

    assert code == 0
    assert "-" in out
    assert "no SLA" in err
    assert not Path("saber-compare.png").exists()


def test_goodput_limits_take_several_values_as_in_vllm(capsys):
    three = [
        json_of(capsys, *QUICK, "--no-figure", *limits)["rows"]
        for limits in (
            ["--goodput", "ttft:200", "tpot:18"],
            ["--goodput", "ttft:200", "--goodput", "tpot:18"],
            ["--goodput", "ttft:200,tpot:18"],
        )
    ]
    assert three[0] == three[1] == three[2]
    assert three[0] != json_of(capsys, *QUICK, "--no-figure")["rows"]


def test_goodput_values_end_at_the_next_option():
    words = ["compare", "--goodput", "ttft:1", "tpot:2", "--json", "--n", "3"]
    assert join_goodput(words) == ["compare", "--goodput=ttft:1,tpot:2", "--json", "--n", "3"]


def test_lengths_without_times_get_new_arrivals_for_every_seed(capsys):
    lengths = [{"prompt_len": 100 + i, "output_len": 300} for i in range(40)]
    Path("lengths.json").write_text(json.dumps(lengths))
    document = json_of(
        capsys,
        *("compare", "--trace", "lengths.json", "--rps", "5", "--sla", "unloaded*1.3"),
        *("--policies", "static(20)", "--seeds", "3", "--no-figure"),
    )

    [row] = document["rows"]
    assert len(set(row["goodput_by_seed"])) > 1
    drawn = load("lengths.json", rps=5, seed=2)
    profile = load_profile("paper-qwen2.5-coder-3b")
    third = simulate(drawn.with_sla("unloaded*1.3", profile=profile), profile, "static(20)", seed=2)
    assert row["goodput_by_seed"][2] == third.summary()["goodput_pct"]


def test_a_policy_of_ones_own_is_found_in_the_current_folder(capsys):
    Path("my_own.py").write_text("def everything(view):\n    return list(view.queue)\n")
    document = json_of(capsys, "run", "--policy", "my_own:everything", "--n", "10")

    assert document["policy"] == "my_own:everything"
    assert document["statuses"]["finished"] == 10


# -- run -------------------------------------------------------------------------------------------


def test_run_stands_alone(capsys):
    document = json_of(capsys, "run")

    expected = simulate(workload("W3", 10), load_profile("paper-qwen2.5-coder-3b")).summary()
    assert document["goodput_pct"] == expected["goodput_pct"]
    assert document["policy"] == "saber"
    assert document["configuration"]["discipline"] == "prefill-first"


def test_run_summary_is_readable(capsys):
    code, out, _ = run(capsys, "run", "--n", "20", "--policy", "static(8)")

    assert code == 0
    assert "under static(max_num_seqs=8)" in out
    assert "20 finished" in out


def test_goodput_is_of_what_counts(capsys):
    few = ["run", "--n", "20", "--policy", "static(8)"]
    assert "% of the requests with an SLA," in run(capsys, *few)[1]
    limited = run(capsys, *few, "--goodput", "ttft:200")[1]
    assert "% of all requests, within the limits," in limited
    assert "with an SLA" not in limited


@pytest.mark.parametrize("name", ["deep/er/requests.csv", "requests.parquet"])
def test_run_writes_a_row_per_request(capsys, name):
    code, _, err = run(capsys, "run", "--n", "20", "--out", name)

    assert code == 0
    table = pd.read_csv(name) if name.endswith("csv") else pd.read_parquet(name)
    assert len(table) == 20
    assert f"20 requests written to {name}" in err


def test_engine_flags_reach_the_run(capsys):
    flags = {
        "--max-num-seqs": ("max_num_seqs", 7),
        "--max-num-batched-tokens": ("max_num_batched_tokens", 999),
        "--max-model-len": ("max_model_len", 700),
        "--block-size": ("block_size", 32),
        "--kv-tokens": ("kv_tokens", 5000),
        "--discipline": ("discipline", "chunked"),
        "--client-overhead-s": ("client_overhead_s", 0.5),
        "--feedback-delay-s": ("feedback_delay_s", 0.125),
        "--until-s": ("until_s", 9.0),
        "--warmup-s": ("warmup_s", 0.25),
        "--jitter-cv": ("jitter_cv", 0.1),
    }
    words = [str(word) for flag, (_, value) in flags.items() for word in (flag, value)]
    document = json_of(capsys, "run", "--replicas", "2", *words)

    used = document["configuration"]
    assert {name: used[name] for name, _ in flags.values()} == dict(flags.values())
    assert used["replicas"] == 2
    assert document["statuses"]["refused"] > 0  # longer than max_model_len
    assert not any("assumed" in warning for warning in document["warnings"])  # kv_tokens is given


def test_a_share_of_the_memory_sets_the_kv_capacity(capsys):
    words = ["run", "--n", "8", "--gpu-memory-utilization", "0.9"]
    used = json_of(capsys, *words)["configuration"]
    assert used["gpu_memory_utilization"] == 0.9
    # The bundled profile's assumed 24 GB, its weights, and its bytes for each token.
    assert used["kv_tokens"] == int((24e9 * 0.9 - 6171877376) // 36864)

    document = json_of(capsys, *QUICK, "--no-figure", "--gpu-memory-utilization", "0.3")
    assert document["configuration"]["gpu_memory_utilization"] == 0.3
    assert any("27889 tokens is assumed" in warning for warning in document["warnings"])


def test_requests_that_cannot_fit_may_be_counted_as_refused(capsys):
    document = json_of(capsys, "run", "--kv-tokens", "1200", "--allow-refused")

    assert document["statuses"]["refused"] == 25  # code translation: 792 + 617 tokens
    assert any("25 requests were refused" in warning for warning in document["warnings"])


# -- trace -----------------------------------------------------------------------------------------


def test_describe_prints_the_numbers(capsys, trace):
    code, out, _ = run(capsys, "trace", "describe", trace)

    assert code == 0
    assert "chat 1, fim 1" in out
    numbers = json_of(capsys, "trace", "describe", trace)
    assert numbers["prompt"]["mean"] == 150
    assert numbers["format"] == "sabersim"


def test_generate_is_the_workload_and_the_same_every_time(capsys):
    words = ["trace", "generate", "--workload", "W1", "--rps", "5", "--arrivals", "gamma(cv=3)"]
    for name in ("a.csv", "b.csv"):
        code, _, err = run(capsys, *words, "--seed", "4", "--out", name)
        assert code == 0
        assert f"100 requests written to {name}" in err

    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes()
    assert load("a.csv") == workload("W1", rps=5, seed=4, arrivals="gamma(cv=3)")


def test_convert_cuts_then_scales_then_assigns(capsys):
    source = workload("W3", rps=10, n=200, seed=1)
    run(capsys, "trace", "generate", "--n", "200", "--seed", "1", "--out", "whole.csv")
    code, _, _ = run(
        capsys,
        *("trace", "convert", "whole.csv", "part.parquet", "--start-s", "5", "--end-s", "10"),
        *("--tasks", "code_qna,code_summary", "--scale", "2", "--sla", "0.5+0.05*output"),
    )

    assert code == 0
    part = load("part.parquet")
    inside = (source.arrival_s >= 5) & (source.arrival_s < 10)
    kept = inside & np.isin(source.task_code, [1, 3])
    np.testing.assert_allclose(part.arrival_s, (source.arrival_s[kept] - 5) / 2)
    np.testing.assert_allclose(part.sla_s, 0.5 + 0.05 * part.output_tokens)


def test_convert_thins_by_the_seed(capsys):
    run(capsys, "trace", "generate", "--n", "400", "--out", "whole.csv")
    words = ["trace", "convert", "whole.csv"]
    for name, seed in (("a.csv", 1), ("b.csv", 2), ("c.csv", 1)):
        run(capsys, *words, name, "--thin", "0.5", "--thin-by", "request", "--seed", seed)

    assert len(load("a.csv")) == 200
    assert Path("a.csv").read_bytes() == Path("c.csv").read_bytes() != Path("b.csv").read_bytes()


def test_writing_commands_have_json_too(capsys):
    made = json_of(capsys, "trace", "generate", "--out", "a.csv")
    copied = json_of(capsys, "trace", "convert", "a.csv", "b.parquet", "--end-s", "5")

    assert (made["trace"], made["n"]) == ("a.csv", 100)
    assert copied["n"] == len(load("b.parquet")) < 100


def test_convert_can_skip_bad_rows(capsys):
    Path("bad.csv").write_text(TRACE + "1.0,oops,3,chat,5\n")
    code, _, err = run(capsys, "trace", "convert", "bad.csv", "good.csv", "--skip-bad")

    assert code == 0
    assert "warning" in err
    assert len(load("good.csv")) == 2


# -- mistakes --------------------------------------------------------------------------------------

MISTAKES = [
    ("run --trace nowhere.csv", ["nowhere.csv"]),
    ("trace describe nowhere.csv", ["nowhere.csv"]),
    ("run --trace folder", ["folder"]),
    ("run --trace noheader.csv", ["noheader.csv", "arrival_s"]),
    ("run --trace binary.csv", ["binary.csv"]),
    ("run --trace empty.csv", ["empty.csv"]),
    ("run --trace badrow.csv", ["badrow.csv", "line 4", "oops"]),
    ("run --rps -1", ["-1"]),
    ("run --rps 0", ["rps", "0"]),
    ("run --rps nan", ["rps", "nan"]),
    ("run --rps fast", ["--rps", "fast", "number"]),
    ("run --n 0", ["--n", "'0'", "at least 1"]),
    ("run --n 99999999999999999999", ["n is 99999999999999999999", "at most"]),
    ("run --trace trace.csv --out trace.csv", ["--out trace.csv is the trace itself"]),
    ("trace convert trace.csv other.csv --scale 1e-320", ["factor is 1e-320"]),
    ("run --warmup-s 1000", ["warmup_s=1000", "after the last arrival"]),
    ("run --n 1.5", ["--n", "1.5", "whole"]),
    ("compare --seeds 0", ["--seeds", "'0'"]),
    ("compare --seeds -3", ["--seeds", "-3"]),
    ("compare --jobs 0", ["jobs=0"]),
    ("run --seed -1", ["--seed", "-1"]),
    ("run --replicas 0", ["--replicas", "'0'"]),
    ("run --arrivals gama", ["gama", "gamma"]),
    ("run --arrivals gamma(cw=3)", ["cw", "cv"]),
    ("run --workload W9", ["W9", "W3"]),
    ("run --policy sabre", ["sabre", "saber"]),
    ("run --policy saber(estimater=usl)", ["estimater", "estimator"]),
    ("run --policy saber(estimator=cubic)", ["cubic", "usl"]),
    ("run --policy static", ["max_num_seqs"]),
    ("run --policy static(0)", ["static", "0"]),
    ("run --policy nowhere:policy", ["nowhere"]),
    ("compare --policies saber,,static(8)", ["saber,,static(8)"]),
    ("compare --policies saber,saber()", ["saber", "2 times"]),
    ("run --profile nosuch", ["nosuch", "paper-qwen2.5-coder-3b"]),
    ("run --profile nosuch.json", ["nosuch.json"]),
    ("run --profile trace.csv.json", ["trace.csv.json"]),
    ("run --sla 0.001", ["SLA", "0.001", "times"]),
    ("run --sla -3", ["-3"]),
    ("run --sla unloded*3", ["unloded", "unloaded"]),
    ("run --sla code_qna=1", ["code_"]),
    ("run --sla chat=1,fim", ["fim"]),
    ("run --sla code_qna=1,code_qna=2", ["code_qna", "twice"]),
    ("run --kv-tokens 1000", ["request", "792", "617", "--allow-refused"]),
    ("run --kv-tokens 3 --allow-refused", ["kv_tokens=3", "16 tokens"]),
    ("run --gpu-memory-utilization 1.5", ["gpu_memory_utilization=1.5", "at most 1"]),
    ("run --gpu-memory-utilization 0", ["gpu_memory_utilization=0.0", "above 0"]),
    ("run --gpu-memory-utilization most", ["--gpu-memory-utilization", "most"]),
    ("compare --gpu-memory-utilization 0.2", ["0.2", "no room for a KV cache"]),
    ("run --gpu-memory-utilization 0.9 --kv-tokens 9", ["kv_tokens=9", "0.9", "one of them"]),
    ("run --profile bare.json --gpu-memory-utilization 0.9", ["device.memory_bytes", "kv_tokens"]),
    ("run --discipline sarathi", ["sarathi", "chunked"]),
    ("run --discipline chunked --max-num-batched-tokens 100", ["100", "256"]),
    ("run --policy static(8) --max-num-seqs 9", ["9", "static(max_num_seqs=8)"]),
    ("run --trace trace.csv --rps 3", ["rps", "3"]),
    ("run --trace trace.csv --n 3", ["--n 3", "--trace"]),
    ("run --trace trace.csv --workload W1", ["--workload W1", "--trace"]),
    ("run --trace trace.csv --arrivals poisson", ["arrivals", "poisson"]),
    ("run --skip-bad", ["--skip-bad", "--trace"]),
    ("run --trace trace.csv --policy static(8) --seed 3", ["--seed 3", "no effect"]),
    ("compare --trace trace.csv --policies static(8) --seeds 3", ["--seeds 3", "no effect"]),
    ("run --until-s 1 --warmup-s 2", ["until_s=1", "warmup_s=2"]),
    ("run --jitter-cv -1", ["jitter_cv", "-1"]),
    ("compare --figure a.png --no-figure", ["a.png", "--no-figure"]),
    ("compare --figure a.txt", ["a.txt", ".png"]),
    ("compare --figure folder", ["folder"]),
    ("compare --figure trace.csv/a.png", ["trace.csv"]),
    ("compare --trace bare.csv --policies static(8) --figure a.png", ["a.png", "--sla"]),
    ("compare --goodput ttft", ["ttft", "KEY:MILLISECONDS"]),
    ("compare --goodput ttft:fast", ["ttft:fast"]),
    ("compare --goodput first:3", ["first", "ttft"]),
    ("compare --goodput ttft:-3", ["ttft:-3"]),
    ("compare --goodput ttft:3 ttft:4", ["ttft", "twice"]),
    ("compare --goodput", ["--goodput"]),
    ("compare --goodput e2el:1", ["e2el", "0.001"]),
    ("run --out a.txt", ["a.txt", ".parquet"]),
    ("trace generate --out a.txt", ["a.txt", ".csv"]),
    ("trace generate", ["--out"]),
    ("trace convert trace.csv trace.csv", ["trace.csv", "another name"]),
    ("trace convert trace.csv a.csv --seed 3", ["--seed 3", "no effect"]),
    ("trace convert trace.csv a.csv --thin 2", ["2"]),
    ("trace convert trace.csv a.csv --thin-by session", ["--thin-by session"]),
    ("trace convert trace.csv a.csv --scale 2 --scale-to-rps 3", ["contradict"]),
    ("trace convert trace.csv a.csv --start-s 9 --end-s 3", ["9", "3"]),
    ("trace convert trace.csv a.csv --tasks caht", ["caht", "chat"]),
    ("trace convert trace.csv a.csv --profile x", ["--profile x", "no effect"]),
    ("compare --rsp 3", ["--rsp", "--rps"]),
    ("compere", ["compere", "compare"]),
    ("trace", ["command"]),
]


@pytest.mark.parametrize(("words", "named"), MISTAKES, ids=[words for words, _ in MISTAKES])
def test_a_mistake_is_one_clear_line_and_exit_code_2(capsys, trace, words, named):
    Path("folder").mkdir()
    Path("noheader.csv").write_text("1,2,3\n4,5,6\n")
    Path("binary.csv").write_bytes(bytes(range(256)) * 4)
    Path("empty.csv").write_text("")
    Path("badrow.csv").write_text(TRACE + "1.0,oops,3,chat,5\n")
    Path("bare.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,9,9\n")
    Path("trace.csv.json").write_text("not json")
    replace(load_profile("paper-qwen2.5-coder-3b"), device={}).save("bare.json")

    code, out, err = run(capsys, *words.split())

    assert code == 2
    assert out == ""
    [line] = err.splitlines()
    assert line.startswith("saber: error: ")
    for text in named:
        assert text in line


@pytest.mark.parametrize("command", ["run", "compare"])
def test_too_many_requests_for_the_memory_are_one_line(capsys, command):
    code, out, err = run(capsys, command, "--n", 10**15)

    assert (code, out) == (2, "")
    [line] = err.splitlines()
    assert "more memory than there is" in line
    assert "fewer requests" in line


def test_a_fault_of_ours_is_not_hidden(monkeypatch):
    def broken(*args, **options):
        raise ZeroDivisionError

    monkeypatch.setattr("sim.simulation.simulate", broken)
    with pytest.raises(ZeroDivisionError):
        main(["run"])


# -- a process of its own --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [["--help"], ["compare", "--help"], ["trace", "convert", "--help"], []]
)
def test_help_is_quick_and_imports_nothing_heavy(words):
    heavy = ["numpy", "pandas", "scipy", "matplotlib", "pyarrow", "simpy", "joblib", "bokeh"]
    heavy += ["jinja2", "prometheus_client"]
    used_s = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        process = subprocess.run(
            [
                *(sys.executable, "-P", "-c"),
                f"import sys; from sim.cli import main; main({words}); "
                f"print([m for m in {heavy} if m in sys.modules], file=sys.stderr)",
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert process.stderr.strip() == "[]"
        assert "Usage: saber" in process.stdout
        used_s.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    # CPU seconds, the least of three: neighbours on a shared machine slow even those down.
    assert min(used_s) < 0.5


@pytest.mark.parametrize(
    "words",
    [
        *(["compare"], ["run"], ["trace", "describe"], ["trace", "convert"]),
        *(["trace", "generate"], ["calibrate", "show"], ["calibrate", "speed"]),
    ],
)
def test_every_command_has_examples_in_its_help(capsys, words):
    code, out, _ = run(capsys, *words, "--help")

    assert code == 0
    assert f"saber {' '.join(words)}" in out.split("Examples:")[1]


def test_version():
    process = saber("--version")

    assert process.returncode == 0
    assert process.stdout.startswith("saber")


def test_a_mistake_has_no_traceback_in_a_real_process(tmp_path):
    process = saber("run", "--trace", "nowhere.csv", cwd=tmp_path)

    assert process.returncode == 2
    assert process.stderr.count("\n") == 1
    assert process.stdout == ""


def test_json_keeps_everything_else_off_stdout(tmp_path):
    process = saber(*QUICK, "--json", cwd=tmp_path)

    assert process.returncode == 0
    assert json.loads(process.stdout)["figure"] == "saber-compare.png"
    assert "figure written" in process.stderr


def test_a_closed_pipe_is_quiet(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "sim.cli", *QUICK, "--json", "--no-figure"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()
    complaints = process.stderr.read()
    process.stderr.close()

    assert process.wait() == 141
    assert "Traceback" not in complaints
    assert "Exception" not in complaints


def test_without_a_stderr_results_still_come():
    words = shlex.join([sys.executable, "-m", "sim.cli", *QUICK, "--no-figure"])
    process = subprocess.run(
        ["sh", "-c", f"exec {words} 2>&-"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0
    assert "saber" in process.stdout


def test_an_interrupt_is_quiet(capsys, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("sim.simulation.simulate", interrupted)
    code, out, err = run(capsys, "run")

    assert (code, out, err) == (130, "", "")
