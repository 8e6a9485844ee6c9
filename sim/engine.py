"""One replica's continuous-batching engine: the waiting queue, prompts, and preemption.

Decoding is left to `sim.decoding`, which leaps from change to change.  `sim.stepwise` visits every
token instead and must agree with ``==``.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from policies.protocol import NEVER_PS, Running
from sim.decoding import SHORT_OF_BLOCKS, Decoding
from sim.ledger import UNSET
from sim.prefixcache import PrefixCache

if TYPE_CHECKING:
    from sim.spec import ReplicaSpec


class Engine:
    """Waiting queue, running set, KV blocks, and the step or leap in flight.

    The caller alternates ``complete()`` and ``form()`` at every ``boundary_ps``, and may
    ``release`` in between or while a step is in flight.  The engine decides nothing: order of
    admission and choice of the preempted are fixed rules.

    Attributes
    ----------
    boundary_ps : int
        The next instant [ps] at which something may change; ``NEVER_PS`` when idle.
    """

    __slots__ = (
        "_account",
        "_block_size",
        "_blocks",
        "_budget",
        "_busy_ps",
        "_busy_since_ps",
        "_cache",
        "_chunked",
        "_chunks",
        "_costs",
        "_decoding",
        "_first_token_ps",
        "_jitter",
        "_leaving",
        "_output_tokens",
        "_partial",
        "_partial_tokens",
        "_paused",
        "_preemptions",
        "_prompt_tokens",
        "_seats",
        "_spec",
        "_waiting",
        "_watermark",
        "boundary_ps",
    )

    def __init__(self, spec: ReplicaSpec) -> None:
        limits = spec.limits
        self._spec = spec
        self._prompt_tokens = spec.prompt_tokens
        self._output_tokens = spec.output_tokens
        self._first_token_ps = spec.ledger.first_token_ps
        self._preemptions = spec.ledger.preemptions
        self._account = spec.account
        self._costs = spec.costs
        self._jitter = spec.jitter
        self._seats = limits.max_num_seqs
        self._block_size = limits.block_size
        self._watermark = limits.watermark
        self._chunked = limits.discipline == "chunked"
        self._busy_ps = 0  # in the periods that are over
        self._busy_since_ps = UNSET
        self._clear()

    def _clear(self) -> None:
        """Hold nothing, like a new engine."""
        spec = self._spec
        self._budget = spec.limits.max_num_batched_tokens
        # KV blocks there are: one that many hold counts for each of them.
        self._blocks = spec.limits.blocks
        self._cache = None
        if spec.prefix is not None:
            self._cache = PrefixCache(spec.prefix, self._block_size, spec.prompt_tokens)
        self._decoding = Decoding(spec)
        self._waiting: deque[int] = deque()
        # Preempted requests: tokens they keep, instant of the last.
        self._paused: dict[int, tuple[int, int]] = {}
        # Prompts in the step in flight: request, tokens stored before, tokens of this step.
        self._chunks: list[tuple[int, int, int]] = []
        self._partial = -1  # the prompt that is stored in part
        self._partial_tokens = 0
        # Aborted while they hold a seat.  The same id may wait again already, as a new attempt.
        self._leaving: set[int] = set()
        self.boundary_ps = NEVER_PS

    def running(self, now_ps: int) -> tuple[Running, ...]:
        """Return who holds a seat, in admission order, with the tokens generated before now."""
        prefilling = [request for request, _, _ in self._chunks]
        if self._partial >= 0 and self._partial not in prefilling:
            prefilling.insert(0, self._partial)
        return (
            *self._decoding.running(now_ps),
            *(Running(i, self._prompt_tokens[i], self._kept(i)) for i in prefilling),
        )

    @property
    def seated(self) -> int:
        """Requests that hold a seat."""
        chunks = self._chunks
        apart = self._partial >= 0 and not (chunks and chunks[0][0] == self._partial)
        return self._decoding.size + len(chunks) + apart

    def generated(self, request: int, now_ps: int) -> int:
        """Return the tokens that a request in the engine has generated before now."""
        if request in self._leaving:
            return 0  # of its new attempt, which waits
        if request in self._decoding:
            return self._decoding.generated(request, now_ps)
        return self._kept(request)

    def busy_ps(self, now_ps: int) -> int:
        """Return how long the engine has been at work by now [ps]."""
        if self._busy_since_ps == UNSET:
            return self._busy_ps
        return self._busy_ps + now_ps - self._busy_since_ps

    def blocks_after(self, now_ps: int) -> int:
        """Return the KV blocks in use right after now; one that many hold counts once."""
        decoding, chunks = self._decoding, self._chunks
        if decoding.steps:
            own = decoding.blocks_after(now_ps)
        else:
            own = decoding.blocks_needed() if self._chunked else decoding.blocks_held()
        own += sum(-(-(past + tokens) // self._block_size) for _, past, tokens in chunks)
        if not (chunks and chunks[0][0] == self._partial):
            own += self._partial_blocks()
        return own - (self._blocks - self._spec.limits.blocks)

    def waiting_ids(self) -> tuple[int, ...]:
        """Return the released requests that have no seat, first to go first."""
        return tuple(self._waiting)

    def output_tokens(self, request: int) -> int:
        """Return how many tokens a request that has finished generated."""
        return self._output_tokens[request]

    def release(self, request: int, now_ps: int) -> None:
        """Put a request at the tail of the waiting queue; it can be seated at the next boundary."""
        decoding = self._decoding
        if self.boundary_ps == NEVER_PS:
            self.boundary_ps = now_ps
        elif decoding.steps > 1 and not self._waiting and decoding.size < self._seats:
            # A head that waits already is blocked until a completion or a preemption, and those
            # end the leap anyway.
            self.boundary_ps = decoding.cut(now_ps)
        self._waiting.append(request)

    def set_budget(self, tokens: int, now_ps: int) -> None:
        """Let steps hold at most `tokens` from the next one on; the step in flight stays."""
        if tokens == self._budget:
            return
        self._budget = tokens
        # Under prefill-first, a head that waits is blocked by seats or blocks, never by the budget.
        prompts = self._waiting or self._partial >= 0
        if self._chunked and prompts and self._decoding.steps > 1:
            self.boundary_ps = self._decoding.cut(now_ps)

    def abort(self, request: int, now_ps: int) -> None:
        """Give up a request: one that waits leaves at once, one with a seat when the step ends.

        The token that comes with that step is thrown away, even if it is the last.
        """
        if self._holds_seat(request) and request not in self._leaving:
            self._leaving.add(request)
        else:
            self._waiting.remove(request)
            if request not in self._leaving:
                self._paused.pop(request, None)
        if self._decoding.steps > 1:
            # A head that waits may have been blocked by what leaves.
            self.boundary_ps = self._decoding.cut(now_ps)

    def lose(self, now_ps: int) -> None:
        """Fail: the steps that ended before now are accounted, all that is held is gone."""
        self._decoding.stop(now_ps - 1)
        self._close_busy_period(now_ps)
        self._clear()

    def complete(self) -> list[int]:
        """Apply the step or leap that ends at ``boundary_ps``; return who finished, ascending."""
        cache = self._cache
        if cache is not None and self._decoding.steps:
            # What the steps of the leap took from the cache one after another, all at once.
            held = self._partial_blocks() + self._decoding.blocks_at_end()
            cache.evict(self._blocks - held)
        if self._leaving:
            finished = self._complete_without_leaving()
        elif self._decoding.steps:
            finished = self._decoding.end_leap()
        else:
            finished = self._complete_prompts() if self._chunks else []
        if cache is not None:
            for request in finished:
                stored = self._prompt_tokens[request] + self._output_tokens[request] - 1
                self._blocks -= cache.finish(request, stored)
        return finished

    def form(self) -> None:
        """Form the next step or leap and set ``boundary_ps``."""
        now_ps = self.boundary_ps
        if self._chunked:
            self.boundary_ps = self._form_chunked(now_ps)
        else:
            self.boundary_ps = self._form_prefill_first(now_ps)
        if self.boundary_ps != NEVER_PS:
            if self._busy_since_ps == UNSET:
                self._busy_since_ps = now_ps
            return
        self._decoding.interrupted()
        self._close_busy_period(now_ps)
        left = self._waiting or self._paused or self._partial >= 0 or not self._decoding.empty()
        if left or self._blocks != self._spec.limits.blocks:
            raise RuntimeError("engine went idle with requests, tokens or blocks left over")

    def stop(self, until_ps: int) -> None:
        """Account for what is in flight at the end of a run cut short; finish nothing."""
        self._decoding.stop(until_ps)
        self._close_busy_period(until_ps)

    def _close_busy_period(self, now_ps: int) -> None:
        if self._busy_since_ps != UNSET:
            self._account.busy_ps.extend((self._busy_since_ps, now_ps))
            self._busy_ps += now_ps - self._busy_since_ps
            self._busy_since_ps = UNSET

    # ------------------------------------------------------------------ prefill-first

    def _form_prefill_first(self, now_ps: int) -> int:
        """Prefill what can be admitted, else decode; return the end of the step."""
        if self._waiting and self._decoding.size < self._seats:
            self._admit()
            if self._chunks:
                return self._end_of_prompts(now_ps)
        decoding = self._decoding
        if not decoding.size:
            return NEVER_PS
        end_ps = decoding.leap(now_ps, self._blocks)
        if end_ps == SHORT_OF_BLOCKS:
            self._make_room()
            end_ps = decoding.leap(now_ps, self._blocks)
        return end_ps

    def _admit(self) -> None:
        """Take whole prompts from the head of the queue while seats, budget and blocks allow."""
        waiting = self._waiting
        size = self._block_size
        decoding, cache = self._decoding, self._cache
        seats = self._seats - decoding.size
        budget = self._budget
        exact = cache is not None
        bound = decoding.blocks_held() if exact else decoding.blocks_held_bound()
        free = self._blocks - self._watermark - bound
        while waiting and seats:
            request = waiting[0]
            tokens = self._prompt_tokens[request] + (self._kept(request) if self._paused else 0)
            need = -(-tokens // size)
            past = 0
            if cache is not None:
                past = cache.hit_tokens(request, tokens)
                need -= cache.shared_blocks(request, tokens)
            # A prompt longer than the budget goes alone.
            if tokens - past > budget and self._chunks:
                break
            if need > free and not exact:
                free += bound - self._decoding.blocks_held()
                exact = True
            if need > free:
                break
            self._chunks.append((waiting.popleft(), past, tokens - past))
            free -= need
            seats -= 1
            budget -= tokens - past
            if cache is not None:
                self._account_hit(tokens, past)
                self._blocks += cache.hold(request, tokens)
                cache.evict(free + self._watermark)

    # ------------------------------------------------------------------ chunked

    def _form_chunked(self, now_ps: int) -> int:
        """Decode the running set and fill the budget with chunks; return the end of the step."""
        decoding = self._decoding
        blocks = self._blocks - -(-self._partial_tokens // self._block_size)
        if decoding.blocks_bound() > blocks and self._make_room():
            # No admission in a step that preempted; the one after may have room for a chunk.
            return decoding.leap(now_ps, self._blocks, at_most=1)
        if self._waiting or self._partial >= 0:
            hit_is_too_long = self._take_chunks(blocks)
            if self._chunks:
                return self._end_of_prompts(now_ps)
            if hit_is_too_long and self._cache is not None:
                # An eviction makes it shorter: leap no further than to the next.
                blocks -= self._cache.kept_blocks
        return decoding.leap(now_ps, blocks) if decoding.size else NEVER_PS

    def _take_chunks(self, blocks: int) -> bool:
        """Take chunks of prompts while budget, seats and what decodes leave of `blocks` allow.

        Return whether the head of the queue had to stay with a hit in the cache: a first chunk
        needs room for all it begins with.
        """
        decoding, cache = self._decoding, self._cache
        size = self._block_size
        budget = self._budget - decoding.size
        seats = self._seats - decoding.size
        exact = cache is not None
        bound = decoding.blocks_needed() if exact else decoding.blocks_bound()
        free = blocks - bound
        if cache is not None:
            cache.evict(free)
        request, stored = self._partial, self._partial_tokens
        while budget > 0 and seats:
            past = stored
            if request < 0:
                if not self._waiting:
                    break
                request = self._waiting[0]
                past = stored = 0
            total = self._prompt_tokens[request] + self._kept(request)
            if cache is not None and request != self._partial:
                past = cache.hit_tokens(request, total)
            tokens = min(total - past, budget)
            need = -(-(past + tokens) // size) - -(-stored // size)
            if cache is not None:
                need -= cache.shared_blocks(request, past + tokens)
            if need > free and not exact:
                free += bound - decoding.blocks_needed()
                exact = True
            if need > free:
                return past > stored
            free -= need
            if cache is not None:
                if request != self._partial:
                    self._account_hit(total, past)
                self._blocks += cache.hold(request, past + tokens)
                cache.evict(free)
            if request != self._partial:
                self._waiting.popleft()
            self._chunks.append((request, past, tokens))
            if past + tokens < total:
                break
            seats -= 1
            budget -= tokens
            request = -1
        return False

    # ------------------------------------------------------------------ both

    def _kept(self, request: int) -> int:
        """Return the tokens a preempted request keeps, 0 for others."""
        paused = self._paused.get(request)
        return paused[0] if paused else 0

    def _partial_blocks(self) -> int:
        return -(-self._partial_tokens // self._block_size)

    def _account_hit(self, tokens: int, hit_tokens: int) -> None:
        self._account.prefix_query_tokens += tokens
        self._account.prefix_hit_tokens += hit_tokens

    def _end_of_prompts(self, now_ps: int) -> int:
        """Return the end of the step that carries ``_chunks``."""
        tokens = attention2 = 0
        for _, past, chunk in self._chunks:
            tokens += chunk
            attention2 += chunk * (2 * past + chunk)
        if tokens > self._account.peak_prefill_tokens:
            self._account.peak_prefill_tokens = tokens
        if self._chunked:
            cost_ps = self._decoding.mixed_ps(tokens, attention2)
        else:
            cost_ps = self._costs.prefill_ps(tokens, attention2)
        if self._jitter is not None:
            cost_ps = round(cost_ps * self._jitter())
        self._decoding.interrupted()
        return now_ps + cost_ps

    def _complete_prompts(self) -> list[int]:
        """Apply the step that carried ``_chunks``: under chunked the running set decoded too."""
        now_ps = self.boundary_ps
        finished = self._decoding.end_step(now_ps) if self._chunked else []
        self._partial, self._partial_tokens = -1, 0
        joined = 0
        for request, past, tokens in self._chunks:
            kept = 0
            if request in self._paused:
                kept, token_ps = self._paused[request]
            stored = past + tokens
            if stored < self._prompt_tokens[request] + kept:
                self._partial, self._partial_tokens = request, stored
                continue
            if kept:
                del self._paused[request]
                self._account.gaps.extend((now_ps, now_ps - token_ps, 0, 1, 1))
            else:
                self._first_token_ps[request] = now_ps
            if kept + 1 < self._output_tokens[request]:
                self._decoding.join(request, kept + 1)
                joined += 1
            else:
                finished.append(request)
        self._chunks = []
        if joined:
            self._decoding.joined(joined, now_ps)
        finished.sort()
        return finished

    def _complete_without_leaving(self) -> list[int]:
        """Let the aborted go before the token of the step that ends; apply it to the rest."""
        decoding, leaving = self._decoding, self._leaving
        leapt = decoding.steps > 0
        decoding.drop(request for request in leaving if request in decoding)
        if self._partial in leaving:
            self._partial, self._partial_tokens = -1, 0
        for request in sorted(leaving):
            self._paused.pop(request, None)
            if self._cache is not None:
                self._blocks -= self._cache.release(request)
        self._chunks = [chunk for chunk in self._chunks if chunk[0] not in leaving]
        self._leaving = set()
        return decoding.end_step(self.boundary_ps) if leapt else self._complete_prompts()

    def _holds_seat(self, request: int) -> bool:
        if request in self._decoding or request == self._partial:
            return True
        return any(request == chunk[0] for chunk in self._chunks)

    def _make_room(self) -> bool:
        """Preempt until the next decode step fits; return whether any had to go.

        The last admitted goes first, to the head of the queue, and keeps its tokens.
        """
        decoding = self._decoding
        preempted = False
        while decoding.blocks_needed() > self._blocks - self._partial_blocks():
            preempted = True
            if self._partial >= 0:
                # A prompt stored in part counts as the last admitted; its blocks come free.
                request = self._partial
                self._partial, self._partial_tokens = -1, 0
                decoding.interrupted()
            else:
                request, generated, token_ps = decoding.pop_last()
                self._paused[request] = generated, token_ps
            if self._cache is not None:
                self._blocks -= self._cache.release(request)
            self._waiting.appendleft(request)
            self._preemptions[request] += 1
        return preempted
