"""Options of one run, checked once; the names are vLLM's where vLLM has the word."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Literal, TypeGuard, get_args

from policies.protocol import PS_PER_S

if TYPE_CHECKING:
    from policies.routing import Router
    from sim.cluster.autoscale import Autoscale
    from sim.cluster.clients import Clients
    from sim.cluster.failures import Failures
    from sim.cluster.tenants import Tenants

Discipline = Literal["prefill-first", "chunked"]
GOODPUT_KEYS = ("ttft", "tpot", "e2el")
DEFAULT_MAX_NUM_SEQS = 256
MAY_BE_NONE = ("max_num_seqs", "max_model_len", "kv_tokens")
LONGEST_S = 9.0e6
"""Instants are 63-bit picoseconds: about 106 days."""


class OptionError(ValueError):
    """A run option that cannot be meant: one line with the name, the value and what is expected."""


@dataclass(frozen=True)
class RunOptions:
    """How to run a trace on a cluster.

    Attributes
    ----------
    max_num_seqs : int or None
        Largest running set; None is the policy's own, or 256.
    max_num_batched_tokens : int
        Token budget of a step.
    max_model_len : int or None
        Longer requests (prompt + output tokens) are refused.
    block_size : int
        Tokens of a KV block.
    kv_tokens : int or None
        KV capacity in tokens; None is the profile's.
    gpu_memory_utilization : float or None
        KV capacity from this share of the profile's device memory instead.
    discipline : {"prefill-first", "chunked"} or None
        How prompts and decodes share steps; None is the profile's.
    client_overhead_s : float or None
        Round trip added to TTFT and E2E; None is the profile's.
    feedback_delay_s : float
        From a completion in the engine until the policy knows of it and what it releases then is
        there: the way back and forth of a policy that stands in front of a server.  Until then the
        policy takes the request for running; 0 is a policy inside the server.
    until_s : float or None
        Stop the clock here [s of the trace]; later arrivals are not submitted.
    warmup_s : float
        Requests that arrive earlier are simulated but left out of the summary [s of the trace].
    jitter_cv : float
        Coefficient of variation of the factor on each segment's step time; 0 is none.
    goodput_ms : mapping or None
        Limits by ``ttft``, ``tpot``, ``e2el`` [ms], as in vLLM; they replace the SLA in `met`.
    prefix_caching : bool
        Keep the KV blocks of prompts and share them between requests that begin alike; needs a
        trace with `hash_ids` or sessions.
    router : str or Router
        Which replica a request goes to: as `policies.routers.make_router` takes it.
    startup_s : float
        From the decision to start a replica, or the end of its repair, until it takes requests:
        loading and warming up [s].  Replicas that are there from the start are ready at once.
    failures : Failures or None
        What goes wrong.
    clients : Clients or None
        How users behave; None sends every request once, when the trace says, and waits forever.
    autoscale : Autoscale or None
        How the number of replicas follows the load; None keeps it.
    tenants : Tenants or None
        Caps by tenant.
    timeline : bool
        Record queues, batches and KV blocks of every replica over time: `Result.timeline`.
    """

    max_num_seqs: int | None = None
    max_num_batched_tokens: int = 2048
    max_model_len: int | None = None
    block_size: int = 16
    kv_tokens: int | None = None
    gpu_memory_utilization: float | None = None
    discipline: Discipline | None = None
    client_overhead_s: float | None = None
    feedback_delay_s: float = 0.0
    until_s: float | None = None
    warmup_s: float = 0.0
    jitter_cv: float = 0.0
    goodput_ms: Mapping[str, float] | None = None
    prefix_caching: bool = False
    router: str | Router = "round-robin"
    startup_s: float = 0.0
    failures: Failures | None = None
    clients: Clients | None = None
    autoscale: Autoscale | None = None
    tenants: Tenants | None = None
    timeline: bool = False

    def __post_init__(self) -> None:
        for name in ("max_num_batched_tokens", "block_size", *MAY_BE_NONE):
            if getattr(self, name) is not None or name not in MAY_BE_NONE:
                object.__setattr__(self, name, whole_number(name, getattr(self, name), 1))
        for name in ("client_overhead_s", "feedback_delay_s", "until_s", "warmup_s", "jitter_cv"):
            value = getattr(self, name)
            if value is None and name in ("client_overhead_s", "until_s"):
                continue
            if not (is_number(value) and 0 <= value < LONGEST_S):
                raise OptionError(f"{name}={value!r}: expected a number from 0 to {LONGEST_S:g}")
        share = self.gpu_memory_utilization
        if share is not None and not (is_number(share) and 0 < share <= 1):
            raise OptionError(
                f"gpu_memory_utilization={share!r}: expected a share of the memory, above 0 and at "
                "most 1"
            )
        if self.discipline is not None and self.discipline not in get_args(Discipline):
            raise OptionError(
                f"discipline={self.discipline!r}: expected {' or '.join(get_args(Discipline))}"
            )
        if self.until_s is not None and self.until_s <= self.warmup_s:
            raise OptionError(
                f"until_s={self.until_s:g} is not after warmup_s={self.warmup_s:g}: "
                "nothing would be measured"
            )
        seconds("startup_s", self.startup_s)
        if self.goodput_ms is not None:
            _check_goodput(self.goodput_ms)


def whole_number(name: str, value: object, at_least: int) -> int:
    """Return an integer of any kind, numpy's too, as Python's own; an OptionError if it is none."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < at_least:
        raise OptionError(f"{name}={value!r}: expected a whole number of at least {at_least}")
    return int(value)


def seconds(name: str, value: object, above: float | None = None) -> float:
    """Return a time of at least 0, or above `above`; an OptionError if it is none."""
    if is_number(value) and 0 <= value <= LONGEST_S and (above is None or value > above):
        return float(value)
    wanted = "of at least 0" if above is None else f"above {above:g}"
    raise OptionError(f"{name}={value!r}: expected seconds {wanted}, up to {LONGEST_S:g}")


def is_number(value: object) -> TypeGuard[float]:
    """Return whether this is a finite number of any kind, numpy's too, and no truth value."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(float(value))


def _check_goodput(limits: Mapping[str, float]) -> None:
    if not isinstance(limits, Mapping):
        raise OptionError(f"goodput_ms={limits!r}: expected a mapping such as {{'ttft': 200}}")
    if not limits:
        raise OptionError(f"goodput_ms is empty: expected limits for {', '.join(GOODPUT_KEYS)}")
    for key, limit in limits.items():
        if key not in GOODPUT_KEYS:
            raise OptionError(f"goodput limit {key!r}: expected one of {', '.join(GOODPUT_KEYS)}")
        if not (is_number(limit) and limit > 0):
            raise OptionError(f"goodput limit {key}:{limit}: expected milliseconds above 0")


def to_ps(seconds: float) -> int:
    """Seconds to the nearest picosecond."""
    return round(seconds * PS_PER_S)


@dataclass(frozen=True)
class EngineLimits:
    """What one replica's engine may hold, resolved from options, policy and profile.

    Attributes
    ----------
    discipline : {"prefill-first", "chunked"}
        How prompts and decodes share steps.
    max_num_seqs : int
        Seats of the running set.
    max_num_batched_tokens : int
        Token budget of a step.
    blocks : int
        KV blocks.
    block_size : int
        Tokens of a block.
    watermark : int
        Blocks that admission leaves free: 1 % under prefill-first, none under chunked.
    """

    discipline: Discipline
    max_num_seqs: int
    max_num_batched_tokens: int
    blocks: int
    block_size: int

    def __post_init__(self) -> None:
        if self.discipline == "chunked" and self.max_num_batched_tokens < self.max_num_seqs:
            raise OptionError(
                f"max_num_batched_tokens={self.max_num_batched_tokens} is less than "
                f"max_num_seqs={self.max_num_seqs}: under chunked every decode takes one token of "
                "the budget; raise the one or lower the other"
            )
        if self.blocks < 1:
            raise OptionError(
                f"the KV cache holds no block of {self.block_size} tokens: raise kv_tokens"
            )

    @property
    def watermark(self) -> int:
        """Blocks that admission leaves free."""
        return self.blocks // 100 if self.discipline == "prefill-first" else 0
