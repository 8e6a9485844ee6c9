"""A real engine as a process: vLLM on the CPU with a small model, on loopback only.

Its forward passes take as long as on a device of known speed: see `paced_worker`.

``python tests/with_engine/running.py`` keeps one running until Ctrl-C, to try things on it.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tiny_model import make_model

MODEL = "tiny"
MAX_NUM_SEQS, MAX_NUM_BATCHED_TOKENS, MAX_MODEL_LEN = 16, 512, 2048
START_S, STOP_S = 240.0, 20.0
SETTINGS = {
    # Nothing is fetched, nothing told to anybody.
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    # One process for the engine, which else has a second one that spins; one core, so that the
    # client has another; memory for the cache [GiB].
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}


@dataclass(frozen=True)
class Engine:
    """A running engine: its address with /v1, the model's name, and the file that it logs to."""

    url: str
    model: str
    log: Path


@contextmanager
def engine_in(folder):
    """Serve a model made in a folder; the engine and its children are gone afterwards."""
    make_model(folder / "model")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    root, log = f"http://127.0.0.1:{port}", folder / "engine.log"
    command = [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", str(folder / "model")]
    flags = {
        "served-model-name": MODEL,
        "load-format": "dummy",
        "dtype": "float32",
        "host": "127.0.0.1",
        "port": port,
        "max-num-seqs": MAX_NUM_SEQS,
        "max-num-batched-tokens": MAX_NUM_BATCHED_TOKENS,
        "max-model-len": MAX_MODEL_LEN,
    }
    command += [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    command += ["--enforce-eager", "--no-enable-prefix-caching"]
    command += ["--distributed-executor-backend", "uni"]
    command += ["--worker-cls", "paced_worker.PacedWorker"]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | SETTINGS | {"PYTHONPATH": str(Path(__file__).parent)},
            start_new_session=True,  # with a group of its own, all of which can be ended
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
        try:
            _wait(process, root, log)
            yield Engine(f"{root}/v1", MODEL, log)
        finally:
            _end(process)


def _end_with_parent():
    """Let the kernel end a new process when this one dies, even of a signal (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _wait(process, root, log):
    """Return once the engine is ready."""
    until = time.monotonic() + START_S
    while True:
        with suppress(OSError), urllib.request.urlopen(f"{root}/health", timeout=2.0):
            return
        ended = process.poll() is not None
        if ended or time.monotonic() > until:
            what = f"ended with {process.returncode}" if ended else f"was not up in {START_S:g} s"
            last = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
            raise RuntimeError(f"the engine {what}; the end of its log:\n{last}")
        time.sleep(0.25)


def _end(process):
    """Ask the engine to end, then make all of its group end."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    until = time.monotonic() + STOP_S
    with suppress(ProcessLookupError):  # raised once nobody of the group is left
        while time.monotonic() < until:
            os.killpg(process.pid, signal.SIGKILL)
            process.poll()
            time.sleep(0.05)
    process.wait(STOP_S)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place, engine_in(Path(place)) as running:
        print(f"{running.url} serves {running.model!r}; Ctrl-C ends it", flush=True)
        for sign in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sign, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            signal.pause()
