"""The same bytes wherever cells run; workers that die take nothing with them but their cell."""

import importlib.util
import logging
import time
import warnings

import pyarrow.parquet as pq
import pytest
from sweep_cases import GRID, TRACES, saber, swept, written

from sim.options import OptionError
from sim.sweep.pools import check_pool, in_parallel, opened_pool

POISONED = 'n = 10\npolicy = ["static(8)", "poison_of_the_tests:{}", "static(9)"]\nseeds = 2'


def table(folder, out="results"):
    return (folder / out / "cells.parquet").read_bytes()


@pytest.fixture(scope="module")
def dask_address():
    """Return the address of two worker processes behind a scheduler, over TCP."""
    distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library's own, on its way up and down
        with distributed.LocalCluster(
            processes=True,
            n_workers=2,
            threads_per_worker=1,
            protocol="tcp",
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as cluster:
            yield cluster.scheduler_address


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Return what one process alone writes, by grid."""
    found = {}
    for name, text in {"workloads": GRID, "traces": TRACES}.items():
        folder = tmp_path_factory.mktemp(name)
        assert not swept(folder, text).failures
        found[name] = table(folder)
    return found


@pytest.mark.parametrize(("name", "text"), [("workloads", GRID), ("traces", TRACES)])
@pytest.mark.parametrize("jobs", [2, 3])
def test_the_same_bytes_from_worker_processes(tmp_path, alone, name, text, jobs):
    report = swept(tmp_path, text, jobs=jobs)

    assert (report.failures, report.workers, report.ran) == ((), jobs, report.cells)
    assert table(tmp_path) == alone[name]


@pytest.mark.parametrize(("name", "text"), [("workloads", GRID), ("traces", TRACES)])
def test_the_same_bytes_from_a_dask_cluster(tmp_path, alone, dask_address, name, text):
    assert dask_address.startswith("tcp://")
    report = swept(tmp_path, text, "dask", -1, dask_address)

    assert (report.failures, report.workers, report.ran) == ((), 2, report.cells)
    assert table(tmp_path) == alone[name]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_the_same_bytes_from_a_cluster_that_the_command_starts(tmp_path, alone, backend):
    library = {"dask": "distributed", "ray": "ray"}[backend]
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    written(tmp_path, TRACES)
    code, out, err = saber(
        *("sweep", "grid.toml", "--backend", backend, "--jobs", 2, "--out", "results"),
        cwd=tmp_path,
    )

    assert code == 0, err
    assert "32 of 32 cells run" in out
    assert table(tmp_path) == alone["traces"]


@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_a_worker_that_dies_is_one_failed_cell(tmp_path, monkeypatch, backend):
    if backend == "dask":
        pytest.importorskip("distributed", reason="the extra dask is not installed")
    written(tmp_path, POISONED.format("dies"))
    code, out, err = saber(
        "sweep", "grid.toml", "--backend", backend, "--jobs", 2, "--out", "results", cwd=tmp_path
    )

    assert code == 1, err
    assert "Traceback" not in err
    assert "4 of 6 cells run" in out
    assert "2 cells failed; --resume tries again" in out
    assert out.count("(policy=poison_of_the_tests:dies, seed=") == 2
    assert out.count("the worker died while it ran") == 2
    rows = pq.read_table(tmp_path / "results" / "cells.parquet").to_pylist()
    policies = [row["policy"] for row in rows]
    assert policies == ["static(max_num_seqs=8)"] * 2 + ["static(max_num_seqs=9)"] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dusk", -1, None), "--backend dusk: expected loky, dask, ray"),
        (("loky", 0, None), "--jobs 0: expected at least 1, or -1"),
        (("loky", -1, "tcp://a:1"), "--address tcp://a:1 has no effect with --backend loky"),
        (("dask", 2, "tcp://a:1"), "--jobs 2 has no effect with --address tcp://a:1"),
    ],
)
def test_what_no_pool_can_be(arguments, message):
    with pytest.raises(OptionError, match=f"^{message}"):
        check_pool(*arguments)


@pytest.mark.parametrize(("backend", "library"), [("dask", "distributed"), ("ray", "ray")])
def test_a_library_that_is_missing_is_named_with_its_extra(monkeypatch, backend, library):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OptionError) as caught:
        check_pool(backend, -1, None)
    assert str(caught.value) == (
        f"--backend {backend} needs {library}, which is not installed: "
        f'python -m pip install "sabersim[{backend}]"'
    )


def test_a_cluster_that_does_not_answer_is_said_in_one_line(tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    monkeypatch.setattr("sim.sweep.on_dask.CONNECT_S", 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(OptionError, match=r"tcp://127\.0\.0\.1:9: no Dask cluster with"):
            swept(tmp_path, "n = 5", "dask", -1, "tcp://127.0.0.1:9")


def test_workers_that_have_more_to_give_say_nothing_when_it_is_cut_short(monkeypatch):
    monkeypatch.setattr("sim.sweep.pools.run_batch", lambda number: time.sleep(0.05) or number)
    outcomes = in_parallel(iter(range(20)), n_jobs=2, backend="threading")

    next(outcomes)
    outcomes.close()  # a warning would be an error here


def test_inputs_of_worker_processes_lie_where_they_are_told_to_and_are_removed(tmp_path):
    with opened_pool("loky", 2, None, {"digest": [1, 2]}, tmp_path) as pool:
        [folder] = tmp_path.iterdir()
        assert folder.name.startswith(".inputs-")
        assert pool.supply("digest") == [1, 2]

    assert list(tmp_path.iterdir()) == []
