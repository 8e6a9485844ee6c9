"""What `calibrate endpoint` is asked to do, checked before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from calibrate.endpoint.client import APIS, address_of
from calibrate.endpoint.plan import FLOOR_REQUESTS
from calibrate.profile import DISCIPLINES
from calibrate.schema import ProfileError, integer, number, one_of, text

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_LEVEL = 1024


@dataclass(frozen=True)
class EndpointOptions:
    """Which server to measure, how much, and what is known of it.

    Parameters
    ----------
    url, model : str
        Its base address, and the name of a model that it serves.
    api : str
        "completions" or "chat".
    key : str
        Sent as a bearer token.
    max_requests : int
        Requests for tokens that are sent at most, by all runs that share a partial file.
    budget_s : float
        Nothing is sent after so many seconds.
    out : Path, optional
        The profile's file; named after the model when left out.
    resume : bool
        Go on with what an earlier run left.
    discipline : str, optional
        "chunked" or "prefill-first"; found out when left out.
    levels : tuple of int, optional
        How many requests run together; doubling from 1 when left out.
    max_num_seqs, max_num_batched_tokens : int, optional
        The server's settings; found out when left out.
    kv_tokens : int, optional
        What its KV cache holds; asked of its metrics when left out.
    device_name : str
        What it runs on.
    seed : int
        For the prompts and the bootstrap.

    Raises
    ------
    ProfileError
        For options that are wrong or contradict each other.
    """

    url: str
    model: str
    api: str = "completions"
    key: str = field(default="", repr=False)
    max_requests: int = 1000
    budget_s: float = 600.0
    out: Path | None = None
    resume: bool = False
    discipline: str | None = None
    levels: tuple[int, ...] | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    kv_tokens: int | None = None
    device_name: str = "unknown"
    seed: int = 0

    def __post_init__(self) -> None:
        address_of(self.url)
        text("--model", self.model)
        text("--device-name", self.device_name)
        one_of("--api", self.api, tuple(APIS))
        integer("--max-requests", self.max_requests, at_least=1)
        if self.max_requests < FLOOR_REQUESTS:
            raise ProfileError(
                f"--max-requests {self.max_requests} is too few for a profile: expected at least "
                f"{FLOOR_REQUESTS}, better some hundreds"
            )
        number("--budget", self.budget_s, above=0)
        if self.discipline is not None:
            one_of("--discipline", self.discipline, DISCIPLINES)
        for name in ("max_num_seqs", "max_num_batched_tokens", "kv_tokens"):
            if getattr(self, name) is not None:
                integer(f"--{name.replace('_', '-')}", getattr(self, name), at_least=1)
        if self.max_num_batched_tokens is not None and self.discipline == "prefill-first":
            raise ProfileError(
                "--max-num-batched-tokens has no effect with --discipline prefill-first: prompts "
                "are not cut; leave it out"
            )
        if self.max_num_seqs == 1:
            raise ProfileError(
                "--max-num-seqs 1: a cost is fitted to at least two requests together; such a "
                "server cannot be measured this way"
            )
        self._check_levels()
        integer("--seed", self.seed, at_least=0)

    def _check_levels(self) -> None:
        if self.levels is None:
            return
        rising = sorted(set(self.levels))
        if list(self.levels) != rising or not rising or rising[0] < 1 or rising[-1] < 2:
            shown = ",".join(map(str, self.levels))
            raise ProfileError(
                f"--levels {shown}: expected rising whole numbers from 1 on, at least one of them "
                "over 1, such as 1,2,4,8"
            )
        if rising[-1] > LARGEST_LEVEL:
            raise ProfileError(f"--levels {rising[-1]}: expected at most {LARGEST_LEVEL} at once")
        if self.max_num_seqs is not None and rising[-1] > self.max_num_seqs:
            raise ProfileError(
                f"--levels {rising[-1]} is more than --max-num-seqs {self.max_num_seqs}: more "
                "requests do not run together"
            )
