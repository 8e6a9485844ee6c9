"""How long answers are expected to be, from those that came."""

import numpy as np
import pytest

from policies.lengths import Lengths
from policies.protocol import NEVER_PS, Pending


def request(max_tokens, task=""):
    return Pending(0, 0, NEVER_PS, 10, max_tokens, task)


def learned(answers, quantile=0.5, **sizes):
    """Return what was learned from answers: pairs of max_tokens and tokens."""
    lengths = Lengths(quantile, **sizes)
    for most, tokens in answers:
        lengths.note(request(most), tokens)
    return lengths


def test_who_asks_for_just_what_he_gets_is_believed():
    lengths = learned([(n, n) for n in (10, 700, 30, 40, 50)])
    assert lengths.exact
    assert lengths.expected(request(333)) == 333
    assert lengths.longer(request(333), 332) == 333


def test_where_max_tokens_is_a_limit_for_all_the_answers_tell():
    lengths = learned([(1024, n) for n in (40, 50, 60, 70, 80)])
    assert not lengths.exact
    assert lengths.expected(request(1024)) == 60


def test_what_has_been_steadier_tells_the_tokens_or_the_share():
    rng = np.random.default_rng(0)
    mosts = rng.integers(100, 1000, 40).tolist()
    by_share = learned([(most, most // 2) for most in mosts])
    by_tokens = learned([(most, 77) for most in mosts])
    assert by_share.expected(request(600)) == pytest.approx(300, abs=2)
    assert by_tokens.expected(request(600)) == 77


def test_an_answer_is_never_longer_than_asked_for_unless_one_was():
    answers = [(most, 77) for most in (100, 200, 300, 400, 500)]
    assert learned(answers).expected(request(30)) == 30
    assert learned([*answers, (70, 77)]).expected(request(30)) == 77


def test_nothing_is_known_of_a_task_with_few_answers_and_tasks_are_kept_apart():
    lengths = Lengths(0.5, at_least=3)
    for _ in range(3):
        assert lengths.expected(request(1000, "long")) is None
        lengths.note(request(1000, "long"), 600)
        lengths.note(request(1000, "short"), 30)
    assert lengths.expected(request(1000, "long")) == 600
    assert lengths.expected(request(1000, "short")) == 30
    assert lengths.expected(request(1000, "other")) is None


@pytest.mark.parametrize(("quantile", "expected"), [(0.1, 10), (0.5, 30), (0.9, 50), (1.0, 50)])
def test_the_quantile_is_of_the_last_answers(quantile, expected):
    answers = [(100, n) for n in (90, 90, 50, 10, 40, 20, 30)]
    assert learned(answers, quantile, size=5).expected(request(100)) == expected


def test_what_was_generated_already_leaves_only_longer_answers():
    lengths = learned([(100, n) for n in (10, 20, 30, 40, 50)])
    expected = [lengths.longer(request(100), tokens) for tokens in (0, 9, 10, 29, 30, 49)]
    assert expected == [30, 30, 40, 40, 50, 50]
    assert lengths.longer(request(100), 50) is None
    assert lengths.longer(request(100, "other"), 5) is None


def test_the_answers_remembered_are_always_the_last():
    rng = np.random.default_rng(1)
    answers = [(int(m), int(rng.integers(1, m + 1))) for m in rng.integers(1, 50, 300)]
    all_of_them = learned(answers, size=20)
    last = learned(answers[-20:], size=20)
    for most in (1, 10, 49):
        for generated in range(0, most, 5):
            longer = all_of_them.longer(request(most), generated)
            assert longer == last.longer(request(most), generated)
            assert longer is None or longer > generated
