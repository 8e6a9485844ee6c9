"""A validation as one JSON document."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sim.validate.caveats import arrival_lateness, notice_lateness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calibrate.endpoint.server import Server
    from sim.interval import Estimate
    from sim.validate.compare import Comparison, Error
    from sim.validate.live import Done
    from sim.validate.replay import Pair
    from sim.validate.verdict import Verdict


@dataclass(frozen=True, eq=False)
class Replay:
    """One replay beside its simulation."""

    done: Done
    pair: Pair


@dataclass(frozen=True, eq=False)
class Validated:
    """A policy: its replays, how far the simulation is off, and what the limits say.

    Attributes
    ----------
    text : str
        The policy as it was asked for.
    policy : str
        Its canonical text.
    replays : sequence of Replay
    comparison : Comparison
    verdicts : sequence of Verdict
    """

    text: str
    policy: str
    replays: Sequence[Replay]
    comparison: Comparison
    verdicts: Sequence[Verdict]

    def to_dict(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        comparison = self.comparison
        return {
            "policy": self.policy,
            "repeats": comparison.repeats,
            "submitted": comparison.submitted,
            "both_finished": comparison.both_finished,
            "errors": [_error(error) for error in comparison.errors],
            "per_request_error_pct": comparison.per_request_pct,
            "verdicts": [
                {"name": each.limit.name, "limit": each.limit.most, "outcome": each.outcome}
                for each in self.verdicts
            ],
            "replays": [_replay(each) for each in self.replays],
        }


def server_dict(server: Server) -> dict[str, Any]:
    """Return what is worth keeping of a server: nothing of its key."""
    kept = (
        "engine",
        "version",
        "takes_ids",
        "keeps_length",
        "counts_tokens",
        "max_model_len",
        "kv_tokens",
        "block_size",
    )
    return {
        "url": server.endpoint.url,
        "model": server.endpoint.model,
        "api": server.endpoint.api,
        **{name: getattr(server, name) for name in kept},
        "probes": server.requests,
    }


def _error(error: Error) -> dict[str, Any]:
    unit = "points" if error.metric == "goodput" else "percent"
    return {
        "metric": error.metric,
        "part": error.part or None,
        "measured": error.measured,
        "simulated": error.simulated,
        "error_unit": unit,
        "error": _estimate(error.error),
    }


def _estimate(estimate: Estimate | None) -> dict[str, float | None] | None:
    return None if estimate is None else asdict(estimate)


def _replay(replay: Replay) -> dict[str, Any]:
    replayed, job = replay.done.replayed, replay.done.job
    return {
        "repeat": job.repeat + 1,
        "seed": job.seed,
        "began": replay.done.began,
        "ending": replayed.ending,
        "account": replayed.account,
        "duration_s": replayed.end_ps / 1e12,
        "driver": {
            "event_loop": asdict(replayed.lateness),
            "arrivals": asdict(arrival_lateness(replayed.records)),
            "completions": asdict(notice_lateness(replayed.records)),
        },
        "measured": replay.pair.measured.summary(),
        "simulated": replay.pair.simulated.summary(),
    }
