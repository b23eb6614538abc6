"""Fairness: a token bucket over everything the process moves, in bytes and seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from registry.contracts import Clock
from registry.errors import InvalidError

_BURST = 0.1  # seconds of the rate that may pass at once after a silence
_SLICE = 64 * 1024  # a limited stream is paid for in pieces of at most this, so that it flows evenly


@dataclass(slots=True)
class Bucket:
    """Lets `rate` bytes a second pass, over all threads that take from it."""

    rate: float
    clock: Clock = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _paid_until: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise InvalidError("a rate limit must be more than 0 bytes a second")

    def take(self, amount: int) -> None:
        """Wait until `amount` more bytes may pass; who comes first is served first."""
        with self._lock:
            now = self.clock()
            start = max(self._paid_until, now - _BURST)
            self._paid_until = start + amount / self.rate
            pause = self._paid_until - now
        if pause > 0:
            self.sleep(pause)

    def meter(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """`chunks` in small pieces, each let through when it is paid for."""
        for chunk in chunks:
            for start in range(0, len(chunk), _SLICE):
                piece = chunk[start : start + _SLICE]
                self.take(len(piece))
                yield piece
