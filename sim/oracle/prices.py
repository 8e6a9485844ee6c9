"""What the engine's time is worth: prices of a token that no schedule can undercut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sim.oracle.needs import Needs

PRICES = 16
"""How many prices are tried; more make the cap a little lower and its search longer."""
FORBIDDING = 10.0
"""The highest price, in steps of the largest batch."""


@dataclass(frozen=True, eq=False)
class Prices:
    """Some prices of a token, each with its discount for the time that the token's step takes.

    Let a step take y while it decodes B met requests and at most N could be decoding.  Each of
    them is charged y / B, and ``y / B >= price - discount * y`` if the discount is at least
    ``price / step(b) - 1 / b`` for every b up to N: y is at least step(B).

    Attributes
    ----------
    price_s : ndarray of float, shape (prices,)
        Engine time for a token [s].
    at_s : ndarray of float, shape (instants,)
        Instants between which N does not change [s].
    discount : ndarray of float, shape (prices, instants)
        Least discount from each instant to the next; without unit, never negative.
    until_s : ndarray of float, shape (prices, instants)
        Its integral over time up to each instant [s].
    """

    price_s: NDArray[np.float64]
    at_s: NDArray[np.float64]
    discount: NDArray[np.float64]
    until_s: NDArray[np.float64]

    def over(self, from_s: NDArray[np.float64], to_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the integral of each discount over spans between instants of `at_s` [s].

        The shape is that of the spans, with the prices as a first axis.
        """
        first, last = (np.searchsorted(self.at_s, end_s) for end_s in (from_s, to_s))
        return np.asarray(self.until_s[:, last] - self.until_s[:, first])

    def least(self, from_s: NDArray[np.float64], to_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the least discount of each price within spans, shape (prices, spans)."""
        first = np.maximum(np.searchsorted(self.at_s, from_s, side="right") - 1, 0)
        last = np.maximum(np.searchsorted(self.at_s, to_s), first + 1)
        spans = zip(first.tolist(), last.tolist(), strict=True)
        return np.stack([self.discount[:, a:b].min(axis=1) for a, b in spans], axis=1)


def prices_of(needs: Needs) -> Prices:
    """Return prices at which one batch or another is the cheapest."""
    decoding_s = needs.start_s + needs.alone_prefill_s
    at_s = np.unique(np.concatenate([needs.start_s, decoding_s, needs.end_s]))
    present = np.searchsorted(np.sort(decoding_s), at_s, side="right")
    present -= np.searchsorted(np.sort(needs.end_s), at_s, side="right")
    step_s = needs.step_s[: max(int(present.max()), 1)]
    batch = np.arange(1, len(step_s) + 1)
    price_s = _turns(step_s, batch)
    gain = price_s[:, None] / step_s - 1 / batch
    best = np.maximum(np.maximum.accumulate(gain, axis=1), 0.0)
    best = np.concatenate([np.zeros((len(price_s), 1)), best], axis=1)
    # By rounding a request may be in nobody's count for a moment between two instants.
    discount = best[:, np.clip(present, 0, len(step_s))]
    until_s = np.cumsum(discount[:, :-1] * np.diff(at_s), axis=1)
    until_s = np.concatenate([np.zeros((len(price_s), 1)), until_s], axis=1)
    return Prices(price_s, at_s, discount, until_s)


def _turns(step_s: NDArray[np.float64], batch: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the prices at which the best batch turns into the next, of some batches.

    And two more: the least share, which needs no discount, and one so high that it tells who has no
    time left at all beside the prompts of others.
    """
    least = (step_s / batch).min()
    slower = np.flatnonzero(np.diff(step_s) > 0)
    some = np.unique(np.geomspace(1, max(slower.size, 1), PRICES).round().astype(np.int64)) - 1
    at = slower[some[: slower.size]]
    lost = 1 / batch[at] - 1 / batch[at + 1]
    turns = lost / (1 / step_s[at] - 1 / step_s[at + 1])
    return np.unique([least, *turns, FORBIDDING * step_s[-1]])
