"""Reports of GuideLLM, as JSON or YAML.

Versions 0.2 and 0.3 write instants into each request (``start_time``, ``first_token_time``, ...),
0.4 to 0.8 into ``info.timings``, with the settings in other places. None of them keeps the times
of single tokens: the gaps are known on average only.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from calibrate.imported import fields
from calibrate.imported.result import Imported, ImportedRequest
from calibrate.schema import ProfileError, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TOOL = "GuideLLM"
STATUSES = {"successful": "", "errored": "failed", "incomplete": "cut off when the run ended"}


def is_result(document: object) -> bool:
    """Whether a JSON or YAML value is such a report."""
    benchmarks = fields.at(document, "benchmarks")
    return isinstance(benchmarks, list) and all(
        fields.at(benchmark, "requests") is not None and fields.at(benchmark, "metrics") is not None
        for benchmark in benchmarks
    )


def read(document: Mapping[str, Any], source: str) -> list[Imported]:
    """Return the benchmarks of a report; ProfileError names a value that is wrong."""
    benchmarks = document["benchmarks"]
    if not benchmarks:
        raise ProfileError("benchmarks is empty, expected at least one")
    found = []
    for i, benchmark in enumerate(benchmarks):
        where = f"{source}, benchmark {i + 1}" if len(benchmarks) > 1 else source
        found.append(_run(document, benchmark, f"benchmarks[{i}]", where))
    return found


def _run(
    document: Mapping[str, Any], benchmark: Mapping[str, Any], path: str, source: str
) -> Imported:
    strategy = fields.at(benchmark, "config", "strategy")
    if strategy is None:
        strategy = fields.at(benchmark, "args", "strategy")
    requests, cached = _requests(fields.at(benchmark, "requests"), f"{path}.requests")
    made = fields.at(benchmark, "scheduler_metrics", "requests_made", "total")
    if made is None:
        made = fields.at(benchmark, "run_stats", "requests_made", "total")
    listed = len(requests)
    total = listed if made is None else fields.count(f"{path}.requests_made.total", made)
    notes = []
    if listed < total:
        notes.append(
            f"only {listed:,} of {total:,} requests are in the file: those of the warm-up, or not "
            "sampled, are not"
        )
    if cached:
        notes.append(
            f"{cached:,} prompt tokens came from the server's prefix cache: prompts look cheaper "
            "than they are"
        )
    start = fields.at(benchmark, "start_time")
    if start is None:
        start = fields.at(benchmark, "run_stats", "start_time")
    return Imported(
        source=source,
        tool=TOOL,
        version=fields.first_text(fields.at(document, "metadata", "guidellm_version")),
        model=_model(document, benchmark),
        date=_date(f"{path}.start_time", start),
        concurrency=_concurrency(strategy, f"{path}.strategy"),
        request_rate=_rate(strategy, f"{path}.strategy"),
        requests=tuple(requests),
        requests_made=max(total, listed),
        failed=sum(bool(request.error) for request in requests),
        notes=tuple(notes),
    )


def _model(document: Mapping[str, Any], benchmark: Mapping[str, Any]) -> str:
    backend = fields.at(benchmark, "config", "backend")
    return fields.first_text(
        fields.at(document, "config", "backend", "model"),
        fields.at(document, "args", "model"),
        fields.at(backend, "model"),
        fields.at(backend, "default_model"),
        fields.at(benchmark, "worker", "backend_model"),
    )


def _concurrency(strategy: object, path: str) -> int | None:
    kind = fields.at(strategy, "type_")
    if kind == "synchronous":
        return 1
    key = "streams" if kind == "concurrent" else "max_concurrency"
    return fields.optional_count(f"{path}.{key}", fields.at(strategy, key))


def _rate(strategy: object, path: str) -> float | None:
    rate = fields.at(strategy, "rate")
    return None if rate is None else number(f"{path}.rate", rate, above=0)


def _requests(groups: object, path: str) -> tuple[list[ImportedRequest], int]:
    """Return the requests of all statuses, by start, and how many prompt tokens were cached."""
    rows: list[tuple[float, ImportedRequest]] = []
    cached = 0
    for status, reason in STATUSES.items():
        group = fields.at(groups, status)
        for i, row in enumerate(fields.objects(f"{path}.{status}", group or [])):
            rows.append(_request(row, f"{path}.{status}[{i}]", reason))
            cached += row.get("cached_tokens") or 0
    rows.sort(key=lambda each: each[0])
    first = rows[0][0] if rows else 0.0
    return [
        ImportedRequest(r.prompt_tokens, r.output_tokens, start - first, r.ttft_s, r.e2e_s,
                        r.gaps_s, r.error)
        for start, r in rows
    ], cached  # fmt: skip


def _request(row: Mapping[str, Any], path: str, reason: str) -> tuple[float, ImportedRequest]:
    timings = fields.at(row, "info", "timings")
    start = _instant(path, row, timings, ("request_start", "start_time", "request_start_time"))
    if start is None:
        raise ProfileError(f"{path} has no start, expected info.timings.request_start")
    first = _instant(path, row, timings, ("first_token_iteration", "first_token_time"))
    last = _instant(path, row, timings, ("last_token_iteration", "last_token_time"))
    end = _instant(path, row, timings, ("request_end", "end_time", "request_end_time"))
    until = end if reason or last is None else last
    for name, instant in (("first token", first), ("end", until)):
        if instant is not None and instant < start:
            raise ProfileError(f"{path}: its {name} is before its start, expected it after that")
    prompt = fields.optional_count(f"{path}.prompt_tokens", row.get("prompt_tokens"), at_least=0)
    output = fields.optional_count(f"{path}.output_tokens", row.get("output_tokens"), at_least=0)
    if reason == STATUSES["errored"]:
        told = first_line(row.get("error"), fields.at(row, "info", "error"))
        reason = told or reason
    if not reason and (not prompt or not output):
        raise ProfileError(
            f"{path} has {prompt} prompt and {output} output tokens, expected both to be counted"
        )
    return start, ImportedRequest(
        prompt or 0,
        output or 0,
        None,
        None if first is None else first - start,
        None if until is None else until - start,
        (),
        reason,
    )


def first_line(*values: object) -> str:
    """Return the first of the values that says something, as one line."""
    return fields.short_error(fields.first_text(*values))


def _instant(
    path: str, row: Mapping[str, Any], timings: object, names: Sequence[str]
) -> float | None:
    """Return the instant under the first of the names that there is."""
    for name in names:
        for place in (timings, row):
            value = fields.at(place, name)
            if value is not None:
                return fields.instant(f"{path}.{name}", value)
    return None


def _date(path: str, value: object) -> str:
    if value is None:
        return ""
    try:
        return datetime.fromtimestamp(fields.instant(path, value), UTC).date().isoformat()
    except (OverflowError, OSError, ValueError) as error:
        if isinstance(error, ProfileError):
            raise
        raise ProfileError(f"{path} is {value!r}, expected seconds since 1970") from None
