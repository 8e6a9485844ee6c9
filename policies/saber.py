"""SABER: admit a request only when everyone is predicted to meet their SLA.

S. Chang et al., "Adaptive Request Scheduling for CodeLLM Serving with SLA Guarantees", arXiv
2506.19677, Algorithm 1.  The offline phase fits the speed of a request against the number of
requests in the engine (`calibrate.speed`); the online phase, here, compares the predicted speed
with the speed each request requires.
"""

from __future__ import annotations

from dataclasses import dataclass
from sys import float_info
from typing import TYPE_CHECKING, Literal, get_args

from calibrate.speed import speed_model
from policies.protocol import PS_PER_S, PolicyError
from policies.saber_events import EventSaber
from policies.saber_polling import PollingRules, PollingSaber
from policies.saber_terms import LowPriority
from policies.text import call_text

if TYPE_CHECKING:
    import numpy as np

    from calibrate.profile import Profile
    from policies.protocol import Decider

Estimator = Literal["usl", "logistic", "linear"]
Variant = Literal["paper", "artifact"]

ARTIFACT_INTERVAL_S = 0.1
LONGEST_INTERVAL_S = 1e6
LEAST_SPEED_LIMIT = 1e-6
DEFAULT_WINDOW = 20
SPEED_TABLE = 4096
"""Loads whose speed is looked up; beyond them the last one holds."""


@dataclass(frozen=True)
class Saber:
    """The parameters of SABER.

    Attributes
    ----------
    estimator : {"usl", "logistic", "linear"}
        Curve of speed over load fitted to the profile.
    variant : {"paper", "artifact"}
        The algorithm as the paper states it, or what the replication package does where it
        differs: predicts with 2L + 1, L counting only requests released from the high-priority
        queue; polls every 0.1 s, one request a poll; demotes every tenth poll.
    lpq : {"one", "all", "idle"}
        What the low-priority queue may release while the high-priority queue is empty: one request
        an evaluation, all of them, or one and only into an idle engine.  The paper does not say.
    interval : float or None
        Seconds between polls, each of which draws one request; None evaluates at every arrival,
        completion and demotion instead, the limit of ever shorter intervals (but for lpq="one":
        polls then release best-effort requests more often).
    window : int or None
        A poll draws from this many requests at the head of the queue (20 when None); only with
        polling.
    speed_limit : float or None
        Fastest speed one request can reach [tokens/s]; None is the predicted speed at load 1.  The
        paper's runs used 100.
    """

    estimator: Estimator = "usl"
    variant: Variant = "paper"
    lpq: LowPriority = "one"
    interval: float | None = None
    window: int | None = None
    speed_limit: float | None = None

    def __post_init__(self) -> None:
        for name, allowed in (
            ("estimator", get_args(Estimator)),
            ("variant", get_args(Variant)),
            ("lpq", get_args(LowPriority)),
        ):
            if getattr(self, name) not in allowed:
                raise PolicyError(
                    f"saber: {name}={getattr(self, name)!r}: expected {', '.join(allowed)}"
                )
        for name in ("interval", "speed_limit"):
            value = getattr(self, name)
            if value is not None and (
                isinstance(value, bool)
                or not isinstance(value, int | float)
                or not 0 < value <= float_info.max
            ):
                raise PolicyError(f"saber: {name}={value!r}: expected a number above 0")
        if self.interval is not None and not 1e-12 <= self.interval <= LONGEST_INTERVAL_S:
            raise PolicyError(
                f"saber: interval={self.interval!r}: expected 1e-12 to {LONGEST_INTERVAL_S:g} s"
            )
        if self.speed_limit is not None and self.speed_limit < LEAST_SPEED_LIMIT:
            raise PolicyError(
                f"saber: speed_limit={self.speed_limit!r}: expected at least "
                f"{LEAST_SPEED_LIMIT:g} tokens/s"
            )
        if self.window is not None:
            if isinstance(self.window, bool) or not isinstance(self.window, int) or self.window < 1:
                raise PolicyError(
                    f"saber: window={self.window!r}: expected a whole number of at least 1"
                )
            if not self.polls:
                raise PolicyError(
                    f"saber: window={self.window} has no effect without interval=: "
                    "event-driven SABER considers the whole queue"
                )
        if self.variant == "artifact" and self.lpq != "one":
            raise PolicyError(
                f"saber: lpq={self.lpq} has no effect with variant=artifact, which releases one "
                "request a poll"
            )

    @property
    def polls(self) -> bool:
        """Whether requests are drawn at fixed intervals rather than at events."""
        return self.interval is not None or self.variant == "artifact"

    @property
    def label(self) -> str:
        """Canonical text of this policy: the parameters that differ from the defaults."""
        return call_text("saber", self)

    def start(self, rng: np.random.Generator, profile: Profile) -> Decider:
        """Return a decider whose speed curve is fitted to `profile`."""
        speeds = speed_model(profile, self.estimator).table(SPEED_TABLE)
        limit = speeds[1] if self.speed_limit is None else float(self.speed_limit)
        if limit <= 0:
            raise PolicyError(
                f"saber: the {self.estimator} curve of profile {profile.name} predicts no speed "
                "at load 1: choose another estimator or give speed_limit="
            )
        if not self.polls:
            return EventSaber(speeds, limit, self.lpq, rng)
        artifact = self.variant == "artifact"
        interval_s = ARTIFACT_INTERVAL_S if self.interval is None else self.interval
        rules = PollingRules(
            interval_ps=round(interval_s * PS_PER_S),
            window=DEFAULT_WINDOW if self.window is None else self.window,
            lpq=self.lpq,
            count_low_priority=not artifact,
            load_factor=2 if artifact else 1,
            demote_every=10 if artifact else 1,
        )
        return PollingSaber(speeds, limit, rules, rng)
