"""What is due when, token by token, where only the whole answer has a deadline; steps looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from policies.protocol import NEVER_PS

if TYPE_CHECKING:
    from calibrate.profile import Profile
    from policies.protocol import Pending


class Objectives(NamedTuple):
    """When the tokens of a request are due.

    Attributes
    ----------
    first_ps : int
        Instant by which the first token is due [ps].
    token_ps : int
        Time for each further one [ps], at least 1; ``NEVER_PS`` where there is none.
    """

    first_ps: int
    token_ps: int


NONE = Objectives(NEVER_PS, NEVER_PS)
"""The objectives of a request without a deadline."""


def objectives(request: Pending, ttft_share: float, overhead_ps: int) -> Objectives:
    """Return the objectives that add up to the request's deadline.

    Parameters
    ----------
    request : Pending
        Its tokens are taken to be `max_tokens`: policies do not know how many there will be.
    ttft_share : float
        Part of the SLA that is for the first token; the others share the rest evenly.
    overhead_ps : int
        What the way to the client and back takes of the SLA [ps].
    """
    if request.deadline_ps == NEVER_PS:
        return NONE
    sla_ps = max(request.deadline_ps - request.arrival_ps - overhead_ps, 0)
    first_ps = round(sla_ps * ttft_share)
    further = request.max_tokens - 1
    token_ps = max((sla_ps - first_ps) // further, 1) if further else NEVER_PS
    return Objectives(request.arrival_ps + first_ps, token_ps)


def step_table(profile: Profile, most: int) -> list[float]:
    """Return the seconds of a decode step by its batch, up to `most`, with the mean context."""
    context = profile.mean_context_tokens or 0.0
    steps = (profile.cost.decode_s(batch, batch * context) for batch in range(1, most + 1))
    return [0.0, *steps]
