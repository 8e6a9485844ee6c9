"""What a reader of an imported profile has to know: where it is from, and what it is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from calibrate.imported.arrivals import share_together
from calibrate.imported.decodes import GROUP
from calibrate.imported.prompts import SHORT_TOKENS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calibrate.imported.estimate import Estimate
    from calibrate.imported.result import Imported

MOST_TOGETHER = 0.3
MOST_FAILED = 0.05


def entry(run: Imported) -> dict[str, Any]:
    """Return what is worth keeping of a run in `provenance`."""
    entry: dict[str, Any] = {"source": run.source, "tool": f"{run.tool} {run.version}".strip()}
    entry |= {"date": run.date, "concurrency": run.concurrency, "request_rate": run.request_rate}
    entry |= {"requests": run.requests_made, "failed": run.failed}
    entry |= {"loads": "known" if run.has_loads else "unknown", "notes": list(run.notes)}
    return {key: value for key, value in entry.items() if value not in ("", None, [])}


def estimators(found: Estimate) -> dict[str, str]:
    """Return how the steps were told, and what that leaves in them."""
    return {
        "gaps": f"means over {GROUP} gaps between tokens while the same requests were generated "
        "and none waited for its first token; tokens that a busy client or server held up at the "
        "ends of such a time are in them",
        "requests": "time from first to last token over the steps, less what others' prompts in "
        "between took when alone; queueing inside the engine and prompts that were cut are not "
        "subtracted, so steps come out too long rather than too short",
        "statistics": "mean time a token of a closed loop, less one prompt of each of the others "
        "in the time of a request; the load is taken to be the concurrency throughout",
        "prefill": "median time to the first token of requests alone on the server"
        + (
            ""
            if found.client_overhead_s is None
            else ", less what a prompt of a token would take beyond a decode step"
        ),
    }


def sources(found: Estimate, discipline: str, *, apart: bool) -> dict[str, str]:
    """Return a profile's `sources`; `apart`: whether contexts could be told apart."""
    decode = "fitted to what imported results tell of decode steps, see provenance.estimators"
    prefill = "fitted to the times to the first token of imported requests that were alone"
    return {
        "cost.decode.step_s": decode,
        "cost.decode.context_token_s": decode
        if apart
        else "0: the contexts are too close to tell what they cost; it is in the steps",
        "cost.prefill.step_s": prefill,
        "cost.prefill.attention_token2_s": "0: it is in the prefill's table",
        "engine_overhead_s": "0: steps timed from outside hold it",
        "client_overhead_s": (
            f"unknown: no prompt had {SHORT_TOKENS} tokens or fewer; it is in the prefills"
            if found.client_overhead_s is None
            else "what a prompt of a token would take, by the two shortest, beyond a decode step; "
            "network, HTTP, tokenizing and scheduling on both sides"
        ),
        "discipline": f"given: {discipline}; results do not say",
        "speed_points": "speed of each imported request over the mean number of open ones",
    }


def warnings(runs: Sequence[Imported], found: Estimate, *, apart: bool) -> list[str]:
    """Return what a person should know before trusting the profile, a sentence each."""
    lines = [f"{run.source}: {note}" for run in runs for note in run.notes]
    made, failed = sum(run.requests_made for run in runs), sum(run.failed for run in runs)
    if failed > MOST_FAILED * made:
        lines.append(
            f"{failed:,} of {made:,} requests failed: what load they were while they lasted is a "
            "guess"
        )
    for run in runs:
        together = share_together(run.requests)
        if together > MOST_TOGETHER:
            lines.append(
                f"{run.source}: {100 * together:.0f} % of the tokens came together with the one "
                "before: the client or the server's front end did not keep up, and times to the "
                "first token hold that wait"
            )
    if not apart:
        lines.append(
            "all contexts were about as long: what a longer one costs is unknown and taken to be "
            "nothing"
        )
    if found.client_overhead_s is None:
        lines.append(
            "the client's own time is within the prefills: every chunk of a long prompt is charged "
            "with it"
        )
    if found.sources["requests"] or found.sources["statistics"]:
        lines.append(
            "some decode steps follow from whole requests rather than from gaps between tokens: "
            "what held them up is only estimated"
        )
    return lines
