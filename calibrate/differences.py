"""What differs between two profiles: two measurements of one thing, or an estimate and one."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from calibrate.describe import BATCHES, CONTEXTS, PREFILLS, inside
from calibrate.evidence import errors_by_kind, points_of, timed
from calibrate.steps import KINDS

if TYPE_CHECKING:
    from calibrate.profile import Profile
    from calibrate.steps import RawPoint

FACTS = (
    *("method", "date", "discipline", "kv_tokens"),
    *("engine_overhead_s", "engine_overhead_request_s", "client_overhead_s"),
)


def differences(p: Profile, q: Profile) -> dict[str, Any]:
    """Return how `q` differs from `p`, as plain JSON values.

    Returns
    -------
    dict
        `p`, `q`: the names; `facts`: by name the two values `p` and `q`; `decode`: rows of
        `batch`, `context_tokens` of each sequence, `p_s`, `q_s` and `ratio`, q over p, and
        `prefill`: rows of `tokens`, `p_s`, `q_s`, `ratio`, where the measured ranges of neither
        exclude them; `errors`: `q_against_p`, the errors in percent of q's cost against p's raw
        points by kind of step, and `p_against_q` (None without raw points), see
        `calibrate.evidence.errors_by_kind`; `remeasured`: by kind the `points` that both
        measured and the `median`, `low` and `high` of q's seconds over p's.

    Raises
    ------
    ProfileError
        For raw points that cannot be read.
    """
    p_points, q_points = points_of(p), points_of(q)
    facts = {
        "model": (p.model.get("name"), q.model.get("name")),
        "dtype": (p.model.get("dtype"), q.model.get("dtype")),
        "device": (p.device.get("name"), q.device.get("name")),
        **{name: (getattr(p, name), getattr(q, name)) for name in FACTS},
    }
    return {
        "p": p.name,
        "q": q.name,
        "facts": {name: {"p": ours, "q": theirs} for name, (ours, theirs) in facts.items()},
        "decode": _decode(p, q),
        "prefill": _prefill(p, q),
        "errors": {
            "q_against_p": errors_by_kind(q.cost, p_points) or None,
            "p_against_q": errors_by_kind(p.cost, q_points) or None,
        },
        "remeasured": _remeasured(p_points, q_points),
    }


def _decode(p: Profile, q: Profile) -> list[dict[str, Any]]:
    has_context = any(p.cost.decode_context.y) or any(q.cost.decode_context.y)
    return [
        {
            "batch": batch,
            "context_tokens": context,
            **_ratio(p.cost.decode_s(batch, total), q.cost.decode_s(batch, total)),
        }
        for batch in BATCHES
        for context in (CONTEXTS if has_context else CONTEXTS[:1])
        for total in [batch * context]
        if all(
            inside(one.measured_batch, batch) is not False
            and (not has_context or inside(one.measured_context_tokens, context) is not False)
            for one in (p, q)
        )
    ]


def _prefill(p: Profile, q: Profile) -> list[dict[str, Any]]:
    return [
        {
            "tokens": tokens,
            **_ratio(p.cost.prefill_s(tokens, attention), q.cost.prefill_s(tokens, attention)),
        }
        for tokens in PREFILLS
        for attention in [tokens * tokens / 2]
        if all(inside(one.measured_prefill_tokens, tokens) is not False for one in (p, q))
    ]


def _ratio(p_s: float, q_s: float) -> dict[str, float | None]:
    return {"p_s": p_s, "q_s": q_s, "ratio": q_s / p_s if p_s else None}


def _remeasured(p_points: list[RawPoint], q_points: list[RawPoint]) -> dict[str, dict[str, float]]:
    before_s = dict(timed(p_points))
    ratios: dict[str, list[float]] = {}
    for step, again_s in timed(q_points):
        if step in before_s:
            ratios.setdefault(step.kind, []).append(again_s / before_s[step])
    return {
        kind: {
            "points": len(ratios[kind]),
            "median": median(ratios[kind]),
            "low": min(ratios[kind]),
            "high": max(ratios[kind]),
        }
        for kind in KINDS
        if kind in ratios
    }
