"""How far one blob is: what was read for it, what its destination keeps of it, what its watcher was shown.

Progress is what the destination keeps beyond the most it ever kept (DESIGN, rule 13): that resets patience.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

_BEGUN_ANEW = 2  # times that a destination may lose all it had of a blob, and what it is given counts again


class Kept:
    """The bytes of one blob, counted by all threads that move them.

    `grew` is called when the destination keeps more than ever before, `show` with each new position.
    """

    def __init__(self, grew: Callable[[], None], show: Callable[[int], None]) -> None:
        self.read = 0  # bytes that came from the source in this run, wherever they went
        self._grew = grew
        self._show = show
        self._total = 0  # bytes the destination has, without those of running writes
        self._most = 0  # the most it ever had
        self._running: dict[int, int] = {}  # bytes each running write was handed
        self._begun_anew = 0
        self._lock = threading.Lock()

    def begin(self, total: int) -> None:
        """So much is there already."""
        with self._lock:
            self._total = self._most = total
        self._show(total)

    def begin_anew(self, total: int) -> None:
        """Only so much is right: what is moved once more is progress again."""
        with self._lock:
            self._most = 0
        self.settle(total)

    def count_read(self, length: int) -> None:
        """So many bytes came from the source."""
        with self._lock:
            self.read += length

    def writing(self, chunks: Iterable[bytes], *, kept: bool) -> Iterator[bytes]:
        """`chunks` on their way into one write; `kept`: the destination keeps each as it takes it."""
        me = threading.get_ident()
        for chunk in chunks:
            with self._lock:
                self._running[me] = self._running.get(me, 0) + len(chunk)
                position = self._total + sum(self._running.values())
            if kept:
                self._reached(position)
            self._show(position)
            yield chunk

    def end_write(self) -> None:
        """A write ended, well or not, at a destination that keeps each chunk as it takes it."""
        with self._lock:
            self._total += self._running.pop(threading.get_ident(), 0)

    def settle(self, total: int) -> None:
        """The destination says what it has, at a time when one thread at most writes."""
        with self._lock:
            self._running.pop(threading.get_ident(), None)
            lost_all = not total and self._most > 0
            self._total = total
            if lost_all and self._begun_anew < _BEGUN_ANEW:
                self._begun_anew += 1
                self._most = 0
        self._reached(total)

    def _reached(self, total: int) -> None:
        with self._lock:
            grew = total > self._most
            self._most = max(self._most, total)
        if grew:
            self._grew()
