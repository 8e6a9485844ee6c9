"""What meeting each request costs an engine at the least, whatever the schedule."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from policies.protocol import PS_PER_S
from sim.costs import StepCosts
from sim.intake import instants, refusals_of
from sim.options import EngineLimits, OptionError, RunOptions, to_ps
from sim.setup import overhead_ps, with_kv_capacity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from calibrate.profile import Profile
    from calibrate.steptime import StepCost
    from sim.options import Discipline
    from traces.request import Trace

SLACK = 1e-9
"""Relative: what rounding to picoseconds and of floats may take away, many times over."""


_NOT_COVERED: dict[str, object] = {
    "jitter_cv": 0.0,
    "goodput_ms": None,
    "clients": None,
    "failures": None,
    "autoscale": None,
}
"""Options under which steps, objectives, arrivals or replicas are others; what they must be."""


@dataclass(frozen=True, eq=False)
class Needs:
    """The requests that could be met alone, and the least each needs.

    Attributes
    ----------
    id : ndarray of int
        Their ids, ascending.
    start_s, end_s : ndarray of float
        Arrival, and the instant by which the engine must have finished [s after the first].
    tokens : ndarray of float
        Output tokens after the first, which comes with the prompt.
    alone_prefill_s : ndarray of float
        Least time from arrival to first token on an idle engine [s].
    prefill_s : ndarray of float
        Least share of the engine's time for the prompt [s].
    context_tokens : ndarray of float
        Context of the prompt beyond the base, which is that of the shortest prompt and one token.
    least_step_s : ndarray of float
        The shortest step that yields it a token after the first [s].
    most_price_s : ndarray of float
        The least time that a token costs which comes from no decode step but from the prefill
        after a preemption [s]; infinite where none can be preempted.
    context_token_s : float
        Least time of a step for one token of context [s].
    step_s : ndarray of float, shape (largest batch,)
        Least time of a step that decodes 1, 2, ... requests that are met, with the base context.
    objectives : int
        Requests that count for goodput.
    """

    id: NDArray[np.int64]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    tokens: NDArray[np.float64]
    alone_prefill_s: NDArray[np.float64]
    prefill_s: NDArray[np.float64]
    context_tokens: NDArray[np.float64]
    least_step_s: NDArray[np.float64]
    most_price_s: NDArray[np.float64]
    context_token_s: float
    step_s: NDArray[np.float64]
    objectives: int

    def context_s(self, tokens: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the least time for the context beyond the base while so many tokens come [s].

        `tokens` has the requests as its last axis; the least is that of the first ones.
        """
        context = tokens * (self.context_tokens + (tokens + 1) / 2)
        return np.asarray(self.context_token_s * context)

    def where(self, mask: NDArray[np.bool_]) -> Needs:
        """Return the requests that `mask` selects."""
        columns: dict[str, Any] = {
            name: value[mask]
            for name, value in vars(self).items()
            if isinstance(value, np.ndarray) and name != "step_s"
        }
        return replace(self, **columns)


def needs_of(trace: Trace, profile: Profile, options: RunOptions) -> Needs:
    """Return what a trace needs of engines with this profile.

    Raises
    ------
    OptionError
        For options under which the engine model of `sim.oracle.cap` does not hold.
    """
    _refuse(options)
    profile = with_kv_capacity(profile, options)
    cost = profile.cost
    arrival_ps, sla_ps = instants(trace)
    prompt = trace.prompt_tokens.astype(float)
    output = trace.output_tokens.astype(float)
    limits = EngineLimits(
        discipline=options.discipline or cast("Discipline", profile.discipline),
        max_num_seqs=1,
        max_num_batched_tokens=options.max_num_batched_tokens,
        blocks=profile.kv_tokens // options.block_size,
        block_size=options.block_size,
    )
    counted = sla_ps >= 0
    counted &= arrival_ps >= to_ps(options.warmup_s)
    if options.until_s is not None:
        counted &= arrival_ps <= to_ps(options.until_s)
    objectives = int(counted.sum())
    counted[list(refusals_of(trace, limits, options.max_model_len))] = False

    seats = min(len(trace), options.max_num_seqs or len(trace))
    costs = StepCosts(cost, seats)
    batch = np.arange(1, seats + 1)
    base = prompt.min() + 1
    context_s = np.array(costs.decode_context_ps[1:]) / PS_PER_S
    step_s = np.array(costs.decode_fixed_ps[1:]) / PS_PER_S + context_s * batch * base
    least_context_s = float(context_s.min())
    # Of a larger batch only some may be met: they share what the cheapest such step takes.
    step_s = np.minimum.accumulate(step_s[::-1])[::-1]
    least_step_s = np.full(len(trace), step_s[0])
    most_price_s = np.full(len(trace), np.inf)

    chunked = limits.discipline == "chunked"
    token_s = _least_token_s(cost, int(prompt.sum()), chunked)
    if options.prefix_caching:
        token_s, prefill_s, alone_s = 0.0, 0.0 * prompt, 0.0 * prompt
    else:
        attention_s = cost.attention_token2_s * prompt * prompt / 2
        prefill_s = token_s * prompt + attention_s
        if chunked:
            first_s = min(cost.prefill_s(1), float(step_s.min()))
            alone_s = first_s + token_s * (prompt - 1) + attention_s
        else:
            alone_s = cost.prefill.at(prompt) + cost.overhead_s + attention_s
    stored = -(-(trace.prompt_tokens + trace.output_tokens - 1) // limits.block_size)
    if int(stored.sum()) > limits.blocks - limits.watermark:
        # A preempted request gets a token from its recompute, which may cost less than a decode.
        least_context_s = min(least_context_s, token_s)
        again = prompt + 1 if not (chunked or options.prefix_caching) else np.ones_like(prompt)
        recompute_s = cost.prefill.at(again) + cost.overhead_s
        least_step_s = np.minimum(least_step_s, recompute_s)
        most_price_s = (token_s - least_context_s) * (prompt + 1) + least_context_s * base
    tokens = output - 1
    start_ps = arrival_ps - arrival_ps[0]
    needs = Needs(
        id=np.arange(len(trace)),
        start_s=start_ps / PS_PER_S,
        end_s=(start_ps + sla_ps - overhead_ps(profile, options)) / PS_PER_S,
        tokens=tokens,
        alone_prefill_s=alone_s,
        prefill_s=prefill_s,
        context_tokens=prompt - base,
        context_token_s=least_context_s,
        least_step_s=least_step_s,
        most_price_s=most_price_s,
        step_s=step_s,
        objectives=objectives,
    )
    own_s = alone_s + tokens * least_step_s + needs.context_s(tokens)
    return needs.where(counted & (own_s <= (needs.end_s - needs.start_s) * (1 + SLACK) + SLACK))


def _least_token_s(cost: StepCost, most_tokens: int, chunked: bool) -> float:
    """Return the least that a prompt token adds to a step of at most so many tokens [s].

    The cost of a step is a line between the corners of its table, so that the least cost a token
    is found at a corner, and the least increase along a side.
    """
    corners = [x for x in cost.prefill.x if 1 < x < most_tokens]
    x = np.array([1.0, *corners, float(most_tokens)])
    step_s = cost.prefill.at(x) + cost.overhead_s
    least_s = float((step_s / x).min())
    if chunked:
        # Beyond the prompts there are the decodes of the step: the last side goes on.
        x = np.append(x, 2.0 * x[-1])
        least_s = min(least_s, float((np.diff(cost.prefill.at(x)) / np.diff(x)).min()))
    return max(least_s - 1 / PS_PER_S, 0.0)


def _refuse(options: RunOptions) -> None:
    """Raise OptionError for what the proofs do not cover."""
    for name, none in _NOT_COVERED.items():
        value = getattr(options, name)
        if value != none:
            shown = f"={value:g}" if isinstance(value, float) else ""
            raise OptionError(
                f"{name}{shown}: the oracle knows no bound under it: leave it out or leave the "
                "oracle out"
            )
