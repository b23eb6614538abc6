"""Reading forward through a stream: skip to a place, take so many bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class Cursor:
    """A stream of bytes from `offset` on; goes forward only."""

    def __init__(self, chunks: Iterable[bytes], offset: int) -> None:
        self._chunks = iter(chunks)
        self._rest = b""
        self.offset = offset  # of the next byte

    def skip_to(self, offset: int) -> None:
        """Read and drop everything in front of `offset`."""
        for _ in self.take(offset - self.offset):
            pass

    def take(self, length: int) -> Iterator[bytes]:
        """The next `length` bytes, fewer if the stream ends."""
        while length > 0:
            chunk = self._rest or next(self._chunks, b"")
            if not chunk:
                return
            self._rest = chunk[length:]
            chunk = chunk[:length]
            length -= len(chunk)
            self.offset += len(chunk)
            yield chunk
