"""The head of a weights file that is somewhere else: read by ranges, as far as it is asked for."""

from __future__ import annotations

import io
from collections.abc import Iterator

from registry.contracts import Reading, Source
from registry.errors import InvalidError
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
    return gguf.read(io.BufferedReader(_Ranges(source, name, blob, most), PIECE), blob.size)


class _Ranges(io.RawIOBase):
    """A blob as a file that is read forward: each reading is a request, what is passed over is none."""

    def __init__(self, source: Source, name: Name, blob: Descriptor, most: int) -> None:
        self._source = source
        self._name = name
        self._blob = blob
        self._left = most
        self._at = 0

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
        reading = self._source.open(self._name, self._blob, wanted)
        filled = 0
        try:
            for chunk in self._wanted(reading, wanted):
                view[filled : filled + len(chunk)] = chunk
                filled += len(chunk)
        finally:
            reading.stream.close()
        self._at += filled
        return filled

    def _wanted(self, reading: Reading, wanted: Span) -> Iterator[bytes]:
        """The bytes of `wanted`: a registry without ranges sends what stands before them too."""
        at = reading.span.offset
        for chunk in reading.stream:
            self._left -= len(chunk)
            if self._left < 0:
                raise InvalidError("its head is too long to be read from there")
            yield chunk[max(0, wanted.offset - at) : max(0, wanted.end - at)]
            at += len(chunk)
            if at >= wanted.end:
                return
