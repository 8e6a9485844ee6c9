"""Lifecycle reports of inference-perf.

``per_request_lifecycle_metrics.json`` has the requests of all stages, when ``report:`` asks for
``per_request``; ``stage_N_lifecycle_metrics.json`` and ``summary_lifecycle_metrics.json`` have
statistics alone. Version 0.1 to 0.3 keep the times of tokens in ``info``, later ones in
``info.response_metrics``.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from calibrate.imported import fields
from calibrate.imported.result import Imported, ImportedRequest, Summary
from calibrate.schema import ProfileError, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TOOL = "inference-perf"


def is_result(document: object) -> bool:
    """Whether a JSON value is such a report."""
    if isinstance(document, list):
        keys = {"start_time", "end_time", "info"}
        return bool(document) and isinstance(document[0], dict) and keys <= document[0].keys()
    return all(
        fields.at(document, key) is not None for key in ("load_summary", "successes", "failures")
    )


def read(document: Any, source: str) -> list[Imported]:
    """Return the run in a report; ProfileError names a value that is wrong."""
    if isinstance(document, list):
        return [_detailed(document, source)]
    return [_summarised(document, source)]


def _detailed(document: Sequence[object], source: str) -> Imported:
    rows = fields.objects("requests", list(document))
    starts_s = [
        fields.instant(f"[{i}].start_time", row.get("start_time")) for i, row in enumerate(rows)
    ]
    first_s = min(starts_s)
    requests = [
        _request(row, f"[{i}]", start_s, first_s)
        for i, (row, start_s) in enumerate(zip(rows, starts_s, strict=True))
    ]
    requests.sort(key=lambda request: request.start_s or 0.0)
    notes = []
    cached = sum(
        fields.at(row, "info", "response_metrics", "server_usage", "prompt_tokens_details",
                  "cached_tokens") or 0
        for row in rows
    )  # fmt: skip
    if cached:
        notes.append(
            f"{cached:,} prompt tokens came from the server's prefix cache: prompts look cheaper "
            "than they are"
        )
    if not any(request.ttft_s for request in requests):
        notes.append("answers were not streamed: there are no times of tokens")
    return Imported(
        source=source,
        tool=TOOL,
        model=_model(rows),
        requests=tuple(requests),
        requests_made=len(requests),
        failed=sum(bool(request.error) for request in requests),
        notes=tuple(notes),
    )


def _request(row: Mapping[str, Any], path: str, start_s: float, first_s: float) -> ImportedRequest:
    info = row.get("info")
    answer = fields.at(info, "response_metrics")
    answer = info if answer is None else answer
    usage = fields.at(answer, "server_usage")
    prompt = fields.at(usage, "prompt_tokens")
    if prompt is None:
        prompt = fields.at(info, "input_tokens")
    output = fields.at(usage, "completion_tokens")
    if output is None:
        output = fields.at(answer, "output_tokens")
    end_s = fields.instant(f"{path}.end_time", row.get("end_time"))
    if end_s < start_s:
        raise ProfileError(f"{path}.end_time is before its start_time, expected it after that")
    # The messages as they came; output_token_times of newer versions is recounted by the client.
    token_s = fields.at(answer, "chunk_times") or fields.at(answer, "output_token_times") or []
    token_s = fields.times(f"{path}.info.output_token_times", token_s, rising=True)
    if token_s and token_s[0] < start_s:
        raise ProfileError(f"{path}: its first token is before its start_time, expected it later")
    error = ""
    if row.get("error") is not None:
        kind = fields.at(row, "error", "error_type")
        error = fields.short_error(fields.first_text(kind, "failed"))
    output_tokens = fields.optional_count(f"{path}.output_tokens", output, at_least=0) or 0
    prompt_tokens = fields.optional_count(f"{path}.input_tokens", prompt, at_least=0) or 0
    if not error and not (prompt_tokens and output_tokens):
        error = "no answer"
    last_s = token_s[-1] if token_s and not error else end_s
    return ImportedRequest(
        prompt_tokens,
        output_tokens,
        start_s - first_s,
        token_s[0] - start_s if token_s else None,
        last_s - start_s,
        tuple(b - a for a, b in pairwise(token_s)),
        error,
    )


def _model(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the model that the first request asks for, where requests are in the report."""
    try:
        return fields.first_text(fields.at(json.loads(rows[0].get("request") or "{}"), "model"))
    except (TypeError, ValueError):
        return ""


def _summarised(document: Mapping[str, Any], source: str) -> Imported:
    load, done = document["load_summary"], document["successes"]
    succeeded = fields.count("successes.count", fields.at(done, "count"))
    failed = fields.count("failures.count", fields.at(document, "failures", "count"))
    concurrency = fields.optional_count("load_summary.concurrency", fields.at(load, "concurrency"))
    rate = fields.at(load, "requested_rate")
    return Imported(
        source=source,
        tool=TOOL,
        concurrency=concurrency,
        request_rate=(
            None  # of a stage of a fixed concurrency it says how many requests there were
            if rate is None or concurrency is not None
            else number("load_summary.requested_rate", rate, above=0)
        ),
        summary=_summary(done, succeeded),
        requests_made=succeeded + failed,
        failed=failed,
        notes=("only statistics: per_request_lifecycle_metrics.json has the requests",),
    )


def _summary(done: Mapping[str, Any], succeeded: int) -> Summary:
    if not succeeded:
        raise ProfileError("successes.count is 0, expected requests that were answered")

    def mean(*names: str) -> float:
        """Return the mean of the first of the statistics that is in the report."""
        for name in names:
            value = fields.at(done, *name.split("."), "mean")
            if value is not None:
                return fields.seconds(f"successes.{name}.mean", value)
        raise ProfileError(f"successes.{names[0]} is not there, expected the statistics of it")

    outputs = mean("output_tokens", "output_len")
    ttft_s, e2e_s = mean("latency.time_to_first_token"), mean("latency.request_latency")
    median = fields.at(done, "latency", "time_to_first_token", "median")
    return Summary(
        prompt_tokens=mean("prompt_tokens", "prompt_len"),
        output_tokens=outputs,
        ttft_s=(
            ttft_s
            if median is None
            else fields.seconds("successes.latency.time_to_first_token.median", median)
        ),
        tpot_s=max(e2e_s - ttft_s, 0.0) / (outputs - 1) if outputs > 1 else 0.0,
    )
