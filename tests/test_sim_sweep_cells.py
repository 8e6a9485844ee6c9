"""Cells: their keys say all that the result hangs on, and nothing else."""

import dataclasses
import sys

import pytest

from calibrate.library import load_profile
from sim.options import OptionError
from sim.sweep.canonical import canonical
from sim.sweep.cells import cells_of
from sim.sweep.grid import Grid
from sim.sweep.inputs import Inputs

TRACE = "arrival_s,prompt_tokens,output_tokens,task,sla_s\n0.0,100,20,chat,5\n0.5,200,10,fim,5\n"


@pytest.fixture
def key(tmp_path):
    def of(version=None, **setting):
        inputs = Inputs(tmp_path)
        if version:
            inputs.version = version
        [cell] = cells_of(Grid(tmp_path / "grid.toml", (setting,)), inputs)[0]
        return cell.key

    return of


def test_golden_keys(key):
    # Golden: stored results are found again by these.  A change here orphans every sweep kept so
    # far; it is right only together with RESULTS_FORMAT or another meaning of the configuration.
    assert key(version="0") == "20c3dee170d52bb8cde3"
    assert key(version="0", policy="static(8)", rps=5, seed=3, warmup_s=1) == "568d6551108ec936fc60"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"policy": "static(8)"}, {"policy": " static( max_num_seqs = 8 )"}),
        ({"rps": 5}, {"rps": 5.0}),
        ({"workload": "w1"}, {"workload": "W1"}),
        ({}, {"workload": "W3", "rps": 10, "n": 100, "policy": "saber", "replicas": 1, "seed": 0}),
        ({}, {"max_num_batched_tokens": 2048, "router": "round-robin", "failures": "none"}),
        ({"sla": 12}, {"sla": "12"}),
        ({"sla": "unloaded * 3"}, {"sla": "unloaded*3"}),
        ({"sla": "unloaded*3"}, {"sla": "unloaded*3", "sla_profile": "paper-qwen2.5-coder-3b"}),
        ({"goodput_ms": "ttft:500"}, {"goodput_ms.ttft": 500}),
        ({"failures": "at(5)"}, {"failures.outages": "at(at_s=5)"}),
        ({"fleet": "paper-qwen2.5-coder-3b*2"}, {"replicas": 2}),
        (
            {"clients.cancel_after": "exponential(2)"},
            {"clients.cancel_after": "exponential(mean=2)"},
        ),
    ],
)
def test_what_means_the_same_has_one_key(key, one, other):
    assert key(**one) == key(**other)


def test_what_means_another_thing_has_another_key(key):
    settings = [
        {},
        {"version": "another"},
        {"seed": 1},
        {"rps": 11},
        {"n": 101},
        {"arrivals": "uniform"},
        {"sla": 12},
        {"sla": 13},
        {"policy": "static(8)"},
        {"replicas": 2},
        {"price_per_h": 1.5},
        {"profile": "roofline-h100-qwen2.5-coder-7b"},
        {"max_num_batched_tokens": 4096},
        {"discipline": "chunked"},
        {"jitter_cv": 0.1},
        {"goodput_ms.ttft": 500},
        {"clients": {}},
        {"clients.timeout_s": 5},
        {"failures": "at(5)"},
        {"failures.outages": "at(5)", "failures.on_failure": "lost"},
        {"tenants.shares.a": 1, "tenants.max_requests": 5},
        {"router": "least-requests"},
    ]
    keys = [key(**setting) for setting in settings]
    assert len(set(keys)) == len(keys)


def test_a_trace_counts_by_its_content_and_not_by_its_name(key, tmp_path):
    (tmp_path / "a.csv").write_text(TRACE)
    (tmp_path / "b.csv").write_text(TRACE)
    assert key(trace="a.csv") == key(trace="b.csv") != key(trace="a.csv", scale=2)
    before = key(trace="a.csv")
    (tmp_path / "a.csv").write_text(TRACE.replace("0.5,", "0.6,"))
    assert key(trace="a.csv") != before


def test_a_profile_counts_by_its_content(key, tmp_path):
    profile = load_profile("paper-qwen2.5-coder-3b")
    profile.save(tmp_path / "mine.json")
    assert key(profile="mine.json") == key()
    dataclasses.replace(profile, kv_tokens=1000).save(tmp_path / "mine.json")
    assert key(profile="mine.json") != key()


def test_a_policy_of_ones_own_counts_by_its_code(key, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    source = "def all_of_them(view):\n    return list(view.queue)\n"
    (tmp_path / "own_policy_of_the_test.py").write_text(source)
    before = key(policy="own_policy_of_the_test:all_of_them")
    assert key(policy="own_policy_of_the_test:all_of_them") == before
    (tmp_path / "own_policy_of_the_test.py").write_text(source + "# another\n")
    assert key(policy="own_policy_of_the_test:all_of_them") != before
    sys.modules.pop("own_policy_of_the_test")


def test_a_policy_of_ones_own_is_run_whatever_its_label_says(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "labelled_of_the_test.py").write_text(
        "from policies.saber import Saber\n"
        "class Mine(Saber):\n"
        "    def start(self, rng, profile):\n"
        "        return super().start(rng, profile)\n"
        "class Named(Mine):\n"
        "    label = 'mine, by and large'\n"
        "mine, named, plain = Mine(), Named(), Saber()\n"
    )
    for own in ("mine", "named"):
        text = f"labelled_of_the_test:{own}"
        assert canonical({"policy": f" {text}"})["policy"] == text
    assert canonical({"policy": "labelled_of_the_test:plain"})["policy"] == "saber"
    sys.modules.pop("labelled_of_the_test")


def test_equal_cells_are_merged_and_counted(tmp_path):
    settings = ({"policy": "saber"}, {"policy": "static(8)"}, {"policy": "static(max_num_seqs=8)"})
    cells, repeated = cells_of(Grid(tmp_path / "g.toml", settings), Inputs(tmp_path))

    assert [cell.setting["policy"] for cell in cells] == ["saber", "static(max_num_seqs=8)"]
    assert [cell.position for cell in cells] == [0, 1]
    assert repeated == 1


def test_a_window_counts_and_what_is_in_it_is_all_there_is(tmp_path, key):
    (tmp_path / "a.csv").write_text(TRACE)
    assert key(trace="a.csv", start_s=0) != key(trace="a.csv")
    assert key(trace="a.csv", start_s="none") == key(trace="a.csv")
    settings = ({"trace": "a.csv"}, {"trace": "a.csv", "end_s": 0.5}, {"trace": "a.csv"})
    cells, _ = cells_of(Grid(tmp_path / "g.toml", settings), Inputs(tmp_path))
    assert [cell.requests for cell in cells] == [2, 1]


def test_none_leaves_an_option_out():
    assert canonical({"sla": "none", "price_per_h": "none"}) == canonical({})


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"rps": "5"}, "rps = '5': expected a number"),
        ({"n": 1.5}, "n = 1.5: expected a whole number"),
        ({"n": 0}, "n = 0: expected at least 1"),
        ({"kv_tokens": "all"}, "kv_tokens = 'all': expected a whole number, or \"none\""),
        ({"prefix_caching": 1}, "prefix_caching = 1: expected true or false"),
        ({"policy": True}, "policy = true: expected a text"),
        ({"policy": "sabre"}, "unknown policy 'sabre', did you mean 'saber'?"),
        ({"router": "random_robin"}, "unknown router"),
        ({"workload": "W9"}, "unknown workload 'W9'"),
        ({"arrivals": "poison"}, "poison"),
        ({"sla": "unloded*3"}, "unloded"),
        ({"sla": {}}, "sla = {}: expected such as unloaded*3 or 5"),
        ({"sla.nobody": 3}, "unknown task 'nobody'"),
        ({"profile": "papr"}, "there is no profile 'papr'"),
        ({"trace": "nowhere.csv"}, "trace = 'nowhere.csv': there is no file"),
        ({"trace": "a.csv", "n": 5}, "n = 5 has no effect beside trace"),
        ({"trace": "a.csv", "rps": 5}, "has arrival times of its own"),
        ({"trace": "a.csv", "scale": 2, "scale_to_rps": 2}, "scale_to_rps = 2.0 has no effect"),
        ({"scale": 2}, "scale = 2.0 has no effect without trace"),
        ({"block_s": 2}, "block_s = 2.0 has no effect without trace"),
        ({"trace": "a.csv", "rps": 5, "start_s": 1}, "start_s = 1.0 has no effect beside rps"),
        ({"trace": "a.csv", "end_s": "late"}, "end_s = 'late': expected a number"),
        ({"trace": "a.csv", "start_s": 2}, "no request arrives from 2 to inf s"),
        ({"trace": "a.csv", "block_s": 2}, "expected at most the span"),
        ({"fleet": "a*two"}, "profile 'a*two': expected NAME, NAME*COUNT or NAME*COUNT@PRICE"),
        ({"fleet": "a*1", "replicas": 2}, "replicas = 2 has no effect beside fleet"),
        ({"discipline": "chunky"}, "discipline='chunky': expected prefill-first or chunked"),
        ({"failures": "sometimes(3)"}, "unknown failure 'sometimes'"),
        ({"failures.on_failure": "lost"}, "[failures]: outages is missing"),
        ({"clients": "patient"}, "clients = 'patient': expected a table, or \"none\""),
        ({"clients.retries": -1}, "retries=-1: expected a whole number of at least 0"),
        ({"autoscale.max_replicas": 4}, "[autoscale]: scaler is missing"),
        ({"tenants.max_requests": 4}, "[tenants]: shares is missing"),
        ({"goodput_ms": "ttft"}, "ttft"),
    ],
)
def test_what_cannot_be_run_is_said_in_one_line(tmp_path, setting, message):
    (tmp_path / "a.csv").write_text(TRACE)
    grid = Grid(tmp_path / "grid.toml", ({}, setting))
    with pytest.raises(OptionError) as caught:
        cells_of(grid, Inputs(tmp_path))
    assert message in str(caught.value)
    assert "grid.toml: " in str(caught.value)
    assert "(cell 2: " in str(caught.value)
    assert "\n" not in str(caught.value)
