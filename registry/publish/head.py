"""The head of a weights file that is somewhere else: read by ranges, as far as it is asked for."""

from __future__ import annotations

import io
from collections.abc import Callable

from registry.contracts import Reading, Source
from registry.errors import InvalidError
from registry.model.amounts import amount
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.model.spans import Span
from registry.publish import gguf
from registry.publish.gguf import Gguf

PIECE = 256 * 1024  # bytes of one request
MOST = 32 * 1024 * 1024  # bytes that are read for a head: vocabularies of 260,000 words have 10 MiB


def read_head(source: Source, name: Name, blob: Descriptor, most: int = MOST) -> Gguf:
    """What the head of the GGUF file `blob` of `name` says.

    Reads `PIECE` bytes at a time, and `most` in all. InvalidError if it is none, or longer; what the source
    raises.
    """
    with io.BufferedReader(_Ranges(source, name, blob, most), PIECE) as file:
        return gguf.read(file, blob.size)


class _Ranges(io.RawIOBase):
    """A blob as a file that is read forward: each reading is a request, what is passed over is none.

    A registry without ranges sends the whole blob: then one request is read on as long as that goes.
    """

    def __init__(self, source: Source, name: Name, blob: Descriptor, most: int) -> None:
        self._source = source
        self._name = name
        self._blob = blob
        self._left = self._most = most
        self._at = 0
        self._forward: _Forward | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go on from there; no byte moves."""
        self._at = offset + (self._at if whence == io.SEEK_CUR else 0)
        return self._at

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Fill `buffer` from where it stands; 0 at the end."""
        view = memoryview(buffer)
        wanted = Span(self._at, max(0, min(len(view), self._blob.size - self._at)))
        if not wanted.length:
            return 0
        if self._forward is None or not self._forward.covers(wanted.offset):
            self._leave()
            self._forward = _Forward(self._source.open(self._name, self._blob, wanted))
        filled = self._forward.into(view[: wanted.length], wanted.offset, self._seen)
        self._at += filled
        return filled

    def close(self) -> None:
        """Leave the reading that goes on, too."""
        self._leave()
        super().close()

    def _leave(self) -> None:
        if self._forward is not None:
            self._forward.close()
            self._forward = None

    def _seen(self, length: int) -> None:
        self._left -= length
        if self._left < 0:
            raise InvalidError(f"more than {amount(self._most)} would have to be read for its head")


class _Forward:
    """One reading, whose bytes are taken in order; those that nobody wants are passed over."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._chunks = iter(reading.stream)
        self._chunk = b""
        self._at = reading.span.offset  # where what is left of the chunk begins

    def covers(self, offset: int) -> bool:
        """Whether the byte at `offset` is still to come."""
        return self._at <= offset < self._reading.span.end

    def into(self, view: memoryview, offset: int, seen: Callable[[int], None]) -> int:
        """Fill `view` with what stands at `offset`, as far as this reading goes; `seen` is told what came."""
        filled = 0
        while filled < len(view) and self.covers(offset + filled):
            if not self._chunk:
                self._chunk = next(self._chunks, b"")
                seen(len(self._chunk))
                if not self._chunk:
                    break
            passed = min(len(self._chunk), offset + filled - self._at)
            part = self._chunk[passed : passed + len(view) - filled]
            view[filled : filled + len(part)] = part
            filled += len(part)
            self._chunk = self._chunk[passed + len(part) :]
            self._at += passed + len(part)
        return filled

    def close(self) -> None:
        """Take no more of it."""
        self._reading.stream.close()
