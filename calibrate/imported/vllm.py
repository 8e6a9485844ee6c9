"""Results of ``vllm bench serve``, and of benchmark_serving.py that it was before.

The keys are those that ``vllm/benchmarks/serve.py`` writes: with ``--save-detailed`` a list of
each time by request, without it statistics alone. Older files have no ``start_times``; how the
requests were sent then follows from ``max_concurrency`` where there was no ``request_rate``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from calibrate.imported import fields
from calibrate.imported.result import Imported, ImportedRequest, Summary, reconstructed_starts
from calibrate.schema import ProfileError, number

if TYPE_CHECKING:
    from collections.abc import Mapping

TOOL = "vllm bench serve"
LISTS = ("input_lens", "output_lens", "ttfts", "itls", "errors")


def is_result(document: object) -> bool:
    """Whether a JSON value is such a result."""
    return fields.at(document, "model_id") is not None and (
        fields.at(document, "ttfts") is not None
        or fields.at(document, "mean_ttft_ms") is not None
        or fields.at(document, "mean_e2el_ms") is not None
    )


def read(document: Mapping[str, Any], source: str) -> list[Imported]:
    """Return the run in a result; ProfileError names a value that is wrong."""
    limit = fields.optional_count("max_concurrency", document.get("max_concurrency"))
    rate = _rate(document)
    known: dict[str, Any] = {
        "source": source,
        "tool": TOOL,
        "model": fields.first_text(document.get("model_id")),
        "date": _date(document.get("date")),
        "concurrency": limit,
        "request_rate": rate,
    }
    if document.get("ttfts") is None:
        completed = fields.count("completed", document.get("completed"))
        failed = fields.count("failed", document.get("failed", 0))
        return [
            Imported(
                **known,
                summary=_summary(document, completed),
                requests_made=completed + failed,
                failed=failed,
                notes=("only statistics: it was saved without --save-detailed",),
            )
        ]
    requests, notes = _requests(document, limit, rate)
    return [
        Imported(
            **known,
            requests=tuple(requests),
            requests_made=len(requests),
            failed=sum(bool(request.error) for request in requests),
            notes=tuple(notes),
        )
    ]


def _requests(
    document: Mapping[str, Any], limit: int | None, rate: float | None
) -> tuple[list[ImportedRequest], list[str]]:
    columns = {name: document.get(name) for name in LISTS}
    for name, column in columns.items():
        if not isinstance(column, list):
            raise ProfileError(f"{name} is no list, expected one value for each request")
        if len(column) != len(columns["input_lens"] or ()):
            raise ProfileError(
                f"{name} has {len(column)} values and input_lens "
                f"{len(columns['input_lens'] or ())}, expected one for each request"
            )
    rows = list(zip(*columns.values(), strict=True))
    found = [_request(i, *row) for i, row in enumerate(rows)]
    starts_s, notes = _starts(document, found, limit, rate)
    if starts_s is not None:
        found = [
            ImportedRequest(r.prompt_tokens, r.output_tokens, start_s, r.ttft_s, r.e2e_s,
                            r.gaps_s, r.error)
            for r, start_s in zip(found, starts_s, strict=True)
        ]  # fmt: skip
    return found, notes


def _request(
    i: int, prompt: object, output: object, ttft: object, gaps: object, error: object
) -> ImportedRequest:
    prompt_tokens = fields.count(f"input_lens[{i}]", prompt)
    output_tokens = fields.count(f"output_lens[{i}]", output)
    ttft_s = fields.seconds(f"ttfts[{i}]", ttft)
    gaps_s = fields.times(f"itls[{i}]", gaps, rising=False)
    # A refusal may leave no text but always leaves no token.
    failed = fields.short_error(error) or ("" if output_tokens and ttft_s else "no answer")
    return ImportedRequest(
        prompt_tokens,
        output_tokens,
        None,
        ttft_s or None,
        ttft_s + sum(gaps_s) if ttft_s else None,
        gaps_s,
        failed,
    )


def _starts(
    document: Mapping[str, Any],
    requests: list[ImportedRequest],
    limit: int | None,
    rate: float | None,
) -> tuple[list[float] | None, list[str]]:
    """Return when each request was sent, from its first one on, and how that is known."""
    given = document.get("start_times")
    if given is not None:
        instants = [fields.instant(f"start_times[{i}]", value) for i, value in enumerate(given)]
        if len(instants) != len(requests):
            raise ProfileError(
                f"start_times has {len(instants)} values, expected {len(requests)}: one for each "
                "request"
            )
        first = min(instants, default=0.0)
        return [value - first for value in instants], []
    if rate is not None or document.get("ramp_up_strategy"):
        return None, ["when requests were sent is not in the file: this version did not write it"]
    if any(request.error for request in requests):
        return None, ["when requests were sent does not follow: some failed after unknown times"]
    seconds = [request.e2e_s or 0.0 for request in requests]
    return reconstructed_starts(seconds, limit), [
        "when requests were sent is not in the file: it follows from their times, as they were "
        + ("all sent at once" if limit is None else f"sent in order, {limit} at a time")
    ]


def _summary(document: Mapping[str, Any], completed: int) -> Summary:
    if not completed:
        raise ProfileError("completed is 0, expected requests that were answered")
    outputs = fields.count("total_output_tokens", document.get("total_output_tokens"))
    inputs = fields.count("total_input_tokens", document.get("total_input_tokens"))
    ttft = "median_ttft_ms" if "median_ttft_ms" in document else "mean_ttft_ms"
    return Summary(
        prompt_tokens=inputs / completed,
        output_tokens=outputs / completed,
        ttft_s=fields.seconds(ttft, document.get(ttft)) / 1e3,
        tpot_s=fields.seconds("mean_tpot_ms", document.get("mean_tpot_ms")) / 1e3,
    )


def _rate(document: Mapping[str, Any]) -> float | None:
    value = document.get("request_rate", "inf")
    return None if value == "inf" else number("request_rate", value, above=0)


def _date(value: object) -> str:
    """Return 20260131-101500 as 2026-01-31."""
    text = fields.first_text(value)
    day = text.split("-")[0]
    return f"{day[:4]}-{day[4:6]}-{day[6:]}" if len(day) == 8 and day.isdigit() else ""
