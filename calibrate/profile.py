"""A profile: what an engine's steps cost on one device for one model, and how well it is known."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calibrate.quality import (
    INTERVAL_LEVEL_PCT,
    FitError,
    Intervals,
    checked_intervals,
    over_limit,
    read_fit,
    read_intervals,
)
from calibrate.schema import (
    Pairs,
    ProfileError,
    block,
    free_block,
    integer,
    iso_date,
    json_text,
    number,
    one_of,
    pairs,
    plain,
    sequence,
    text,
    token_range,
    wrong,
)
from calibrate.steptime import StepCost
from calibrate.unloaded import unloaded_s

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

__all__ = ["FitError", "Profile", "ProfileError"]

SCHEMA_VERSION = 1
METHODS = ("published-fit", "torch", "endpoint", "imported", "roofline", "simulated")
DISCIPLINES = ("prefill-first", "chunked")
MEASURED = ("batch", "prefill_tokens", "context_tokens")
_REQUIRED = ("schema_version", "name", "method", "discipline", "kv_tokens", "kv_source",
             "engine_overhead_s", "cost")  # fmt: skip
_FREE = ("model", "device", "software", "provenance")
_OPTIONAL = (*_FREE, "date", "sources", "engine_overhead_request_s", "client_overhead_s",
             "measured", "fit", "intervals", "speed_points", "raw")  # fmt: skip

Range = tuple[int, int]


@dataclass(frozen=True)
class Profile:
    """The cost model of one engine on one device for one model.

    Parameters
    ----------
    name : str
    method : str
        How the numbers were found, one of `METHODS`.
    cost : StepCost
        Seconds of one engine step.
    kv_tokens : int
        Tokens the KV cache holds.
    kv_source : str
        How that was found; a text that begins with "assumed" marks an assumption.
    discipline : str
        How the engine forms its steps: "prefill-first" or "chunked".
    client_overhead_s : float
        Seconds between client and engine, added once to every request's latency.
    speed_points : tuple of (load, tokens_per_s), optional
        Generation speed of one request while `load` run together, as measured: the data of
        SABER's estimators, never step times (they include the stalls of other prompts).
    measured_batch, measured_prefill_tokens, measured_context_tokens : (low, high), optional
        What the numbers cover: sequences in a decode step, prompt tokens in a prefill step,
        context tokens of one sequence.
    mean_context_tokens : float, optional
        A sequence's mean context over its decode steps in the trace at hand. A hint for speeds
        derived from step costs; not part of the file.
    date : str
        ISO date of the measurement or the fit; may be empty.
    model, device, software, provenance : mapping
        Free-form JSON objects.
    sources : mapping of str to str
        For a number (by its place in the file, as "cost.decode.step_s") where it came from.
    fit : mapping
        `fit["held_out" | "in_sample"][region]` is a `FitError`; regions are the kinds of steps,
        `calibrate.steps.KINDS`.
    intervals : mapping
        `intervals["cost.decode.step_s"]`, and so on for the other tables of the cost, has a 95 %
        interval (low, high) for each number of that table; may be empty.
    raw : tuple of mapping
        The raw measurements, one JSON object for each point of the grid; may be empty.

    Raises
    ------
    ProfileError
        With the place in the file, the value, and what was expected.
    """

    name: str
    method: str
    cost: StepCost
    kv_tokens: int
    kv_source: str
    discipline: str
    client_overhead_s: float = 0.0
    speed_points: Pairs | None = None
    measured_batch: Range | None = None
    measured_prefill_tokens: Range | None = None
    measured_context_tokens: Range | None = None
    mean_context_tokens: float | None = None
    date: str = ""
    # The hash leaves out what cannot be hashed; equality compares it all the same.
    model: Mapping[str, Any] = field(default_factory=dict, hash=False)
    device: Mapping[str, Any] = field(default_factory=dict, hash=False)
    software: Mapping[str, Any] = field(default_factory=dict, hash=False)
    provenance: Mapping[str, Any] = field(default_factory=dict, hash=False)
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)
    fit: Mapping[str, Mapping[str, FitError]] = field(default_factory=dict, hash=False)
    intervals: Intervals = field(default_factory=dict, hash=False)
    raw: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)

    def __post_init__(self) -> None:
        text("name", self.name)
        one_of("method", self.method, METHODS)
        one_of("discipline", self.discipline, DISCIPLINES)
        integer("kv_tokens", self.kv_tokens, at_least=1)
        text("kv_source", self.kv_source)
        number("client_overhead_s", self.client_overhead_s, at_least=0)
        if self.mean_context_tokens is not None:
            number("mean_context_tokens", self.mean_context_tokens, at_least=0)
        if self.speed_points is not None:
            pairs("speed_points", self.speed_points)
            if not self.speed_points:
                raise wrong("speed_points", self.speed_points, "points, or no such key")
        for key in MEASURED:
            if getattr(self, f"measured_{key}") is not None:
                token_range(f"measured.{key}", getattr(self, f"measured_{key}"))
        if self.date:
            iso_date("date", self.date)
        for key in _FREE:
            free_block(key, getattr(self, key))
        for key, value in (
            ("model.name", self.model.get("name")),
            ("model.dtype", self.model.get("dtype")),
            ("device.name", self.device.get("name")),
        ):
            if value is not None:
                text(key, value)
        for key, source in free_block("sources", self.sources).items():
            text(f"sources.{key}", source)
        checked_intervals(self.intervals, self.cost)

    @property
    def engine_overhead_s(self) -> float | None:
        """Seconds the serving engine adds to every step; None = unknown ("kernel-only")."""
        return self.cost.engine_overhead_s

    @property
    def engine_overhead_request_s(self) -> float:
        """Seconds the serving engine adds to a step for each sequence that it decodes."""
        return self.cost.engine_overhead_request_s

    @property
    def caveats(self) -> tuple[str, ...]:
        """The warnings that every result made with this profile carries."""
        found = []
        if self.method == "roofline":
            found.append(
                "roofline: the step costs are an optimistic bound from published peaks that nobody "
                "measured: real steps take longer"
            )
        if self.method == "simulated":
            found.append("simulated: the step costs come from a simulation, not from hardware")
        if self.engine_overhead_s is None:
            found.append("kernel-only: the serving engine's own time per step is not included")
        if self.kv_source.startswith("assumed"):
            found.append(f"the KV capacity of {self.kv_tokens} tokens is assumed, not measured")
        errors = over_limit(self.fit.get("held_out", {}))
        if errors:
            listed = ", ".join(f"{error:.1f} % in {region}" for region, error in errors.items())
            found.append(
                f"the held-out error of the fit is {listed}: step times are that uncertain"
            )
        return tuple(found)

    def unloaded_s(
        self,
        prompt_tokens: ArrayLike,
        output_tokens: ArrayLike,
        max_num_batched_tokens: int = 2048,
    ) -> NDArray[np.float64]:
        """Return the end-to-end seconds of a request that is alone on an idle engine.

        `calibrate.unloaded.unloaded_s` with this profile's cost, discipline and client overhead.
        """
        return unloaded_s(
            self.cost,
            self.discipline,
            prompt_tokens,
            output_tokens,
            max_num_batched_tokens,
            self.client_overhead_s,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the profile as JSON values; `from_dict` makes an equal profile of them."""
        data: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
        data |= {"name": self.name, "method": self.method, "date": self.date}
        data |= {key: dict(getattr(self, key)) for key in (*_FREE, "sources")}
        data |= {"discipline": self.discipline, "kv_tokens": self.kv_tokens}
        data |= {"kv_source": self.kv_source, "engine_overhead_s": self.engine_overhead_s}
        if self.engine_overhead_request_s:
            data["engine_overhead_request_s"] = self.engine_overhead_request_s
        data |= {"client_overhead_s": self.client_overhead_s, "cost": self.cost.to_dict()}
        data["fit"] = {
            sample: {region: asdict(error) for region, error in regions.items()}
            for sample, regions in self.fit.items()
        }
        if self.intervals:
            tables = {table: [list(pair) for pair in v] for table, v in self.intervals.items()}
            data["intervals"] = {"level_pct": INTERVAL_LEVEL_PCT, **tables}
        ranges = {key: getattr(self, f"measured_{key}") for key in MEASURED}
        data["measured"] = {key: list(value) for key, value in ranges.items() if value}
        if self.speed_points is not None:
            data["speed_points"] = [[plain(load), speed] for load, speed in self.speed_points]
        data["raw"] = [dict(point) for point in self.raw]
        return data

    @classmethod
    def from_dict(cls, data: object, where: str = "profile") -> Profile:
        """Return the profile in JSON values `data`.

        Raises
        ------
        ProfileError
            `where`, the place in the data, the value, and what was expected, in one line.
        """
        try:
            return _from_dict(data)
        except ProfileError as error:
            raise ProfileError(f"{where}: {error}") from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the profile as a JSON file; ProfileError when that is not possible.

        A file that is there already stays as it is until the new one is whole.
        """
        target = Path(path).resolve()
        is_new = target.is_file() or not target.exists()  # and no pipe or device
        beside = target.with_name(f"{target.name}.{os.getpid()}") if is_new else target
        try:
            beside.write_text(json_text(self.to_dict()) + "\n", encoding="utf-8")
            if is_new:
                beside.replace(target)
        except (OSError, TypeError, ValueError) as error:
            if is_new:
                with suppress(OSError):
                    beside.unlink()
            reason = error.strerror if isinstance(error, OSError) else error
            raise ProfileError(f"{os.fspath(path)}: cannot save the profile: {reason}") from None


def _from_dict(data: object) -> Profile:
    # The version first: a newer file may well have keys that are unknown here.
    if isinstance(data, dict) and "schema_version" in data:
        version = integer("schema_version", data["schema_version"], at_least=1)
        if version > SCHEMA_VERSION:
            raise ProfileError(
                f"schema_version is {version}, this version of sabersim reads "
                f"{SCHEMA_VERSION}: update sabersim"
            )
    top = block("", data, required=_REQUIRED, optional=_OPTIONAL)
    overhead_s = top["engine_overhead_s"]
    if overhead_s is not None:
        overhead_s = number("engine_overhead_s", overhead_s, at_least=0)
    measured = block("measured", top.get("measured", {}), optional=MEASURED)
    ranges = {key: token_range(f"measured.{key}", value) for key, value in measured.items()}
    raw = sequence("raw", top.get("raw", []), "a list of JSON objects")
    points = top.get("speed_points")
    cost = StepCost.from_dict(
        top["cost"],
        overhead_s,
        number("engine_overhead_request_s", top.get("engine_overhead_request_s", 0.0), at_least=0),
    )
    return Profile(
        name=top["name"],
        method=top["method"],
        cost=cost,
        kv_tokens=top["kv_tokens"],
        kv_source=top["kv_source"],
        discipline=top["discipline"],
        client_overhead_s=number(
            "client_overhead_s", top.get("client_overhead_s", 0.0), at_least=0
        ),
        speed_points=None if points is None else pairs("speed_points", points),
        date=top.get("date", ""),
        fit=read_fit(top.get("fit", {})),
        intervals=read_intervals(top["intervals"], cost) if "intervals" in top else {},
        raw=tuple(free_block(f"raw[{i}]", point) for i, point in enumerate(raw)),
        measured_batch=ranges.get("batch"),
        measured_prefill_tokens=ranges.get("prefill_tokens"),
        measured_context_tokens=ranges.get("context_tokens"),
        **{key: top.get(key, {}) for key in (*_FREE, "sources")},
    )
