"""What the prompts of cheaper arrivals took of the time."""

from math import inf

import numpy as np
import pytest

from policies.lately import Lately


def test_of_few_arrivals_nothing_is_said():
    lately = Lately(at_least=3)
    for second in range(2):
        lately.note(1.0, 0.5, second)
    assert lately.cheaper_share(9.0, 2.0) == 0.0
    lately.note(1.0, 0.5, 2.0)
    assert lately.cheaper_share(9.0, 3.0) == pytest.approx(0.5)


def test_only_cheaper_ones_count_and_the_share_fades_while_nobody_comes():
    lately = Lately(at_least=1)
    for second, (work, prompt) in enumerate([(1.0, 0.1), (3.0, 0.3), (2.0, 0.2)]):
        lately.note(work, prompt, float(second))
    shares = [lately.cheaper_share(work, 2.0) for work in (1.0, 1.5, 2.0, 2.5, 3.0, 9.0)]
    assert shares == pytest.approx([0, 0.05, 0.05, 0.15, 0.15, 0.3])
    assert lately.cheaper_share(9.0, 20.0) == pytest.approx(0.03)


def test_the_oldest_are_forgotten():
    rng = np.random.default_rng(0)
    arrivals = [(float(rng.integers(5)), float(rng.integers(1, 5))) for _ in range(60)]
    lately, last = Lately(size=7, at_least=1), Lately(size=60, at_least=1)
    for second, (work, prompt) in enumerate(arrivals):
        lately.note(work, prompt, float(second))
    for second, (work, prompt) in list(enumerate(arrivals))[-7:]:
        last.note(work, prompt, float(second))
    for work in range(7):
        assert lately.cheaper_share(work, 70.0) == last.cheaper_share(work, 70.0)


def test_all_at_one_instant_is_more_than_can_be_served():
    lately = Lately(at_least=1)
    lately.note(1.0, 0.1, 5.0)
    assert lately.cheaper_share(2.0, 5.0) == inf
    assert lately.cheaper_share(1.0, 5.0) == 0.0
