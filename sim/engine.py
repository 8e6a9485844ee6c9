"""One replica's continuous-batching engine, advanced by leaps.

Between two changes of the running set the batch is constant and the context grows by one token a
sequence and step, so the time of k steps is a closed form: the engine leaps to the next change
instead of visiting every token.  `sim.stepwise` visits every token and must agree with ``==``.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush
from math import sqrt
from typing import TYPE_CHECKING

from policies.protocol import NEVER_PS, Running
from sim.kvcache import BlockPhases
from sim.ledger import UNSET

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.spec import ReplicaSpec

NO_STEP, PREFILL, DECODE, MIXED = range(4)
ID_BITS = 32
ID_MASK = (1 << ID_BITS) - 1


class Engine:
    """Waiting queue, running set, KV blocks, and the step or leap in flight.

    The caller alternates ``complete()`` and ``form()`` at every ``boundary_ps`` and may ``release``
    in between or while a step is in flight.  Nothing here decides: admission order and preemption
    are the engine's own fixed rules.

    Attributes
    ----------
    boundary_ps : int
        The next instant [ps] at which something may change; ``NEVER_PS`` when idle.
    """

    __slots__ = (
        "_account",
        "_batch",
        "_block_size",
        "_blocks",
        "_budget",
        "_busy_since_ps",
        "_chunks",
        "_context_ps",
        "_context_tokens",
        "_costs",
        "_factor",
        "_finish",
        "_first_token_ps",
        "_fixed_ps",
        "_form_step",
        "_fresh",
        "_jitter",
        "_kind",
        "_last_decode_ps",
        "_ledger",
        "_output_tokens",
        "_partial",
        "_partial_done",
        "_paused",
        "_phases",
        "_prompt_tokens",
        "_redraw",
        "_running",
        "_seats",
        "_start_ps",
        "_step",
        "_steps",
        "_waiting",
        "_watermark",
        "boundary_ps",
    )

    def __init__(self, spec: ReplicaSpec) -> None:
        limits = spec.limits
        self._costs = spec.costs
        self._jitter: Callable[[], float] | None = spec.jitter
        self._prompt_tokens = spec.prompt_tokens
        self._output_tokens = spec.output_tokens
        self._ledger = spec.ledger
        self._first_token_ps = spec.ledger.first_token_ps
        self._account = spec.account
        self._seats = limits.max_num_seqs
        self._budget = limits.max_num_batched_tokens
        self._blocks = limits.blocks
        self._block_size = limits.block_size
        self._watermark = limits.watermark
        chunked = limits.discipline == "chunked"
        self._form_step = self._form_chunked if chunked else self._form_prefill_first

        self._waiting: deque[int] = deque()
        # Admission order -> the decode step at which the sequence has its last token.
        self._running: dict[int, int] = {}
        self._finish: list[int] = []  # heap of (last step << ID_BITS) | id
        self._phases = BlockPhases(limits.block_size)
        self._context_tokens = 0  # sum over the running set of prompt + generated
        self._step = 0  # decode steps so far
        self._paused: dict[int, tuple[int, int]] = {}  # preempted: generated, last token's instant
        self._partial = -1  # the prompt under chunked that is prefilled in part
        self._partial_done = 0

        self._kind = NO_STEP
        self._batch: list[int] = []  # prompts of the prefill in flight
        self._chunks: list[tuple[int, int, int]] = []  # prompt, tokens done, tokens of this step
        self._start_ps = 0  # the leap in flight: its start, steps and cost
        self._steps = 0
        self._fixed_ps = 0
        self._context_ps = 0
        self._factor = 1.0
        self._redraw = True
        self._busy_since_ps = UNSET
        # Sequences whose newest token came after the last decode step, by that instant.
        self._fresh: list[tuple[int, int]] = []
        self._last_decode_ps = 0
        self.boundary_ps = NEVER_PS

    # ------------------------------------------------------------------ what others may look at

    def running(self, now_ps: int) -> tuple[Running, ...]:
        """Return who holds a seat, in admission order, with the tokens generated before now."""
        # At an instant of its own a step's boundary comes after arrivals and timers.
        step = self._step + (self._steps_until(now_ps) - 1 if self._kind == DECODE else 0)
        seated = [
            Running(i, self._prompt_tokens[i], self._output_tokens[i] - (last - step))
            for i, last in self._running.items()
        ]
        prefilling = self._batch if self._kind == PREFILL else [i for i, _, _ in self._chunks]
        if self._partial >= 0 and self._partial not in prefilling:
            prefilling = [self._partial, *prefilling]
        paused = self._paused
        seated += [
            Running(i, self._prompt_tokens[i], paused[i][0] if i in paused else 0)
            for i in prefilling
        ]
        return tuple(seated)

    def waiting_ids(self) -> tuple[int, ...]:
        """Return the released requests that have no seat, first to go first."""
        return tuple(self._waiting)

    # ------------------------------------------------------------------ execute

    def release(self, request: int, now_ps: int) -> None:
        """Put a request at the tail of the waiting queue; it can be seated at the next boundary."""
        if self.boundary_ps == NEVER_PS:
            self.boundary_ps = now_ps
        elif (
            self._kind == DECODE
            and self._steps > 1
            and not self._waiting
            and len(self._running) < self._seats
        ):
            # The step in flight ends first.  A head that already waits is blocked until a
            # completion or a preemption, which end the leap anyway.
            self._cut(self._steps_until(now_ps))
        self._waiting.append(request)

    def complete(self) -> list[int]:
        """Apply the step or leap that ends at ``boundary_ps``.

        Returns
        -------
        list of int
            The requests that finished, ascending.
        """
        kind = self._kind
        self._kind = NO_STEP
        if kind == DECODE:
            return self._complete_decode()
        if kind == PREFILL:
            finished = self._complete_prompts(self._batch)
            self._batch = []
            return finished
        if kind == MIXED:
            return self._complete_mixed()
        return []

    def form(self) -> None:
        """Form the next step or leap and set ``boundary_ps``."""
        now_ps = self.boundary_ps
        if self._form_step(now_ps):
            if self._busy_since_ps == UNSET:
                self._busy_since_ps = now_ps
            return
        self.boundary_ps = NEVER_PS
        self._redraw = True
        if self._busy_since_ps != UNSET:
            self._account.busy_ps.extend((self._busy_since_ps, now_ps))
            self._busy_since_ps = UNSET
        if self._waiting or self._context_tokens or self._paused or not self._phases.empty():
            raise RuntimeError("engine went idle with requests, tokens or blocks left over")

    def stop(self, until_ps: int) -> None:
        """Account for what is in flight at the end of a run cut short; finish nothing."""
        if self._kind == DECODE:
            steps = self._steps_until(until_ps + 1) - 1
            if steps:
                self._cut(steps)
                self._complete_decode()
        if self._busy_since_ps != UNSET:
            self._account.busy_ps.extend((self._busy_since_ps, until_ps))
            self._busy_since_ps = UNSET

    # ------------------------------------------------------------------ prompts

    def _form_prefill_first(self, now_ps: int) -> bool:
        """Prefill what can be admitted; otherwise decode the whole running set."""
        if self._waiting and len(self._running) < self._seats:
            cost_ps = self._admit()
            if cost_ps >= 0:
                self._kind = PREFILL
                self._redraw = True
                self.boundary_ps = now_ps + cost_ps
                return True
        return bool(self._running) and self._leap(now_ps, self._blocks)

    def _admit(self) -> int:
        """Fill ``_batch`` from the head of the queue; return the prefill's cost, -1 if empty."""
        waiting, batch, paused = self._waiting, self._batch, self._paused
        running = len(self._running)
        size = self._block_size
        limit = self._blocks - self._watermark
        # The last token of a sequence is never stored; the sum is an upper bound of the blocks.
        held = bound = (self._context_tokens + (size - 2) * running) // size
        exact = False
        seats = self._seats - running
        tokens = attention2 = 0
        while waiting and seats:
            request = waiting[0]
            prompt = self._prompt_tokens[request]
            if request in paused:
                prompt += paused[request][0]
            if tokens + prompt > self._budget and tokens:
                break
            need = -(-prompt // size)
            if held + need > limit:
                if not exact:
                    # Replace the bound by the truth, once.
                    held += self._held() - bound
                    exact = True
                if held + need > limit:
                    break
            batch.append(waiting.popleft())
            held += need
            seats -= 1
            tokens += prompt
            attention2 += prompt * prompt
        if not batch:
            return -1
        if tokens > self._account.peak_prefill_tokens:
            self._account.peak_prefill_tokens = tokens
        cost_ps = self._costs.prefill_ps(tokens, attention2)
        return cost_ps if self._jitter is None else round(cost_ps * self._jitter())

    def _held(self) -> int:
        """Blocks the running set holds between steps: its newest tokens are not stored yet."""
        return self._phases.blocks(self._context_tokens - len(self._running), self._step - 1)

    def _complete_prompts(self, prompts: list[int]) -> list[int]:
        """Give each prompt its token; it finishes or joins the running set."""
        now_ps = self.boundary_ps
        step = self._step
        finished = []
        joined = 0
        for request in prompts:
            generated = 1
            if request in self._paused:
                before, last_token_ps = self._paused.pop(request)
                generated += before
                self._account.gaps.extend((now_ps, now_ps - last_token_ps, 0, 1, 1))
            else:
                self._first_token_ps[request] = now_ps
            left = self._output_tokens[request] - generated
            if left:
                joined += 1
                self._running[request] = step + left
                heappush(self._finish, (step + left) << ID_BITS | request)
                tokens = self._prompt_tokens[request] + generated
                self._context_tokens += tokens
                self._phases.join(tokens, step)
            else:
                finished.append(request)
        if joined:
            self._fresh.append((now_ps, joined))
            if len(self._running) > self._account.peak_batch:
                self._account.peak_batch = len(self._running)
        finished.sort()
        return finished

    # ------------------------------------------------------------------ chunks

    def _form_chunked(self, now_ps: int) -> bool:
        """Decode the whole running set and fill the budget with chunks of prompts."""
        running = self._running
        size = self._block_size
        if not running and not self._waiting and self._partial < 0:
            return False
        blocks = self._blocks - -(-self._partial_done // size)
        if self._bound() > blocks and self._make_room(blocks):
            return self._leap(now_ps, self._blocks)
        if self._waiting or self._partial >= 0:
            self._take_chunks(blocks)
        if not self._chunks:
            return bool(running) and self._leap(now_ps, blocks)
        tokens = attention2 = 0
        for _, past, chunk in self._chunks:
            tokens += chunk
            attention2 += chunk * (2 * past + chunk)
        if tokens > self._account.peak_prefill_tokens:
            self._account.peak_prefill_tokens = tokens
        cost_ps = self._costs.mixed_ps(len(running), self._context_tokens, tokens, attention2)
        if self._jitter is not None:
            cost_ps = round(cost_ps * self._jitter())
        self._kind = MIXED
        self._redraw = True
        self.boundary_ps = now_ps + cost_ps
        return True

    def _target(self, request: int) -> int:
        """Tokens a prefill of this request has to store."""
        paused = self._paused.get(request)
        return self._prompt_tokens[request] + (paused[0] if paused else 0)

    def _take_chunks(self, blocks: int) -> None:
        """Fill ``_chunks`` within the budget, the seats and what decodes leave of `blocks`."""
        size = self._block_size
        budget = self._budget - len(self._running)
        seats = self._seats - len(self._running)
        free = blocks - self._bound()
        exact = False
        request, past = self._partial, self._partial_done
        while budget and seats:
            if request < 0:
                if not self._waiting:
                    break
                request, past = self._waiting[0], 0
            left = self._target(request) - past
            chunk = min(left, budget)
            need = -(-(past + chunk) // size) - -(-past // size)
            if need > free and not exact:
                free += self._bound() - self._needed()
                exact = True
            if need > free:
                break
            free -= need
            if request != self._partial:
                self._waiting.popleft()
            self._chunks.append((request, past, chunk))
            if chunk < left:
                break
            budget -= chunk
            seats -= 1
            request = -1

    def _complete_mixed(self) -> list[int]:
        """Apply one step of decodes and chunks."""
        finished = []
        if self._running:
            self._gap_before_first_step(self.boundary_ps)
            self._step += 1
            self._context_tokens += len(self._running)
            finished = self._retire()
        self._last_decode_ps = self.boundary_ps
        self._partial, self._partial_done = -1, 0
        whole = []
        for request, past, chunk in self._chunks:
            if past + chunk == self._target(request):
                whole.append(request)
            else:
                self._partial, self._partial_done = request, past + chunk
        self._chunks = []
        if whole:
            finished += self._complete_prompts(whole)
            # Their tokens came with the decodes': the next gap is the same for all.
            self._fresh = []
            finished.sort()
        return finished

    # ------------------------------------------------------------------ decodes

    def _leap(self, now_ps: int, blocks: int) -> bool:
        """Start decoding until the next completion or the next shortage of `blocks`."""
        steps = (self._finish[0] >> ID_BITS) - self._step
        size = self._block_size
        batch = len(self._running)
        # An upper bound of what the last step needs; the exact count is rarely wanted.
        if self._context_tokens + (steps + size - 2) * batch > blocks * size:
            self._make_room(blocks)
            batch = len(self._running)
            steps = self._phases.steps_within(
                blocks - self._needed(),
                self._step,
                batch,
                (self._finish[0] >> ID_BITS) - self._step,
            )
        fixed_ps = self._costs.decode_fixed_ps[batch]
        context_ps = self._costs.decode_context_ps[batch]
        if self._jitter is not None:
            if self._redraw:
                self._factor = self._jitter()
            fixed_ps = max(1, round(fixed_ps * self._factor))
            context_ps = round(context_ps * self._factor)
        self._redraw = False
        self._kind = DECODE
        self._start_ps = now_ps
        self._fixed_ps = fixed_ps
        self._context_ps = context_ps
        self._cut(steps)
        return True

    def _cut(self, steps: int) -> None:
        """Let the leap in flight end after `steps` steps."""
        self._steps = steps
        self.boundary_ps = self._start_ps + self._time(steps)

    def _time(self, steps: int) -> int:
        """Time [ps] of the first `steps` steps of the leap in flight."""
        if not self._context_ps:
            return steps * self._fixed_ps
        grown = len(self._running) * (steps * (steps - 1) // 2)
        return steps * self._fixed_ps + self._context_ps * (steps * self._context_tokens + grown)

    def _steps_until(self, instant_ps: int) -> int:
        """Return the least k >= 1 such that step k ends at or after the instant."""
        elapsed = instant_ps - self._start_ps
        if elapsed <= 0:
            return 1
        if not self._context_ps:
            return -(-elapsed // self._fixed_ps)
        # T(k) = k*(a + c*C - c*B/2) + k^2*c*B/2: the float root is near, the integers decide.
        half = self._context_ps * len(self._running) / 2
        linear = self._fixed_ps + self._context_ps * self._context_tokens - half
        steps = max(1, int((sqrt(linear * linear + 4 * half * elapsed) - linear) / (2 * half)))
        while self._time(steps) < elapsed:
            steps += 1
        while steps > 1 and self._time(steps - 1) >= elapsed:
            steps -= 1
        return steps

    def _complete_decode(self) -> list[int]:
        """Apply the steps of the leap that ended."""
        batch = len(self._running)
        steps = self._steps
        first_ps = self._fixed_ps + self._context_ps * self._context_tokens
        grows_ps = self._context_ps * batch
        if self._fresh or self._last_decode_ps != self._start_ps:
            self._gap_before_first_step(self._start_ps + first_ps)
            if steps > 1:
                second_ps = first_ps + grows_ps
                ends_ps = self._start_ps + first_ps + second_ps
                self._account.gaps.extend((ends_ps, second_ps, grows_ps, steps - 1, batch))
        else:
            self._account.gaps.extend((self._start_ps + first_ps, first_ps, grows_ps, steps, batch))
        self._last_decode_ps = self.boundary_ps
        self._step += steps
        self._context_tokens += steps * batch
        return self._retire()

    def _gap_before_first_step(self, end_ps: int) -> None:
        """Account the gap of every running sequence at a step that ends at `end_ps`."""
        veterans = len(self._running)
        for token_ps, count in self._fresh:
            veterans -= count
            self._account.gaps.extend((end_ps, end_ps - token_ps, 0, 1, count))
        if veterans:
            self._account.gaps.extend((end_ps, end_ps - self._last_decode_ps, 0, 1, veterans))
        self._fresh = []

    def _retire(self) -> list[int]:
        """Remove the sequences whose last token came at this step."""
        finish, step = self._finish, self._step
        finished: list[int] = []
        while finish and finish[0] >> ID_BITS == step:
            request = heappop(finish) & ID_MASK
            del self._running[request]
            tokens = self._prompt_tokens[request] + self._output_tokens[request]
            self._context_tokens -= tokens
            self._phases.leave(tokens, step)
            finished.append(request)
        if finished:
            self._redraw = True
        return finished

    # ------------------------------------------------------------------ preemption

    def _bound(self) -> int:
        """Return an upper bound of ``_needed()`` that costs next to nothing."""
        size = self._block_size
        return (self._context_tokens + (size - 1) * len(self._running)) // size

    def _needed(self) -> int:
        """Return the blocks that the next decode step needs."""
        return self._phases.blocks(self._context_tokens, self._step)

    def _make_room(self, blocks: int) -> bool:
        """Preempt until the next decode step fits into `blocks`; return whether any had to go."""
        preempted = False
        while self._needed() > blocks:
            preempted = True
            if self._partial >= 0:
                # A partial prompt counts as the last admitted; its blocks come free.
                blocks += -(-self._partial_done // self._block_size)
                self._requeue(self._partial)
                self._partial, self._partial_done = -1, 0
            else:
                self._preempt_last()
        return preempted

    def _requeue(self, request: int) -> None:
        """Put a preempted request at the head of the waiting queue."""
        self._waiting.appendleft(request)
        self._ledger.preemptions[request] += 1
        self._redraw = True

    def _preempt_last(self) -> None:
        """Send the last admitted back to the head of the queue with the tokens it has."""
        request, last_step = self._running.popitem()
        generated = self._output_tokens[request] - (last_step - self._step)
        self._finish.remove(last_step << ID_BITS | request)
        heapify(self._finish)
        tokens = self._prompt_tokens[request] + generated
        self._context_tokens -= tokens
        self._phases.leave(tokens, self._step)
        token_ps = self._last_decode_ps
        if self._fresh:
            token_ps, count = self._fresh.pop()
            if count > 1:
                self._fresh.append((token_ps, count - 1))
        self._paused[request] = (generated, token_ps)
        self._requeue(request)
