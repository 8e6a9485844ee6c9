"""What a session's replies say of an engine whose cost is known."""

import numpy as np
import pytest
from endpoint_cases import COST, Virtual

from calibrate.endpoint.observe import WINDOW_STEPS, observe
from calibrate.endpoint.session import Session


def observed(session, **engine):
    return observe(session, Virtual(**engine).run(session))


@pytest.mark.parametrize(("level", "windows"), [(1, 4), (2, 4), (8, 3)])
def test_decode_steps_are_those_of_the_cost(level, windows):
    found = observed(Session(level, (64, 700), 100))
    assert len(found.pure) == windows
    for window in found.pure:
        expected_s = COST.decode_s(level, level * window.context_tokens)
        assert window.step_s == pytest.approx(expected_s, rel=1e-4)
    contexts = [window.context_tokens for window in found.pure]
    assert min(contexts) < 100 and max(contexts) > 700
    assert (found.together, found.held_back) == (level, 0)


def test_late_tokens_do_not_bend_the_steps():
    found = observed(Session(4, (64,), 128), jitter_s=0.003)
    median_s = np.median([window.step_s for window in found.pure])
    assert median_s == pytest.approx(COST.decode_s(4, 4 * 128), rel=0.02)


class NowAndThenSlow:
    """A cost by which one step of thirty, drawn by chance, takes four times as long."""

    def __init__(self, rng):
        self.rng = rng

    def __getattr__(self, name):
        return getattr(COST, name)

    def mixed_s(self, *work):
        return COST.mixed_s(*work) * (4 if self.rng.random() < 1 / 30 else 1)


def test_steps_that_take_longer_now_and_then_count(monkeypatch):
    session = Session(4, (64,), 2000)

    def slower(window_steps):
        monkeypatch.setattr("calibrate.endpoint.observe.WINDOW_STEPS", window_steps)
        found = observed(session, cost=NowAndThenSlow(np.random.default_rng(0)))
        plain = [COST.decode_s(4, 4 * window.context_tokens) for window in found.pure]
        return [window.step_s for window in found.pure] / np.array(plain)

    assert np.median(slower(16)) == pytest.approx(1.0, abs=1e-3)  # more than half have none
    assert np.mean(slower(WINDOW_STEPS)) > 1.08
    assert np.median(slower(WINDOW_STEPS)) == pytest.approx(np.mean(slower(1)), rel=0.04)


def test_prompts_among_streams_show_their_chunks():
    session = Session(2, (64,), 120, (256, 512, 1500))
    found = observed(session, max_num_batched_tokens=512)
    assert [each.chunks for each in found.inserts] == [1, 2, 3]
    assert all(each.at_once for each in found.inserts)
    first = found.inserts[0]
    whole_s = COST.mixed_s(2, 2 * first.context_tokens, 256, 256**2 / 2)
    assert first.gaps_s[-1] == pytest.approx(whole_s, rel=1e-3)
    assert first.decode_s == pytest.approx(COST.decode_s(2, 2 * 90), rel=0.01)


def test_prompts_with_steps_of_their_own_show_that():
    session = Session(2, (64,), 120, (256, 512, 1500))
    found = observed(session, discipline="prefill-first")
    assert [each.chunks for each in found.inserts] == [1, 1, 1]
    assert not any(each.at_once for each in found.inserts)
    assert found.inserts[0].apart_s == pytest.approx(found.inserts[0].decode_s, rel=0.01)


def test_steps_with_a_prompt_at_work_are_no_decode_steps():
    found = observed(Session(4, (2000,), 60), max_num_batched_tokens=512)
    slowest_s = max(window.step_s for window in found.pure)
    assert slowest_s == pytest.approx(COST.decode_s(4, 4 * 2040), rel=0.01)


def test_a_server_that_runs_fewer_together_gives_no_steps_of_that_level():
    found = observed(Session(8, (64,), 60), max_num_seqs=5)
    assert (found.together, found.pure) == (5, ())


def test_a_prompt_that_waited_for_a_seat_is_not_taken_for_one_among_streams():
    found = observed(Session(4, (64,), 60, (256,)), max_num_seqs=4)
    assert found.inserts == ()


def test_held_back_tokens_are_counted():
    session = Session(1, (64,), 64)
    (exchange,) = Virtual().run(session)
    token_s = np.array(exchange.reply.token_s)
    bunched = tuple(np.repeat(token_s[3::4], 4).tolist())
    reply = type(exchange.reply)(
        "finished", exchange.reply.sent_s, bunched[-1], bunched, exchange.prompt_tokens
    )
    found = observe(session, [type(exchange)(64, reply)])
    assert found.held_back == 0.75
    step_s = COST.decode_s(1, 96)
    assert [w.step_s for w in found.pure] == pytest.approx([step_s] * len(found.pure), rel=0.01)


def test_gaps_between_tokens_that_arrived_together_are_hidden():
    session = Session(2, (64,), 120, (1500,))
    exchanges = Virtual(max_num_batched_tokens=512).run(session)
    (clear,) = observe(session, exchanges).inserts
    assert clear.is_clear
    (insert,) = [e for e in exchanges if e.inserted]
    held = [insert]
    for e in exchanges:
        if not e.inserted:
            token_s = np.array(e.reply.token_s)
            last = int(np.argmin(abs(token_s - insert.reply.token_s[0])))
            token_s[last - 2] = token_s[last - 1]  # the chunk before last waited for the last
            reply = type(e.reply)("finished", e.reply.sent_s, token_s[-1], tuple(token_s), 64)
            held.append(type(e)(64, reply))
    (hidden,) = observe(session, held).inserts
    assert not hidden.is_clear
    assert np.isnan(hidden.gaps_s[-3:-1]).all() and not np.isnan(hidden.gaps_s[-1])


def test_clients_that_have_come_apart_give_no_decode_steps():
    session = Session(2, (64,), 60)
    first, second = Virtual().run(session)
    assert observe(session, [first, second]).pure
    assert observe(session, [first, type(second)(700, second.reply)]).pure == ()
