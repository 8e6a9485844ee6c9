"""Plans end to end on small workloads, against brute force over every number and fine steps."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from profile_cases import profile_with_raw, scaled

from calibrate.library import load_profile
from policies.catalog import make_policy
from sim.cluster.failures import parse_failures
from sim.cluster.fleet import Replica
from sim.feasible import Unloaded
from sim.options import RunOptions
from sim.plan.band import Rules
from sim.plan.document import document
from sim.plan.evaluate import FREE_ADMISSION, Ask, Point, Runs
from sim.plan.facts import margins
from sim.plan.figure import plot_plan
from sim.plan.measure import Sample
from sim.plan.planning import plan
from sim.plan.runner import Requests, Runner
from sim.plan.target import parse_target
from sim.plan.words import headings, rows, sentences
from sim.simulation import simulate
from sim.sources import Drawn, Recorded
from traces.request import Trace
from traces.transform import scale_rate
from traces.workloads import workload

PAPER = load_profile("paper-qwen2.5-coder-3b")
OPTIONS = RunOptions()
RPS = 30.0
SEEDS = 8


@dataclass(frozen=True)
class W3:
    """W3 at a rate; picklable."""

    rps: float = RPS
    n: int = 150

    def __call__(self, seed: int) -> Trace:
        return workload("W3", rps=self.rps, n=self.n, seed=seed)


def rules(text="goodput>=90%", seeds=SEEDS, **others):
    return Rules(parse_target(text), seeds, first=2, **others)


@pytest.fixture(scope="module")
def found():
    kinds = [Replica(PAPER, price_per_h=2.0)]
    return plan(W3(), kinds, ["saber", "static"], rules(), options=OPTIONS, cap=12)


def goodput(count, rate=1.0, policy="saber"):
    runs = [
        simulate(scale_rate(W3()(seed), rate), PAPER, policy, replicas=count, seed=seed)
        for seed in range(SEEDS)
    ]
    return float(np.mean([run.summary()["goodput_pct"] for run in runs]))


def test_least_replicas_are_those_of_brute_force(found):
    by_force = next(n for n in range(1, 13) if goodput(n) >= 90)

    answer = found.answers[0]
    assert answer.replicas == by_force
    assert answer.at.estimates[0].mean == pytest.approx(goodput(by_force))
    assert answer.at.meets
    assert not answer.fewer.meets
    assert answer.more.meets
    assert found.best.replicas == min(a.replicas for a in found.answers)
    assert found.price_per_h(answer) == 2.0 * by_force


def test_highest_rate_is_within_2_percent_of_brute_force(found):
    answer = found.answers[0]
    assert goodput(answer.count, answer.rate.meets) >= 90
    rate = answer.rate.meets / 1.06
    by_force = None
    while goodput(answer.count, rate) >= 90:
        by_force, rate = rate, rate * 1.004

    assert answer.rate.meets == pytest.approx(by_force, rel=0.02)
    assert answer.rate.misses / answer.rate.meets <= 1.01 * (1 + 1e-9)


def test_best_size_is_no_worse_than_every_size_by_brute_force(found):
    saber, static = found.answers
    policies = [f"static({size})" for size in (8, 16, 32, 64, 128, 256)]
    fewest = next(
        n for n in range(1, 13) if max(goodput(n, policy=policy) for policy in policies) >= 90
    )

    assert static.replicas == fewest
    [pair] = found.pairs
    ours = goodput(pair.replicas)
    theirs = goodput(pair.replicas, policy=static.policy)
    assert pair.difference.mean == pytest.approx(ours - theirs, abs=1e-9)
    assert (pair.policy, pair.baseline) == (saber.policy, static.policy)


def test_bands_hold_the_answers(found):
    for answer in found.answers:
        span = answer.replicas_by_seeds
        assert span.low <= answer.replicas <= (span.high or np.inf)
        by_seeds = answer.rate_by_seeds
        assert (by_seeds.low or 0) <= answer.rate.meets * 1.001
        assert (by_seeds.high or np.inf) >= answer.rate.meets * 0.999
        assert answer.replicas_by_costs is None


def test_what_breaks_first(found):
    broken = found.answers[0].breaks

    assert broken.at.point.rate == 1.25
    assert broken.condition == "goodput"
    by_task = {
        task: np.mean([sample.by_task[task][0] for sample in broken.at.samples])
        for task in broken.at.samples[0].by_task
    }
    assert broken.task_value == pytest.approx(min(by_task.values()))
    assert sum(broken.late.values()) == pytest.approx(1)
    assert broken.values[broken.cause] == max(broken.values.values())


def test_few_simulations(found):
    assert found.runs.made < 260
    assert found.runs.made <= len(found.runs.known)


def test_the_same_plan_on_any_number_of_workers():
    kinds = [Replica(PAPER)]
    one, two = (
        plan(W3(n=40), kinds, ["saber"], rules(seeds=3), options=OPTIONS, cap=8, jobs=jobs)
        for jobs in (1, 2)
    )

    assert document(one, RPS) == document(two, RPS)


def test_intervals_of_the_profile_give_a_band():
    kinds = [Replica(replace(profile_with_raw(), kv_tokens=400_000))]
    found = plan(
        W3(60.0), kinds, ["static(64)"], rules("ttft_p95<=0.2", 3), options=OPTIONS, cap=24
    )

    [answer] = found.answers
    span, rates = answer.replicas_by_costs, answer.rate_by_costs
    assert span.low <= answer.replicas <= span.high
    assert rates.low < answer.rate.meets < rates.high
    # Every step is 3 % faster or 5 % slower: rates move about as far.
    assert rates.high / rates.low < 1.25


def test_a_given_number_of_replicas_is_what_the_rate_is_for():
    found = plan(
        W3(), [Replica(PAPER)], ["saber"], rules(seeds=3), options=OPTIONS, cap=12, replicas=2
    )

    [answer] = found.answers
    assert answer.replicas > 2
    assert answer.count == 2
    assert answer.rate.meets < 1
    assert not answer.at.meets
    fewer = f"{100 * (1 - answer.rate.meets):.0f} % fewer requests to meet the target"
    assert any(fewer in line for line in sentences(found, RPS))
    assert answer.at_rate.meets


def test_a_cautious_plan_wants_no_less():
    kinds = [Replica(PAPER)]
    easy = plan(W3(), kinds, ["saber"], rules(), options=OPTIONS, cap=12)
    cautious = plan(
        W3(), kinds, ["saber"], rules(level_pct=99, cautious=True), options=OPTIONS, cap=12
    )

    assert cautious.answers[0].replicas >= easy.answers[0].replicas
    assert cautious.answers[0].rate.meets < easy.answers[0].rate.meets * 1.3
    low = cautious.answers[0].at.estimates[0].low
    assert low >= 90


def test_a_target_no_number_reaches_says_what_the_best_was():
    found = plan(W3(200.0), [Replica(PAPER)], ["saber"], rules(), options=OPTIONS, cap=2)

    assert found.best is None
    [said] = document(found, 200.0)["answers"]
    assert not said["reachable"]
    assert "with 2 replicas goodput is" in said["reason"]
    assert "Nothing here reaches goodput>=90%." in sentences(found, 200.0)


def test_a_target_that_not_even_requests_alone_meet_costs_one_simulation():
    found = plan(W3(), [Replica(PAPER)], ["saber"], rules("e2e_p50<=1ms"), options=OPTIONS)

    assert found.runs.made <= SEEDS
    assert found.answers[0].never
    [said] = document(found, RPS)["answers"]
    assert "even alone on an idle replica e2e_p50 is" in said["reason"]


def test_the_cheapest_mix_is_cheaper_and_does():
    # The same hardware sold whole, and at half the speed for a little more than half the price.
    slow = replace(PAPER, name="half", cost=scaled(PAPER.cost, 1.6))
    kinds = [Replica(PAPER, price_per_h=4.0), Replica(slow, price_per_h=2.2)]
    options = RunOptions(router="least-requests")
    found = plan(W3(36.0), kinds, ["saber"], rules(seeds=3), options=options, cap=12)

    assert found.mix is not None
    assert found.mix.tried <= found.mix.candidates
    if found.mix.at is not None:
        fleet = dict(found.mix.at.point.fleet)
        assert 4.0 * fleet[0] + 2.2 * fleet[1] < found.price_per_h(found.best)
        assert found.mix.at.meets


def test_the_document_keeps_its_keys(found):
    said = document(found, RPS, ["careful"])

    assert list(said) == [
        "target", "rate_rps", "seeds", "level_pct", "cautious", "max_replicas", "simulations",
        "best", "answers", "pairs", "mix", "warnings",
    ]  # fmt: skip
    answer = said["answers"][0]
    assert list(answer) == [
        "profile", "policy", "size_was_searched", "reachable", "reason", "alone", "replicas",
        "given", "one_fewer", "one_more", "rate", "breaks", "curves",
    ]  # fmt: skip
    assert list(answer["given"]) == [
        "replicas", "rate_rps", "meets", "straddles", "seeds", "seeds_met", "conditions",
        "goodput_pct", "goodput_rps", "utilisation", "price_per_h", "price_per_1000_met",
    ]  # fmt: skip
    assert answer["rate"]["rps"] == pytest.approx(RPS * found.answers[0].rate.meets)
    price = answer["given"]["price_per_h"] / 3.6 / answer["given"]["goodput_rps"]
    assert answer["given"]["price_per_1000_met"] == pytest.approx(price)
    margin = answer["given"]["conditions"]["goodput"]["margin"]
    assert margin == pytest.approx(answer["given"]["conditions"]["goodput"]["mean"] - 90)
    assert margins(found.answers[0].at)["goodput"] == margin


def test_the_table_and_the_figure(found):
    assert all(len(row) == len(headings(found)) for row in rows(found, RPS))
    said = " ".join(sentences(found, RPS))
    assert f"To keep goodput>=90%: {found.best.replicas} x paper" in said
    assert "no interval for the profile" in said
    assert f"{found.runs.made:,} simulations" in said

    figure = plot_plan(found, RPS, title="W3")
    over_replicas, over_rate, over_price = figure.axes
    assert over_replicas.get_xlabel() == "replicas"
    assert over_rate.get_xlabel() == "requests/s"
    assert over_price.get_xlabel() == "price an hour"
    [line, *_] = over_replicas.lines
    at = found.answers[0].at
    assert line.get_ydata()[list(line.get_xdata()).index(at.point.fleet[0][1])] == pytest.approx(
        at.estimates[0].mean
    )


# -- single runs -----------------------------------------------------------------------------------


def runner(requests=None, target="goodput>=90%", **options):
    policies = {text: make_policy(text) for text in ("saber", "static(4)", "static(64)")}
    policies[FREE_ADMISSION] = make_policy("static(1024)")
    kinds = (Replica(PAPER), Replica(profile_with_raw()))
    return Runner(requests or W3(), kinds, policies, parse_target(target), RunOptions(**options))


def test_a_point_is_the_run_it_says():
    sample = runner()(Point(((0, 3),), "saber", rate=1.5), 2)

    run = simulate(scale_rate(W3()(2), 1.5), PAPER, "saber", replicas=3, seed=2).summary()
    assert sample.values == (run["goodput_pct"],)
    assert sample.goodput_rps == run["goodput_rps"]
    assert sample.utilisation == run["utilisation"]


def test_instants_of_the_trace_move_with_the_rate():
    half = runner(warmup_s=2.0, target="e2e_mean<=9")(Point(((0, 3),), "saber", rate=0.5), 0)

    run = simulate(scale_rate(W3()(0), 0.5), PAPER, "saber", replicas=3, warmup_s=4.0).summary()
    assert half.values[0] == pytest.approx(run["e2e_s"]["mean"])


def test_alone_is_what_the_closed_form_says():
    sample = runner(target="e2e_mean<=9")(Point(((0, 1),), "saber", rate=0.0), 0)

    trace = W3()(0)
    alone_s = Unloaded(PAPER, OPTIONS).unloaded_s(trace.prompt_tokens, trace.output_tokens)
    assert sample.values[0] == pytest.approx(alone_s.mean(), rel=1e-6)


def test_ends_of_intervals_and_lifted_limits_order_latencies():
    run = runner(target="e2e_mean<=9")
    low, fitted, high, prompts, tokens, kv = (
        run(Point(((1, 2),), "static(64)", 1.0, costs), 0).values[0]
        for costs in ("low", "fitted", "high", "free prompts", "free tokens", "endless KV")
    )

    assert low < fitted < high
    assert prompts < fitted
    assert tokens < fitted
    assert kv <= fitted


def test_a_request_that_does_not_finish_is_later_than_any_limit():
    run = runner(target="ttft_p99<=1,ttft_p50<=1,goodput>=50%", max_model_len=900)
    sample = run(Point(((0, 3),), "saber"), 0)

    refused = simulate(W3()(0), PAPER, "saber", replicas=3, max_model_len=900).summary()
    share = refused["statuses"]["refused"] / 150
    assert 0.01 < share < 0.5
    assert sample.values[0] == np.inf
    assert np.isfinite(sample.values[1])
    assert sample.values[2] == refused["goodput_pct"]
    assert sample.late["unfinished"] == refused["statuses"]["refused"]


def test_runs_that_must_be_the_same_are_made_once():
    made = []

    def count(point, seed):
        made.append(point.policy)
        return runner()(point, seed)

    runs = Runs(
        count,
        seats={"saber": 256, "static(64)": 64, "static(4)": 4},
        fixed=["static(64)", "static(4)"],
    )

    def lane(policy):
        return (yield Ask(Point(((0, 12),), policy), (0, 1)))

    [first] = runs.follow([lane("saber")])
    [second] = runs.follow([lane("static(64)")])
    [third] = runs.follow([lane("static(4)")])

    full = [s.peak_batch >= 4 for s in first]
    assert all(sample.passed for sample in first)
    assert second == first
    assert second == tuple(runner()(Point(((0, 12),), "static(64)"), seed) for seed in (0, 1))
    assert made == ["saber"] * 2 + ["static(4)"] * sum(full)
    assert third == tuple(runner()(Point(((0, 12),), "static(4)"), seed) for seed in (0, 1))
    assert runs.made == len(made)


def test_a_policy_that_holds_requests_back_says_nothing_of_batch_sizes():
    made = []

    def run(point, seed):
        made.append(point.policy)
        return Sample((1.0,), {}, None, None, None, 0, 3, point.policy != "saber", {}, ())

    runs = Runs(run, seats={"saber": 256, "static(8)": 8}, fixed=["static(8)"])
    for policy in ("saber", "static(8)"):
        runs.follow([(ask for ask in [Ask(Point(((0, 1),), policy), (0,))])])

    assert made == ["saber", "static(8)"]


def test_recorded_traces_are_redrawn_but_for_the_first():
    source = Recorded("day.csv", W3()(0))
    requests = Requests(source)

    assert requests(0) == source.trace
    assert requests(1) != source.trace
    assert requests(1) == requests(1)
    assert requests(1) != requests(2)
    assert requests(1).span_s == pytest.approx(source.trace.span_s, rel=0.2)
    drawn = Drawn("W3", 10.0, 20, "poisson", None, Unloaded(PAPER, OPTIONS))
    assert Requests(drawn)(3) == drawn(3)


def test_replicas_that_fail_take_more_of_them():
    kinds = [Replica(PAPER)]
    failing = RunOptions(
        failures=parse_failures("random(mtbf_s=10, repair_s=5)", "failover"),
        startup_s=2.0,
        router="least-requests",
    )
    sound = plan(W3(), kinds, ["saber"], rules(), options=RunOptions(router="least-requests"))
    prone = plan(W3(), kinds, ["saber"], rules(), options=failing)

    assert not prone.answers[0].never  # what fails alone, others can take over
    assert prone.answers[0].replicas > sound.answers[0].replicas


def test_a_target_met_at_any_rate_is_no_capacity():
    easy = plan(W3(n=3), [Replica(PAPER)], ["saber"], rules("e2e_p99<=60"), options=OPTIONS)

    [answer] = easy.answers
    assert answer.rate.misses is None
    assert "over " in rows(easy, RPS)[0][5]
    assert any("too few requests to say what it bears" in line for line in sentences(easy, RPS))
    assert easy.runs.made < 40


def test_what_is_the_same_is_said_once(found):
    sizes = ["static(200)", "static(210)"]
    same = plan(W3(), [Replica(PAPER)], sizes, rules(seeds=2), options=OPTIONS, cap=12)

    said = sentences(same, RPS)
    assert f"{PAPER.name}, static(210): the same as under static(200)." in said
    assert sum(line.startswith("  - With one fewer") for line in said) == 1
    sizes = ["static(200)", "static(12)"]
    other = plan(W3(), [Replica(PAPER)], sizes, rules(seeds=2), options=OPTIONS, cap=12)
    assert not any("the same as" in line for line in sentences(other, RPS))
