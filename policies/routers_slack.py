"""A router that predicts where a request meets its deadline, and with how much to spare."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING

from policies.parameters import check_number
from policies.protocol import NEVER_PS, PS_PER_S
from policies.routers_looking import Least
from policies.text import call_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from calibrate.profile import Profile
    from policies.protocol import Pending
    from policies.routing import Fleet


@dataclass(frozen=True)
class SlaSlack:
    """The slowest kind of replica that is predicted to meet the deadline; the roomiest of it.

    Best fit, as in bin packing, over the kinds of replicas: faster ones stay free for tighter
    deadlines.  Within a kind (equal profiles) the request goes where it has most slack; packing
    replicas of one kind to the brim as well was tried and met far fewer deadlines, since who comes
    next slows down everyone.  A request with nothing to win, because it has no deadline or is
    predicted to miss it everywhere, goes to the fewest requests.

    The prediction: the prompts sent to a replica are prefilled one after the other, and then the
    request decodes in the company of everyone there, with all their tokens as context, at the
    replica's own step cost, until ``max_tokens``.  It knows neither the policy in front of the
    engine, which may let a request wait, nor its batch limit, nor whom it slows down, and of what
    arrives later only the margin.  Where answers are far shorter than ``max_tokens``, most
    requests look lost and are merely balanced.  With one kind of replica it does little that
    `LeastRequests` does not.

    Attributes
    ----------
    margin : float
        By how much predictions are stretched: with 0.3 a replica must be predicted to need at most
        1 / 1.3 of the time that is left.
    """

    margin: float = 0.3

    looks = True

    def __post_init__(self) -> None:
        check_number("sla-slack", "margin", self.margin, at_least=0, at_most=1e6)

    @property
    def label(self) -> str:
        """Canonical text of this router."""
        return call_text("sla-slack", self)

    def start(self, profiles: Sequence[Profile], rng: np.random.Generator) -> BestFit:
        """Return a routing over replicas with these profiles, all idle."""
        return BestFit(profiles, 1.0 + self.margin)


class Pace:
    """What steps take on one profile, looked up."""

    __slots__ = ("_cost", "_decode", "overhead_s")

    def __init__(self, profile: Profile) -> None:
        self._cost = profile.cost
        self._decode = [(0.0, 0.0)]
        self.overhead_s = profile.client_overhead_s

    def prefill_s(self, prompt_tokens: int) -> float:
        """Return the seconds of a prompt's prefill."""
        return self._cost.prefill_s(prompt_tokens, prompt_tokens * prompt_tokens / 2)

    def decode(self, batch: int) -> tuple[float, float]:
        """Return (a, c): a step of `batch` sequences takes a + c * context seconds."""
        while batch >= len(self._decode):
            self._decode.append(self._cost.decode_coefficients(len(self._decode)))
        return self._decode[batch]


class BestFit:
    """Predicts ends, and remembers until when the prompts sent to each replica keep it busy."""

    __slots__ = ("_first", "_kind", "_others", "_paces", "_prefilled_s", "_stretch")

    def __init__(self, profiles: Sequence[Profile], stretch: float) -> None:
        kinds: list[Profile] = []
        for profile in profiles:
            if profile not in kinds:
                kinds.append(profile)
        self._paces = [Pace(profile) for profile in kinds]
        self._kind = [kinds.index(profile) for profile in profiles]
        self._prefilled_s = [0.0] * len(profiles)
        self._stretch = stretch
        self._others = Least(attrgetter("requests"))
        self._first = 0

    def route(self, request: Pending, fleet: Fleet) -> int:
        """Return the roomiest replica of the kind with the least slack that is enough."""
        now_s = fleet.now_ps / PS_PER_S
        prefill_s = [pace.prefill_s(request.prompt_tokens) for pace in self._paces]
        chosen = None
        if request.deadline_ps != NEVER_PS:
            roomiest = self._roomiest(request, fleet, now_s, prefill_s)
            chosen = min((room for room in roomiest if room[0] >= 0), default=(0.0, None))[1]
        if chosen is None:
            chosen = self._others.route(request, fleet)
        self._first = chosen + 1
        busy_s = self._prefilled_s[chosen] if fleet.requests[chosen] else now_s
        self._prefilled_s[chosen] = max(busy_s, now_s) + prefill_s[self._kind[chosen]]
        return chosen

    def _roomiest(
        self, request: Pending, fleet: Fleet, now_s: float, prefill_s: Sequence[float]
    ) -> list[tuple[float, int]]:
        """Return by kind the most slack [s] and the replica that has it; of equals in turn."""
        left_s = (request.deadline_ps - fleet.now_ps) / PS_PER_S
        steps = request.max_tokens - 1  # the prefill yields the first token
        tokens = request.prompt_tokens + request.max_tokens
        stretch, first, prefilled_s = self._stretch, self._first, self._prefilled_s
        requests, outstanding = fleet.requests, fleet.outstanding_tokens
        rooms = [(-inf, -1)] * len(self._paces)
        for replica in fleet.taking:
            kind = self._kind[replica]
            pace = self._paces[kind]
            beside = requests[replica]
            fixed_s, context_s = pace.decode(beside + 1)
            takes_s = (
                pace.overhead_s
                + prefill_s[kind]
                + steps * (fixed_s + context_s * (outstanding[replica] + tokens))
            )
            if beside and prefilled_s[replica] > now_s:
                takes_s += prefilled_s[replica] - now_s
            slack_s = left_s - takes_s * stretch
            most_s, known = rooms[kind]
            if slack_s > most_s or (slack_s == most_s and known < first <= replica):
                rooms[kind] = slack_s, replica
        return rooms
