"""From others' results to a profile, with what it can and cannot say."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from calibrate.fit import fit_cost, fit_warnings
from calibrate.imported import account
from calibrate.imported.estimate import Estimate, estimate, tell_contexts_apart
from calibrate.imported.prompts import LEAST_SAMPLES
from calibrate.imported.speeds import most_tokens_held, speed_points
from calibrate.profile import DISCIPLINES, Profile
from calibrate.schema import ProfileError, integer, one_of
from calibrate.steps import Measurement, Step
from calibrate.steptime import PiecewiseLinear

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from calibrate.imported.result import Imported

ASSUMED_KV_TOKENS = 1_000_000
ADVICE = (
    "run for example `vllm bench serve --save-result --save-detailed` with --max-concurrency 1 and "
    "--random-input-len 16, then 512, then 2048, and with --max-concurrency 16 and 512 and 2048, "
    "each with --ignore-eos, --random-output-len 128 and a --seed of its own, and give all of them"
)


@dataclass(frozen=True)
class ImportOptions:
    """How imported runs become a profile.

    Parameters
    ----------
    model : str, optional
        What the model is called; as the files say when left out.
    discipline : str
        Of the engine: files do not say.
    kv_tokens : int, optional
        What its KV cache holds; assumed never to be full when left out.
    seed : int
        Of the bootstrap.
    """

    model: str | None = None
    discipline: str = "chunked"
    kv_tokens: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        one_of("--discipline", self.discipline, DISCIPLINES)
        if self.kv_tokens is not None:
            integer("--kv-tokens", self.kv_tokens, at_least=1)


def imported_profile(runs: Sequence[Imported], options: ImportOptions) -> Profile:
    """Return the profile that runs of one model on one server give.

    Raises
    ------
    ProfileError
        When they do not determine a cost: what is there, what is not, and which runs would.
    """
    model = _model(runs, options.model)
    found = estimate(runs, options.discipline)
    _refuse_too_little(found, runs)
    apart = tell_contexts_apart(found.decodes)
    decodes = found.decodes if apart else _contexts_taken_together(found.decodes)
    fit = fit_cost(
        [*found.prefills, *(decodes if apart else _flat(decodes))],
        engine_overhead_s=0.0,
        rng=np.random.default_rng(options.seed),
    )
    # What rounding leaves of a cost that the fit was told not to find.
    cost = fit.cost if apart else replace(fit.cost, decode_context=PiecewiseLinear((1.0,), (0.0,)))
    overhead_s = found.client_overhead_s
    held = most_tokens_held(runs)
    return Profile(
        name=f"{_slug(model)}-imported",
        method="imported",
        date=max((run.date for run in runs), default="") or date.today().isoformat(),
        model={"name": model},
        software={"tools": sorted({f"{run.tool} {run.version}".strip() for run in runs})},
        provenance={
            "measured_by": "saber calibrate imported",
            "files": [account.entry(run) for run in runs],
            "decode_steps": {name: list(batches) for name, batches in found.sources.items()},
            "estimators": account.estimators(found),
            "held_out_rows": fit.held_out_rows,
            "seed": options.seed,
            "warnings": [*account.warnings(runs, found, apart=apart), *fit_warnings(fit)],
        },
        sources=account.sources(found, options.discipline, apart=apart),
        discipline=options.discipline,
        kv_tokens=options.kv_tokens or max(ASSUMED_KV_TOKENS, 4 * held),
        kv_source=(
            "given with --kv-tokens"
            if options.kv_tokens
            else f"assumed never to be full: no file says; up to about {held:,} tokens were in use"
        ),
        client_overhead_s=overhead_s or 0.0,
        cost=cost,
        speed_points=speed_points(runs) or None,
        fit={"held_out": fit.held_out, "in_sample": fit.in_sample},
        intervals=fit.intervals if apart else {},
        raw=tuple(m.to_raw() for m in (*found.prefills, *decodes)),
        measured_batch=_range(m.step.batch for m in decodes),
        measured_prefill_tokens=_range(m.step.prompt_tokens for m in found.prefills),
        measured_context_tokens=_range(
            (*(m.step.context_tokens for m in decodes),
             *(m.step.prompt_tokens for m in found.prefills))
        ),
    )  # fmt: skip


def _model(runs: Sequence[Imported], given: str | None) -> str:
    if given is not None:
        return given
    names = sorted({run.model for run in runs if run.model})
    if not names:
        raise ProfileError("the files do not say which model it was: expected --model NAME")
    if len(names) > 1:
        raise ProfileError(
            f"the files are of the models {', '.join(names)}: expected those of one, or --model "
            "NAME if these are names of the same"
        )
    return names[0]


def _refuse_too_little(found: Estimate, runs: Sequence[Imported]) -> None:
    """Raise ProfileError where no cost follows; names what is there and which runs are not."""
    lengths = [m.step.prompt_tokens for m in found.prefills]
    batches = sorted({m.step.batch for m in found.decodes})
    problems = []
    if len(lengths) < 2:
        problems.append(
            f"prompts of {len(lengths)} length(s) {lengths} were alone on the server "
            f"{LEAST_SAMPLES} times or more, expected 2 lengths for the cost of a prefill"
        )
    if len(batches) < 2:
        problems.append(
            f"decode steps of {len(batches)} batch size(s) {batches} could be told, expected 2 for "
            "their cost"
        )
    if problems:
        unused = [f"{run.source}: {'; '.join(run.notes)}" for run in runs if run.notes]
        told = f" (of {' | '.join(unused)})" if unused else ""
        raise ProfileError(f"{'; '.join(problems)}{told}: {ADVICE}")


def _contexts_taken_together(decodes: Sequence[Measurement]) -> tuple[Measurement, ...]:
    by_batch: dict[int, list[Measurement]] = defaultdict(list)
    for measurement in decodes:
        by_batch[measurement.step.batch].append(measurement)
    return tuple(
        Measurement(
            Step(
                batch=batch,
                context_tokens=round(float(np.median([m.step.context_tokens for m in own]))),
            ),
            tuple(sample for m in own for sample in m.samples_s),
        )
        for batch, own in by_batch.items()
    )


def _flat(decodes: Sequence[Measurement]) -> list[Measurement]:
    """Return every step at two contexts: the fit then finds that a context costs nothing."""
    return [
        replace(m, step=replace(m.step, context_tokens=m.step.context_tokens + more))
        for m in decodes
        for more in (0, m.step.context_tokens)
    ]


def _range(sizes: Iterable[int]) -> tuple[int, int]:
    found = list(sizes)
    return min(found), max(found)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.rsplit("/", 1)[-1].lower()).strip("-.") or "model"
