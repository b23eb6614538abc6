"""From the writer at the front to the hasher behind it, without a way over the page cache."""

from __future__ import annotations

from collections import deque

_MOST = 4  # chunks that wait


class Handover:
    """Chunks that follow one another. Not safe by itself: whoever owns it has a lock."""

    def __init__(self) -> None:
        self._chunks: deque[tuple[int, bytes]] = deque()
        self._wished: int | None = None  # where the next chunk must begin

    def wish(self, offset: int) -> None:
        """From now on take what begins at `offset`."""
        self._chunks.clear()
        self._wished = offset

    def full(self, offset: int) -> bool:
        """Whether a chunk that begins at `offset` would be kept if there were room.

        Its writer waits: were it to run ahead, the hasher would read from the page cache what it is given
        here, and fall behind the more.
        """
        return offset == self._wished and len(self._chunks) >= _MOST

    def offer(self, offset: int, chunk: bytes) -> None:
        """Keep `chunk` if it is the next one and there is room. Only what cannot change is kept."""
        if offset == self._wished and len(self._chunks) < _MOST and type(chunk) is bytes:
            self._chunks.append((offset, chunk))
            self._wished = offset + len(chunk)

    def take(self, offset: int) -> bytes | None:
        """The chunk that begins at `offset`, if it was kept."""
        if self._chunks and self._chunks[0][0] == offset:
            return self._chunks.popleft()[1]
        return None

    def clear(self) -> None:
        """Keep nothing, and wish for nothing."""
        self._chunks.clear()
        self._wished = None
