"""Windows of time, and what the requests that are met must take of each at the least."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sim.oracle.needs import SLACK
from sim.oracle.prices import prices_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sim.oracle.needs import Needs

MOST_CELLS = 60_000
"""Windows times requests that are looked at; of more windows, evenly spaced ones are taken."""
NO_PRICE = -1e300


@dataclass(frozen=True, eq=False)
class Work:
    """Least work in every window if requests are met to given parts.

    Attributes
    ----------
    total_s : ndarray of float, shape (windows,)
        All of it [s].
    alone_s : ndarray of float, shape (windows, requests)
        Of each met request, apart from what others' prompts add to it [s].
    price : ndarray of int, shape (windows, requests)
        Which price says most about the request's tokens; -1 where none says anything.
    """

    total_s: NDArray[np.float64]
    alone_s: NDArray[np.float64]
    price: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Windows:
    """Spans from an arrival to a deadline.

    Attributes
    ----------
    length_s : ndarray of float, shape (windows,)
        How long each is, and a slack for rounding [s].
    fixed_s : ndarray of float, shape (windows, requests)
        Work for its prompt, if that must be within, and for its context [s].
    value_s : ndarray of float, shape (prices, windows, requests)
        Least work for its tokens by each price, if no prompts of others come between them [s].
    prefill_s : ndarray of float, shape (requests,)
        Least work of each prompt [s].
    stall : ndarray of float, shape (prices, requests)
        By how much of that it raises the work of a request with this price that must wait for it.
    arrived, latest : ndarray of int, shape (requests,)
        Ranks by arrival, and by the latest instant for the first token.
    first_in, before : ndarray of int, shape (windows, requests)
        A prompt must be in the part of a window in which request i can be served if its requests's
        `arrived` is at least ``first_in[:, i]`` and its `latest` less than ``before[:, i]``.
    """

    length_s: NDArray[np.float64]
    fixed_s: NDArray[np.float64]
    value_s: NDArray[np.float64]
    prefill_s: NDArray[np.float64]
    stall: NDArray[np.float64]
    arrived: NDArray[np.int64]
    latest: NDArray[np.int64]
    first_in: NDArray[np.int64]
    before: NDArray[np.int64]

    def work(self, met: NDArray[np.float64], replicas: int) -> Work:
        """Return the work if each request is met to the part `met`, spread over replicas."""
        best_s = np.zeros_like(self.fixed_s)
        alone_s = np.zeros_like(self.fixed_s)
        price = np.full(self.fixed_s.shape, -1)
        own = (self.arrived >= self.first_in) & (self.latest < self.before)
        grid = np.zeros((len(met) + 1, len(met) + 1))
        for number, value_s in enumerate(self.value_s):
            prompts_s = met * self.prefill_s * self.stall[number] / replicas
            grid[self.arrived, self.latest + 1] = prompts_s
            later = grid[::-1].cumsum(axis=0)[::-1].cumsum(axis=1)
            token_s = value_s + later[self.first_in, self.before] - own * prompts_s
            better = token_s > best_s
            best_s[better] = token_s[better]
            alone_s[better] = value_s[better]
            price[better] = number
        return Work((best_s + self.fixed_s) @ met, alone_s + self.fixed_s, price)

    def stalls_s(self, window: int, price: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return by how much [i, j] j's prompt raises i's work in a window if both are met [s]."""
        inside = self.arrived >= self.first_in[window][:, None]
        inside &= self.latest < self.before[window][:, None]
        np.fill_diagonal(inside, False)
        return np.asarray(inside * (self.stall[price] * (price >= 0)[:, None] * self.prefill_s))


def windows_of(needs: Needs) -> Windows:
    """Return windows in which there may be too much to do."""
    prices = prices_of(needs)
    each = max(2, int((2 * MOST_CELLS / len(needs.id)) ** 0.5))
    ends = _some(needs.start_s, each), _some(needs.end_s, each)
    from_s, to_s = (grid.reshape(-1, 1) for grid in np.meshgrid(*ends))
    long = (to_s > from_s)[:, 0]
    from_s, to_s = from_s[long], to_s[long]

    first_s = np.minimum(np.maximum(from_s, needs.start_s), needs.end_s)
    last_s = np.maximum(np.minimum(to_s, needs.end_s), first_s)
    outside_s = needs.end_s - needs.start_s - (last_s - first_s)
    tokens = np.maximum(needs.tokens - outside_s / needs.least_step_s, 0.0)
    latest_s = needs.end_s - needs.tokens * needs.least_step_s - needs.context_s(needs.tokens)
    prompt_in = (needs.start_s >= from_s) & (latest_s <= to_s)
    arrived, by_arrival = _ranked(needs.start_s)
    latest, by_latest = _ranked(latest_s)
    stall = prices.least(needs.start_s, np.maximum(latest_s, needs.start_s))
    value_s = prices.price_s[:, None, None] * tokens - prices.over(first_s, last_s)
    # While its own prompt is computed it gets no further token.
    value_s += prompt_in * (stall * needs.prefill_s)[:, None, :]
    allowed = prices.price_s[:, None] <= needs.most_price_s
    return Windows(
        length_s=(to_s - from_s)[:, 0] * (1 + SLACK) + SLACK,
        fixed_s=prompt_in * needs.prefill_s + needs.context_s(tokens),
        value_s=np.where(allowed[:, None, :], value_s, NO_PRICE),
        prefill_s=needs.prefill_s,
        stall=stall,
        arrived=arrived,
        latest=latest,
        first_in=np.searchsorted(by_arrival, first_s, side="left"),
        before=np.searchsorted(by_latest, last_s, side="right"),
    )


def _ranked(instants_s: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return each one's rank, and all of them in order."""
    order = np.argsort(instants_s, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank, instants_s[order]


def _some(instants_s: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """Return different instants, at most so many, evenly spaced by rank."""
    found = np.unique(instants_s)
    if len(found) <= most:
        return found
    return np.asarray(found[np.linspace(0, len(found) - 1, most).round().astype(np.int64)])
