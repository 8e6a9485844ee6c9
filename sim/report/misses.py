"""The requests that missed their objective: how late each was, and why.

A miss has one reason, the first of these that applies:

1. How it ended: *refused*, *failed*, *timed out*, *cancelled*, *unfinished*.
2. *impossible*: alone on an idle replica, without a stored prefix, it would have missed too.
3. By where the time went.  Up to the first token it spent ``ttft - ttft_alone`` more than alone,
   from the first to the last ``decode - decode_alone``.  If the former is at least as much, it
   *waited*: held by the policy, in the engine's queue, or sharing its prefill.  Otherwise it was
   *preempted*, if it ever was, or its decode was slow: *slow decode*.

Where goodput limits stand in for SLAs, a request may miss several.  The one that is judged is that
which it exceeds by the most seconds; for TPOT these are the seconds that all its tokens after the
first came too late.  A missed TTFT is then always *waited*, a missed TPOT *preempted* or *slow
decode*; a missed E2E follows the rule of an SLA.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sim.console import number

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from sim.runfile import Run

    Numbers = NDArray[np.float64]

REASONS = (
    "refused",
    "failed",
    "timed out",
    "cancelled",
    "unfinished",
    "impossible",
    "preempted",
    "waited",
    "slow decode",
)

LIMITS = {"ttft": "TTFT", "tpot": "TPOT", "e2el": "E2E"}
"""Goodput limits by what they are called on the page."""

ROUNDING_S = 1e-9
"""The simulator counts in picoseconds; what a request takes alone is worked out in floats."""


def misses(run: Run) -> pd.DataFrame:
    """Return every miss of a run that arrived after its warm-up, the worst first.

    Returns
    -------
    DataFrame
        The columns of `Run.requests` and: `held_s` (arrival to the last admission; earlier
        attempts count), `wait_s` (admission to first token), `decode_s`, `e2e_s`; `gone_s`, from
        arrival to when it was over if it did not finish; `late_s`, by how
        much it exceeds what it was promised; `limit`, what that was ("SLA", "TTFT", "TPOT",
        "E2E"); `reason`; `ttft_alone_s` and `decode_alone_s`.  What did not come is NaN.  Those
        that never finished are first, by arrival, those that were refused after the others; then
        by `late_s`.

    Notes
    -----
    The index is the row in `Run.requests`.
    """
    requests = run.requests.reset_index(drop=True)
    alone_s = run.unloaded_s()
    first_alone_s = replace(run, requests=requests.assign(output_tokens=1)).unloaded_s()
    missed = requests["met"].notna() & ~requests["met"].fillna(False).astype(bool)
    missed &= requests["arrival_s"] >= run.warmup_s
    rows = requests.index[missed]
    found = requests.loc[rows].copy()
    found["held_s"] = found["admitted_s"] - found["arrival_s"]
    found["wait_s"] = found["first_token_s"] - found["admitted_s"]
    found["decode_s"] = found["finished_s"] - found["first_token_s"]
    over_s = found["id"].map(run.gone_s).astype(np.float64)
    found["gone_s"] = over_s - found["arrival_s"]
    found["e2e_s"] = found["finished_s"] - found["arrival_s"]
    found["ttft_alone_s"] = first_alone_s[rows]
    found["decode_alone_s"] = (alone_s - first_alone_s)[rows]
    late_s, limit, impossible = _judged(found, run.configuration["options"]["goodput_ms"])
    found["late_s"], found["limit"] = late_s, limit
    found["reason"] = _reasons(found, impossible)
    finished = found["finished_s"].notna()
    late_first = -found["late_s"].where(finished, 0.0)
    refused = found["reason"] == "refused"
    return found.iloc[np.lexsort((found["arrival_s"], refused, late_first, finished))]


def _judged(
    found: pd.DataFrame, goodput_ms: Mapping[str, float] | None
) -> tuple[Numbers, NDArray[np.object_], NDArray[np.bool_]]:
    """Return by how much [s] and what each request missed, and whether it had to."""
    first = (found["first_token_s"] - found["arrival_s"]).to_numpy()
    e2e, decode = found["e2e_s"].to_numpy(), found["decode_s"].to_numpy()
    first_alone = found["ttft_alone_s"].to_numpy()
    decode_alone = found["decode_alone_s"].to_numpy()
    if goodput_ms is None:
        sla = found["sla_s"].to_numpy()
        impossible = first_alone + decode_alone > sla + ROUNDING_S
        return e2e - sla, np.full(len(found), "SLA", dtype=object), impossible
    after_first = found["output_tokens"].to_numpy() - 1
    observed = {"ttft": first, "tpot": decode, "e2el": e2e}
    alone = {"ttft": first_alone, "tpot": decode_alone, "e2el": first_alone + decode_alone}
    keys = list(goodput_ms)
    allowed = [
        goodput_ms[key] / 1e3 * (after_first if key == "tpot" else np.ones(len(found)))
        for key in keys
    ]
    late = np.array([observed[key] - most for key, most in zip(keys, allowed, strict=True)])
    never = [alone[key] > most + ROUNDING_S for key, most in zip(keys, allowed, strict=True)]
    worst = np.where(np.isnan(late), -np.inf, late).argmax(axis=0)
    column = np.arange(len(found))
    names = np.array([LIMITS[key] for key in keys], dtype=object)
    return late[worst, column], names[worst], np.any(never, axis=0)


def _reasons(found: pd.DataFrame, impossible: NDArray[np.bool_]) -> NDArray[np.object_]:
    status = found["status"].astype(str).str.replace("_", " ").to_numpy(dtype=object)
    ttft = (found["first_token_s"] - found["arrival_s"]).to_numpy()
    waited_s = ttft - found["ttft_alone_s"].to_numpy()
    decoded_s = (found["decode_s"] - found["decode_alone_s"]).to_numpy()
    limit = found["limit"].to_numpy()
    waited = (limit == "TTFT") | ((limit != "TPOT") & (waited_s >= decoded_s))
    slow = np.where(found["preemptions"].to_numpy() > 0, "preempted", "slow decode")
    late = np.where(impossible, "impossible", np.where(waited, "waited", slow))
    return np.where(status == "finished", late, status)


def counts(found: pd.DataFrame) -> dict[str, int]:
    """Return how many misses have each of `REASONS`."""
    seen = found["reason"].value_counts()
    return {reason: int(seen.get(reason, 0)) for reason in REASONS}


def told(miss: pd.Series, refusals: Mapping[int, str]) -> str:
    """Return what happened to one miss of `misses`, in words."""
    reason = miss["reason"]
    if reason == "refused":
        return refusals.get(int(miss["id"]), "no reason was recorded")
    alone_s = miss["ttft_alone_s"] + miss["decode_alone_s"]
    if reason == "impossible":
        return f"would take {_s(alone_s)} alone on an idle replica"
    if reason == "waited":
        return (
            f"{_before(miss)}{_s(miss['wait_s'])} from its admission to its first token "
            f"(alone on an idle replica: {_s(miss['ttft_alone_s'])})"
        )
    if reason in ("preempted", "slow decode"):
        times = int(miss["preemptions"])
        often = f"preempted {times:,} time{'s' * (times > 1)}; " if times else ""
        return (
            f"{often}decode took {_s(miss['decode_s'])} "
            f"(alone on an idle replica: {_s(miss['decode_alone_s'])})"
        )
    return _broken_off(miss)


def _attempts(miss: pd.Series) -> int:
    return int(miss.get("attempts", 1))


def _before(miss: pd.Series) -> str:
    """Return where the time before its last admission went."""
    if not miss["held_s"]:
        return ""
    if _attempts(miss) > 1:
        return f"{_s(miss['held_s'])} until its attempt no. {_attempts(miss):,} was admitted, "
    return f"{_s(miss['held_s'])} held by the policy, "


def _broken_off(miss: pd.Series) -> str:
    """Return when a request was over that did not finish, and how far it had come."""
    over = "still there when the run ended"
    if miss["gone_s"] == miss["gone_s"]:
        over = f"over {_s(miss['gone_s'])} after its arrival"
    attempt = f"attempt no. {_attempts(miss):,}" if _attempts(miss) > 1 else "it"
    if miss["first_token_s"] == miss["first_token_s"]:
        return f"{over}: {attempt} had its first token and not its last"
    if miss["admitted_s"] == miss["admitted_s"]:
        return f"{over}: {attempt} was admitted and had no token yet"
    return f"{over}: {attempt} was never admitted"


def _s(seconds: float) -> str:
    return f"{number(seconds)} s"
