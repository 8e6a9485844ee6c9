"""A continuous-batching engine on a known cost: what it does in each step, and how long it takes.

Much simpler than the simulator's, and independent of it: it has no KV cache and no policies.
"""

from collections import deque
from dataclasses import dataclass, field
from itertools import count


@dataclass
class Sequence:
    """A request in the engine."""

    prompt_tokens: int
    max_tokens: int
    number: int = field(default_factory=count().__next__)
    prefilled: int = 0
    generated: int = 0


class Engine:
    """Serves sequences first come, first served; `step` says what one step does."""

    def __init__(self, cost, discipline="chunked", max_num_seqs=16, max_num_batched_tokens=512):
        self.cost = cost
        self.chunked = discipline == "chunked"
        self.max_num_seqs = max_num_seqs
        self.budget = max_num_batched_tokens
        self.waiting = deque()
        self.running = []

    def add(self, prompt_tokens, max_tokens):
        """Queue a request and return it."""
        sequence = Sequence(prompt_tokens, max_tokens)
        self.waiting.append(sequence)
        return sequence

    def drop(self, sequence):
        """Forget a request whose client has gone."""
        for queue in (self.waiting, self.running):
            if sequence in queue:
                queue.remove(sequence)

    @property
    def busy(self):
        return bool(self.waiting or self.running)

    def step(self):
        """Return the seconds of the next step and the sequences that it gives a token."""
        return self._chunked() if self.chunked else self._prefill_first()

    def _chunked(self):
        decoding = [s for s in self.running if s.prefilled == s.prompt_tokens]
        left = self.budget - len(decoding)
        context = sum(s.prompt_tokens + s.generated for s in decoding)
        tokens, attention, done = 0, 0.0, []
        for s in [s for s in self.running if s.prefilled < s.prompt_tokens]:
            part = min(left - tokens, s.prompt_tokens - s.prefilled)
            tokens, attention, done = self._prefill(s, part, tokens, attention, done)
        while self.waiting and tokens < left and len(self.running) < self.max_num_seqs:
            s = self.waiting.popleft()
            self.running.append(s)
            part = min(left - tokens, s.prompt_tokens)
            tokens, attention, done = self._prefill(s, part, tokens, attention, done)
        return self._ended(
            self.cost.mixed_s(len(decoding), context, tokens, attention), decoding + done
        )

    @staticmethod
    def _prefill(s, part, tokens, attention, done):
        attention += part * (s.prefilled + part / 2)
        s.prefilled += part
        return tokens + part, attention, done + [s] * (s.prefilled == s.prompt_tokens)

    def _prefill_first(self):
        prompts, tokens = [], 0
        while self.waiting and len(self.running) + len(prompts) < self.max_num_seqs:
            s = self.waiting[0]
            if prompts and tokens + s.prompt_tokens > self.budget:
                break
            prompts.append(self.waiting.popleft())
            tokens += s.prompt_tokens
        if prompts:
            self.running += prompts
            attention = sum(s.prompt_tokens**2 / 2 for s in prompts)
            return self._ended(self.cost.prefill_s(tokens, attention), prompts)
        context = sum(s.prompt_tokens + s.generated for s in self.running)
        return self._ended(self.cost.decode_s(len(self.running), context), list(self.running))

    def _ended(self, seconds, given):
        for s in given:
            s.generated += 1
            if s.generated == s.max_tokens:
                self.running.remove(s)
        return seconds, given
