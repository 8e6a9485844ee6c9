"""The tables of `saber calibrate show`."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from sim import console

KINDS = ("decode", "prefill", "chunk", "mixed")
OUTSIDE = " *"


def show_bundled(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a row for each bundled profile."""
    console.show_table(
        f"Bundled profiles; error: mean over held-out steps, {'/'.join(KINDS)}",
        ["name", "model", "device", "method", "date", "error [%]", "caveats"],
        [
            [
                row["name"],
                row["model"] or console.MISSING,
                row["device"] or console.MISSING,
                row["method"],
                row["date"] or console.MISSING,
                _in_one(row["held_out_mape"]),
                _shortly(row) or console.MISSING,
            ]
            for row in rows
        ],
    )


def _in_one(errors: Mapping[str, float]) -> str:
    if not errors:
        return console.MISSING
    return "/".join(console.number(errors.get(kind), 2) for kind in KINDS)


def _shortly(row: Mapping[str, Any]) -> str:
    """Return how the caveats begin, less what the method says: the profile itself says it all."""
    known = {"the KV capacity": "KV assumed", "the held-out error": "error over 5 %"}
    found = [
        next((short for start, short in known.items() if caveat.startswith(start)), "")
        or caveat.split(":")[0]
        for caveat in row["caveats"]
    ]
    return ", ".join(short for short in found if short != row["method"])


def show_profile(described: Mapping[str, Any]) -> None:
    """Print what `calibrate.describe.describe_profile` found."""
    _show_facts(described)
    _show_decode(described["decode"])
    _show_prefill(described["prefill"])
    _show_fit(described["fit"])
    _show_floor(described["over_floor"])
    for measured, errors in described["roofline_errors"].items():
        show_errors(f"The roofline of the device against the points of {measured}", errors)
    _show_widths(described["widths_pct"])
    if described["misses"]:
        console.show_table(
            "Points that the fit misses most",
            ["step", "measured [ms]", "fitted [ms]", "error [%]"],
            [
                [
                    step_words(row),
                    console.number(row["median_s"] * 1e3),
                    console.number(row["fitted_s"] * 1e3),
                    f"{row['error_pct']:+.1f}",
                ]
                for row in described["misses"]
            ],
        )
    console.show(*_problems(described["not_run"]))
    console.show(*(f"Caveat: {caveat}" for caveat in described["caveats"]))


def step_words(step: Mapping[str, Any]) -> str:
    """Return the sizes of a step in words."""
    words = []
    if step["batch"]:
        words.append(f"batch {step['batch']:,} at context {step['context_tokens']:,}")
    if step["prompt_tokens"]:
        past = f" after {step['past_tokens']:,}" if step["past_tokens"] else ""
        words.append(f"{step['prompt_tokens']:,} prompt tokens{past}")
    return f"{step['kind']}: {' and '.join(words)}"


def _show_facts(described: Mapping[str, Any]) -> None:
    model, device = described["model"], described["device"]
    over_floor = described["over_floor"].get("decode", {})
    facts = {
        "profile": described["name"],
        "model": " ".join(filter(None, (model.get("name") or "not named", model.get("dtype")))),
        "device": device.get("name") or "not named",
        "hardware floor": _hardware(device),
        "method": " ".join(filter(None, (described["method"], described["date"]))),
        "discipline": described["discipline"],
        "KV cache": f"{described['kv_tokens']:,} tokens ({described['kv_source']})",
        "engine overhead": _overhead(described),
        "client overhead": f"{described['client_overhead_s'] * 1e3:g} ms a request",
        "speed points": f"{described['speed_points']:,}",
        "raw points": f"{len(described['raw']):,}" if described["raw"] else "",
        "batch-1 decode": (
            f"{over_floor['batch_1']:.2f} times its hardware floor"
            if "batch_1" in over_floor
            else ""
        ),
    }
    console.show(*(f"{name:16} {value}" for name, value in facts.items() if value))


def _hardware(device: Mapping[str, Any]) -> str:
    scales = {
        "copy_bytes_per_s": (1e9, "GB/s copied"),
        "matmul_flop_per_s": (1e12, "TFLOP/s in matrix products"),
        "launch_s": (1e-6, "µs to launch"),
    }
    return ", ".join(
        f"{console.number(device[name] / scale)} {words}"
        for name, (scale, words) in scales.items()
        if isinstance(device.get(name), int | float)
    )


def _overhead(described: Mapping[str, Any]) -> str:
    step_s, request_s = described["engine_overhead_s"], described["engine_overhead_request_s"]
    if step_s is None:
        return "unknown"
    each = f", {request_s * 1e3:g} ms for each sequence in it" if request_s else ""
    return f"{step_s * 1e3:g} ms a step{each}"


def _show_decode(rows: Sequence[Mapping[str, Any]]) -> None:
    contexts = list(dict.fromkeys(row["context_tokens"] for row in rows))
    columns, whose = ["step [ms]"], ""
    if len(contexts) > 1:
        columns = [f"at context {context:,} [ms]" for context in contexts]
        whose = f" at {contexts[0]:,}"
    console.show_table(
        f"Decode steps{_star(rows)}",
        ["batch", *columns, f"of one request{whose} [tokens/s]"],
        [
            [
                f"{batch:,}",
                *(_marked(row, row["step_s"] * 1e3) for row in group),
                console.number(group[0]["tokens_per_s"]),
            ]
            for batch, group in (
                (batch, list(group)) for batch, group in groupby(rows, lambda row: row["batch"])
            )
        ],
    )


def _show_prefill(rows: Sequence[Mapping[str, Any]]) -> None:
    console.show_table(
        f"Prefill of one prompt{_star(rows)}",
        ["prompt [tokens]", "step [ms]", "tokens/s"],
        [
            [
                f"{row['tokens']:,}",
                _marked(row, row["step_s"] * 1e3),
                console.number(row["tokens_per_s"]),
            ]
            for row in rows
        ],
    )


def _star(rows: Sequence[Mapping[str, Any]]) -> str:
    return (
        "; * outside the measured ranges" if any(row["measured"] is False for row in rows) else ""
    )


def _marked(row: Mapping[str, Any], value: float) -> str:
    return console.number(value) + (OUTSIDE if row["measured"] is False else "")


def _show_fit(fit: Mapping[str, Any]) -> None:
    if fit:
        console.show_table(
            "Error of the fit",
            ["region", "mean [%]", "95th percentile [%]", "largest [%]"],
            [
                [
                    f"{region}, {sample.replace('_', ' ')}",
                    *(console.number(error[key]) for key in ("mape", "p95", "max")),
                ]
                for sample, regions in fit.items()
                for region, error in regions.items()
            ],
        )


def show_errors(title: str, errors: Mapping[str, Mapping[str, float]]) -> None:
    """Print what `calibrate.evidence.errors_by_kind` found."""
    console.show_table(
        title,
        ["steps", "points", "mean [%]", "95th percentile [%]", "largest [%]", "bias [%]"],
        [
            [
                kind,
                f"{row['points']:,}",
                *(console.number(row[key]) for key in ("mape", "p95", "max")),
                f"{row['bias']:+.1f}",
            ]
            for kind, row in errors.items()
        ],
    )


def _show_floor(over_floor: Mapping[str, Mapping[str, Any]]) -> None:
    if over_floor:
        console.show_table(
            "Measured over the hardware floor",
            ["steps", "points", "median", "worst", "at"],
            [
                [
                    kind,
                    f"{row['points']:,}",
                    f"{row['median']:.2f}",
                    f"{row['worst']:.2f}",
                    step_words(row["worst_step"]).partition(": ")[2],
                ]
                for kind, row in over_floor.items()
            ],
        )


def _show_widths(widths: Mapping[str, Mapping[str, float]]) -> None:
    if widths:
        console.show_table(
            "95 % intervals of the fitted numbers, half their width",
            ["numbers", "how many", "median [%]", "widest [%]"],
            [
                [
                    table,
                    f"{row['numbers']:,}",
                    console.number(row["median"], 2),
                    console.number(row["worst"], 2),
                ]
                for table, row in widths.items()
            ],
        )


def _problems(not_run: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each reason that steps were not run for, with the smallest such step."""
    reasons: dict[str, list[Mapping[str, Any]]] = {}
    for row in not_run:
        reasons.setdefault(row["problem"].split(":")[0], []).append(row)
    return [
        f"Not run, {reason}: {len(rows):,} step{'s' * (len(rows) > 1)}, "
        f"the smallest {step_words(min(rows, key=_size))}"
        for reason, rows in reasons.items()
    ]


def _size(step: Mapping[str, Any]) -> int:
    held = step["batch"] * step["context_tokens"] + step["past_tokens"] + step["prompt_tokens"]
    return int(held)
