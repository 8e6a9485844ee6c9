"""A policy in front of a server: the same decisions as in the simulator, every fault counted."""

import asyncio
from dataclasses import dataclass, field

import pytest
from live_cases import Scripted, Served, driver_of, replayed, setting, standing, virtually

from policies.catalog import make_policy
from policies.protocol import NOTHING, PS_PER_S, Choice, PolicyError
from sim import simulate
from sim.ledger import STATUSES
from traces import workload
from traces.request import Trace


@dataclass(frozen=True)
class Recorded:
    """Writes down what a policy is shown."""

    policy: object
    log: list = field(default_factory=list)

    @property
    def label(self):
        return self.policy.label

    def start(self, rng, profile):
        self.log.append((0.0, profile.mean_context_tokens))
        decider = self.policy.start(rng, profile)

        @dataclass
        class Decider:
            log: list

            def decide(self, view):
                choice = decider.decide(view)
                arrived = None if view.arrived is None else view.arrived.id
                self.log.append(
                    (
                        view.now_s,
                        arrived,
                        tuple(view.finished),
                        view.in_engine,
                        tuple(choice.release),
                        tuple(choice.demote),
                    )
                )
                return choice

        return Decider(self.log)


def statuses(found):
    return [STATUSES[record.status] for record in found.records]


def steady(n, gap_s=1.0, prompt=20, output=5, sla_s=30.0):
    return Trace([i * gap_s for i in range(n)], [prompt] * n, [output] * n, sla_s=sla_s)


@pytest.mark.parametrize("text", ["saber", "static(4)", "saber(interval=0.25)", "saber(lpq=all)"])
def test_the_same_evaluations_and_choices_as_in_the_simulator(text):
    trace = workload("W3", rps=6, n=60, seed=3)
    trace = trace.replace(arrival_s=trace.arrival_s - trace.arrival_s[0])
    live, inside = (Recorded(standing(make_policy(text))) for _ in range(2))
    found = replayed(trace, live, Served(max_num_seqs=256), setting(), seed=5, drain_s=600)
    simulate(trace, setting().profile, inside, seed=5, max_num_seqs=256)
    assert statuses(found) == ["finished"] * 60
    assert [entry[1:] for entry in live.log] == [entry[1:] for entry in inside.log]
    times = [entry[0] for entry in inside.log]
    assert [entry[0] for entry in live.log] == pytest.approx(times, abs=1e-6)


def test_it_comes_to_what_the_simulator_says():
    trace = workload("W1", rps=4, n=50, seed=1)
    trace = trace.replace(arrival_s=trace.arrival_s - trace.arrival_s[0])
    policy = standing(make_policy("static(6)"))
    found = replayed(trace, policy, Served(max_num_seqs=256), setting(), drain_s=600)
    theirs = simulate(trace, setting().profile, policy, max_num_seqs=256).requests
    for name in ("admitted", "first_token", "finished"):
        ours = [getattr(record, f"{name}_ps") / PS_PER_S for record in found.records]
        assert ours == pytest.approx(theirs[f"{name}_s"].tolist(), abs=1e-6)
    assert found.ending == "complete"


def test_prompts_are_unique_and_as_long_as_the_trace_says_and_answers_bounded_by_it():
    trace = workload("W2", rps=50, n=30, seed=1)
    server = Served(max_num_seqs=256)
    replayed(trace, standing(make_policy("static(64)")), server, setting())
    assert sorted(len(ask.prompt) for ask in server.asked) == sorted(trace.prompt_tokens)
    assert sum(ask.max_tokens for ask in server.asked) == trace.output_tokens.sum()
    assert len({ask.prompt for ask in server.asked}) == 30
    assert all(str(ask.prompt[0]).encode() in ask.body for ask in server.asked)


@pytest.mark.parametrize("status", ["refused", "failed", "timed_out", "cancelled"])
def test_what_the_server_does_not_finish_is_counted_and_the_policy_forgets_it(status):
    seen = []

    def watching(view):
        seen.extend(view.cancelled)
        return [view.arrived] if view.arrived else []

    server = Scripted(lambda number: "finished" if number % 3 else status)
    found = replayed(steady(9), make_policy(watching), server, setting())
    assert statuses(found) == [status, "finished", "finished"] * 3
    assert seen == [0, 3, 6]
    lost = found.records[0]
    assert lost.reason == f"HTTP 429: {status} on purpose"
    assert lost.gone_ps == pytest.approx(lost.arrival_ps + 0.5e12, rel=1e-6)
    assert lost.finished_ps == -1
    served = found.records[1]
    assert served.finished_ps == pytest.approx(served.arrival_ps + 0.5e12, rel=1e-9)
    assert served.gone_ps == -1
    assert found.ending == "complete"


def test_a_fault_of_our_own_in_an_exchange_is_counted_too():
    server = Scripted(lambda number: "raises" if number == 2 else "finished")
    found = replayed(steady(4), standing(make_policy("saber")), server, setting())
    assert statuses(found) == ["finished", "finished", "failed", "finished"]
    assert found.records[2].reason == "ValueError: a fault of ours"


@pytest.mark.parametrize("status", ["failed", "refused"])
def test_a_server_that_serves_nothing_is_not_hammered(status):
    server = Scripted(lambda number: status, service_s=0.01)
    found = replayed(steady(1000), standing(make_policy("static(8)")), server, setting())
    assert found.ending == "stopped"
    assert server.number == 9
    assert "the first 10 exchanges in a row failed" in found.account
    assert "on purpose" in found.account
    assert statuses(found) == [status] * 10


def test_a_server_that_dies_ends_the_replay_but_one_that_turns_away_does_not():
    dies = Scripted(lambda number: "finished" if number < 5 else "failed", service_s=0.01)
    found = replayed(steady(200), standing(make_policy("static(8)")), dies, setting())
    assert found.ending == "stopped"
    assert len(found.records) == 35
    limps = Scripted(lambda number: "failed" if number % 30 else "finished", service_s=0.01)
    found = replayed(steady(200), standing(make_policy("static(8)")), limps, setting())
    assert found.ending == "complete"
    full = Scripted(lambda number: "finished" if number < 5 else "refused", service_s=0.01)
    found = replayed(steady(200), standing(make_policy("static(8)")), full, setting())
    assert found.ending == "complete"
    assert statuses(found).count("refused") == 195


def test_what_is_left_after_the_drain_is_given_up_and_unfinished():
    server = Scripted(lambda number: "never" if number == 1 else "finished")
    found = replayed(steady(3), standing(make_policy("static(8)")), server, setting(), drain_s=10)
    assert statuses(found) == ["finished", "unfinished", "finished"]
    assert found.ending == "drained"
    assert found.end_ps == found.limit_ps == 12 * PS_PER_S
    assert server.given_up == 1
    assert found.records[1].first_token_ps == pytest.approx(1.25e12, rel=1e-6)
    assert found.records[1].gone_ps == -1


def test_a_policy_that_holds_everything_ends_when_nothing_will_happen_any_more():
    found = replayed(steady(3), make_policy(lambda view: None), Scripted(str), setting())
    assert found.ending == "idle"
    assert statuses(found) == ["unfinished"] * 3
    assert found.end_ps < 3 * PS_PER_S


def test_what_the_model_cannot_take_is_not_sent_and_the_policy_does_not_see_it():
    trace = Trace([0.0, 1.0, 2.0], [10, 1000, 10], [5, 5, 5])
    server = Scripted(lambda number: "finished")
    found = replayed(
        trace, standing(make_policy("static(8)")), server, setting(), max_model_len=100
    )
    assert statuses(found) == ["finished", "refused", "finished"]
    assert "max_model_len is 100" in found.records[1].reason
    assert server.number == 1


def test_requests_that_the_policy_refuses_or_demotes():
    def picky(view):
        if view.arrived is None:
            return NOTHING
        id = view.arrived.id
        return Choice(refuse=(id,)) if id == 1 else Choice((id,), demote=(id,) if id == 2 else ())

    found = replayed(steady(3), make_policy(picky), Scripted(lambda number: "finished"), setting())
    assert statuses(found) == ["finished", "refused", "finished"]
    assert [record.demoted for record in found.records] == [False, False, True]
    assert found.records[1].reason == "refused by the policy"


def test_a_gate_lets_so_many_in_and_a_view_says_who_waits():
    views = []

    def peeking(view):
        views.append((view.in_engine, len(view.running), view.waiting_ids))
        return [view.arrived] if view.arrived else []

    @dataclass(frozen=True)
    class Sized:
        max_num_seqs = 2
        label = "sized"

        def start(self, rng, profile):
            return make_policy(peeking).start(rng, profile)

    server = Scripted(lambda number: "finished", service_s=0.8)
    found = replayed(steady(4, 0.25), standing(Sized()), server, setting())
    # The second request finds the first without a token, the third with one, at half its time.
    assert views[:4] == [(0, 0, ()), (1, 0, (0,)), (2, 1, (1,)), (3, 2, (2,))]
    admitted_s = [record.admitted_ps / PS_PER_S for record in found.records]
    assert admitted_s == pytest.approx([0, 0.25, 0.8, 1.05])


def test_arrivals_that_are_late_count_from_when_they_are_there():
    seen = []

    def slow(view):
        if view.arrived is not None:
            seen.append(view.arrived)
            if view.arrived.id == 0:  # the loop is held up for 3 s
                asyncio.get_running_loop()._virtual.now_s += 3.0
            return [view.arrived]
        return []

    found = replayed(steady(3), make_policy(slow), Scripted(lambda n: "finished"), setting())
    late_s = [(r.arrival_ps - r.planned_ps) / PS_PER_S for r in found.records]
    assert late_s == pytest.approx([0, 2.0, 1.0])
    assert [request.arrival_s for request in seen] == pytest.approx([0, 3.0, 3.0])
    assert [request.deadline_s for request in seen] == pytest.approx([30, 33.0, 33.0])
    assert found.lateness.max_s == pytest.approx(3.0, abs=0.02)
    assert found.lateness.p99_s > 1


def test_interrupting_ends_arrivals_and_gives_up_what_is_in_flight():
    async def replay():
        server = Scripted(lambda number: "finished" if number < 2 else "never")
        driver = driver_of(steady(100), standing(make_policy("static(2)")), server, setting())
        asyncio.get_running_loop().call_later(5.3, driver.interrupt)
        return await driver.replay(), server

    found, server = virtually(replay())
    assert found.ending == "interrupted"
    assert statuses(found) == ["finished"] * 2 + ["cancelled"] * 4
    assert server.given_up == 2
    assert found.end_ps == found.limit_ps == pytest.approx(5.25e12, rel=1e-3)
    assert {record.reason for record in found.records[2:]} == {"interrupted"}


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (Choice((7,)), "released request 7"),
        (Choice(demote=(7,)), "demoted request 7"),
        (Choice(refuse=(7,)), "refused request 7"),
        (Choice(wake_ps=-1), "to be woken at -1"),
        ("all", "returned 'all'"),
    ],
)
def test_a_choice_that_cannot_be_made_ends_it_in_one_line(choice, said):
    @dataclass(frozen=True)
    class Wrong:
        label = "wrong"

        def start(self, rng, profile):
            return self

        def decide(self, view):
            return choice

    with pytest.raises(PolicyError, match=said):
        replayed(steady(2), Wrong(), Scripted(lambda number: "finished"), setting())


def test_how_many_tokens_came_is_told_when_an_answer_is_over():
    told = {}

    def noting(view):
        told.update(zip(view.finished, view.finished_tokens, strict=True))
        return Choice(tuple(request.id for request in view.queue))

    trace = Trace([0.0, 0.1, 0.2], [20] * 3, [5, 9, 2], sla_s=30.0)
    replayed(trace, make_policy(noting), Scripted(lambda number: "finished"), setting())
    assert told == {0: 5, 1: 9, 2: 2}


def test_timers_are_kept():
    woken = []

    def polling(view):
        if view.arrived is None and not view.finished:
            woken.append(round(view.now_s, 4))
            return Choice(tuple(request.id for request in view.queue))
        return Choice(wake_ps=view.now_ps + PS_PER_S // 4) if view.arrived else NOTHING

    found = replayed(steady(2), make_policy(polling), Scripted(lambda n: "finished"), setting())
    assert woken == [0.25, 1.25]
    assert found.ending == "complete"
