"""What policies are told that is not true, to see how much each leans on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from policies.misled import Misled
from policies.static import Static

if TYPE_CHECKING:
    from calibrate.profile import Profile
    from policies.protocol import Policy
    from traces.request import Trace

LENGTH_CV = 0.5
SLOWER, FASTER = 1.2, 0.8
OTHER_PROFILES = ("roofline-a100-40gb-qwen2.5-coder-7b", "roofline-l4-qwen2.5-coder-7b")
"""The first that is not the true profile is what policies are given of another GPU."""
CELLS = ("W1 @ 8", "W3 @ 10", "W3 @ 15")
"""Where policies are misled."""


class Tale(NamedTuple):
    """One untruth: its name in tables, and what it is."""

    name: str
    about: str


def tales(other: Profile) -> tuple[Tale, ...]:
    """Return what policies are told, in the order of `misled`."""
    return (
        Tale("noisy lengths", f"max_tokens times log-normal noise, mean 1 and cv {LENGTH_CV:g}"),
        Tale("no lengths", "for every request the trace's mean max_tokens"),
        Tale("only limits", "for every request the trace's largest max_tokens"),
        Tale("engine slower", f"a profile whose steps take {SLOWER:g} times as long"),
        Tale("engine faster", f"a profile whose steps take {FASTER:g} times as long"),
        Tale("another GPU", f"the profile {other.name}"),
    )


def other_profile(true: Profile) -> Profile:
    """Return a bundled profile of another GPU and model than those of `true`."""
    from calibrate.library import load_profile

    return load_profile(next(name for name in OTHER_PROFILES if name != true.name))


def misled(policy: Policy, trace: Trace, other: Profile) -> tuple[Misled, ...]:
    """Return the policy under each of `tales`; none for a static size, which believes nothing."""
    if isinstance(policy, Static):
        return ()
    return (
        Misled(policy, length_cv=LENGTH_CV),
        Misled(policy, assumed_tokens=max(round(float(trace.max_tokens.mean())), 1)),
        Misled(policy, assumed_tokens=max(int(trace.max_tokens.max()), 1)),
        Misled(policy, slowness=SLOWER),
        Misled(policy, slowness=FASTER),
        Misled(policy, profile=other),
    )
