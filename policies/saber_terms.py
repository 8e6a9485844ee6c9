"""The quantities SABER reasons with (arXiv 2506.19677, section on online scheduling)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from policies.protocol import NEVER_PS, PS_PER_S

if TYPE_CHECKING:
    from policies.protocol import Pending

LowPriority = Literal["one", "all", "idle"]
"""What the low-priority queue may release while the high-priority queue is empty."""


def demotion_ps(request: Pending, limit: float) -> int:
    """Return the instant from which the request can no longer meet its SLA at `limit` tokens/s."""
    if request.deadline_ps == NEVER_PS:
        return NEVER_PS
    return request.deadline_ps - math.floor(request.max_tokens * PS_PER_S / limit)


def required_speed(request: Pending, now_ps: int) -> float:
    """Return the speed [tokens/s] at which the request just meets its deadline; 0 without one."""
    if request.deadline_ps == NEVER_PS:
        return 0.0
    left_ps = request.deadline_ps - now_ps
    return request.max_tokens * PS_PER_S / left_ps if left_ps > 0 else math.inf
