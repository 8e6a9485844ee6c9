"""The running set of an engine, advanced by leaps.

Between two changes of the running set the batch B is constant and the total context C grows by B a
step, so k steps take T(k) = k*a(B) + c(B)*(k*C + B*k*(k-1)/2) and need no visit to each token.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import sqrt
from typing import TYPE_CHECKING

from policies.protocol import Running
from sim.kvcache import BlockPhases

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sim.spec import ReplicaSpec

ID_BITS = 32
ID_MASK = (1 << ID_BITS) - 1

SHORT_OF_BLOCKS = -1


class Decoding:
    """Sequences that have their prompt stored and gain one token a step, all together.

    Attributes
    ----------
    size : int
        Sequences in the running set (B).
    end_ps : int
        End of the leap in flight [ps].
    steps : int
        Steps of the leap in flight; 0 when none is.
    """

    __slots__ = (
        "_account",
        "_block_size",
        "_context_ps",
        "_context_tokens",
        "_costs",
        "_factor",
        "_fixed_ps",
        "_jitter",
        "_last_step",
        "_newcomers",
        "_output_tokens",
        "_phases",
        "_prompt_tokens",
        "_redraw",
        "_retirements",
        "_start_ps",
        "_step",
        "_token_ps",
        "end_ps",
        "size",
        "steps",
    )

    def __init__(self, spec: ReplicaSpec) -> None:
        self._account = spec.account
        self._costs = spec.costs
        self._jitter = spec.jitter
        self._prompt_tokens = spec.prompt_tokens
        self._output_tokens = spec.output_tokens
        self._block_size = spec.limits.block_size
        self._phases = BlockPhases(spec.limits.block_size)
        self._step = 0  # decode steps since the beginning of the run
        # In order of admission: the step at which a sequence gets its last token.
        self._last_step: dict[int, int] = {}
        self._retirements: list[int] = []  # heap of (last step << ID_BITS) | request
        self._context_tokens = 0  # sum of prompt + generated tokens
        self.size = 0
        # Instant of the newest token of all but the newcomers, and theirs with their number.
        self._token_ps = 0
        self._newcomers: list[tuple[int, int]] = []
        self._start_ps = 0
        self._fixed_ps = 0
        self._context_ps = 0
        self._factor = 1.0
        self._redraw = True
        self.steps = 0
        self.end_ps = 0

    # ------------------------------------------------------------------ who runs

    def join(self, request: int, generated: int) -> None:
        """Add a sequence whose prompt is stored and that has `generated` tokens."""
        last_step = self._step + self._output_tokens[request] - generated
        self._last_step[request] = last_step
        heappush(self._retirements, last_step << ID_BITS | request)
        tokens = self._prompt_tokens[request] + generated
        self._context_tokens += tokens
        self._phases.join(tokens, self._step)
        self.size += 1

    def joined(self, sequences: int, token_ps: int) -> None:
        """Note that the last `sequences` to join have their newest token from `token_ps`."""
        if token_ps != self._token_ps:
            self._newcomers.append((token_ps, sequences))
        if self.size > self._account.peak_batch:
            self._account.peak_batch = self.size

    def pop_last(self) -> tuple[int, int, int]:
        """Remove the last admitted; return it, its tokens generated and the last one's instant."""
        request, last_step = self._last_step.popitem()
        generated = self._forget(request, last_step)
        if not self._newcomers:
            return request, generated, self._token_ps
        token_ps, sequences = self._newcomers.pop()
        if sequences > 1:
            self._newcomers.append((token_ps, sequences - 1))
        return request, generated, token_ps

    def drop(self, requests: Iterable[int]) -> None:
        """Remove sequences before the token of the step in flight, which is the leap's last.

        The steps of the leap before it are applied; the caller applies it by ``end_step``.
        """
        if self.steps > 1:
            self.steps -= 1
            self.end_ps = self._start_ps + self._time(self.steps)
            self.end_leap()
        self.steps = 0
        for request in requests:
            self._remove_newcomer(request)
            last_step = self._last_step.pop(request)
            self._forget(request, last_step)

    def _remove_newcomer(self, request: int) -> None:
        """Count a sequence out of the newcomers, the last to join, if it is one of them."""
        if not self._newcomers:
            return
        behind = len(self._last_step) - list(self._last_step).index(request) - 1
        for i in range(len(self._newcomers) - 1, -1, -1):
            token_ps, sequences = self._newcomers[i]
            if behind < sequences:
                self._newcomers[i] = token_ps, sequences - 1
                if sequences == 1:
                    del self._newcomers[i]
                return
            behind -= sequences

    def _forget(self, request: int, last_step: int) -> int:
        """Take an unfinished sequence out of all sums; return its tokens generated."""
        self._retirements.remove(last_step << ID_BITS | request)
        heapify(self._retirements)
        generated = self._output_tokens[request] - (last_step - self._step)
        tokens = self._prompt_tokens[request] + generated
        self._context_tokens -= tokens
        self._phases.leave(tokens, self._step)
        self.size -= 1
        self._redraw = True
        return generated

    def __contains__(self, request: int) -> bool:
        """Return whether a request is in the running set."""
        return request in self._last_step

    def generated(self, request: int, now_ps: int) -> int:
        """Return the tokens that a sequence has generated before now."""
        return self._output_tokens[request] - (self._last_step[request] - self._step_at(now_ps))

    def running(self, now_ps: int) -> list[Running]:
        """Return the sequences in order of admission with the tokens generated before now."""
        step = self._step_at(now_ps)
        new = tuple.__new__  # a third of the time of Running(...), and policies look often
        return [
            new(Running, (i, self._prompt_tokens[i], self._output_tokens[i] - (last_step - step)))
            for i, last_step in self._last_step.items()
        ]

    def _step_at(self, now_ps: int) -> int:
        """Return the steps done before now."""
        # At one instant a step's boundary comes after arrivals and timers.
        return self._step + (self._steps_until(now_ps) - 1 if self.steps else 0)

    # ------------------------------------------------------------------ what they store

    def blocks_bound(self) -> int:
        """Return an upper bound of ``blocks_needed`` that costs next to nothing."""
        return (self._context_tokens + (self._block_size - 1) * self.size) // self._block_size

    def blocks_needed(self) -> int:
        """Return the blocks that the next step needs."""
        return self._phases.blocks(self._context_tokens, self._step)

    def blocks_after(self, now_ps: int) -> int:
        """Return the blocks that the step of the leap under way right after now needs."""
        further = self._steps_until(now_ps + 1) - 1
        return self._phases.blocks(self._context_tokens + further * self.size, self._step + further)

    def blocks_at_end(self) -> int:
        """Return the blocks that the last step of the leap in flight needs."""
        further = self.steps - 1
        return self._phases.blocks(self._context_tokens + further * self.size, self._step + further)

    def blocks_held_bound(self) -> int:
        """Return an upper bound of ``blocks_held`` that costs next to nothing."""
        return (self._context_tokens + (self._block_size - 2) * self.size) // self._block_size

    def blocks_held(self) -> int:
        """Return the blocks held between steps: the newest tokens are not stored yet."""
        return self._phases.blocks(self._context_tokens - self.size, self._step - 1)

    def empty(self) -> bool:
        """Return whether no sequence, token or block is left."""
        return not (self.size or self._context_tokens or self._retirements or self._last_step) and (
            self._phases.empty()
        )

    # ------------------------------------------------------------------ leaps

    def leap(self, now_ps: int, blocks: int, at_most: int = 0) -> int:
        """Start decoding until the next completion or until `blocks` run short.

        Parameters
        ----------
        now_ps : int
            Start of the first step [ps].
        blocks : int
            KV blocks there are for the running set.
        at_most : int
            Take no more steps than this; 0 is no limit.

        Returns
        -------
        int
            The end of the leap [ps]; ``SHORT_OF_BLOCKS`` if not even one step fits.
        """
        steps = at_most or (self._retirements[0] >> ID_BITS) - self._step
        size = self._block_size
        batch = self.size
        # An upper bound of what the last step needs; the exact count is rarely wanted.
        if self._context_tokens + (steps + size - 2) * batch > blocks * size:
            free = blocks - self.blocks_needed()
            if free < 0:
                return SHORT_OF_BLOCKS
            steps = self._phases.steps_within(free, self._step, batch, steps)
        fixed_ps = self._costs.decode_fixed_ps[batch]
        context_ps = self._costs.decode_context_ps[batch]
        if self._jitter is not None:
            if self._redraw:
                self._factor = self._jitter()
                self._redraw = False
            fixed_ps = max(1, round(fixed_ps * self._factor))
            context_ps = round(context_ps * self._factor)
        self._start_ps = now_ps
        self._fixed_ps = fixed_ps
        self._context_ps = context_ps
        self.steps = steps
        self.end_ps = now_ps + self._time(steps)
        return self.end_ps

    def cut(self, now_ps: int) -> int:
        """Let the leap end with the step in flight at `now_ps`; return the new end."""
        self.steps = self._steps_until(now_ps)
        self.end_ps = self._start_ps + self._time(self.steps)
        return self.end_ps

    def end_leap(self) -> list[int]:
        """Apply the steps of the leap; return who got the last token, ascending."""
        batch, steps = self.size, self.steps
        first_ps = self._fixed_ps + self._context_ps * self._context_tokens
        grows_ps = self._context_ps * batch
        ends_ps = self._start_ps + first_ps
        if self._newcomers or self._token_ps != self._start_ps:
            # Prompts came in between: the first gap is longer, and not the same for all.
            self._account_gaps(ends_ps)
            first_ps += grows_ps
            ends_ps += first_ps
            steps -= 1
        if steps:
            self._account.gaps.extend((ends_ps, first_ps, grows_ps, steps, batch))
        self._token_ps = self.end_ps
        self._step += self.steps
        self._context_tokens += self.steps * batch
        self.steps = 0
        return self._retire()

    def end_step(self, end_ps: int) -> list[int]:
        """Apply one step that was no leap of its own; return who got the last token, ascending."""
        self._redraw = True
        if self.size:
            self._account_gaps(end_ps)
        self._token_ps = end_ps
        self._step += 1
        self._context_tokens += self.size
        return self._retire()

    def interrupted(self) -> None:
        """Note that a step without decodes, or idleness, comes in between."""
        self._redraw = True

    def mixed_ps(self, tokens: int, attention2: int) -> int:
        """Return the cost of a step that also prefills `tokens`, see `StepCosts.mixed_ps`."""
        return self._costs.mixed_ps(self.size, self._context_tokens, tokens, attention2)

    def stop(self, until_ps: int) -> None:
        """Apply the steps of the leap in flight that end by `until_ps`."""
        if self.steps:
            self.steps = self._steps_until(until_ps + 1) - 1
            if self.steps:
                self.end_ps = self._start_ps + self._time(self.steps)
                self.end_leap()

    def _time(self, steps: int) -> int:
        """Return the time [ps] of the first `steps` steps of the leap."""
        if not self._context_ps:
            return steps * self._fixed_ps
        grown = self.size * (steps * (steps - 1) // 2)
        return steps * self._fixed_ps + self._context_ps * (steps * self._context_tokens + grown)

    def _steps_until(self, instant_ps: int) -> int:
        """Return the least k >= 1 such that step k ends at or after the instant."""
        elapsed = instant_ps - self._start_ps
        if elapsed <= 0:
            return 1
        if not self._context_ps:
            return -(-elapsed // self._fixed_ps)
        # T(k) = k*(a + c*C - c*B/2) + k^2*c*B/2: the float root is near, the integers decide.
        half = self._context_ps * self.size / 2
        linear = self._fixed_ps + self._context_ps * self._context_tokens - half
        steps = max(1, int((sqrt(linear * linear + 4 * half * elapsed) - linear) / (2 * half)))
        while self._time(steps) < elapsed:
            steps += 1
        while steps > 1 and self._time(steps - 1) >= elapsed:
            steps -= 1
        return steps

    def _account_gaps(self, end_ps: int) -> None:
        """Account one gap of every sequence, for a step that ends at `end_ps`."""
        veterans = self.size
        for token_ps, sequences in self._newcomers:
            veterans -= sequences
            self._account.gaps.extend((end_ps, end_ps - token_ps, 0, 1, sequences))
        if veterans:
            self._account.gaps.extend((end_ps, end_ps - self._token_ps, 0, 1, veterans))
        self._newcomers = []

    def _retire(self) -> list[int]:
        """Remove the sequences whose last token came at this step."""
        retirements, step = self._retirements, self._step
        finished: list[int] = []
        while retirements and retirements[0] >> ID_BITS == step:
            request = heappop(retirements) & ID_MASK
            del self._last_step[request]
            tokens = self._prompt_tokens[request] + self._output_tokens[request]
            self._context_tokens -= tokens
            self._phases.leave(tokens, step)
            finished.append(request)
        if finished:
            self.size -= len(finished)
            self._redraw = True
        return finished
