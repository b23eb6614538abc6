"""The bytes of a small span, which come in pieces."""

from __future__ import annotations

from collections.abc import Iterable

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
