"""When guards are judged, and how the chance of an error is shared out."""

from __future__ import annotations

import math
from itertools import pairwise

from sim.check.verdict import Look

SPENDING = 1.5
"""Power of the share of seeds in the share of the error spent by then."""


def looks(first: int, most: int, tail: float) -> tuple[Look, ...]:
    """Return the looks from `first` seeds to `most`, each with about twice the seeds before it.

    The chances of an error on one side add up to `tail` over all looks, so that however the looks
    depend on each other, and whenever one of them decides, an error is no more likely than that.

    Parameters
    ----------
    first : int
        Seeds of the first look, at least 1.
    most : int
        Seeds of the last look, at least `first`; the same where no seeds may be added.
    tail : float
        Chance of an error on one side, all looks together.

    Returns
    -------
    tuple of Look
        In order.

    Notes
    -----
    Of the tail, (n / most)^1.5 is spent by the look with n seeds: the power family of spending
    functions of K. Kim and D. L. DeMets, "Design and Analysis of Group Sequential Tests Based on
    the Type I Error Spending Rate Function", 1987.  In proportion to n a true difference that just
    needs all the seeds would be missed more often; a higher power would have clear differences
    wait for more seeds.  The seeds grow by one factor near 2, and not by 2 with a short step at the
    end, because a last look with few new seeds learns little and takes a share of the tail.

    By simulation of normal values from 20 to 200 seeds, tail 0.025, a mean of 0.2 standard
    deviations is told from 0 in 76 % of runs; spending in proportion and doubling in 67 %.
    """
    steps = max(1, round(math.log2(most / first))) if most > first else 0
    seeds = [round(first * (most / first) ** (step / max(1, steps))) for step in range(steps + 1)]
    spent = [0.0, *(tail * (n / most) ** SPENDING for n in seeds)]
    return tuple(
        Look(n, after - before) for n, (before, after) in zip(seeds, pairwise(spent), strict=True)
    )
