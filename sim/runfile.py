"""A run on disk: one Parquet file with a row per request and, in its metadata, all the rest."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.protocol import PS_PER_S
from sim.console import plain
from sim.options import OptionError, to_ps
from sim.timeline import Timeline
from sim.tokens import TokenCounts, scrapes_ps, token_counts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from calibrate.profile import Profile
    from sim.result import Result

KEY = b"sabersim.run"
FORMAT = 1


@dataclass(frozen=True, eq=False)
class Run:
    """A run as it was written.

    Attributes
    ----------
    name : str
        Stem of the file's name.
    requests : DataFrame
        `Result.requests`: a row per submitted request.
    summary : mapping
        `Result.summary`.
    groups : mapping
        By "task", "tenant" and "replica": `sim.breakdown.breakdown`.
    policy : str
        Canonical text of the policy.
    seed : int
        As given to `simulate`.
    configuration : mapping
        What was asked for, in JSON's types: ``trace``, ``options``, and what the writer added.
    provenance : mapping of str to str
        Versions of what produced it.
    fleet : tuple of (Profile, int, float or None)
        Kinds of replicas: profile, count, price an hour; replicas are numbered kind by kind.
    reasons : mapping of int to str
        Why requests were refused, by id.
    gone_s : mapping of int to float
        When requests were over that did not finish, by id [s of the trace]; those that were still
        there at the end of the run have no such instant.
    timeline : Timeline or None
        The replicas over time, if it was recorded.
    tokens : TokenCounts or None
        Inter-token gaps of each replica in buckets, over time if there is a timeline.
    prefix_tokens : tuple of (int, int)
        For each replica prompt tokens looked up in its prefix cache, and found there.
    """

    name: str
    requests: pd.DataFrame
    summary: Mapping[str, Any]
    groups: Mapping[str, Mapping[str, Any]]
    policy: str
    seed: int
    configuration: Mapping[str, Any]
    provenance: Mapping[str, str]
    fleet: tuple[tuple[Profile, int, float | None], ...]
    reasons: Mapping[int, str]
    gone_s: Mapping[int, float]
    timeline: Timeline | None
    tokens: TokenCounts | None = None
    prefix_tokens: tuple[tuple[int, int], ...] = ()

    @property
    def label(self) -> str:
        """What it is called where several are shown."""
        return f"{self.name} ({self.policy})"

    @property
    def warmup_s(self) -> float:
        """Requests that arrived earlier are in no summary [s]."""
        return float(self.configuration["options"]["warmup_s"])

    def unloaded_s(self) -> NDArray[np.float64]:
        """Return how long each request would take alone on an idle replica of its kind [s].

        Of those that were sent nowhere, on the first kind.
        """
        from calibrate.unloaded import unloaded_s

        options = self.configuration["options"]
        kinds = np.repeat(np.arange(len(self.fleet)), [count for _, count, _ in self.fleet])
        kind = kinds[np.maximum(self.requests["replica"].to_numpy(), 0)]
        found = np.zeros(len(self.requests))
        for index, (profile, _, _) in enumerate(self.fleet):
            mine = kind == index
            overhead_s = options["client_overhead_s"]
            found[mine] = unloaded_s(
                profile.cost,
                options["discipline"] or profile.discipline,
                self.requests["prompt_tokens"].to_numpy()[mine],
                self.requests["output_tokens"].to_numpy()[mine],
                options["max_num_batched_tokens"],
                profile.client_overhead_s if overhead_s is None else overhead_s,
            )
        return found


def run_of(
    result: Result, configuration: Mapping[str, Any] | None = None, name: str = "run"
) -> Run:
    """Return a result as the run that a file would hold.

    Parameters
    ----------
    result : Result
    configuration : mapping, optional
        What was asked for besides the run's options, in JSON's types.
    name : str
        What it is called where several are shown.
    """
    from sim.breakdown import LABELS, breakdown
    from sim.described import described

    timeline, accounts = result.timeline, result.accounts
    end_ps = max(
        max(result.ledger.finished_ps, default=0),
        *(max(account.busy_ps, default=0) for account in accounts),
        0,
    )
    start_ps, interval_ps = 0, None
    if timeline is not None:
        start_ps, interval_ps = to_ps(timeline.start_s), to_ps(timeline.interval_s)
    return Run(
        name=name,
        requests=result.requests,
        summary=plain(result.summary()),
        groups=plain({label: breakdown(result, label) for label in LABELS}),
        policy=result.policy,
        seed=result.seed,
        configuration=plain({**(configuration or {}), "options": described(result.options)}),
        provenance=provenance(),
        fleet=tuple((kind.profile, kind.count, kind.price_per_h) for kind in result.fleet),
        reasons=dict(result.ledger.reason),
        gone_s={request: ps / PS_PER_S for request, ps in result.ledger.gone_ps.items()},
        timeline=timeline,
        tokens=token_counts(accounts, scrapes_ps(end_ps, interval_ps, len(accounts), start_ps)),
        prefix_tokens=tuple(
            (account.prefix_query_tokens, account.prefix_hit_tokens) for account in accounts
        ),
    )


def write_run(run: Run, path: Path) -> None:
    """Write a run to a ``.parquet`` file; the same run gives the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    about = {
        "format": FORMAT,
        "policy": run.policy,
        "seed": run.seed,
        "configuration": run.configuration,
        "provenance": run.provenance,
        "fleet": [[profile.to_dict(), count, price] for profile, count, price in run.fleet],
        "summary": run.summary,
        "groups": run.groups,
        "reasons": run.reasons,
        "gone_s": run.gone_s,
        "timeline": None if run.timeline is None else run.timeline.to_dict(),
        "tokens": None if run.tokens is None else run.tokens.to_dict(),
        "prefix_tokens": run.prefix_tokens,
    }
    table = pa.Table.from_pandas(run.requests, preserve_index=False)
    text = json.dumps(plain(about), separators=(",", ":"), allow_nan=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), KEY: text.encode()})
    pq.write_table(table, path)


def read_run(path: Path) -> Run:
    """Return the run in a file.

    Raises
    ------
    OptionError
        In one line, if it is not a file that `saber run --out` wrote.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from calibrate.profile import Profile

    expected = "expected a run written by saber run --out RUN.parquet"
    if not path.is_file():
        raise OptionError(f"{path}: there is no such file; {expected}")
    try:
        table = pq.read_table(path)
        about = json.loads((table.schema.metadata or {})[KEY])
        if about["format"] != FORMAT:
            raise OptionError(
                f"{path}: a run in format {about['format']}, expected {FORMAT}: run it again"
            )
        return Run(
            name=path.stem,
            requests=table.to_pandas(),
            summary=about["summary"],
            groups=about["groups"],
            policy=about["policy"],
            seed=about["seed"],
            configuration=about["configuration"],
            provenance=about["provenance"],
            fleet=tuple((Profile.from_dict(p), count, price) for p, count, price in about["fleet"]),
            reasons={int(request): reason for request, reason in about["reasons"].items()},
            gone_s={int(request): float(s) for request, s in about["gone_s"].items()},
            timeline=None if about["timeline"] is None else Timeline.from_dict(about["timeline"]),
            tokens=None if about["tokens"] is None else TokenCounts.from_dict(about["tokens"]),
            prefix_tokens=tuple((looked, found) for looked, found in about["prefix_tokens"]),
        )
    except (pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        if isinstance(error, OptionError):
            raise
        raise OptionError(f"{path}: this is no run; {expected}") from None


def provenance() -> dict[str, str]:
    """Return the versions of what runs here."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        ours = version("sabersim")
    except PackageNotFoundError:
        ours = "run from its source"
    return {"sabersim": ours, "Python": platform.python_version(), "NumPy": np.__version__}
