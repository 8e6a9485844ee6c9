"""What a decider may not choose, and the budget of a step as its choice.

Costs are those of `cases`: decode 10 + B + C, prefill 5 + tokens, in a mixed step 1 a prompt token;
the arithmetic stands beside the numbers.
"""

from __future__ import annotations

import pytest
from cases import Case, Scripted, limits, run
from worlds import PS, World

from policies.function import FunctionPolicy
from policies.gate import Gated
from policies.guarded import Guarded
from policies.protocol import Choice, PolicyError
from sim.choices import is_sound, unsound
from sim.cluster.failures import Failures, Outage
from sim.cluster.run import run_cluster
from sim.stepwise import run_stepwise

RUNNERS = [run_cluster, run_stepwise]
CHUNKED = (limits("chunked"),)


def both(requests, script, **options):
    """Run requests under a script both ways; return what both make of them."""
    leap, step = (
        run(
            Case(
                requests,
                decider=lambda rng: Scripted({k: [*v] for k, v in script.items()}),
                **options,
            ),
            runner,
        )
        for runner in RUNNERS
    )
    assert leap == step
    return leap


def test_a_choice_leaves_the_budget_unless_it_says_otherwise():
    assert Choice().max_num_batched_tokens == 0


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("tokens", [101, -1, 2.0, True, "5", None])
def test_a_budget_that_can_not_be_is_one_clear_line(runner, tokens):
    choice = Choice((0,), max_num_batched_tokens=tokens)
    case = Case(((5, 3, 1),), decider=lambda rng: Scripted({5: [choice]}))
    with pytest.raises(PolicyError) as error:
        run(case, runner)
    assert str(error.value) == (
        f"a policy chose max_num_batched_tokens={tokens!r} at 5 ps: expected 0 to leave it, or a "
        "whole number from 1 to 100, the run's own (see view.max_num_batched_tokens)"
    )


def test_where_no_budget_can_be_set_none_may_be_chosen():
    assert is_sound(Choice(), 5, False, 0)
    choice = Choice(max_num_batched_tokens=1)
    assert not is_sound(choice, 5, False, 0)
    assert "expected 0, as the budget of this server cannot be set" in str(unsound(choice, 5, 0))


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_view_says_what_the_most_is(runner):
    seen = []

    class Looking:
        def decide(self, view):
            seen.append(view.max_num_batched_tokens)
            return Choice((0,) if view.arrived else (), max_num_batched_tokens=seen[-1])

    run(Case(((0, 3, 1),), (limits(tokens=77),), decider=lambda rng: Looking()), runner)
    assert seen == [77, 77]


def test_a_prompt_comes_in_chunks_of_the_budget():
    # 4 tokens 5 + 4 = 9, 4 more 18, 2 more 25: the first token; a decode 11 + 11 = 22 -> 47.
    script = {0: [Choice((0,), max_num_batched_tokens=4)]}
    r = both(((0, 10, 2),), script, replicas=CHUNKED)
    assert (r.first_token, r.finished) == ([25], [47])
    assert r.peak_prefill_tokens == [4]


def test_a_budget_holds_until_another_is_chosen():
    script = {0: [Choice((0,), max_num_batched_tokens=4)], 60: [Choice((1,))]}
    script[100] = [Choice((2,), max_num_batched_tokens=100)]
    # 1: 9, 18, 25 after 60; 2 all at once: 5 + 10 after 100.
    r = both(((0, 10, 1), (60, 10, 1), (100, 10, 1)), script, replicas=CHUNKED)
    assert r.finished == [25, 85, 115]


def test_a_budget_taken_up_by_decodes_leaves_none_to_a_prompt_that_waits():
    # 0: prefill -> 8, decodes 15 -> 23, 16 -> 39, 17 -> 56.  1 comes at 20 and waits, as the decode
    # takes the budget of 1; the budget that comes at 50 is for the step after 56, which decodes
    # 11 + 7 with 2 prompt tokens: 20 -> 76.  Then 0 has 5 tokens, C 8: 19 -> 95, 20 -> 115 ...
    script = {
        0: [Choice((0,))],
        20: [Choice((1,), wake_ps=50, max_num_batched_tokens=1)],
        50: [Choice(max_num_batched_tokens=100)],
    }
    r = both(((0, 3, 7), (20, 2, 1)), script, replicas=CHUNKED)
    assert r.first_token == [8, 76]
    assert r.finished == [115, 76]


def test_a_prompt_stored_in_part_keeps_its_seat_while_the_budget_is_short():
    # 0: -> 8.  Decode 15 with 2 of the 6 prompt tokens of 1 -> 25; decodes alone 16 -> 41 and
    # 17 -> 58; then 18 with the other 4 -> 80.  2 waits for the second seat.
    log: list[tuple] = []
    script = {
        0: [Choice((0,))],
        4: [Choice((1,), wake_ps=10, max_num_batched_tokens=3)],
        10: [Choice(max_num_batched_tokens=1)],
        30: [Choice((2,), wake_ps=45)],
        45: [Choice(max_num_batched_tokens=100)],
    }
    requests = ((0, 3, 9), (4, 6, 1), (30, 1, 1))
    both(requests, script, replicas=(limits("chunked", seqs=2),))
    decider = Scripted(script, log)
    r = run(Case(requests, (limits("chunked", seqs=2),), decider=lambda rng: decider), run_cluster)
    assert r.first_token[:2] == [8, 80]
    at_45 = next(entry for entry in log if entry[0] == 45)
    assert at_45[4] == ((0, 3), (1, 0))
    assert at_45[5] == (2,)
    # The seat is free from 80 on: 11 + 8 and 1 prompt token -> 100.
    assert r.finished[2] == 100


def test_a_smaller_budget_lets_in_a_head_that_blocks_were_too_few_for():
    # 12 blocks.  0 holds 4 at 8, 5 at 23 ...  1 asks for all its 8 at once at 20 and there are only
    # 12 - 5 = 7 in the step at 23; with a budget of 3, two of its tokens fit, from the step after
    # the one in flight at 30: 16 -> 39.
    requests, cache = ((0, 3, 4), (20, 8, 1)), (limits("chunked", blocks=12),)
    script = {0: [Choice((0,))], 20: [Choice((1,), wake_ps=30)]}
    r = both(requests, script, replicas=cache)
    # 0: 15 -> 23, 16 -> 39, 17 -> 56 and over; 1 then 5 + 8.
    assert r.finished == [56, 69]
    script[30] = [Choice(max_num_batched_tokens=3)]
    r = both(requests, script, replicas=cache)
    # From 39 on 17 + 2 -> 58 with two tokens, then 3 (8 -> 66) and 3 (8 -> 74).
    assert r.finished == [58, 74]


def test_under_prefill_first_the_budget_bounds_the_prompts_that_go_together():
    requests = ((0, 3, 1), (0, 2, 1), (0, 6, 1))
    assert both(requests, {}).finished == [16, 16, 16]
    # Budget 4: 3 alone -> 8 (2 more do not fit), 2 alone -> 15, and the 6 go alone -> 26.
    script = {0: [Choice((0,)), Choice((1,), max_num_batched_tokens=4), Choice((2,))]}
    assert both(requests, script).finished == [8, 15, 26]


def test_a_replica_that_returns_has_the_budget_of_the_run():
    # It fails at 5 and loses what it has; the prompt that comes at 20, when it is back: 5 + 6.
    world = World(Failures([Outage(5 * PS, 0, 5 * PS)], "lost"))
    script = {0: [Choice((0,), max_num_batched_tokens=4)]}
    r = both(((0, 6, 1), (20, 6, 1)), script, replicas=CHUNKED, world=world)
    assert r.finished[1] == 31


class Frugal:
    """Releases on arrival and sets a budget of 4."""

    label = "frugal"

    def start(self, rng, profile):
        return self

    def decide(self, view):
        release = () if view.arrived is None else (view.arrived.id,)
        return Choice(release, max_num_batched_tokens=min(4, view.max_num_batched_tokens))


@pytest.mark.parametrize(
    "policy",
    [
        Frugal(),
        Gated(Frugal(), 3),
        Guarded(Frugal()),
        FunctionPolicy(
            lambda view: Choice([r.id for r in view.queue], max_num_batched_tokens=4), "function"
        ),
    ],
    ids=["itself", "gated", "guarded", "function"],
)
def test_what_stands_around_a_policy_passes_its_budget_on(policy):
    for runner in RUNNERS:
        case = Case(((0, 10, 1),), CHUNKED, decider=lambda rng: policy.start(rng, None))
        assert run(case, runner).finished == [25]
