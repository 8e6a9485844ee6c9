"""One replica's engine, one step after another: what the leaping engine must agree with.

Every sequence counts its own tokens and every sum is added up anew at every step.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from policies.protocol import Running
from sim.ledger import FINISHED, UNSET

if TYPE_CHECKING:
    from sim.spec import ReplicaSpec


@dataclass(eq=False, slots=True)
class _Block:
    """A content block in the prefix cache."""

    id: int
    holders: int = 0
    let_go: int = 0
    """When it was last let go, counted in blocks."""


@dataclass(eq=False, slots=True)
class _Sequence:
    """A request in the engine."""

    id: int
    prompt_tokens: int
    output_tokens: int
    generated: int = 0
    stored: int = 0
    """Tokens of the present prefill that are done, found or in the step in flight."""
    token_ps: int = UNSET
    """When its last token came."""
    leaving: bool = False
    """Whether it was aborted and keeps its seat until the step in flight ends."""
    content: list[int] = field(default_factory=list)
    """Content blocks of its prompt and, where they are known, of its answer."""
    held: list[_Block] = field(default_factory=list)
    """Those of the prompt that are stored, for all who hold them."""

    @property
    def tokens(self) -> int:
        """Tokens that a prefill computes, and that a decode step attends to and must store."""
        return self.prompt_tokens + self.generated


class _Step(NamedTuple):
    """A step in flight: sequences it decodes, and chunks of prompts with their tokens."""

    end_ps: int
    decodes: list[_Sequence]
    chunks: list[tuple[_Sequence, int]]


class StepEngine:
    """One replica's continuous batching; every sequence is in exactly one of the three lists."""

    def __init__(self, spec: ReplicaSpec) -> None:
        self.spec = spec
        self.limits = spec.limits
        self.budget = spec.limits.max_num_batched_tokens
        self.waiting: list[_Sequence] = []
        self.prefilling: list[_Sequence] = []  # between two steps at most one, partial
        self.decoding: list[_Sequence] = []  # in admission order
        self.step: _Step | None = None
        self.factor = 1.0
        self.keep_factor = False
        self.cache: dict[int, _Block] = {}
        self.let_go_blocks = 0
        # Tokens of a content block, and its KV blocks.
        self.content_tokens = spec.prefix.block_tokens if spec.prefix else 1
        self.unit = self.content_tokens // spec.limits.block_size

    def running(self, now_ps: int) -> tuple[Running, ...]:
        """Return who holds a seat (see `policies.protocol.EngineState`)."""
        seated = self.decoding + self.prefilling
        return tuple(Running(seq.id, seq.prompt_tokens, seq.generated) for seq in seated)

    def waiting_ids(self) -> tuple[int, ...]:
        """Return who waits for a seat (see `policies.protocol.EngineState`)."""
        return tuple(seq.id for seq in self.waiting)

    def output_tokens(self, request_id: int) -> int:
        """Return what a finished request generated (see `policies.protocol.EngineState`)."""
        return self.spec.output_tokens[request_id]

    def release(self, request_id: int) -> None:
        """Put a request at the end of the waiting queue."""
        prompt, output = self.spec.prompt_tokens[request_id], self.spec.output_tokens[request_id]
        seq = _Sequence(request_id, prompt, output)
        if self.spec.prefix is not None:
            seq.content = self.spec.prefix.row(request_id).tolist()
        self.waiting.append(seq)

    def abort(self, request_id: int, now_ps: int) -> None:
        """Give up a request: at once if it waits, at the end of the step in flight if it sits."""
        seq = self.find(request_id)
        if seq in self.waiting:
            self.waiting.remove(seq)
        else:
            seq.leaving = True

    def lose(self, now_ps: int) -> None:
        """Fail: all that the engine holds is gone."""
        self.stop(now_ps)
        self.waiting, self.prefilling, self.decoding = [], [], []
        self.step = None
        self.keep_factor = False
        self.cache = {}
        self.budget = self.limits.max_num_batched_tokens

    def find(self, request_id: int) -> _Sequence:
        """Return the attempt at a request that has not been aborted."""
        held = self.waiting + self.prefilling + self.decoding
        return next(seq for seq in held if seq.id == request_id and not seq.leaving)

    @property
    def seated(self) -> int:
        """Requests that hold a seat."""
        return len(self.prefilling) + len(self.decoding)

    def generated(self, request_id: int, now_ps: int) -> int:
        """Return the tokens that a request in the engine has generated before now."""
        return self.find(request_id).generated

    def busy_ps(self, now_ps: int) -> int:
        """Return how long the engine has been at work by now [ps]."""
        ends = [*self.spec.account.busy_ps, now_ps]  # the last only counts in an open period
        return sum(end - start for start, end in zip(ends[::2], ends[1::2], strict=False))

    # Execute and account: the step that ends.

    def complete(self, now_ps: int) -> list[int]:
        """End the step in flight, if there is one; return who finished, ascending."""
        if self.step is None:
            return []
        _, decodes, chunks = self.step
        self.step = None
        self.dismiss()
        gain = [seq for seq in decodes if not seq.leaving]
        for seq, _ in chunks:
            if not seq.leaving and seq.stored == seq.tokens:
                self.prefilling.remove(seq)
                self.decoding.append(seq)
                gain.append(seq)
        self.account_tokens(gain, now_ps)
        finished = [seq for seq in gain if seq.generated == seq.output_tokens]
        for seq in sorted(finished, key=lambda seq: seq.id):
            self.decoding.remove(seq)
            self.hold(seq, seq.tokens - 1)  # from now on the answer is content too
            self.let_go(seq)
            self.keep_factor = False
            self.spec.ledger.finished_ps[seq.id] = now_ps
            self.spec.ledger.status[seq.id] = FINISHED
        account = self.spec.account
        account.peak_batch = max(account.peak_batch, len(self.decoding))
        return sorted(seq.id for seq in finished)

    def dismiss(self) -> None:
        """Remove the aborted from their seats; what the step brings them is thrown away."""
        leaving = [seq for seq in self.prefilling + self.decoding if seq.leaving]
        for seq in sorted(leaving, key=lambda seq: seq.id):
            (self.prefilling if seq in self.prefilling else self.decoding).remove(seq)
            self.let_go(seq)
            self.keep_factor = False

    def account_tokens(self, gain: list[_Sequence], now_ps: int) -> None:
        """Give each sequence its token and write down when it came."""
        gaps: Counter[int] = Counter()
        for seq in gain:
            if seq.generated:
                gaps[now_ps - seq.token_ps] += 1
            else:
                self.spec.ledger.first_token_ps[seq.id] = now_ps
            seq.generated += 1
            seq.token_ps = now_ps
        for gap_ps, count in gaps.items():
            self.spec.account.gaps.extend((now_ps, gap_ps, 0, 1, count))

    # Decide: the step that begins.

    def form(self, now_ps: int) -> None:
        """Start the next step, or go idle if there is nothing to do."""
        if self.limits.discipline == "chunked":
            decodes, chunks = self.choose_chunked()
        else:
            decodes, chunks = self.choose_prefill_first()
        account = self.spec.account
        busy = len(account.busy_ps) % 2 == 1  # a period is open
        if decodes or chunks:
            duration_ps = self.duration_ps(decodes, chunks)
            self.step = _Step(now_ps + duration_ps, decodes, chunks)
            prefill_tokens = sum(tokens for _, tokens in chunks)
            account.peak_prefill_tokens = max(account.peak_prefill_tokens, prefill_tokens)
        elif self.waiting or self.prefilling or self.decoding:
            raise RuntimeError(f"replica {self.spec.index} has work that fits in no step")
        if busy != (self.step is not None):
            account.busy_ps.append(now_ps)

    def choose_prefill_first(self) -> tuple[list[_Sequence], list[tuple[_Sequence, int]]]:
        """Whole prompts while they fit; without any, a decode of the whole running set."""
        budget = self.budget
        chunks: list[tuple[_Sequence, int]] = []
        while self.waiting and len(self.decoding) + len(chunks) < self.limits.max_num_seqs:
            seq = self.waiting[0]
            past = self.found(seq)
            tokens = seq.tokens - past
            room = self.limits.blocks - self.limits.watermark - self.blocks_in_use(decode=False)
            too_many = tokens > budget and chunks  # too long for any step: it goes alone
            if too_many or self.blocks_more(seq, seq.tokens) > room:
                break
            self.waiting.pop(0)
            self.prefilling.append(seq)
            self.account_hit(seq, past)
            self.store(seq, seq.tokens)
            self.evict(decode=False)
            chunks.append((seq, tokens))
            budget -= tokens
        if chunks:
            return [], chunks
        self.preempt()
        self.evict(decode=True)
        return list(self.decoding), []

    def choose_chunked(self) -> tuple[list[_Sequence], list[tuple[_Sequence, int]]]:
        """Decode the whole running set, and chunks of prompts in what the budget leaves."""
        preempted = self.preempt()
        self.evict(decode=True)
        if preempted:
            return list(self.decoding), []
        budget = max(self.budget - len(self.decoding), 0)
        chunks: list[tuple[_Sequence, int]] = []
        for seq in self.prefilling + self.waiting:
            seated = seq in self.prefilling
            seats = self.limits.max_num_seqs - len(self.decoding) - len(self.prefilling)
            past = seq.stored if seated else self.found(seq)
            tokens = min(seq.tokens - past, budget)
            room = self.limits.blocks - self.blocks_in_use(decode=True)
            # A prompt is left partial only if it uses up the budget, so at most one is.
            if tokens == 0 or self.blocks_more(seq, past + tokens) > room or not (seated or seats):
                break
            if not seated:
                self.waiting.remove(seq)
                self.prefilling.append(seq)
                self.account_hit(seq, past)
            self.store(seq, past + tokens)
            self.evict(decode=True)
            chunks.append((seq, tokens))
            budget -= tokens
        return list(self.decoding), chunks

    def preempt(self) -> bool:
        """Send the last admitted back to wait until a decode step fits; return if any was."""
        preempted = False
        while self.decoding and self.blocks_in_use(decode=True) > self.limits.blocks:
            seq = (self.prefilling or self.decoding).pop()
            seq.stored = 0
            self.let_go(seq)
            self.waiting.insert(0, seq)
            self.spec.ledger.preemptions[seq.id] += 1
            self.keep_factor = False
            preempted = True
        return preempted

    # KV blocks, and what they are shared for.

    def blocks(self, tokens: int) -> int:
        """Blocks that store so many tokens of one sequence."""
        return -(-tokens // self.limits.block_size)

    def blocks_in_use(self, *, decode: bool) -> int:
        """Blocks in use when a decode step begins, or between steps; the shared count once.

        The newest token of a decoding sequence is stored by its next decode step.
        """
        own = sum(self.blocks(seq.tokens - (not decode)) for seq in self.decoding)
        own += sum(self.blocks(seq.stored) for seq in self.prefilling)
        own -= self.unit * sum(len(seq.held) for seq in self.decoding + self.prefilling)
        return own + self.unit * sum(block.holders > 0 for block in self.cache.values())

    def blocks_in_step(self) -> int:
        """Blocks in use during the step in flight."""
        return self.blocks_in_use(decode=self.step is not None and bool(self.step.decodes))

    def blocks_more(self, seq: _Sequence, tokens: int) -> int:
        """Blocks that come into use when a prompt is stored as far as `tokens`."""
        more = self.blocks(tokens) - self.blocks(seq.stored)
        for content in seq.content[len(seq.held) : self.whole(seq, tokens)]:
            if content in self.cache and self.cache[content].holders:
                more -= self.unit
        return more

    def whole(self, seq: _Sequence, tokens: int) -> int:
        """Content blocks of a prompt that lie wholly in its first `tokens`."""
        return min(tokens, seq.prompt_tokens) // self.content_tokens

    def found(self, seq: _Sequence) -> int:
        """Tokens a sequence begins with that the cache has; one is left to compute."""
        blocks = 0
        for content in seq.content[: self.whole(seq, seq.tokens - 1)]:
            if content not in self.cache:
                break
            blocks += 1
        return blocks * self.content_tokens

    def account_hit(self, seq: _Sequence, tokens: int) -> None:
        """Write down how much an admitted sequence has to compute and what of it was found."""
        if self.spec.prefix is not None:
            self.spec.account.prefix_query_tokens += seq.tokens
            self.spec.account.prefix_hit_tokens += tokens

    def store(self, seq: _Sequence, tokens: int) -> None:
        """Give a prompt its blocks as far as `tokens`."""
        seq.stored = tokens
        self.hold(seq, min(tokens, seq.prompt_tokens))

    def hold(self, seq: _Sequence, tokens: int) -> None:
        """Let a sequence hold the content blocks in its first `tokens`."""
        for content in seq.content[len(seq.held) : tokens // self.content_tokens]:
            block = self.cache.setdefault(content, _Block(content))
            block.holders += 1
            seq.held.append(block)

    def let_go(self, seq: _Sequence) -> None:
        """Let a sequence hold nothing, the last block first; the cache keeps what it held."""
        while seq.held:
            block = seq.held.pop()
            block.holders -= 1
            self.let_go_blocks += 1
            block.let_go = self.let_go_blocks

    def evict(self, *, decode: bool) -> None:
        """Drop what was let go the longest ago until the cache leaves what is in use its room."""
        if not self.cache:
            return
        free = self.limits.blocks - self.blocks_in_use(decode=decode)
        kept = [block for block in self.cache.values() if not block.holders]
        kept.sort(key=lambda block: -block.let_go)
        while self.unit * len(kept) > free:
            del self.cache[kept.pop().id]

    def duration_ps(self, decodes: list[_Sequence], chunks: list[tuple[_Sequence, int]]) -> int:
        """Time of a step, with the jitter of its segment."""
        if self.spec.jitter is not None and (chunks or not self.keep_factor):
            self.factor = self.spec.jitter()
        self.keep_factor = not chunks
        costs, batch = self.spec.costs, len(decodes)
        context = sum(seq.tokens for seq in decodes)
        if chunks:
            prefill = sum(tokens for _, tokens in chunks)
            attention2 = sum(tokens * (2 * seq.stored - tokens) for seq, tokens in chunks)
            cost_ps = costs.mixed_ps(batch, context, prefill, attention2)
            return cost_ps if self.spec.jitter is None else round(cost_ps * self.factor)
        fixed_ps, context_ps = costs.decode_fixed_ps[batch], costs.decode_context_ps[batch]
        if self.spec.jitter is not None:
            fixed_ps = max(1, round(fixed_ps * self.factor))  # a step takes time
            context_ps = round(context_ps * self.factor)
        return fixed_ps + context_ps * context

    def stop(self, until_ps: int) -> None:
        """Close the busy period that is open when the run stops or the replica fails."""
        if self.step is not None:
            self.spec.account.busy_ps.append(until_ps)
