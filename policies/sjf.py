"""Shortest job first, by what the client asked for or by a predicted rank; nobody starves."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Literal, get_args

from policies.parameters import check_number, check_whole, check_word
from policies.protocol import NOTHING, Choice, PolicyError
from policies.text import call_text
from policies.waiting import Waiting

if TYPE_CHECKING:
    import numpy as np

    from calibrate.profile import Profile
    from policies.protocol import View

Predictor = Literal["max_tokens", "rank"]

DEFAULT_TAU = 0.55
DEFAULT_PROMOTE_FOR = 10
SEEN = 256
"""A prediction that is wrong is one of so many latest requests."""


@dataclass(frozen=True)
class Sjf:
    """Release the request that is predicted to be the shortest whenever a seat is free.

    Y. Fu et al., "Efficient LLM Scheduling by Learning to Rank", NeurIPS 2024 (arXiv 2408.15792):
    to know which of two answers is longer is enough to come close to shortest job first, and the
    quality of such a predictor is its Kendall rank correlation tau with the lengths.  Equals go in
    order of arrival.  Who is passed over `promote_after` times is promoted: it goes before all who
    are not, for the next `promote_for` releases, then it waits like the others and its count begins
    anew.  The published system counts engine steps, which a policy does not see; here both numbers
    count releases.

    A decider does not know true lengths, so a predicted rank is made from ``max_tokens``: with some
    probability q a request is ranked by its own, otherwise by that of one of the latest `SEEN`
    requests, drawn at random.  Of two requests that are both ranked by their own the order is
    right, of two that are not it is as good as a coin, and where one is, it is right in two cases
    of three: tau = q^2 + 2 q (1 - q) / 3, so q = sqrt(1 + 3 tau) - 1 meets it.  That is exact for
    distinct lengths; where most are equal, as in the study's workloads, the tau-b is up to 0.05
    higher.  Errors of real predictors are smaller and more frequent than these.

    It lowers the mean latency and knows nothing of deadlines: long requests pay.

    Attributes
    ----------
    predictor : {"max_tokens", "rank"}
        By which length: what the client allows at most, or a rank predicted from it.
    tau : float or None
        Kendall's tau of the predicted rank, 0 (no idea) to 1 (as "max_tokens"); None is 0.55,
        about what such predictors are reported to reach.  Only with predictor=rank.
    promote_after : int or None
        Promote who was passed over so many times; None never does.  The published experiments used
        200 steps.
    promote_for : int
        How many releases a promotion lasts; the published experiments used 10 steps.
    max_num_seqs : int
        Largest batch, of the engine too.
    """

    predictor: Predictor = "max_tokens"
    tau: float | None = None
    promote_after: int | None = 200
    promote_for: int = DEFAULT_PROMOTE_FOR
    max_num_seqs: int = 32

    def __post_init__(self) -> None:
        check_word("sjf", "predictor", self.predictor, get_args(Predictor))
        if self.tau is not None:
            check_number("sjf", "tau", self.tau, at_least=0, at_most=1)
            if self.predictor != "rank":
                raise PolicyError(f"sjf: tau={self.tau} has no effect without predictor=rank")
        check_whole("sjf", "promote_for", self.promote_for, 1)
        if self.promote_after is not None:
            check_whole("sjf", "promote_after", self.promote_after, 1)
        elif self.promote_for != DEFAULT_PROMOTE_FOR:
            raise PolicyError(
                f"sjf: promote_for={self.promote_for} has no effect with promote_after=None"
            )
        check_whole("sjf", "max_num_seqs", self.max_num_seqs, 1)

    @property
    def label(self) -> str:
        """Canonical text of this policy: the parameters that differ from the defaults."""
        return call_text("sjf", self)

    def start(self, rng: np.random.Generator, profile: Profile) -> ShortestFirst:
        """Return a decider with an empty queue, which draws its errors from `rng`."""
        predict = None
        if self.predictor == "rank":
            predict = NoisyRank(DEFAULT_TAU if self.tau is None else self.tau, rng)
        return ShortestFirst(predict, self.promote_after, self.promote_for, self.max_num_seqs)


class NoisyRank:
    """Ranks requests with a given Kendall tau between the rank and the length."""

    __slots__ = ("_at", "_right", "_rng", "_seen")

    def __init__(self, tau: float, rng: np.random.Generator) -> None:
        self._right = sqrt(1 + 3 * tau) - 1
        self._rng = rng
        self._seen: list[int] = []
        self._at = 0

    def __call__(self, tokens: int) -> int:
        """Return the length by which a request of so many tokens is ranked."""
        seen = self._seen
        if len(seen) < SEEN:
            seen.append(tokens)
        else:
            seen[self._at] = tokens
            self._at = (self._at + 1) % SEEN
        if self._rng.random() < self._right:
            return tokens
        return seen[int(self._rng.random() * len(seen))]


class ShortestFirst:
    """Keeps who is promoted, in that order, before the queue of the others."""

    __slots__ = (
        "_counting",
        "_predict",
        "_promote_after",
        "_promote_for",
        "_promoted",
        "_released",
        "_seats",
        "_waiting",
    )

    def __init__(
        self,
        predict: NoisyRank | None,
        promote_after: int | None,
        promote_for: int,
        max_num_seqs: int,
    ) -> None:
        self._predict = predict
        self._promote_after = promote_after
        self._promote_for = promote_for
        self._seats = max_num_seqs
        self._waiting = Waiting()
        self._released = 0
        # Ids with the number of releases at which their count, or their promotion, began, and their
        # rank: whose began first is first.
        self._counting: OrderedDict[int, tuple[int, int]] = OrderedDict()
        self._promoted: OrderedDict[int, tuple[int, int]] = OrderedDict()

    def decide(self, view: View) -> Choice:
        """Take in, forget, and fill the free seats."""
        for request in view.cancelled:
            self._waiting.discard(request)
            self._counting.pop(request, None)
            self._promoted.pop(request, None)
        arrived = view.arrived
        if arrived is not None:
            tokens = arrived.max_tokens
            self._wait(arrived.id, tokens if self._predict is None else self._predict(tokens))
        free = min(self._seats - view.in_engine, len(self._counting) + len(self._promoted))
        return Choice([self._next() for _ in range(free)]) if free > 0 else NOTHING

    def _wait(self, request: int, rank: int) -> None:
        self._waiting.put(request, rank)
        self._counting[request] = self._released, rank

    def _next(self) -> int:
        """Take out who goes next."""
        if self._promote_after is not None:
            self._end_promotions()
            self._promote(self._promote_after)
        self._released += 1
        if self._promoted:
            return self._promoted.popitem(last=False)[0]
        request = self._waiting.pop()[1]
        del self._counting[request]
        return request

    def _end_promotions(self) -> None:
        promoted = self._promoted
        while promoted:
            request, (began, rank) = next(iter(promoted.items()))
            if self._released - began < self._promote_for:
                return
            del promoted[request]
            self._wait(request, rank)

    def _promote(self, after: int) -> None:
        counting = self._counting
        while counting:
            request, (began, rank) = next(iter(counting.items()))
            if self._released - began < after:
                return
            del counting[request]
            self._waiting.discard(request)
            self._promoted[request] = self._released, rank
