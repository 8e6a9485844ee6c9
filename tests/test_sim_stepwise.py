"""Scenarios small enough to work out by hand; the arithmetic stands beside the numbers.

Unless a test says otherwise a decode step takes 10 + B + C, a prefill 5 + tokens, and a mixed
step the decode's time plus 1 a prompt token; a block holds one token.
"""

from __future__ import annotations

from collections import Counter

import pytest
from cases import Case, Costs, Scripted, limits, run

from policies.protocol import NEVER_PS, Choice, PolicyError
from sim.cluster.run import run_cluster
from sim.ledger import FINISHED, REFUSED, UNFINISHED, UNSET
from sim.stepwise import run_stepwise


def step(*requests: tuple[int, ...], **options):
    """Run requests (arrival, prompt, output); options are those of `Case`."""
    return run(Case(requests, **options), run_stepwise)


def one(discipline="prefill-first", **options):
    return (limits(discipline, **options),)


@pytest.mark.parametrize("discipline", ["prefill-first", "chunked"])
def test_one_request_alone(discipline):
    # Prefill 5 + 3 = 8; then C = 3 + 1: 11 + 4 = 15, C = 5: 16.
    r = step((100, 3, 3), replicas=one(discipline))
    assert (r.admitted, r.first_token, r.finished) == ([100], [108], [139])
    assert r.status == [FINISHED]
    assert r.gaps == [Counter({(123, 15): 1, (139, 16): 1})]
    assert r.busy == [[100, 139]]
    assert (r.peak_batch, r.peak_prefill_tokens) == ([1], [3])


def test_one_token_needs_no_decode():
    r = step((0, 3, 1))
    assert r.first_token == r.finished == [8]
    assert r.gaps == [Counter()]
    assert r.peak_batch == [0]


def test_prefill_first_prefill_pauses_the_decodes():
    # 0-8 prefill of 0; 8-23 decode (C 4); 1 came at 20: 23-30 its prefill;
    # 30-50 decode of both (12 + 5 + 3), 1 finishes; 50-67 decode of 0 (11 + 6).
    r = step((0, 3, 4), (20, 2, 2))
    assert r.admitted == [0, 20]
    assert r.first_token == [8, 30]
    assert r.finished == [67, 50]
    assert r.gaps == [Counter({(23, 15): 1, (50, 27): 1, (50, 20): 1, (67, 17): 1})]
    assert r.busy == [[0, 67]]
    assert r.peak_batch == [2]


def test_simultaneous_arrivals_share_a_prefill():
    # 5 + 3 + 2.
    r = step((0, 3, 1), (0, 2, 1))
    assert r.finished == [10, 10]


def test_prefill_first_budget_splits_prefills_which_still_go_first():
    # Budget 4: 0-8 prefill of 0 alone (3 + 2 > 4), 8-15 prefill of 1, then both decode:
    # 12 + 4 + 3 = 19.
    r = step((0, 3, 2), (0, 2, 2), replicas=one(tokens=4))
    assert r.first_token == [8, 15]
    assert r.finished == [34, 34]


def test_prefill_first_prompt_over_the_budget_goes_alone():
    # Budget 4: 0-8 prompt 0 (the long one behind it does not fit); 8-19 the 6 tokens alone;
    # 19-25 the last.
    r = step((0, 3, 1), (0, 6, 1), (0, 1, 1), replicas=one(tokens=4))
    assert r.finished == [8, 19, 25]


@pytest.mark.parametrize(("arrival", "first_token"), [(8, 15), (9, 30)])
def test_an_arrival_exactly_at_a_boundary_is_seen_by_it(arrival, first_token):
    # 0's prefill ends at 8.  At 8: 1's prefill runs 8-15.  At 9: it waits for the decode 8-23.
    r = step((0, 3, 9), (arrival, 2, 1))
    assert r.first_token[1] == first_token


def test_a_blocked_head_blocks_those_behind_it():
    # 7 tokens fit; 0 holds 5 of them (8 at its peak do not: 5 + 3 - 1 = 7).  1 needs 3 and waits;
    # 2 needs 1 and waits behind it.
    # 0-10 prefill; C = 6: 17 -> 27; C = 7: 18 -> 45; then 1 and 2 share 5 + 4 = 9 -> 54.
    r = step((0, 5, 3), (1, 3, 1), (2, 1, 1), replicas=one(blocks=7))
    assert r.finished == [45, 54, 54]


@pytest.mark.parametrize("discipline", ["prefill-first", "chunked"])
def test_seats(discipline):
    # One seat: 0-8, 8-23 request 0; then 5 + 2 = 7 -> 30.
    r = step((0, 3, 2), (0, 2, 1), replicas=one(discipline, seqs=1))
    assert r.finished == [23, 30]


def test_chunked_shares_steps_within_the_budget():
    # Budget 4.  0-9: 4 of 0's 6 tokens.  9-18: its last 2, and 2 of 1's 3; first token of 0.
    # 18-37: decode of 0 (11 + 7) and 1's last token (+ 1).  37-61: both decode, 12 + 8 + 4.
    r = step((0, 6, 3), (0, 3, 2), replicas=one("chunked", tokens=4, seqs=2))
    assert r.first_token == [18, 37]
    assert r.finished == [61, 61]
    assert r.gaps == [Counter({(37, 19): 1, (61, 24): 2})]
    assert r.peak_prefill_tokens == [4]
    assert r.peak_batch == [2]


def test_chunked_decodes_take_their_share_of_the_budget():
    # Budget 2.  0-6: prompt 0.  Then 0 decodes (C 2, 3, 4, ...) and leaves 1 token a step for 1:
    # 6-20 (11 + 2 + 1), 20-35, 35-51.
    r = step((0, 1, 9), (1, 3, 1), replicas=one("chunked", tokens=2, seqs=2))
    assert r.first_token == [6, 51]


def test_chunked_partial_prompt_holds_a_seat():
    # Two seats, budget 3: 0-6 prompt 0 takes 1 token and prompt 1 two of its 3 -> 5 + 3 = 8.
    # Prompt 2 fits the budget from 8 on, but 0 and 1 hold the seats until 1 finishes at
    # 8 + 11 + 2 + 1 = 22; then 22 + 11 + 3 + 1 = 37.
    r = step((0, 1, 9), (0, 3, 1), (0, 1, 1), replicas=one("chunked", tokens=3, seqs=2))
    assert r.finished[1:] == [22, 37]


def test_attention_of_whole_prompts_and_of_chunks():
    # Attention costs 1 a token^2: sum of p * (2 * past + p).
    costs = Costs((10, 11, 12), (1, 1, 1), attention=1)
    # Prefill-first, 3 and 2 tokens: 5 + 5 + 9 + 4.
    assert step((0, 3, 1), (0, 2, 1), costs=costs).finished == [23, 23]
    # Chunks of 4: 5 + 4 + 16 = 25, then 2 tokens after 4: 5 + 2 + 2 * (8 + 2) = 27.
    chunked = one("chunked", tokens=4, seqs=2)
    assert step((0, 6, 1), costs=costs, replicas=chunked).finished == [52]
    # In a mixed step: 0-11 prompt 0 (5 + 2 + 4); then 11 + C 3 + 1 token of attention 1.
    assert step((0, 2, 2), (1, 1, 1), costs=costs, replicas=chunked).finished == [27, 27]


def test_prefill_first_preempts_the_last_admitted_and_recomputes_it():
    # 9 blocks.  0-11 prefill of both (6 held).  11-31 decode: needs 4 + 4, 12 + 8 = 20.
    # At 31 a decode needs 5 + 5 > 9: 1 goes.  31-47 decode of 0 (11 + 5).
    # At 47: 1 recomputes 3 + 2 tokens, 0 holds 5: 10 > 9.  47-64 decode of 0, which finishes.
    # 64-74: recompute of 5 yields 1's third token; 74-91 its fourth (11 + 6).
    r = step((0, 3, 4), (0, 3, 4), replicas=one(blocks=9))
    assert r.preemptions == [0, 1]
    assert r.first_token == [11, 11]
    assert r.finished == [64, 91]
    assert r.gaps == [
        Counter({(31, 20): 2, (47, 16): 1, (64, 17): 1, (74, 43): 1, (91, 17): 1}),
    ]
    assert r.peak_prefill_tokens == [6]


def test_the_preempted_goes_to_the_front_and_stays_released():
    # As above, with 2 released at 20 (it has no seat: two seats) and 3 at 40.
    seen = Scripted()
    r = step(
        (0, 3, 4), (0, 3, 4), (20, 1, 1), (40, 1, 1),
        replicas=one(blocks=9, seqs=2), decider=lambda rng: seen,
    )  # fmt: skip
    # The view is shown before the arrival's own release.
    assert seen.log[2] == (20, 2, (), 2, ((0, 1), (1, 1)), ())
    assert seen.log[3] == (40, 3, (), 3, ((0, 2),), (1, 2))
    # At 47 the recompute of 5 does not fit and blocks 2 and 3, although a block is free.
    # At 64 it shares its prefill with 2: 5 + 5 + 1 -> 75.
    assert r.finished[2] == 75
    # 3 finds no seat at 64 but one at 75, where 2 is done: 75-81.
    assert r.finished[3] == 81


def test_no_admission_in_a_step_that_preempted():
    # Preempting 1 frees enough for it to come back at once; it has to sit out one step.
    # 0-10 prefill of both (3 + 2); 10-29 decode (12 + 4 + 3) needs 7 of 8; at 29 it needs
    # 5 + 4 = 9: 1 goes, 29-45 decode of 0 (11 + 5), which finishes; 45-54 recompute of 4.
    r = step((0, 3, 3), (0, 2, 3), replicas=one(blocks=8))
    assert r.preemptions == [0, 1]
    assert r.finished == [45, 54]


def test_chunked_preempts_the_partial_prompt_first():
    # 8 blocks, budget 4.  0-9: 3 of 0, 1 of 1.  9-27: decode of 0 (11 + 4) and 3 of 1 (4 + 1 + 3
    # blocks).  At 27 it would need 5 + 4: 1 loses its 4 tokens.  27-43 decode of 0.  At 43 a chunk
    # of 3 does not fit beside 6.  43-60 decode of 0, which finishes.  60-69: 4 of 1; 69-75: 1.
    r = step((0, 3, 4), (0, 5, 1), replicas=one("chunked", tokens=4, seqs=3, blocks=8))
    assert r.preemptions == [0, 1]
    assert r.finished == [60, 75]


def test_chunked_partial_that_does_not_fit_stalls_and_blocks_those_behind_it():
    # 10 blocks, budget 4.  0-9: 3 of 0, 1 of 1.  9-27: decode, 3 of 1.  At 27: 5 + 4 held, 1's
    # last 3 do not fit; 2's single token would, but waits behind.  27-43 decode of 0, which
    # finishes.  43-52: 3 of 1 and prompt 2.
    r = step((0, 3, 3), (0, 7, 1), (0, 1, 1), replicas=one("chunked", tokens=4, blocks=10, seqs=4))
    assert r.preemptions == [0, 0, 0]
    assert r.finished == [43, 52, 52]


def test_chunked_preempts_the_last_admitted_of_the_running_set():
    # 9 blocks, as in the prefill-first example until 31; 1 goes at 31.  31-47 decode of 0.
    # At 47 the recompute of 5 does not fit beside 6.  47-64 decode.  64-74 recompute, 74-91.
    r = step((0, 3, 4), (0, 3, 4), replicas=one("chunked", blocks=9))
    assert r.preemptions == [0, 1]
    assert r.finished == [64, 91]


def test_blocks_are_counted_a_sequence():
    # Blocks of 4 tokens, 3 blocks: prompts of 4 hold one block each; storing a fifth token takes
    # a second each: 1 is preempted at once, at 13, and is back when 0 is done.
    # 0-13 prefill 5 + 8; 13-29 decode of 0 (11 + 5); 29-39 recompute of 5.
    r = step((0, 4, 2), (0, 4, 2), replicas=one(blocks=3, block_size=4))
    assert r.preemptions == [0, 1]
    assert r.finished == [29, 39]


@pytest.mark.parametrize(("prompt", "together"), [(98, True), (99, False)])
def test_watermark_binds_admission_only(prompt, together):
    # 200 blocks, watermark 2: 100 + 98 may be admitted.
    r = step((0, 100, 1), (0, prompt, 2), replicas=one(blocks=200, tokens=1000))
    assert (r.first_token[0] == r.first_token[1]) == together
    # Chunked has none.
    r = step((0, 100, 1), (0, prompt, 2), replicas=one("chunked", blocks=200, tokens=1000))
    assert r.first_token[0] == r.first_token[1]
    # A decode may use what admission leaves free: 196 + 4 tokens, no one is preempted.
    r = step((0, 98, 3), (0, 98, 3), replicas=one(blocks=200, tokens=1000))
    assert r.preemptions == [0, 0]


def test_a_request_that_can_never_fit_is_refused_and_not_shown():
    # Peak 3 + 7 = 10 blocks fit, 3 + 8 = 11 do not.
    seen = Scripted()
    r = step((0, 3, 8), (0, 3, 9), replicas=one(blocks=10), decider=lambda rng: seen)
    assert r.status == [FINISHED, REFUSED]
    assert r.reason == {1: "never fits"}
    assert r.admitted[1] == r.finished[1] == UNSET
    assert [entry[1] for entry in seen.log] == [0, None]


def test_arrival_then_timer_then_boundary_at_one_instant():
    # 0 decodes 8-23 and finishes at 23; at 23 arrives 1, whose choice replaces the timer.
    seen = Scripted({0: [Choice((0,), wake_ps=23)], 23: [Choice(), Choice((1,))]})
    r = step((0, 3, 2), (23, 2, 1), decider=lambda rng: seen)
    assert seen.log == [
        (0, 0, (), 0, (), ()),
        (23, 1, (), 1, ((0, 1),), ()),
        (23, None, (0,), 0, (), (), 2),
        (30, None, (1,), 0, (), (), 1),
    ]
    # Released by the evaluation at the boundary, 1 joins the very next step: no idle time.
    assert r.admitted == [0, 23]
    assert r.finished == [23, 30]
    assert r.busy == [[0, 30]]


def test_a_timer_is_seen_by_the_boundary_of_its_instant():
    # 1 arrives at 1 and is held back until the timer at 8, the end of 0's prefill: 8-15.
    seen = Scripted({1: [Choice(wake_ps=8)], 8: [Choice((1,))]})
    r = step((0, 3, 9), (1, 2, 1), decider=lambda rng: seen)
    assert seen.log[2] == (8, None, (), 1, ((0, 0),), ())
    assert r.admitted[1] == 8
    assert r.first_token[1] == 15


def test_a_timer_fires_once_and_wakes_an_idle_engine():
    seen = Scripted({0: [Choice(wake_ps=50)], 50: [Choice((1, 0))]})
    r = step((0, 3, 1), (0, 2, 1), decider=lambda rng: seen)
    # The second choice at 0 released 1 and cancelled the timer: 0 is never released.
    assert r.admitted == [UNSET, 0]
    assert r.status == [UNFINISHED, FINISHED]
    seen = Scripted({0: [Choice(), Choice(wake_ps=50)], 50: [Choice((1, 0))]})
    r = step((0, 3, 1), (0, 2, 1), decider=lambda rng: seen)
    assert r.admitted == [50, 50]
    assert r.finished == [60, 60]
    assert r.busy == [[50, 60]]
    assert [entry[0] for entry in seen.log] == [0, 0, 50, 60]
    assert seen.log[-1][2] == (0, 1)  # ascending, though 1 was released first


def test_only_an_arrival_is_in_time_for_a_timer_of_its_own_instant():
    # At 0 a timer for 0: after both arrivals of the instant, before the boundary.
    seen = Scripted({0: [Choice(wake_ps=0), Choice(wake_ps=0), Choice((1, 0))]})
    r = step((0, 3, 1), (0, 2, 1), decider=lambda rng: seen)
    assert r.finished == [10, 10]
    seen = Scripted({0: [Choice(wake_ps=4)], 4: [Choice((0,), wake_ps=4)]})
    with pytest.raises(PolicyError, match="later"):
        step((0, 3, 1), decider=lambda rng: seen)


def test_a_policy_refuses_and_demotes():
    seen = Scripted({0: [Choice(demote=(0,)), Choice((1,), refuse=(0,))]})
    r = step((0, 3, 1), (0, 2, 1), decider=lambda rng: seen)
    assert r.status == [REFUSED, FINISHED]
    assert r.reason == {0: "refused by the policy"}
    assert r.demoted == [1, 0]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice((1,)), "released request 1,"),
        (Choice((0, 0)), "released request 0,"),
        (Choice((0,), refuse=(0,)), "released request 0,"),
        (Choice((999,)), "released request 999,"),
        (Choice((-1,)), "released request -1,"),
        (Choice((0.0,)), r"released request 0\.0,"),
        (Choice(refuse=(1,)), "refused request 1,"),
        (Choice(demote=(1,)), "demoted request 1,"),
        (Choice(demote=(999,)), "demoted request 999,"),
        (Choice(wake_ps=4), "later"),
        (Choice(wake_ps=1e11), r"woken at 100000000000\.0 ps"),
        (None, "returned None: expected a Choice"),
        ((0,), r"returned \(0,\): expected a Choice"),
    ],
)
@pytest.mark.parametrize("runner", [run_cluster, run_stepwise])
def test_a_wrong_choice_is_a_policy_error(runner, choice, message):
    case = Case(((5, 3, 1), (9, 3, 1)), decider=lambda rng: Scripted({5: [choice]}))
    with pytest.raises(PolicyError, match=message):
        run(case, runner)


@pytest.mark.parametrize("runner", [run_cluster, run_stepwise])
def test_a_clock_that_ends_leaves_a_busy_period_closed(runner):
    # A step of 2^62 ps: the second token would come after the last instant there is.
    slow = Costs((1 << 62,) * 9, (1,) * 9)
    r = run(Case(((0, 3, 9), (5, 3, 1)), costs=slow), runner)
    assert r.status == [UNFINISHED, FINISHED]
    assert sum(r.gaps[0].values()) == 1
    assert r.busy == [[0, NEVER_PS - 1]]


def test_until_includes_its_own_instant():
    requests = ((0, 3, 3), (23, 2, 1), (24, 2, 1))
    # 0-8, 8-23 request 0; at 23 the token comes, 1 arrives and its prefill begins.
    r = step(*requests, until_ps=23)
    assert r.replica == [0, 0, -1]
    assert r.admitted == [0, 23, UNSET]
    assert r.gaps == [Counter({(23, 15): 1})]
    assert r.status == [UNFINISHED] * 3
    assert r.busy == [[0, 23]]
    # One picosecond less: neither.
    r = step(*requests, until_ps=22)
    assert r.replica == [0, -1, -1]
    assert r.gaps == [Counter()]
    assert r.busy == [[0, 22]]


def test_until_leaves_closed_busy_periods_alone():
    assert step((0, 3, 1), until_ps=100).busy == [[0, 8]]


def test_busy_periods():
    # 0-8, idle, 20-28; the third arrives at the very end of the second: one period.
    r = step((0, 3, 1), (20, 3, 1), (28, 3, 1))
    assert r.busy == [[0, 8, 20, 36]]


def jittered(case: Case, *factors: float):
    """Run with these factors, which must be drawn to the last."""
    left = iter(factors)

    def runner(requests, scenario):
        object.__setattr__(scenario.specs[0], "jitter", lambda: next(left))  # a spec is frozen
        run_stepwise(requests, scenario)

    result = run(case, runner)
    assert next(left, None) is None
    return result


FREE_CONTEXT = Costs((10, 11, 12), (0, 0, 0))


def test_jitter_is_drawn_anew_where_the_running_set_changes():
    # Prefill of both (5 + 5 = 10): x2.  Decodes of both (12 each): x3 and still x3 for the
    # second, at whose end 1 finishes; then one alone (11): x1.5, round(16.5) = 16.
    case = Case(((0, 3, 4), (0, 2, 3)), costs=FREE_CONTEXT)
    r = jittered(case, 2.0, 3.0, 1.5)
    assert r.first_token == [20, 20]
    assert r.gaps == [Counter({(56, 36): 2, (92, 36): 2, (108, 16): 1})]


def test_jitter_is_drawn_anew_for_prompts_and_after_them():
    # 0-8 prefill x1; 8-30 decode x2, during which 1 comes.
    requests = ((0, 3, 4), (9, 2, 2))
    # Its prefill of 7 x3 -> 51; both decode, 12 x1 -> 63; 0 alone, 11 x1 -> 74.
    r = jittered(Case(requests, costs=FREE_CONTEXT), 1.0, 2.0, 3.0, 1.0, 1.0)
    assert r.finished == [74, 63]
    # Chunked: a decode with 2 prompt tokens, 13 x3 -> 69; both decode, 12 x1 -> 81.
    r = jittered(Case(requests, one("chunked"), FREE_CONTEXT), 1.0, 2.0, 3.0, 1.0)
    assert r.finished == [81, 81]


def test_jitter_is_drawn_anew_after_a_preemption():
    # The preemption example, context free: prefill 11, decode 12, preempt, decode 11 (twice),
    # recompute 10, decode 11; five draws, as the second lone decode keeps its factor.
    case = Case(((0, 3, 4), (0, 3, 4)), one(blocks=9), FREE_CONTEXT)
    r = jittered(case, 1.0, 1.0, 2.0, 1.0, 1.0)
    # 0-11-23, then twice 22: 45, 67; 77; 88.
    assert r.finished == [67, 88]


def test_jitter_leaves_a_decode_step_at_least_one_picosecond():
    case = Case(((0, 3, 3),), costs=FREE_CONTEXT)
    assert jittered(case, 0.0, 0.0).finished == [2]


def test_replicas_take_their_turn_and_tie_in_order_of_index():
    log: list[tuple] = []
    r = step(
        (0, 3, 1), (0, 3, 1), (0, 3, 1),
        replicas=(limits(), limits()), decider=lambda rng: Scripted(log=log),
    )  # fmt: skip
    assert r.replica == [0, 1, 0]
    # 0 and 2 share 5 + 6 = 11; 1 takes 8.
    assert r.finished == [11, 8, 11]
    log.clear()
    step(
        (0, 3, 1), (0, 3, 1),
        replicas=(limits(), limits()), decider=lambda rng: Scripted(log=log),
    )  # fmt: skip
    assert [(entry[0], entry[2]) for entry in log] == [(0, ()), (0, ()), (8, (0,)), (8, (1,))]
