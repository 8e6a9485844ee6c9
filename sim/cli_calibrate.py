"""`saber calibrate`: look at profiles and fit SABER's speed estimator."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim import console
from sim.cli_options import Json, whole
from sim.options import OptionError

if TYPE_CHECKING:
    from calibrate.profile import Profile

app = typer.Typer(help="Look at profiles and fit SABER's speed estimator.")


@app.command()
def show(
    profile: Annotated[
        str, typer.Argument(metavar="PROFILE", help="A bundled profile or a JSON file.")
    ],
    json: Json = False,
) -> None:
    """Show what a profile says, how well it is known, and its caveats.

    Step times at some batches and prompt lengths, measured ranges, errors of the fit.

    Examples:
      saber calibrate show paper-qwen2.5-coder-3b
      saber calibrate show my-profile.json --json
    """
    from calibrate.describe import describe_profile
    from calibrate.library import load_profile

    described = describe_profile(load_profile(profile))
    if json:
        console.show_json(described)
        return
    _show_facts(described)
    console.show_table(
        "Decode steps",
        ["batch", "context of each [tokens]", "step [ms]", "of one request [tokens/s]", "measured"],
        [
            [
                f"{row['batch']:,}",
                f"{row['context_tokens']:,}",
                console.number(row["step_s"] * 1e3),
                console.number(row["tokens_per_s"]),
                _yes_or_no(row["measured"]),
            ]
            for row in described["decode"]
        ],
    )
    console.show_table(
        "Prefill of one prompt",
        ["prompt [tokens]", "step [ms]", "tokens/s", "measured"],
        [
            [
                f"{row['tokens']:,}",
                console.number(row["step_s"] * 1e3),
                console.number(row["tokens_per_s"]),
                _yes_or_no(row["measured"]),
            ]
            for row in described["prefill"]
        ],
    )
    if described["fit"]:
        console.show_table(
            "Error of the fit",
            ["region", "mean [%]", "95th percentile [%]", "largest [%]"],
            [
                [
                    f"{region}, {sample.replace('_', ' ')}",
                    *(console.number(error[key]) for key in ("mape", "p95", "max")),
                ]
                for sample, regions in described["fit"].items()
                for region, error in regions.items()
            ],
        )
    console.show(*(f"Caveat: {caveat}" for caveat in described["caveats"]))


@app.command()
def speed(
    profile: Annotated[
        str | None,
        typer.Argument(metavar="PROFILE", help="A bundled profile or a JSON file."),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Two columns: load and tokens/s instead."),
    ] = None,
    mean_context_tokens: Annotated[
        int | None,
        typer.Option(
            parser=whole(0),
            metavar="N",
            help="Context of each request, for a profile whose steps depend on it.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Fit SABER's three estimators of speed over load and mark the best by R^2.

    To the speed points of a profile, or to a file of pairs.

    Examples:
      saber calibrate speed paper-qwen2.5-coder-3b
      saber calibrate speed --csv speeds.csv --json
      saber calibrate speed my-profile.json --mean-context-tokens 600
    """
    from calibrate.library import load_profile
    from calibrate.speed import best, fit_all, read_speed_csv, speed_points_of

    if csv is not None and profile is not None:
        raise OptionError(
            f"PROFILE {profile} and --csv {csv} contradict each other: expected one of them"
        )
    if csv is not None:
        if mean_context_tokens is not None:
            raise OptionError(f"--mean-context-tokens has no effect: {csv} holds speeds")
        source, points = str(csv), read_speed_csv(csv)
    elif profile is not None:
        source = profile
        points = speed_points_of(_with_context(load_profile(profile), mean_context_tokens))
    else:
        raise OptionError("no speeds to fit: expected a PROFILE, or a file with --csv")
    models = fit_all(points)
    chosen = best(models).estimator
    if json:
        console.show_json(
            {
                "source": source,
                "points": len(points),
                "best": chosen,
                "estimators": {
                    name: {
                        "parameters": model.parameters,
                        "r2": model.r2,
                        "mse": model.mse,
                        "loads": model.loads,
                    }
                    for name, model in models.items()
                },
            }
        )
        return
    console.show_table(
        f"Speed of one request over load L: {source}, {len(points):,} points",
        ["estimator", "tokens/s", "parameters", "R²", "MSE [(tokens/s)²]", ""],
        [
            [
                name,
                FORMS[name],
                ", ".join(f"{key} = {value:.6g}" for key, value in model.parameters.items()),
                f"{model.r2:.4f}",
                f"{model.mse:.4f}",
                "best" if name == chosen else "",
            ]
            for name, model in models.items()
        ],
    )


def _with_context(profile: "Profile", mean_context_tokens: int | None) -> "Profile":
    from calibrate.speed import context_matters

    if mean_context_tokens is None:
        if context_matters(profile):
            raise OptionError(
                f"{profile.name}: speeds depend on the context and the profile has no "
                "speed_points: give a request's mean context with --mean-context-tokens N"
            )
        return profile
    if not context_matters(profile):
        why = "holds speed_points" if profile.speed_points else "has no cost of context"
        raise OptionError(f"--mean-context-tokens has no effect: {profile.name} {why}")
    return replace(profile, mean_context_tokens=float(mean_context_tokens))


FORMS = {
    "usl": "A / (1 + s·L + k·L²)",
    "logistic": "A / (1 + exp(-r·(L - L0)))",
    "linear": "a + b·L",
}


def _show_facts(described: dict[str, Any]) -> None:
    overhead_s = described["engine_overhead_s"]
    facts = {
        "profile": described["name"],
        "model": described["model"].get("name") or "not named",
        "device": described["device"].get("name") or "not named",
        "method": " ".join(filter(None, (described["method"], described["date"]))),
        "discipline": described["discipline"],
        "KV cache": f"{described['kv_tokens']:,} tokens ({described['kv_source']})",
        "engine overhead": "unknown" if overhead_s is None else f"{overhead_s * 1e3:g} ms a step",
        "client overhead": f"{described['client_overhead_s'] * 1e3:g} ms a request",
        "speed points": f"{described['speed_points']:,}",
    }
    console.show(*(f"{name:16} {value}" for name, value in facts.items()))


def _yes_or_no(measured: bool | None) -> str:
    return console.MISSING if measured is None else "yes" if measured else "no"
