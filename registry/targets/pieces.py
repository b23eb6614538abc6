"""The bytes of a small span, which come in pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from registry.errors import ProtocolError
from registry.model.spans import Span


def exactly(span: Span, chunks: Iterable[bytes]) -> bytes:
    """The bytes of a small span; ProtocolError if there are more or fewer."""
    kept = bytearray()
    for chunk in chunks:
        kept += chunk
        if len(kept) > span.length:
            break
    if len(kept) != span.length:
        raise ProtocolError(f"{len(kept)} bytes came where {span.length} were announced")
    return bytes(kept)


class Watched:
    """`chunks` passed on: how many bytes were `taken`, and whether it was they that `failed`."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.taken = 0
        self.failed = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._chunks:
                self.taken += len(chunk)
                yield chunk
        except Exception:
            self.failed = True
            raise
