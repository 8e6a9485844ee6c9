"""`saber calibrate speed`: SABER's estimator of speed over load, and where its points are from."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim import cli_options as given
from sim import console
from sim.options import OptionError

if TYPE_CHECKING:
    from calibrate.profile import Profile
    from calibrate.schema import Pairs
    from calibrate.speed import SpeedModel
    from traces.request import Trace

DEFAULT_WORKLOAD = "W3"
WORKLOAD_REQUESTS = 100
LARGEST_LOAD = 10_000
SIMULATED = "How the offline phase is simulated"
FORMS = {
    "usl": "A / (1 + s·L + k·L²)",
    "logistic": "A / (1 + exp(-r·(L - L0)))",
    "linear": "a + b·L",
}


@dataclass(frozen=True)
class Speeds:
    """Points to fit, where they are from, and how far simulated ones are from measured ones.

    `apart` is a share by load, empty where nothing was measured.
    """

    points: "Pairs"
    source: str
    apart: dict[float, float]


def speed(
    profile: Annotated[
        str | None,
        typer.Argument(metavar="PROFILE", help="A bundled profile or a JSON file."),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Two columns: load and tokens/s instead."),
    ] = None,
    simulate: Annotated[
        bool,
        typer.Option(
            "--simulate",
            help="Simulate the offline phase even where the profile holds measured speeds.",
        ),
    ] = False,
    mean_context_tokens: Annotated[
        int | None,
        typer.Option(
            parser=given.whole(0),
            metavar="N",
            help="Take 1/step with this context of each request instead of simulating.",
        ),
    ] = None,
    workload: Annotated[
        str | None,
        typer.Option(
            help="Lengths of the requests: a named workload.",
            show_default=DEFAULT_WORKLOAD,
            rich_help_panel=SIMULATED,
        ),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Lengths of the requests: a trace in any known format.",
            rich_help_panel=SIMULATED,
        ),
    ] = None,
    loads: Annotated[
        str | None,
        typer.Option(
            metavar="L,L,...",
            help="How many requests run together.",
            show_default="the study's: 1 to 10, then 20 to 60 by 10",
            rich_help_panel=SIMULATED,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            parser=given.whole(0),
            metavar="N",
            help="Draws the requests.",
            show_default="0",
            rich_help_panel=SIMULATED,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the points: .csv, or .json for the profile with them in it.",
            rich_help_panel=given.OUTPUT,
        ),
    ] = None,
    json: given.Json = False,
) -> None:
    """Fit SABER's three estimators of speed over load and mark the best by R^2.

    To the speeds that a profile holds or, where it holds none, to those of a simulated offline
    phase: L requests start together on the engine, each gives a point; or to a file of pairs.

    Examples:
      saber calibrate speed paper-qwen2.5-coder-3b
      saber calibrate speed paper-qwen2.5-coder-3b --simulate --workload W1
      saber calibrate speed my-profile.json --loads 1,2,4,8,16,32,64,128 --out with-speeds.json
      saber calibrate speed --csv speeds.csv --json
    """
    from calibrate.library import load_profile
    from calibrate.speed import best, fit_all, read_speed_csv

    how = {"--workload": workload, "--trace": trace, "--loads": loads, "--seed": seed}
    simulated = {"--simulate": simulate or None, **how}
    if csv is not None:
        if profile is not None:
            raise OptionError(
                f"PROFILE {profile} and --csv {csv} contradict each other: expected one of them"
            )
        _refuse_idle(
            {**simulated, "--mean-context-tokens": mean_context_tokens, "--out": out},
            f"{csv} holds speeds",
        )
        speeds = Speeds(read_speed_csv(csv), str(csv), {})
    elif profile is None:
        raise OptionError("no speeds to fit: expected a PROFILE, or a file with --csv")
    else:
        hardware = load_profile(profile)
        _check_out(out)
        if mean_context_tokens is not None:
            _refuse_idle(simulated, "--mean-context-tokens derives the speeds without simulating")
            speeds = _derived(hardware, mean_context_tokens)
        elif simulate or hardware.speed_points is None:
            with console.stdout_for_json(json):
                speeds = _simulated(hardware, workload, trace, loads, seed or 0)
        else:
            _refuse_idle(how, f"{hardware.name} holds speed_points; add --simulate")
            source = hardware.sources.get("speed_points", "speed_points of the profile")
            speeds = Speeds(hardware.speed_points, source, {})
    models = fit_all(speeds.points)
    chosen = best(models).estimator
    if out is not None:
        _write(out, hardware, speeds)
    name = profile if profile is not None else str(csv)
    if json:
        console.show_json(_document(name, speeds, models, chosen))
    else:
        _show(name, speeds, models, chosen)


def _derived(profile: "Profile", mean_context_tokens: int) -> Speeds:
    from calibrate.speed import context_matters, speed_points_of

    if not context_matters(profile):
        why = "holds speed_points" if profile.speed_points else "has no cost of context"
        raise OptionError(f"--mean-context-tokens has no effect: {profile.name} {why}")
    points = speed_points_of(replace(profile, mean_context_tokens=float(mean_context_tokens)))
    source = f"derived from the step costs at a mean context of {mean_context_tokens} tokens"
    return Speeds(points, source, {})


def _simulated(
    profile: "Profile", workload: str | None, trace: Path | None, loads: str | None, seed: int
) -> Speeds:
    from sim.offline import STUDY_LOADS, apart_by_load, offline_speeds

    if workload is not None and trace is not None:
        raise OptionError(
            f"--workload {workload} and --trace {trace} contradict each other: expected one of them"
        )
    levels = STUDY_LOADS if loads is None else _levels(loads)
    requests = _requests(workload or DEFAULT_WORKLOAD, trace, seed)
    with console.progress("simulating", total=len(levels)) as on_done:
        points = offline_speeds(profile, requests, levels, seed, on_done)
    lengths = str(trace.name) if trace is not None else (workload or DEFAULT_WORKLOAD).upper()
    source = f"simulated offline phase: requests of {lengths} together, seed {seed}"
    return Speeds(points, source, apart_by_load(points, profile.speed_points or ()))


def _requests(workload: str, trace: Path | None, seed: int) -> "Trace":
    if trace is None:
        from traces.workloads import workload as drawn

        return drawn(workload, rps=1.0, n=WORKLOAD_REQUESTS, seed=seed)
    from traces.errors import TraceError
    from traces.formats import load

    try:
        return load(trace)
    except TraceError:
        try:
            return load(trace, rps=1.0)  # a file of lengths alone: arrival times do not matter
        except TraceError:
            pass
        raise


def _levels(text: str) -> list[int]:
    try:
        levels = [int(word) for word in text.split(",")]
    except ValueError:
        levels = []
    if (
        not levels
        or min(levels) < 1
        or max(levels) > LARGEST_LOAD
        or len(set(levels)) < len(levels)
    ):
        raise OptionError(
            f"--loads {text!r}: expected different whole numbers from 1 on, up to "
            f"{LARGEST_LOAD:,}, such as 1,2,4,8"
        )
    return sorted(levels)


def _check_out(out: Path | None) -> None:
    if out is None:
        return
    if out.suffix not in (".csv", ".json"):
        raise OptionError(f"--out {out}: expected a name that ends in .csv or .json")
    console.writable(out)


def _write(out: Path, profile: "Profile", speeds: Speeds) -> None:
    if out.suffix == ".csv":
        rows = [f"{load:g},{speed:.4f}\n" for load, speed in speeds.points]
        out.write_text("load,tokens_per_s\n" + "".join(rows), encoding="utf-8")
    elif speeds.points is profile.speed_points:
        raise OptionError(f"--out {out} has no effect: {profile.name} holds these speeds already")
    else:
        sources = {**profile.sources, "speed_points": speeds.source}
        replace(profile, speed_points=speeds.points, sources=sources).save(out)
    console.note(f"{len(speeds.points):,} points written to {out}")


def _refuse_idle(options: dict[str, Any], why: str) -> None:
    for name, value in options.items():
        if value is not None:
            shown = name if value is True else f"{name} {value}"
            raise OptionError(f"{shown} has no effect: {why}")


def _document(
    name: str, speeds: Speeds, models: "dict[str, SpeedModel]", chosen: str
) -> dict[str, Any]:
    return {
        "source": name,
        "points_source": speeds.source,
        "points": len(speeds.points),
        "best": chosen,
        "estimators": {
            estimator: {
                "parameters": model.parameters,
                "r2": model.r2,
                "mse": model.mse,
                "loads": model.loads,
            }
            for estimator, model in models.items()
        },
        "off_measured": {
            "mean_absolute_pct": _mean_apart_pct(speeds),
            "by_load_pct": {f"{load:g}": share * 100 for load, share in speeds.apart.items()},
        },
    }


def _show(name: str, speeds: Speeds, models: "dict[str, SpeedModel]", chosen: str) -> None:
    console.show_table(
        f"Speed of one request over load L: {name}, {len(speeds.points):,} points",
        ["estimator", "tokens/s", "parameters", "R²", "MSE [(tokens/s)²]", ""],
        [
            [
                estimator,
                FORMS[estimator],
                ", ".join(f"{key} = {value:.6g}" for key, value in model.parameters.items()),
                f"{model.r2:.4f}",
                f"{model.mse:.4f}",
                "best" if estimator == chosen else "",
            ]
            for estimator, model in models.items()
        ],
    )
    console.show(f"Points: {speeds.source}")
    if speeds.apart:
        listed = ", ".join(f"{load:g}: {share * 100:+.1f}" for load, share in speeds.apart.items())
        console.show(
            f"Simulated speeds differ from the profile's measured ones by "
            f"{_mean_apart_pct(speeds):.1f} % on average over the loads; in percent at load "
            f"{listed}."
        )


def _mean_apart_pct(speeds: Speeds) -> float | None:
    shares = [abs(share) for share in speeds.apart.values()]
    return sum(shares) / len(shares) * 100 if shares else None
