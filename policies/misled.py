"""A policy that is told otherwise than what is true, to see how much it leans on being told.

What the engine does stays true: only what the policy's decider is shown and started with changes.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from math import log1p
from typing import TYPE_CHECKING

import numpy as np

from calibrate.steptime import PiecewiseLinear, StepCost
from policies.parameters import check_number, check_whole
from policies.protocol import PolicyError

if TYPE_CHECKING:
    from calibrate.profile import Profile
    from policies.protocol import Choice, Decider, Pending, Policy, View


@dataclass(frozen=True)
class Misled:
    """Starts `policy` on a wrong profile, or shows it wrong lengths, or both.

    Attributes
    ----------
    policy : Policy
        Who decides.
    length_cv : float
        `max_tokens` is shown times a log-normal factor of mean 1 with this coefficient of
        variation, one for each request and drawn apart from the policy's own choices: what a noisy
        prediction of the length would be.  0 is none.
    assumed_tokens : int
        Every request is shown with this `max_tokens`, as if nothing were known of its length.
        0 leaves it.  Not together with `length_cv`.
    slowness : float
        The profile shown takes so many times as long for every step; its measured speeds are as
        many times lower.
    profile : Profile or None
        A profile shown in place of the true one; it keeps the mean context of the trace.

    Notes
    -----
    What the engine does is seen as it is: a request may generate more tokens than were shown.
    """

    policy: Policy
    length_cv: float = 0.0
    assumed_tokens: int = 0
    slowness: float = 1.0
    profile: Profile | None = None

    def __post_init__(self) -> None:
        check_number("misled", "length_cv", self.length_cv, at_least=0)
        check_whole("misled", "assumed_tokens", self.assumed_tokens, 0)
        check_number("misled", "slowness", self.slowness, above=0)
        if self.length_cv and self.assumed_tokens:
            raise PolicyError(
                f"misled: length_cv={self.length_cv:g} beside assumed_tokens="
                f"{self.assumed_tokens}: expected one of the two"
            )

    @property
    def label(self) -> str:
        """The policy's label and what it is told; not to be typed on a command line."""
        told = []
        if self.length_cv:
            told.append(f"length_cv={self.length_cv:g}")
        if self.assumed_tokens:
            told.append(f"assumed_tokens={self.assumed_tokens}")
        if self.slowness != 1:
            told.append(f"slowness={self.slowness:g}")
        if self.profile is not None:
            told.append(f"profile={self.profile.name}")
        return f"{self.policy.label}, misled({', '.join(told)})"

    @property
    def max_num_seqs(self) -> int | None:
        """The batch size the policy sets, if it sets one: the engine's, which stays true."""
        return getattr(self.policy, "max_num_seqs", None)

    def start(self, rng: np.random.Generator, profile: Profile) -> Decider:
        """Return the policy's decider with a wrong idea of the engine, of lengths, or of both."""
        shown = profile
        if self.profile is not None:
            shown = replace(self.profile, mean_context_tokens=profile.mean_context_tokens)
        if self.slowness != 1:
            shown = slowed(shown, self.slowness)
        if not self.length_cv and not self.assumed_tokens:
            return self.policy.start(rng, shown)
        # Spawned: the policy's own draws are those it makes when it is told the truth.
        [own] = rng.spawn(1)
        return _Misled(self.policy.start(rng, shown), self, int(own.integers(2**62)))


def slowed(profile: Profile, factor: float) -> Profile:
    """Return the profile of an engine each of whose steps takes `factor` times as long."""
    cost = profile.cost

    def times(table: PiecewiseLinear) -> PiecewiseLinear:
        return PiecewiseLinear(table.x, tuple(y * factor for y in table.y))

    known = cost.engine_overhead_s is not None
    points = profile.speed_points
    return replace(
        profile,
        cost=StepCost(
            decode_fixed=times(cost.decode_fixed),
            decode_context=times(cost.decode_context),
            prefill=times(cost.prefill),
            attention_token2_s=cost.attention_token2_s * factor,
            engine_overhead_s=cost.overhead_s * factor if known else None,
            engine_overhead_request_s=cost.engine_overhead_request_s * factor,
        ),
        speed_points=None if points is None else tuple((load, v / factor) for load, v in points),
        intervals={},  # those of the true numbers
    )


class _Misled:
    """Shows a decider requests whose lengths are not theirs."""

    __slots__ = ("_assumed", "_decider", "_seed", "_sigma", "_told")

    def __init__(self, decider: Decider, lie: Misled, seed: int) -> None:
        self._decider = decider
        self._assumed = lie.assumed_tokens
        self._sigma = log1p(lie.length_cv**2) ** 0.5
        self._seed = seed
        self._told: dict[int, int] = {}

    def decide(self, view: View) -> Choice:
        """Return what the decider chooses for what it is shown."""
        arrived = view.arrived
        if arrived is not None:
            view = copy(view)
            view.arrived = arrived._replace(max_tokens=self._tokens(arrived))
        return self._decider.decide(view)

    def _tokens(self, request: Pending) -> int:
        """Return the length to show; the same for a request that comes again."""
        told = self._told.get(request.id)
        if told is None:
            told = self._assumed
            if not told:
                rng = np.random.default_rng((self._seed, request.id))
                factor = rng.lognormal(-(self._sigma**2) / 2, self._sigma)
                told = max(round(request.max_tokens * factor), 1)
            self._told[request.id] = told
        return told
