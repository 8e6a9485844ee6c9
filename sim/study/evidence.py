"""What the published per-request records of SABER's runs tell about how they were made.

The records (`saber_requests.csv` of the reference data, from the replication package of arXiv
2506.19677) hold waits and executions, but no instants. Two orders bring most of them back: request
numbers follow arrival, and the rows of a run follow completion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.options import OptionError
from traces.workloads import TASKS

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from calibrate.profile import Profile

ROUNDING_S = 0.001
"""Wait, execution and total are recorded to 0.1 ms each."""

SLACK_S = 0.05
"""Room given to two completions whose records contradict the order of their rows."""

COLUMNS = (
    *("workload", "rps", "request", "task", "wait_s", "execution_s", "total_s", "sla_s"),
    *("low_priority", "sla_met"),
)


def read_runs(path: str | Path) -> pd.DataFrame:
    """Return the records, a row a request, in the order of the file.

    `low_priority` and `sla_met` are bool. Added are `short` (an SLA of 1 s), `adds_up` (wait plus
    execution is the total) and `tokens_per_s`, the speed if the answer ran to its max_tokens.

    Raises
    ------
    OptionError
        If the file lacks a column.
    """
    import pandas as pd

    runs = pd.read_csv(path)
    lacking = [name for name in COLUMNS if name not in runs.columns]
    if lacking:
        raise OptionError(f"{path}: no column {lacking[0]!r}: expected {', '.join(COLUMNS)}")
    for name in ("low_priority", "sla_met"):
        runs[name] = runs[name] == "yes"
    runs["short"] = runs["sla_s"] <= 1
    runs["adds_up"] = (runs["wait_s"] + runs["execution_s"] - runs["total_s"]).abs() < ROUNDING_S
    tokens = runs["task"].map({task.name: task.output_tokens for task in TASKS})
    runs["tokens_per_s"] = (tokens - 1) / runs["execution_s"]
    return runs


def order_rules(
    request: NDArray[np.int64], total_s: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what the two orders say of the arrivals x: rules @ x <= limits.

    Parameters
    ----------
    request : int[m]
        Numbers, 0 to n - 1, in the order of completion; some may be left out.
    total_s : float[m]
        From arrival to last token.

    Returns
    -------
    float64[n - 1 + m - 1, n], float64[n - 1 + m - 1]
        First the order of arrival, then that of completion.
    """
    n, m = int(request.max()) + 1, len(request)
    rules, limits = np.zeros((n + m - 2, n)), np.zeros(n + m - 2)
    for i in range(n - 1):
        rules[i, i], rules[i, i + 1] = 1, -1
    for i in range(m - 1):
        rules[n - 1 + i, request[i]] += 1
        rules[n - 1 + i, request[i + 1]] -= 1
        limits[n - 1 + i] = total_s[i + 1] - total_s[i]
    return rules, limits


def least_contradiction(
    rules: NDArray[np.float64], limits: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return by how much each rule must give [s] for all to hold, the least in sum.

    Only the order of completion gives: request numbers are given out on arrival, whereas the order
    of the rows and the totals are both recorded at the end.
    """
    m, n = rules.shape
    gives = np.eye(m)[:, n - 1 :]
    cost = np.r_[np.zeros(n), np.ones(m - n + 1)]
    slack = np.zeros(m)
    slack[n - 1 :] = _least(cost, np.hstack([rules, -gives]), limits, (0, None))[n:]
    return slack


def _least(
    cost: NDArray[np.float64],
    rules: NDArray[np.float64],
    limits: NDArray[np.float64],
    last: tuple[float, float | None],
) -> NDArray[np.float64]:
    """Return the x of least cost with rules @ x <= limits, from 0 on; x[0] = 0, x[-1] in `last`."""
    from scipy.optimize import linprog

    bounds = [(0.0, 0.0), *[(0.0, None)] * (len(cost) - 2), last]
    found = linprog(cost, A_ub=rules, b_ub=limits, bounds=bounds)
    return np.asarray(found.x, dtype=np.float64)


def arrival_samples(
    request: NDArray[np.int64],
    total_s: NDArray[np.float64],
    rps: float,
    rng: np.random.Generator,
    samples: int = 20,
) -> NDArray[np.float64]:
    """Draw arrival times of a Poisson stream that agree with both orders.

    A Gibbs sampler, 4 sweeps a sample after 40 sweeps: each sweep moves every arrival alone and
    every arrival with all later ones. Pairs of completions that contradict their rows get as much
    room as they need and `SLACK_S` more.

    Parameters
    ----------
    request, total_s : as for `order_rules`
    rps : float
        Rate of the stream before anything is known of it.

    Returns
    -------
    float64[samples, n]
        Seconds from the first arrival.
    """
    rules, limits = order_rules(request, total_s)
    m, n = rules.shape
    slack = least_contradiction(rules, limits)
    limits = limits + slack + np.where(slack > 1e-6, SLACK_S, 0.0)
    # Start where the tightest rule has the most room, at most a second.
    roomy = np.hstack([rules, np.ones((m, 1))])
    x = _least(np.r_[np.zeros(n), -1.0], roomy, limits, (0.0, 1.0))[:n].copy()
    all_later = np.cumsum(rules[:, ::-1], axis=1)[:, ::-1]
    kept = []
    for sweep in range(40 + 4 * samples):
        for j in range(1, n):
            alone, with_later = rules[:, j], all_later[:, j]
            x[j] += rng.uniform(*_room(alone, limits - rules @ x))
            low, high = _room(with_later, limits - rules @ x)
            # The density falls with the span; the inverse of its distribution on [low, high].
            x[j:] += low - np.log1p(rng.random() * np.expm1(-rps * (high - low))) / rps
        if sweep >= 40 and sweep % 4 == 3:
            kept.append(x.copy())
    return np.array(kept)


def _room(move: NDArray[np.float64], left: NDArray[np.float64]) -> tuple[float, float]:
    """Return how far one may move either way [s]; 5 s where nothing is in the way."""
    up, down = move > 0.5, move < -0.5
    high = float(left[up].min()) if up.any() else 5.0
    low = -float(left[down].min()) if down.any() else -5.0
    return min(low, 0.0), max(high, 0.0)


def together(
    start_s: NDArray[np.float64], end_s: NDArray[np.float64], at_s: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return how many of the spans [start, end) hold each instant."""
    begun = np.searchsorted(np.sort(start_s), at_s, side="right")
    ended = np.searchsorted(np.sort(end_s), at_s, side="right")
    return np.asarray(begun - ended, dtype=np.int64)


def ceiling(start_s: NDArray[np.float64], end_s: NDArray[np.float64]) -> int:
    """Return the most spans [start, end) that hold one instant; 0 without any."""
    return int(together(start_s, end_s, start_s).max(initial=0))


def decoded_tokens(
    first_s: NDArray[np.float64],
    last_s: NDArray[np.float64],
    prompt_tokens: NDArray[np.int64],
    profile: Profile,
) -> NDArray[np.float64]:
    """Return how many tokens the profile's engine decodes for each request in its span.

    Parameters
    ----------
    first_s, last_s : float64[n]
        Instants of first and last token of all requests of a run.
    prompt_tokens : int64[n]
        A prefill stalls every request that runs when its first token comes.

    Returns
    -------
    float64[n]
        Without the first token. Contexts are left out: for profiles without a context term.
    """
    instants = np.unique(np.r_[first_s, last_s])
    batch = np.maximum(together(first_s, last_s, instants[:-1]), 1)
    rate = np.array([1 / profile.cost.decode_s(int(size), 0.0) for size in batch])
    done = np.r_[0.0, np.cumsum(rate * np.diff(instants))]
    decoded = np.interp(last_s, instants, done) - np.interp(first_s, instants, done)
    stall_s = np.array([profile.cost.prefill_s(int(tokens)) for tokens in prompt_tokens])
    lost = stall_s * rate[np.minimum(np.searchsorted(instants, first_s), len(rate) - 1)]
    for i in range(len(first_s)):
        decoded[i] -= lost[(first_s > first_s[i]) & (first_s < last_s[i])].sum()
    return np.asarray(decoded, dtype=np.float64)
