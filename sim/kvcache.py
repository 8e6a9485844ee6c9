"""KV block accounting without a free list.

A sequence that stores x tokens holds ceil(x / block_size) blocks.  All sequences of a running set
grow by one token a step, so x modulo the block size moves in step for all of them: one counter per
phase, fixed while a sequence runs, and the sum of all x give the blocks in use at any step.
"""

from __future__ import annotations


class BlockPhases:
    """Counts running sequences by the phase of their last block.

    The phase of a sequence that stores x tokens at step n is (x - n) mod block_size; it does not
    change while the sequence runs.

    Attributes
    ----------
    block_size : int
        Tokens of a block.
    """

    __slots__ = ("_counts", "block_size")

    def __init__(self, block_size: int) -> None:
        self.block_size = block_size
        self._counts: dict[int, int] = {}  # only phases that some sequence is in

    def join(self, tokens: int, step: int) -> None:
        """Count a sequence that stores `tokens` at `step`."""
        phase = (tokens - step) % self.block_size
        self._counts[phase] = self._counts.get(phase, 0) + 1

    def leave(self, tokens: int, step: int) -> None:
        """Stop counting a sequence that stores `tokens` at `step`."""
        phase = (tokens - step) % self.block_size
        self._counts[phase] -= 1
        if not self._counts[phase]:
            del self._counts[phase]

    def blocks(self, tokens: int, step: int) -> int:
        """Return the blocks in use when all sequences together store `tokens` at `step`."""
        size = self.block_size
        padding = 0
        for phase, count in self._counts.items():
            padding += count * (-(phase + step) % size)
        return (tokens + padding) // size

    def steps_within(self, free: int, step: int, sequences: int, at_most: int) -> int:
        """Return the steps from `step` on that `free` further blocks allow.

        Parameters
        ----------
        free : int
            Blocks left once the sequences have room for what they store at `step`.
        step : int
            The step that is certain to fit; at least 1 is returned.
        sequences : int
            Number of sequences counted.
        at_most : int
            Stop counting here.
        """
        size = self.block_size
        # Every block_size steps each sequence opens one block.
        cycles = free // sequences
        steps = 1 + cycles * size
        free -= cycles * sequences
        while steps < at_most:
            # Sequences that fill their last block at this step open one at the next.
            free -= self._counts.get(-(step + steps - 1) % size, 0)
            if free < 0:
                break
            steps += 1
        return min(steps, at_most)

    def empty(self) -> bool:
        """Return whether no sequence is counted."""
        return not self._counts
