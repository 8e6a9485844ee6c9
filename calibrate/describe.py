"""The numbers a person wants to know of a profile, ready to print or to write as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from calibrate.bounds import widths_pct
from calibrate.evidence import misses, not_run, over_floor, points_of
from calibrate.twins import roofline_errors

if TYPE_CHECKING:
    from calibrate.profile import Profile, Range

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CONTEXTS = (512, 2048, 8192)
PREFILLS = (16, 64, 256, 512, 1024, 2048, 4096, 8192)
MISSES = 5


def describe_profile(profile: Profile) -> dict[str, Any]:
    """Return what a profile says, as plain JSON values.

    Returns
    -------
    dict
        `name`, `method`, `date`, `discipline`, `model`, `device`, `software` as in the file;
        `kv_tokens`, `kv_source`, `engine_overhead_s` a step (None = unknown) and
        `engine_overhead_request_s` a sequence in it, `client_overhead_s`;
        `decode`: rows of `batch`, `context_tokens` of each sequence, `step_s`, `tokens_per_s`
        of one sequence, and `measured`, whether the row is within the measured ranges (None
        where the profile names none); `prefill`: rows of `tokens` of a single prompt,
        `step_s`, `tokens_per_s`, `measured`; `fit` errors in percent; `measured` ranges;
        `speed_points`, how many there are; `caveats`; `provenance`, `sources`, `intervals` and
        `raw` as in the file; `widths_pct` of the intervals, see `calibrate.bounds`; of the raw
        points `over_floor`, the largest `misses` of the cost and those `not_run`, see
        `calibrate.evidence`; `roofline_errors`, by the name of a measured profile how far the
        roofline of its device and model is from it, see `calibrate.twins`.

    Raises
    ------
    ProfileError
        For raw points that cannot be read.
    """
    points = points_of(profile)
    # Without a context term all contexts cost the same: one row for each batch says it all.
    has_context = any(profile.cost.decode_context.y)
    contexts = CONTEXTS if has_context else CONTEXTS[:1]
    decode = [_decode_row(profile, batch, context) for batch in BATCHES for context in contexts]
    return {
        "name": profile.name,
        "method": profile.method,
        "date": profile.date,
        "discipline": profile.discipline,
        "model": dict(profile.model),
        "device": dict(profile.device),
        "software": dict(profile.software),
        "kv_tokens": profile.kv_tokens,
        "kv_source": profile.kv_source,
        "engine_overhead_s": profile.engine_overhead_s,
        "engine_overhead_request_s": profile.engine_overhead_request_s,
        "client_overhead_s": profile.client_overhead_s,
        "decode": decode,
        "prefill": [_prefill_row(profile, tokens) for tokens in PREFILLS],
        "fit": {
            sample: {region: asdict(error) for region, error in regions.items()}
            for sample, regions in profile.fit.items()
        },
        "measured": {
            "batch": profile.measured_batch,
            "prefill_tokens": profile.measured_prefill_tokens,
            "context_tokens": profile.measured_context_tokens,
        },
        "speed_points": len(profile.speed_points or ()),
        "caveats": list(profile.caveats),
        "over_floor": over_floor(points),
        "misses": misses(profile.cost, points, MISSES),
        "not_run": not_run(points),
        "roofline_errors": roofline_errors(profile),
        "widths_pct": widths_pct(profile),
        "intervals": {
            table: [list(pair) for pair in pairs] for table, pairs in profile.intervals.items()
        },
        "provenance": dict(profile.provenance),
        "sources": dict(profile.sources),
        "raw": [dict(point) for point in profile.raw],
    }


def _decode_row(profile: Profile, batch: int, context: int) -> dict[str, Any]:
    step_s = profile.cost.decode_s(batch, batch * context)
    within = [inside(profile.measured_batch, batch)]
    if any(profile.cost.decode_context.y):
        within.append(inside(profile.measured_context_tokens, context))
    return {
        "batch": batch,
        "context_tokens": context,
        "step_s": step_s,
        "tokens_per_s": 1 / step_s,
        "measured": _all_known(within),
    }


def _prefill_row(profile: Profile, tokens: int) -> dict[str, Any]:
    step_s = profile.cost.prefill_s(tokens, tokens * tokens / 2)
    return {
        "tokens": tokens,
        "step_s": step_s,
        "tokens_per_s": tokens / step_s if step_s > 0 else None,
        "measured": inside(profile.measured_prefill_tokens, tokens),
    }


def inside(measured: Range | None, value: int) -> bool | None:
    """Return whether a value is in a measured range; None where no range is known."""
    return None if measured is None else measured[0] <= value <= measured[1]


def _all_known(within: list[bool | None]) -> bool | None:
    """Return False if any is False, else None if any is unknown, else True."""
    if False in within:
        return False
    return None if None in within else True
