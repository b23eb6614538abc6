"""How many bytes of a blob one request moves: each costs a round trip in which nothing moves."""

from __future__ import annotations

import random

from registry.contracts import ChunkRules

_MOST_GRAINS = 8  # of a reading, at most
_A_READING = (1.0, 2.0)  # seconds a reading shall take; by chance, or all would wait for answers at once
_SHARES = 2  # a reading is at most this part of what would be one worker's own of what is left
_A_WRITE = 15.0  # seconds an ordered write shall take


class SpanSizes:
    """How long the next span of one blob is to be, by how fast the last one went. Bytes and seconds."""

    def __init__(self, first: int = 1) -> None:
        self.grain = max(first, 1)  # the least there is, but for the last one
        self._rate = 0.0

    def next(self, chunk_rules: ChunkRules, left: int, workers: int) -> int:
        """The length of the next span when `left` bytes are not handed out and so many workers share them.

        Readings are short from a slow source and towards the end, so that all workers end together.
        """
        if chunk_rules.ordered:
            return self.grain
        most = min(left // (_SHARES * workers), int(self._rate * random.uniform(*_A_READING)))
        return self.grain * max(1, min(_MOST_GRAINS, most // self.grain))

    def moved(self, chunk_rules: ChunkRules, length: int, seconds: float, left: int) -> None:
        """Learn from a span that took so long. Ordered writes share evenly what is left."""
        if seconds <= 0 or length < self.grain:
            return
        self._rate = length / seconds
        if chunk_rules.ordered:
            most = min(chunk_rules.most, max(self.grain, int(self._rate * _A_WRITE)))
            even = -(-left // -(-left // most)) if left > most else most
            self.grain = max(even, chunk_rules.least)
