"""A batch size held in front of the engine, and what a policy learns late."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrate import load_profile
from policies.catalog import make_policy
from policies.gate import Gated
from policies.protocol import Choice
from policies.static import Static
from sim import simulate
from traces import workload

PAPER = replace(load_profile("paper-qwen2.5-coder-3b"), client_overhead_s=0.0)
COLUMNS = ["admitted_s", "first_token_s", "finished_s", "status"]


@dataclass(frozen=True)
class Peeking:
    """Releases on arrival and writes down what it is shown."""

    log: list
    label = "peeking"

    def start(self, rng, profile):
        return self

    def decide(self, view):
        self.log.append((view.in_engine, len(view.running), view.waiting_ids))
        return Choice() if view.arrived is None else Choice((view.arrived.id,))


@given(seats=st.integers(1, 12), seed=st.integers(0, 50))
@settings(max_examples=25)
def test_without_delay_the_gate_is_the_engines_own_batch_limit(seats, seed):
    trace = workload("W3", rps=8, n=30, seed=seed)
    inside = simulate(trace, PAPER, Static(seats)).requests
    outside = simulate(trace, PAPER, Gated(Static(seats), seats), max_num_seqs=256).requests
    assert inside["finished_s"].equals(outside["finished_s"])
    assert inside["first_token_s"].equals(outside["first_token_s"])


def test_how_long_an_answer_was_is_told_through_the_gate_when_it_is_over():
    trace = workload("W3", rps=10, n=40, seed=3)
    lengths: dict[int, int] = {}

    def noting(view):
        lengths.update(zip(view.finished, view.finished_tokens, strict=True))
        return view.queue

    simulate(trace, PAPER, Gated(make_policy(noting), 4), feedback_delay_s=0.1)
    assert lengths == dict(enumerate(trace.output_tokens.tolist()))


@pytest.mark.parametrize("leap", [True, False])
def test_one_seat_serves_a_request_a_service_time_and_a_delay(leap):
    trace = workload("W3", rps=1000, n=12, seed=1)  # all at once, nearly
    delay_s = 0.5
    gate = Gated(Static(1), 1)
    prompt = simulate(trace, PAPER, gate, leap=leap).requests
    late = simulate(trace, PAPER, gate, leap=leap, feedback_delay_s=delay_s).requests
    service_s = (late["finished_s"] - late["admitted_s"]).to_numpy()
    assert service_s == pytest.approx((prompt["finished_s"] - prompt["admitted_s"]).to_numpy())
    idle_s = late["admitted_s"].to_numpy()[1:] - late["finished_s"].to_numpy()[:-1]
    assert idle_s == pytest.approx(np.full(11, delay_s))


def test_until_it_is_told_the_policy_takes_a_request_for_running():
    trace = workload("W3", rps=2, n=20, seed=3)
    log: list = []
    simulate(trace, PAPER, Peeking(log), feedback_delay_s=3.0)
    assert any(in_engine > len(running_ids) + running for in_engine, running, running_ids in log)
    log.clear()
    simulate(trace, PAPER, Peeking(log))
    assert all(in_engine == running + len(waiting) for in_engine, running, waiting in log)


def test_what_the_gate_holds_waits_in_the_engine_for_the_policy():
    log: list = []
    simulate(workload("W3", rps=100, n=20, seed=3), PAPER, Gated(Peeking(log), 2))
    assert max(in_engine for in_engine, _, _ in log) > 2
    assert all(in_engine == running + len(waiting) for in_engine, running, waiting in log)


def test_a_delay_for_nothing_changes_nothing():
    trace = workload("W1", rps=6, n=60, seed=2)
    plain = simulate(trace, PAPER, "static(20)").requests
    late = simulate(trace, PAPER, "static(20)", feedback_delay_s=0.5).requests
    assert plain[COLUMNS].equals(late[COLUMNS])  # it decides nothing at completions


@pytest.mark.parametrize("delay_s", [0.0, 0.25])
def test_saber_in_front_of_a_server_acts_on_completions_when_it_knows_of_them(delay_s):
    trace = workload("W3", rps=10, n=100, seed=2)
    requests = simulate(trace, PAPER, "saber", feedback_delay_s=delay_s).requests
    known_ps = {round((s + delay_s) * 1e9) for s in requests["finished_s"]}
    admitted = (requests["admitted_s"] * 1e9).round().astype(int)
    waited = admitted[requests["admitted_s"] > requests["arrival_s"]]
    assert sum(instant in known_ps for instant in waited) > 8
    too_early_ps = {round(s * 1e9) for s in requests["finished_s"]} - known_ps
    assert not any(instant in too_early_ps for instant in waited)


def test_clients_that_leave_leave_the_gate():
    from sim.cluster.clients import Clients

    trace = workload("W3", rps=30, n=60, seed=5)
    result = simulate(trace, PAPER, Gated(Static(3), 3), clients=Clients(timeout_s=4.0))
    statuses = result.summary()["statuses"]
    assert statuses["timed_out"] > 5
    assert statuses["finished"] + statuses["timed_out"] == 60
