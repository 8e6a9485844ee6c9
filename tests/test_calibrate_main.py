"""`python -m calibrate`: exit codes, one line for a mistake."""

import subprocess
import sys
from pathlib import Path

import pytest
from bench_cases import CostBench

from calibrate.__main__ import main

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
