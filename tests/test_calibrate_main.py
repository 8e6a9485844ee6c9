"""`python -m calibrate`: what reaches the measurement, exit codes, one line for a mistake."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bench_cases import CostBench

from calibrate.__main__ import main
from calibrate.library import load_profile

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("--model", "argument --model: expected one argument"),
        ("--seed x", "argument --seed: invalid int value"),
        ("--bogus", "unrecognized arguments: --bogus"),
        ("show", "invalid choice: 'show'"),
    ],
)
def test_a_mistake_in_the_options_is_one_line(capsys, words, named):
    with pytest.raises(SystemExit) as stopped:
        main(words.split())
    out, err = capsys.readouterr()
    assert (stopped.value.code, out) == (2, "")
    [line] = err.splitlines()
    assert line.startswith("calibrate: error: ")
    assert named in line


@pytest.mark.parametrize("words", ["", "--model nosuch", "--model tiny --budget 0s"])
def test_a_mistake_found_later_is_one_line_as_well(capsys, words):
    assert main(words.split()) == 2
    out, err = capsys.readouterr()
    assert not out
    [line] = err.splitlines()
    assert line.startswith("calibrate: error: ")


def test_an_interruption_is_130(capsys, monkeypatch, tmp_path):
    def interrupt(step):
        raise KeyboardInterrupt

    bench = CostBench(before=interrupt)
    monkeypatch.setattr("calibrate.gpu._torch_bench", lambda: lambda *_: bench)
    words = ["--model", "tiny", "--device", "cpu", "--out", str(tmp_path / "p.json")]
    assert main(words) == 130
    assert capsys.readouterr().err.splitlines()[-1] == (
        "calibrate: interrupted; go on with --resume"
    )


def test_a_closed_pipe_is_quiet(tmp_path):
    program = (
        "import sys; sys.path[:0] = ['tests']\n"
        "import calibrate.gpu\n"
        "from bench_cases import CostBench\n"
        "from calibrate.__main__ import main\n"
        "calibrate.gpu._torch_bench = lambda: lambda *_: CostBench()\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    out = tmp_path / "p.json"
    options = ["--model", "tiny", "--device", "cpu", "--quick", "--out"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *options, out],
        cwd=ROOT,
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
    assert out.exists()


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Stand in for PyTorch in an empty folder; `given` is what the bench was opened for."""
    monkeypatch.chdir(tmp_path)
    bench = CostBench()

    def opened(model, dtype, options):
        bench.given = (model.name, dtype, options)
        return bench

    monkeypatch.setattr("calibrate.gpu._torch_bench", lambda: opened)
    return bench


CPU = ("--model", "tiny", "--device", "cpu", "--quick", "--out", "p.json")


def test_it_measures_and_says_what_came_of_it(bench, capsys):
    assert main(CPU) == 0
    out, err = capsys.readouterr()
    profile = load_profile("p.json")
    assert out.startswith(f"p.json: {profile.name}, ")
    assert f"KV cache: {profile.kv_tokens} tokens" in out
    assert "mean error, held out: decode 0.0 %" in out
    assert "caveat: kernel-only" in out
    assert "--resume" not in out
    assert "calibrate: loading tiny in fp32" in err


def test_every_option_reaches_the_measurement(bench):
    words = ("--dtype", "bf16", "--threads", "2", "--seed", "5", "--budget", "8m",
             "--engine-overhead-s", "0.002", "--engine-overhead-request-s", "1e-4",
             "--engine-overhead-source", "guessed")  # fmt: skip
    assert main((*CPU, *words)) == 0
    name, dtype, options = bench.given
    assert (name, dtype, options.threads, options.seed) == ("tiny", "bf16", 2, 5)
    assert (options.budget_s, options.out, options.quick) == (480, Path("p.json"), True)
    data = json.loads(Path("p.json").read_text())
    assert (data["engine_overhead_s"], data["engine_overhead_request_s"]) == (0.002, 1e-4)
    assert data["sources"]["engine_overhead_s"] == "guessed"
    assert main(("--model", "tiny", "--gpu-memory-utilization", "0.5", "--out", "g.json")) == 0
    assert bench.given[1:2] == ("bf16",)
    assert bench.given[2].gpu_memory_utilization == 0.5


def test_a_budget_that_ended_first_is_gone_on_from(bench, capsys, monkeypatch):
    clock = iter(range(100_000))
    with monkeypatch.context() as patch:
        patch.setattr("calibrate.gpu.time.monotonic", lambda: next(clock))
        assert main((*CPU, "--budget", "40s")) == 0
    assert "--resume goes on from p.json.partial" in capsys.readouterr().out
    assert main(CPU) == 2
    assert "go on with --resume" in capsys.readouterr().err
    assert main((*CPU, "--resume")) == 0
    assert not Path("p.json.partial").exists()


def test_a_folder_that_is_a_file_is_named(bench, capsys):
    Path("file").write_text("not a folder")
    assert main((*CPU[:-1], "file/p.json")) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("calibrate: error: ")
    assert "file" in line
