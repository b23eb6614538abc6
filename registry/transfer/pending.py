"""The spans of one blob that no worker has yet, and how long the next one is to be."""

from __future__ import annotations

import threading

from registry.contracts import ChunkRules
from registry.model.spans import Span, Spans
from registry.transfer.sizes import SpanSizes


class Pending:
    """Hands out `missing`, from its first byte on. Safe from many threads; each step costs the same."""

    def __init__(self, missing: Spans, first: int) -> None:
        """`first`: the length of the first span, in bytes."""
        self.total = missing.total  # bytes that are left
        self.sizes = SpanSizes(first)
        self._spans = list(missing)[::-1]  # the next one last
        self._lock = threading.Lock()

    def take(self, chunk_rules: ChunkRules, workers: int) -> Span | None:
        """The next span, where so many `workers` share what is left; None if nothing is."""
        with self._lock:
            if not self._spans:
                return None
            most = self.sizes.next(chunk_rules, self.total, workers)
            span = self._spans.pop()
            if span.length > most:
                self._spans.append(Span(span.offset + most, span.length - most))
                span = Span(span.offset, most)
            self.total -= span.length
            return span

    def take_all(self) -> list[Span]:
        """Everything that is left, in order."""
        with self._lock:
            spans, self._spans, self.total = self._spans[::-1], [], 0
            return spans

    def learn(self, chunk_rules: ChunkRules, length: int, seconds: float) -> None:
        """So many bytes took so long."""
        with self._lock:
            self.sizes.moved(chunk_rules, length, seconds, self.total)
