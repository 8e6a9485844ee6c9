"""Inter-token latency pooled over all tokens, from run-length rows.

A row stands for a stretch of steps over which the gap between tokens grows by a constant.  Order
statistics are found without writing the tokens out, so the cost does not grow with output length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sim.ledger import ReplicaLedger

END, GAP, GROWTH, STEPS, TOKENS = range(5)


def gap_rows(accounts: Sequence[ReplicaLedger], from_ps: int = 0) -> NDArray[np.int64]:
    """Return the gap rows of all replicas, without tokens that came before `from_ps`.

    Returns
    -------
    ndarray of int64, shape (rows, 5)
        Instant of the first token [ps], its gap [ps], growth of the gap a step [ps], steps, tokens
        a step.
    """
    rows = np.concatenate(
        [np.frombuffer(account.gaps, dtype=np.int64).reshape(-1, 5) for account in accounts]
    )
    if from_ps <= 0 or not len(rows):
        return rows
    # A leap in flight at from_ps keeps its later steps.
    more = rows[:, STEPS] - 1
    last_ps = rows[:, END] + more * rows[:, GAP] + rows[:, GROWTH] * (more * (more + 1) // 2)
    early = (rows[:, END] < from_ps) & (last_ps >= from_ps)
    for row in rows[early]:
        skip = 1
        end, gap = int(row[END]) + int(row[GAP]) + int(row[GROWTH]), int(row[GAP])
        gap += int(row[GROWTH])
        while end < from_ps:
            gap += int(row[GROWTH])
            end += gap
            skip += 1
        kept = np.array([[end, gap, row[GROWTH], row[STEPS] - skip, row[TOKENS]]])
        rows = np.concatenate([rows, kept])
    return rows[rows[:, END] >= from_ps]


def pooled_mean(rows: NDArray[np.int64]) -> float:
    """Return the mean gap [ps] over tokens; NaN without any."""
    tokens = rows[:, STEPS] * rows[:, TOKENS]
    total = int(tokens.sum())
    if not total:
        return float("nan")
    last = rows[:, GAP] + rows[:, GROWTH] * (rows[:, STEPS] - 1)
    return float(((rows[:, GAP] + last) / 2 * tokens).sum() / total)


def pooled_percentiles(rows: NDArray[np.int64], percent: Sequence[float]) -> list[float]:
    """Return percentiles of the gap [ps] over tokens, interpolated as `numpy.percentile` does."""
    tokens = int((rows[:, STEPS] * rows[:, TOKENS]).sum())
    if not tokens:
        return [float("nan")] * len(percent)
    pool = _Pool(rows)
    answers = []
    for p in percent:
        rank = p / 100 * (tokens - 1)
        below = int(rank)
        low, high = pool.neighbours(below, min(below + 1, tokens - 1))
        answers.append(low + (high - low) * (rank - below))
    return answers


class _Pool:
    """Counts tokens by gap over rows of constant gaps and rows of growing ones."""

    def __init__(self, rows: NDArray[np.int64]) -> None:
        growing = (rows[:, GROWTH] > 0) & (rows[:, STEPS] > 1)
        flat = rows[~growing]
        order = np.argsort(flat[:, GAP], kind="stable")
        self._flat = flat[order, GAP]
        weights = (flat[:, STEPS] * flat[:, TOKENS])[order]
        self._flat_tokens = np.concatenate([[0], np.cumsum(weights)])
        self._growing = rows[growing]
        last = self._growing[:, GAP] + self._growing[:, GROWTH] * (self._growing[:, STEPS] - 1)
        self._low = int(min(self._flat[:1].tolist() + self._growing[:, GAP].tolist()))
        self._high = int(max(self._flat[-1:].tolist() + last.tolist()))

    def _at_most(self, gap: int) -> int:
        """Return the number of tokens whose gap is at most `gap`."""
        flat = int(self._flat_tokens[np.searchsorted(self._flat, gap, side="right")])
        if not len(self._growing):
            return flat
        rows = self._growing
        steps = (gap - rows[:, GAP]) // rows[:, GROWTH] + 1
        return flat + int((np.clip(steps, 0, rows[:, STEPS]) * rows[:, TOKENS]).sum())

    def _ranked(self, rank: int) -> int:
        """Return the gap of the token at `rank` (from 0) in ascending order."""
        low, high = self._low, self._high
        while low < high:
            middle = (low + high) // 2
            if self._at_most(middle) > rank:
                high = middle
            else:
                low = middle + 1
        return low

    def neighbours(self, rank: int, following: int) -> tuple[int, int]:
        """Return the gaps at two ranks, the second the same or the next."""
        low = self._ranked(rank)
        return low, low if self._at_most(low) > following else self._ranked(following)
