"""Chunks on their way from the writer at the front of a blob to its hasher, without a second reading."""

from __future__ import annotations

from collections import deque

_MOST = 4  # chunks that wait


class HashQueue:
    """Chunks that follow one another. Not safe from several threads: its owner has a lock."""

    def __init__(self) -> None:
        self._chunks: deque[tuple[int, bytes]] = deque()
        self._expected: int | None = None  # where the next chunk must begin

    def expect(self, offset: int) -> None:
        """From now on take what begins at `offset`."""
        self._chunks.clear()
        self._expected = offset

    def full(self, offset: int) -> bool:
        """Whether a chunk that begins at `offset` would be kept if there were room.

        Its writer waits then. If it went on, the hasher would have to read those bytes from the page cache,
        and would fall further behind.
        """
        return offset == self._expected and len(self._chunks) >= _MOST

    def put(self, offset: int, chunk: bytes) -> None:
        """Keep `chunk` if it is the next one and there is room. Only what cannot change is kept."""
        if offset == self._expected and len(self._chunks) < _MOST and type(chunk) is bytes:
            self._chunks.append((offset, chunk))
            self._expected = offset + len(chunk)

    def take(self, offset: int) -> bytes | None:
        """The chunk that begins at `offset`, if it was kept."""
        if self._chunks and self._chunks[0][0] == offset:
            return self._chunks.popleft()[1]
        return None

    def clear(self) -> None:
        """Keep nothing, and expect for nothing."""
        self._chunks.clear()
        self._expected = None
