"""An engine's steps, reconstructed from when the tokens of its streams arrived."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NEARBY_STEPS = 4
"""How far from where its instants point a stream's first step is looked for."""


@dataclass(frozen=True)
class Timeline:
    """The steps of a continuous batch.

    Parameters
    ----------
    ends_s : ndarray of shape (steps,)
        When each step's tokens arrived; never falls.
    begins : tuple of int
        For each stream, the step that yielded its first token; its others follow, one a step.
    tokens : tuple of int
        Tokens of each stream.
    """

    ends_s: Floats
    begins: tuple[int, ...]
    tokens: tuple[int, ...]

    def step_at(self, instant_s: float) -> int:
        """Return the step whose end is nearest to an instant."""
        right = int(np.searchsorted(self.ends_s, instant_s))
        if right == 0:
            return 0
        if right == len(self.ends_s):
            return right - 1
        before_s, after_s = self.ends_s[right - 1 : right + 1]
        return right if after_s - instant_s < instant_s - before_s else right - 1

    def fresh(self, first: int, last: int) -> list[int]:
        """Return the steps of [first, last] whose tokens did not wait for those of the next.

        Tokens that a busy server or network held back arrive together: only the last of them
        tells when its step ended.
        """
        steps = range(first, min(last + 1, len(self.ends_s)))
        end = len(self.ends_s) - 1
        return [k for k in steps if k == end or self.ends_s[k + 1] > self.ends_s[k]]


def merge(streams: Sequence[Sequence[float]]) -> Timeline:
    """Return the steps behind streams that an engine served together.

    All sequences of a continuous batch advance together: a step yields one token for each, and
    they arrive at about one instant. So a stream is placed, as a whole, where its instants are
    nearest to those of the streams before it. A step's end is the median of the arrivals of its
    tokens: a late one among many does not move it.

    Assumes that the streams overlap in time, each with one that began before it, and that each
    gets a token in every step of its life: an engine that preempts or speculates does otherwise,
    and `coherence` tells.

    Parameters
    ----------
    streams : sequence of sequences of float
        For each stream when its tokens arrived, not falling; none is empty.
    """
    order = sorted(range(len(streams)), key=lambda i: streams[i][0])
    arrivals: list[list[float]] = []
    begins = [0] * len(streams)
    for i in order:
        instants_s = np.asarray(streams[i], dtype=np.float64)
        begin = _begin(arrivals, instants_s) if arrivals else 0
        begins[i] = begin
        arrivals.extend([] for _ in range(begin + len(instants_s) - len(arrivals)))
        for step, instant_s in enumerate(instants_s.tolist(), start=begin):
            arrivals[step].append(instant_s)
    medians_s = np.array([float(np.median(each)) for each in arrivals])
    # What arrived no later than the next step's tokens was not made later either.
    ends_s = np.minimum.accumulate(medians_s[::-1])[::-1]
    return Timeline(ends_s, tuple(begins), tuple(len(stream) for stream in streams))


def _begin(arrivals: Sequence[Sequence[float]], instants_s: Floats) -> int:
    """Return the step at which a stream fits best to the arrivals so far."""
    known_s = np.array([float(np.median(each)) for each in arrivals])
    if instants_s[0] > known_s[-1]:
        return len(known_s)
    near = int(np.searchsorted(known_s, instants_s[0]))
    best, least_s = near, np.inf
    for begin in range(max(near - NEARBY_STEPS, 0), min(near + NEARBY_STEPS, len(known_s) - 1) + 1):
        shared = min(len(known_s) - begin, len(instants_s))
        apart_s = float(np.abs(known_s[begin : begin + shared] - instants_s[:shared]).mean())
        if apart_s < least_s:
            best, least_s = begin, apart_s
    return best


def coherence(timeline: Timeline, streams: Sequence[Sequence[float]]) -> float:
    """Return how far tokens arrived from their step's end, as a share of a step: the median.

    Much below 1/2 where the streams did advance together.
    """
    if len(timeline.ends_s) < 2:
        return 0.0
    apart_s = [
        abs(instant_s - timeline.ends_s[step])
        for begin, stream in zip(timeline.begins, streams, strict=True)
        for step, instant_s in enumerate(stream, start=begin)
    ]
    step_s = (timeline.ends_s[-1] - timeline.ends_s[0]) / (len(timeline.ends_s) - 1)
    return float(np.median(apart_s) / step_s) if step_s > 0 else 0.0
