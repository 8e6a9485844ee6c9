"""From runs to one page of HTML that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from sim.console import number, plain
from sim.options import OptionError
from sim.report.charts import Panels, charts
from sim.report.data import data_of
from sim.report.embed import embedded, library, packed
from sim.report.metrics import LATENCIES, LATENCY_SECTION, SPREAD
from sim.report.misses import LIMITS
from sim.report.shared import DISTRIBUTIONS, Shared, shared_by

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.runfile import Run

MOST_RUNS = 8
MOST_GROUPS = 24
SCRIPTS = ("data.js", "charts.js", "misses.js", "page.js")


def report_page(runs: Sequence[Run], title: str = "Simulation report") -> str:
    """Return the page; the same runs and title give the same text.

    Parameters
    ----------
    runs : sequence of Run
        1 to `MOST_RUNS`.
    title : str
        Heading of the page.

    Raises
    ------
    OptionError
        For too many runs, or a run without requests.
    """
    if not 1 <= len(runs) <= MOST_RUNS:
        raise OptionError(f"{len(runs)} runs: expected 1 to {MOST_RUNS} on a page")
    for run in runs:
        if run.requests.empty:
            raise OptionError(f"{run.name}: the run has no requests, so there is nothing to show")
    from jinja2 import Environment, PackageLoader, StrictUndefined

    shared = shared_by(runs)
    data = data_of(runs, shared)
    panels = panels_of(runs, shared, data)
    scripts = [library(), _script()]
    environment = Environment(
        loader=PackageLoader("sim.report", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # In their order: Bokeh defines a model where it is first mentioned.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":")}
    return environment.get_template("page.html").render(
        title=title,
        runs=runs,
        several=len(runs) > 1,
        shared=shared,
        panels=panels,
        data=data,
        packed=packed(data),
        figures=embedded(charts(panels)),
        configuration=settings([run.configuration for run in runs]),
        spreads=[] if len(runs) > 1 else spreads(runs[0].summary),
        facts=[row for row in data["summary"] if row["section"] != LATENCY_SECTION],
        provenance=settings([run.provenance for run in runs]),
        scripts=scripts,
        hashes=[_hash(script) for script in scripts],
        style=_template("page.css"),
        warnings=warnings_of(runs, data["labels"]),
        objectives=objectives_of(runs, data["labels"]),
        spread=SPREAD,
        most_groups=MOST_GROUPS,
        retried=any(run.summary["attempts"] != run.summary["requests"] for run in runs),
        number=number,
        json_text=lambda value: json.dumps(plain(value), indent=2, ensure_ascii=False),
    )


def panels_of(runs: Sequence[Run], shared: Shared, data: Mapping[str, Any]) -> Panels:
    """Return which charts the runs have something to show in."""
    time_unit, unit_s = shared.time_unit
    return Panels(
        time_unit=time_unit,
        start=float(shared.edges_s[0] / unit_s),
        end=float(shared.edges_s[-1] / unit_s),
        distributions={
            name: (f"{label} [{unit}]", shared.ticks[name])
            for name, (label, unit) in DISTRIBUTIONS.items()
            if name in shared.distributions
        },
        states=any(run.timeline is not None for run in runs),
        replicas_up=any(each["up"] and len(each["up"]["x"]) > 2 for each in data["runs"]),
        misses=any(each["worst"] for each in data["runs"]),
        several=len(runs) > 1,
    )


def spreads(summary: Mapping[str, Any]) -> list[tuple[str, str, list[str]]]:
    """Return the name, unit and spread of every latency, as they are shown."""
    return [
        (name, unit, [_scaled(summary[key][part], scale) for part in SPREAD])
        for key, name, unit, scale in LATENCIES
    ]


def _scaled(value: float | None, scale: float) -> str:
    return number(None if value is None else value * scale)


def warnings_of(runs: Sequence[Run], names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return every warning once, with the names of the runs that have it."""
    return _gathered(names, [run.summary["warnings"] for run in runs])


def objectives_of(runs: Sequence[Run], names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return what goodput asks of a request, and what is left out, with the names of the runs."""
    return _gathered(names, [[_objective(run)] for run in runs])


def _objective(run: Run) -> str:
    limits = run.configuration["options"]["goodput_ms"]
    told = "Objective: E2E within the request's SLA."
    if run.requests["sla_s"].isna().all():
        told = "No request has an SLA, so goodput is not defined."
    if limits:
        parts = [f"{LIMITS[key]} at most {limit:g} ms" for key, limit in limits.items()]
        told = f"Objective: {', '.join(parts)}."
    if run.warmup_s:
        told += (
            f" The first {run.warmup_s:g} s are a warm-up, which only the charts over time show."
        )
    return told


def _gathered(names: Sequence[str], texts: Sequence[Sequence[str]]) -> list[tuple[str, list[str]]]:
    found: dict[str, list[str]] = {}
    for name, some in zip(names, texts, strict=True):
        for text in some:
            found.setdefault(text, []).append(name)
    return list(found.items())


def settings(documents: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str], bool]]:
    """Return every setting by its path, its value in each run, and whether these differ."""
    flat = [dict(_flattened(document)) for document in documents]
    names = dict.fromkeys(name for each in flat for name in each)
    rows = []
    for name in names:
        values = [each.get(name, "") for each in flat]
        rows.append((name, values, len(set(values)) > 1))
    return rows


def _flattened(value: Any, path: str = "") -> list[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        return [
            pair
            for key, item in value.items()
            for pair in _flattened(item, f"{path}.{key}" if path else str(key))
        ]
    if value is None:
        return [(path, "none")]
    return [(path, value if isinstance(value, str) else json.dumps(plain(value)))]


def _template(name: str) -> str:
    return files("sim.report").joinpath("template", name).read_text("utf-8")


def _script() -> str:
    """Return the page's own script, in a scope of its own."""
    return '"use strict";\n(async () => {\n' + "\n".join(map(_template, SCRIPTS)) + "})();\n"


def _hash(script: str) -> str:
    """Return what the page's security policy knows a script by: no other may run."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
