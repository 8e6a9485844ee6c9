"""Clusters on the command line: every flag reaches the run, and nonsense is one clear line."""

import json
import shlex
from pathlib import Path

import pytest

from calibrate.library import load_profile
from policies.scalers import make_scaler
from sim.cli import main
from sim.cluster.autoscale import Autoscale
from sim.cluster.clients import Clients
from sim.cluster.failures import Failures, Maintenance, Outage, RandomOutages
from sim.cluster.tenants import Tenants
from sim.simulation import simulate
from traces.formats import load

HEADER = "arrival_s,prompt_tokens,output_tokens,task,tenant,session,sla_s\n"
ROWS = [
    f"{i * 0.3:.1f},{100 + i},20,{'chat' if i % 2 else 'fim'},{'a' if i % 3 else 'b'},s{i % 4},5\n"
    for i in range(30)
]

MINE = """
def last(request, fleet):
    return fleet.taking[-1]


def three(load):
    return 3
"""


@pytest.fixture(autouse=True)
def in_a_folder_with_a_trace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(HEADER + "".join(ROWS))


def saber(capsys, line):
    code = main(shlex.split(line))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def document(capsys, line):
    code, out, err = saber(capsys, f"run --trace t.csv --policy static(8) {line} --json")
    assert code == 0, err
    return json.loads(out, parse_constant=lambda constant: pytest.fail(constant))


def same_as(found, **options):
    """Assert that the document is of the run with these options in Python."""
    r = simulate(
        load("t.csv"), load_profile("paper-qwen2.5-coder-3b"), "static(8)", **options
    ).summary()
    assert {name: found[name] for name in r} == r


def test_a_router_and_failures(capsys):
    found = document(
        capsys,
        "--replicas 3 --router least-requests --on-failure failover --startup-s 0.5 "
        '--failures "at(0.4, replica=1, for_s=1), drain(4, 2, 1), random(20, repair_s=2)"',
    )
    assert found["configuration"]["router"] == "least-requests"
    assert found["configuration"]["startup_s"] == 0.5
    assert found["configuration"]["failures"] == {
        "outages": [
            {"kind": "at", "at_s": 0.4, "replica": 1, "for_s": 1},
            {"kind": "drain", "at_s": 4, "replica": 2, "for_s": 1},
            {"kind": "random", "mtbf_s": 20, "repair_s": 2},
        ],
        "on_failure": "failover",
    }
    outages = [Outage(0.4, 1, 1), Maintenance(4, 2, 1), RandomOutages(20, 2)]
    same_as(
        found,
        replicas=3,
        router="least-requests",
        startup_s=0.5,
        failures=Failures(outages, "failover"),
    )
    assert found["attempts"] > 30


def test_clients(capsys):
    found = document(
        capsys,
        '--timeout-s 0.213 --retries 2 --backoff-s 0.5 --cancel-after "exponential(0.5)" '
        "--cancel-tasks fim,chat --cancel-on-next",
    )
    same_as(
        found,
        clients=Clients(
            timeout_s=0.213,
            retries=2,
            backoff_s=0.5,
            cancel_after="exponential(0.5)",
            cancel_tasks=("fim", "chat"),
            cancel_on_next=True,
        ),
    )
    assert found["configuration"]["clients"]["cancel_tasks"] == ["fim", "chat"]
    assert found["attempts"] > 30
    assert found["wasted_tokens"] > 0
    assert sum(found["statuses"].values()) == 30
    assert found["statuses"]["timed_out"] + found["statuses"]["cancelled"] > 0


def test_a_closed_loop(capsys):
    found = document(capsys, '--users 2 --think "uniform(0.5, 1)"')
    same_as(found, clients=Clients(users=2, think="uniform(0.5, 1)"))
    assert found["duration_s"] > 30 / 2 * 0.7


def test_autoscaling(capsys):
    found = document(
        capsys,
        '--autoscale "queue(1)" --max-replicas 3 --min-replicas 2 --scale-interval-s 1 '
        "--up-cooldown-s 2 --down-cooldown-s 3 --startup-s 0.25",
    )
    rules = Autoscale(make_scaler("queue(1)"), 3, 2, 1.0, 2.0, 3.0)
    same_as(found, autoscale=rules, startup_s=0.25)
    assert found["configuration"]["autoscale"] == {
        "scaler": "queue(target=1)",
        "max_replicas": 3,
        "min_replicas": 2,
        "interval_s": 1.0,
        "up_cooldown_s": 2.0,
        "down_cooldown_s": 3.0,
    }


def test_tenants(capsys):
    line = "--tenant-shares a=1,b=1 --tenant-max-requests 2 --timeout-s 100 --rate-scale 10"
    found = document(capsys, line)
    assert found["configuration"]["tenants"] == {"shares": {"a": 1.0, "b": 1.0}, "max_requests": 2}
    assert found["statuses"]["refused"] > 0
    found = document(capsys, "--tenant-shares a=1,b=1 --tenant-max-requests 2")
    same_as(found, tenants=Tenants({"a": 1, "b": 1}, 2))


def test_prefix_caching(capsys):
    found = document(capsys, "--prefix-caching")
    same_as(found, prefix_caching=True)
    assert found["prefix_hit_pct"] is not None


def test_objects_of_the_user_s_own(capsys):
    Path("mine_of_clusters.py").write_text(MINE)
    line = "--replicas 2 --router mine_of_clusters:last --autoscale mine_of_clusters:three"
    found = document(capsys, f"{line} --max-replicas 3 --scale-interval-s 1")
    assert found["configuration"]["router"] == "mine_of_clusters:last"
    assert found["configuration"]["autoscale"]["scaler"] == "mine_of_clusters:three"
    # The last replica that takes requests: the second until the look at 1 s, then the third.
    assert set(found["by_replica"]) == {"1", "2"}


def test_compare_takes_the_same_options(capsys):
    code, out, err = saber(
        capsys,
        'compare --trace t.csv --policies "static(4), saber" --seeds 2 --replicas 2 --json '
        '--router random --failures "at(1)" --on-failure failover --timeout-s 9 --retries 1',
    )
    assert code == 0, err
    configuration = json.loads(out)["configuration"]
    assert configuration["failures"]["on_failure"] == "failover"
    assert configuration["clients"]["timeout_s"] == 9.0
    assert configuration["router"] == "random"


SCALED = '--autoscale "queue(4)"'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--router nope", "unknown router 'nope': expected one of random, power-of-two"),
        ("--router least-request", "did you mean 'least-requests'?"),
        ('--router "affinity(key=user)"', "affinity: key='user': expected session, prefix, tenant"),
        ("--router os:system", "router os:system: "),
        ('--failures "at(1, replica=3)"', "failures name replica 3: expected 0, as the cluster"),
        ('--failures "at(1"', "failure 'at(1': expected a name such as drain"),
        ('--failures "boom(1)"', "unknown failure 'boom': expected one of random, at, drain"),
        ('--failures ""', "failures '': expected outages separated by commas"),
        ('--failures "random(0)"', "mtbf_s=0: expected seconds above 0"),
        ("--on-failure lost", "--on-failure lost has no effect without --failures"),
        (
            '--failures "at(1)" --on-failure maybe',
            "on_failure='maybe': expected lost, retry, failo",
        ),
        (
            "--startup-s 3",
            "startup_s=3 has no effect: nothing starts without failures or autoscale",
        ),
        ('--startup-s nan --failures "at(1)"', "startup_s=nan: expected seconds of at least 0"),
        (SCALED, "--autoscale 'queue(4)' needs a bound: expected --max-replicas N"),
        (f"{SCALED} --max-replicas 0", "'--max-replicas': '0': expected a whole number of at leas"),
        (f"{SCALED} --max-replicas 1 --replicas 2", "max_replicas=1 is below the 2 replicas there"),
        (f"{SCALED} --max-replicas 2 --min-replicas 5", "max_replicas=2 is below min_replicas=5"),
        (f"{SCALED} --max-replicas 2 --scale-interval-s 0", "interval_s=0.0: expected seconds abo"),
        ('--autoscale "cue(4)" --max-replicas 2', "unknown scaler 'cue'"),
        ('--autoscale "queue(x)" --max-replicas 2', "queue: target='x': expected a number"),
        ("--max-replicas 3", "--max-replicas 3 has no effect without --autoscale"),
        ("--min-replicas 1", "--min-replicas 1 has no effect without --autoscale"),
        ("--scale-interval-s 3", "--scale-interval-s 3.0 has no effect without --autoscale"),
        ("--up-cooldown-s 3", "--up-cooldown-s 3.0 has no effect without --autoscale"),
        ("--down-cooldown-s 3", "--down-cooldown-s 3.0 has no effect without --autoscale"),
        ("--timeout-s 0", "timeout_s=0.0: expected a number of seconds above 0"),
        ("--timeout-s 1e-6", "timeout_s=1e-06 is no more than the client overhead of 0.0018 s"),
        ("--timeout-s abc", "'--timeout-s': 'abc': expected a number"),
        ("--retries -1", "'--retries': '-1': expected a whole number of at least 0"),
        ("--retries 1000", "retries=1000: expected at most 100"),
        ("--backoff-s 2", "--backoff-s 2.0 has no effect without --retries"),
        ("--retries 0 --backoff-s 2", "--backoff-s 2.0 has no effect without --retries"),
        ("--retries 2 --backoff-s -1", "backoff_s=-1.0: expected a number of seconds of at least"),
        ('--cancel-after "exponential(-1)"', "cancel_after=exponential(-1): expected times from 0"),
        ('--cancel-after "expo(1)"', "unknown cancel_after distribution 'expo'"),
        ("--cancel-tasks fim", "cancel_tasks=fim has no effect without cancel_after"),
        ("--cancel-tasks fom --cancel-after 2", "unknown task 'fom': the trace has fim, chat"),
        ("--users 0", "'--users': '0': expected a whole number of at least 1"),
        ("--users 2 --await-parent", "users has arrivals of its own"),
        ("--users 2 --cancel-on-next", "users has arrivals of its own"),
        ("--think 3", "think=3 has no effect without users or await_parent"),
        ("--await-parent", "await_parent has no effect: no request of the trace follows another"),
        ("--tenant-shares a=1", "--tenant-shares a=1 has no effect without --tenant-max-requests"),
        ("--tenant-max-requests 4", "--tenant-max-requests 4 has no effect without --tenant-shar"),
        ("--tenant-shares c=2 --tenant-max-requests 4", "unknown tenant 'c': the trace has b, a"),
        ("--tenant-shares a=x --tenant-max-requests 4", "expected NAME=WEIGHT at 'a=x'"),
        ("--tenant-shares a=0 --tenant-max-requests 4", "expected weights above 0"),
        ("--replicas 40000", "40000 replicas: expected at most 32,767"),
    ],
)
def test_nonsense_is_one_clear_line(capsys, line, message):
    code, out, err = saber(capsys, f"run --trace t.csv --policy static(8) {line}")
    assert code == 2
    assert out == ""
    [said] = err.splitlines()
    assert said.startswith("saber: error: ")
    assert message in said


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--cancel-on-next", "cancel_on_next has no effect: the trace has no sessions"),
        ("--prefix-caching", "the trace has neither hash_ids nor sessions"),
        ("--await-parent", "await_parent has no effect"),
        ("--tenant-shares a=1 --tenant-max-requests 4", "the trace has no tenants at all"),
        ("--users 5 --rps 3", "--rps 3 has no effect with --users 5"),
    ],
)
def test_what_a_made_up_workload_does_not_have(capsys, line, message):
    code, _, err = saber(capsys, f"run --n 20 {line}")
    assert code == 2
    [said] = err.splitlines()
    assert message in said
