"""What of a blob is there, and what is on its way: for threads that write, sync and hash side by side."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from registry.disk.hash_queue import HashQueue
from registry.disk.sums import Sum, Sums
from registry.errors import InvalidError, RegistryError, StorageError
from registry.model.digests import Digest
from registry.model.spans import Span, Spans, SpanSet


class Coverage:
    """The spans of one blob: there with their sums, or being written. Threads wait at `changed`, its lock."""

    def __init__(self, digest: Digest, size: int, sums: Iterable[Sum]) -> None:
        self.changed = threading.Condition()
        self._digest = digest
        self._size = size
        self._sums = Sums()
        self._received = SpanSet()
        self._writing: dict[Span, int] = {}  # how far each running write has come
        self._to_hash = HashQueue()
        self._epoch = 0  # counts what was discarded: a hash over it is worth nothing
        self._broken: RegistryError | None = None
        self._closed = False
        self.keep(sums)

    @property
    def received(self) -> Spans:
        """What is there, and stays there whatever happens."""
        with self.changed:
            return self._received.frozen()

    @property
    def sums(self) -> list[Sum]:
        """The check sum of every span that is there, in order."""
        with self.changed:
            return list(self._sums)

    @property
    def epoch(self) -> int:
        """Another number after each `drop`."""
        with self.changed:
            return self._epoch

    @property
    def empty(self) -> bool:
        """Whether nothing is there and nothing on its way."""
        with self.changed:
            return not self._sums and not self._writing

    # --- writing -----------------------------------------------------------------------------------

    def begin(self, span: Span) -> None:
        """A write of `span` begins. InvalidError if it is not missing."""
        with self.changed:
            self.check()
            running = any(one.offset < span.end and span.offset < one.end for one in self._writing)
            if span.end > self._size or running or self._received.touches(span) or span in self._writing:
                raise InvalidError(
                    f"bytes {span.offset}-{span.end} of {self._size} are not missing, or on their way already"
                )
            self._writing[span] = span.offset

    def advance(self, span: Span, at: int, chunk: bytes) -> None:
        """`chunk` was written at `at`. Returns when the hasher is not too far behind."""
        with self.changed:
            self.changed.wait_for(lambda: self._closed or not self._to_hash.full(at))
            self._writing[span] = at + len(chunk)
            self._to_hash.put(at, chunk)
            self.changed.notify_all()

    def end(self, span: Span) -> None:
        """The write of `span` ended, well or not."""
        with self.changed:
            del self._writing[span]

    def keep(self, pieces: Iterable[Sum]) -> None:
        """The bytes of `pieces` are there from now on."""
        with self.changed:
            for piece in pieces:
                self._sums.add(piece)
                self._received.add(piece.span)
            self.changed.notify_all()

    def overlapping(self, span: Span) -> list[Sum]:
        """What is there and has a byte in common with `span`."""
        with self.changed:
            return self._sums.overlapping(span)

    def drop(self, pieces: Iterable[Sum]) -> None:
        """The bytes of `pieces` are missing again, and hashes over them are worth nothing."""
        with self.changed:
            for piece in pieces:
                self._sums.drop(piece.span)
                self._received.discard(piece.span)
            self._epoch += 1
            self._to_hash.clear()

    # --- hashing -----------------------------------------------------------------------------------

    def behind(self, at: int) -> tuple[int, bytes | None, int]:
        """Wait until there are bytes behind `at` (or the end is reached).

        The epoch, the bytes if they were queued, and else up to where they can be read.
        """
        with self.changed:
            while True:
                self.check()
                chunk = self._to_hash.take(at)
                if chunk is not None:
                    self.changed.notify_all()  # there is room for another
                    return self._epoch, chunk, at
                front = self._front()
                self._to_hash.expect(max(front, at))
                if front > at or front == self._size:
                    return self._epoch, None, front
                self.changed.wait()

    def queue_nothing(self) -> None:
        """Nobody takes what is queued any more: no writer waits for that."""
        with self.changed:
            self._to_hash.clear()
            self.changed.notify_all()

    def _front(self) -> int:
        """How many bytes from zero on can be read without a gap, those of running writes too."""
        front, before = self._received.reach(0), -1
        while front != before:
            before = front
            for span, end in self._writing.items():
                if span.offset <= front < end:
                    front = self._received.reach(end)
        return front

    # --- ending ------------------------------------------------------------------------------------

    def check(self) -> None:
        """StorageError if it was closed, or its file is broken."""
        with self.changed:
            if self._broken is not None:
                raise StorageError(self._broken.message, **self._broken.details)
            if self._closed:
                raise StorageError(f"blob {self._digest.short} was let go before it was whole")

    def broke(self, error: RegistryError) -> None:
        """The disk failed with `error`: what it kept is anyone's guess, so nothing more is noted."""
        with self.changed:
            self._broken = error
            self.changed.notify_all()

    def close(self) -> bool:
        """Wake everybody who waits; False if it was closed already."""
        with self.changed:
            if self._closed:
                return False
            self._closed = True
            self._to_hash.clear()
            self.changed.notify_all()
            return True
