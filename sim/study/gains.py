"""Figure 5: what SABER gains over the best static size, as the study counts it and fairly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sim.study.baselines import fair_static_pct, saber_cells, static_cells, studies
from sim.study.figure import StudyFigure
from sim.study.published import SUMMARY, saber_goodput_pct, static_goodput_pct
from sim.study.runs import RATES, WORKLOADS, Cell
from sim.study.spread import PERCENT, goodput_of, seeds_of, spread
from sim.study.style import (
    NAMES,
    PAGE_IN,
    SABER,
    STATIC,
    Look,
    goodput_axis,
    legend_below,
    new_figure,
    published_handle,
    published_points,
    rate_axis,
    reach,
    seeds_text,
    signed,
    simulated_handle,
    simulated_line,
    styled,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from pandas import DataFrame

    from sim.study.runs import CellRuns

FAIR = Look("#009E73", "s")
STUDIED = Look("black", "o")
BAND_COLOUR = "0.8"
ROOM = 0.2  # of the height of the gains, for their numbers above them
SERIES = {
    "saber": SABER,
    "best static, as studied": STATIC,
    "best static, fair": FAIR,
    "gain, as studied": STUDIED,
    "gain, fair": FAIR,
}


def cells() -> tuple[Cell, ...]:
    """Return SABER's cells, and the static ones on uniform and on Poisson arrivals."""
    return tuple(
        cell
        for workload in WORKLOADS
        for cell in (
            *saber_cells(workload),
            *static_cells(workload, "uniform"),
            *static_cells(workload, "poisson"),
        )
    )


def table(runs: Mapping[Cell, CellRuns]) -> DataFrame:
    """Return a row for each mark; `value` is goodput [%], or a gain of goodput [points].

    Rows without `rps` are gains averaged over the rates. "As studied": in every simulated study
    single runs are compared, and the best static size is picked from them after the fact. "Fair":
    the size is chosen on other seeds than it is judged on, and both policies get the same
    requests. One seed allows no fair comparison.
    """
    import pandas as pd

    parts = []
    for workload in WORKLOADS:
        one = studies(runs, workload)
        published = published_gains(workload)
        saber, static, gain = (published.get(name) for name in ("saber", "static", "gain"))
        rows = [
            ("saber", one.saber_pct, saber),
            ("best static, as studied", one.static_pct, static),
            ("gain, as studied", one.saber_pct - one.static_pct, gain),
        ]
        if one.saber_pct.shape[1] > 1:
            fair, _ = fair_static_pct(runs, workload)
            same_requests = goodput_of(runs, saber_cells(workload))
            rows += [
                ("best static, fair", fair, None),
                ("gain, fair", same_requests - fair, None),
            ]
        for series, values, known in rows:
            parts.append(_rows(workload, series, RATES, values, known))
            if series.startswith("gain"):
                average = values.mean(axis=0, keepdims=True)
                printed = None if series == "gain, fair" else [_printed(workload)]
                parts.append(_rows(workload, series, [np.nan], average, printed))
    return pd.concat(parts, ignore_index=True).assign(seeds=seeds_of(runs))


def published_gains(workload: str) -> dict[str, list[float]]:
    """Return published goodput [%] by rate of SABER ("saber") and of the best size ("static").

    "gain" is one less the other [points]. Empty where neither was published.
    """
    saber, grid = saber_goodput_pct(workload), static_goodput_pct(workload)
    if not saber:
        return {}
    best = {rps: max(pct for (rate, _), pct in grid.items() if rate == rps) for rps in RATES}
    return {
        "saber": [saber[rps] for rps in RATES],
        "static": [best[rps] for rps in RATES],
        "gain": [saber[rps] - best[rps] for rps in RATES],
    }


def _printed(workload: str) -> float:
    return SUMMARY[f"gain_{workload.lower()}"].value


def _rows(
    workload: str,
    series: str,
    rates: Sequence[float],
    values: NDArray[np.float64],
    published: Sequence[float] | None,
) -> DataFrame:
    import pandas as pd

    unit = "points" if series.startswith("gain") else "%"
    within = (-100.0, 100.0) if unit == "points" else PERCENT
    columns = {"workload": workload, "rps": rates, "series": series, "unit": unit}
    known = [np.nan] * len(rates) if published is None else published
    return pd.DataFrame(columns | spread(values, "value", within) | {"published": known})


@styled
def draw(table: DataFrame) -> Figure:
    """Draw goodput over the rate above, and the gains below with their averages."""
    figure = new_figure(PAGE_IN, 5.0)
    axes = figure.subplots(2, len(WORKLOADS), sharex=True, sharey="row")
    for column, workload in enumerate(WORKLOADS):
        rows = table[table["workload"] == workload]
        _goodput(axes[0, column], rows)
        _gains(axes[1, column], rows)
        only = "" if rows["published"][rows["rps"].notna()].notna().any() else ", simulated only"
        axes[0, column].set_title(f"{NAMES[workload]}{only}")
        axes[1, column].set_xlabel("request rate [requests/s], even steps")
    axes[0, 0].set_ylabel("goodput [%]")
    axes[1, 0].set_ylabel("gain of SABER over the\nbest static size [points]")
    low, high = axes[1, 0].get_ylim()
    axes[1, 0].set_ylim(low, high + ROOM * (high - low))
    legend_below(figure, _handles(table), columns=3)
    return figure


def _goodput(ax: Axes, rows: DataFrame) -> None:
    for series in ("best static, as studied", "best static, fair", "saber"):
        line = rows[rows["series"] == series]
        if len(line):
            simulated_line(ax, range(len(line)), line, "value", SERIES[series], with_band=False)
            published_points(ax, range(len(line)), line["published"], SERIES[series])
    rate_axis(ax, RATES)
    goodput_axis(ax)


def _gains(ax: Axes, rows: DataFrame) -> None:
    texts = []
    for series, aside, height in (("gain, as studied", -0.17, 0.97), ("gain, fair", 0.17, 0.90)):
        line = rows[(rows["series"] == series) & rows["rps"].notna()]
        average = rows[(rows["series"] == series) & rows["rps"].isna()]
        if not len(line):
            continue
        look, x = SERIES[series], np.arange(len(line)) + aside
        if series == "gain, as studied":
            ax.vlines(x, line["band_low"], line["band_high"], color=BAND_COLOUR, linewidth=3)
        ax.errorbar(
            x,
            line["value"],
            yerr=reach(line, "value"),
            fmt=look.marker,
            color=look.colour,
            elinewidth=0.8,
            markersize=2.6,
        )
        published_points(ax, x, line["published"], SABER)
        for place, gain in enumerate(line["value"]):
            ax.text(
                place,
                height,
                signed(gain, 0).removeprefix("+"),
                transform=ax.get_xaxis_transform(),
                ha="center",
                va="top",
                fontsize=5.5,
                color=look.colour,
            )
        texts.append(_average_text(series, average.iloc[0]))
    ax.axhline(0, color="black", linewidth=0.6)
    rate_axis(ax, RATES)
    printed = rows["published"][rows["rps"].isna()].max()
    texts.insert(0, f"average gain: published {signed(printed)}")
    ax.set_title("\n".join(texts), fontsize=6.5)


def _average_text(series: str, average: Any) -> str:
    text = f"{series.removeprefix('gain, ')} {signed(average['value'])}"
    if average["low"] == average["low"]:
        text += f" ({signed(average['low'])} to {signed(average['high'])})"
    return text


def _handles(table: DataFrame) -> list[Any]:
    from matplotlib.patches import Patch

    several = bool(table["low"].notna().any())
    bars = ", 95 % interval" if several else ""
    handles = [
        simulated_handle("SABER, simulated", SABER),
        simulated_handle("best static of single runs, simulated", STATIC),
    ]
    if several:
        handles.append(simulated_handle("best static, and gain, size chosen on other seeds", FAIR))
    handles += [
        published_handle("SABER, and its gain, published", SABER),
        published_handle("best static, published", STATIC),
        simulated_handle(f"gain as studied, {seeds_text(table)}{bars}", STUDIED),
    ]
    if several:
        handles.append(Patch(color=BAND_COLOUR, label="gain as studied, 95 % of single studies"))
    return handles


GAINS = StudyFigure(5, "gains", "SABER over the best static size of each rate", cells, table, draw)
