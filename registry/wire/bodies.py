"""Small answers read whole, with a ceiling; what a proxy compressed unasked is decoded."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from registry.errors import ProtocolError, TooLongError, TransientError
from registry.wire.headers import Headers
from registry.wire.messages import Response

_GZIP = ("gzip", "x-gzip")
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


def encoding(headers: Headers) -> str:
    """The content coding of a body, "" for none (RFC 9110 section 8.4)."""
    coding = ", ".join(headers.all("Content-Encoding")).strip().lower()
    return "" if coding == "identity" else coding


def read_body(response: Response, limit: int, doing: str, host: str) -> bytes:
    """The whole body of at most `limit` bytes, decoded; ProtocolError beyond, and the answer is closed."""
    chunks = response.pieces
    coding = encoding(response.headers)
    if coding and coding not in _GZIP:
        response.close()
        raise ProtocolError(f"{doing}: {host} sent its answer compressed ({coding[:40]})", host=host)
    kept: list[bytes] = []
    total = 0
    for chunk in _decoded(chunks, limit, doing, host) if coding else chunks:
        total += len(chunk)
        if total > limit:
            response.close()
            raise TooLongError(f"{doing}: {host} sent more than {limit} bytes", host=host)
        kept.append(chunk)
    return b"".join(kept)


def _decoded(chunks: Iterable[bytes], limit: int, doing: str, host: str) -> Iterator[bytes]:
    """`chunks` without gzip: never more than `limit` + 1 bytes of a chunk at once."""
    gzip = zlib.decompressobj(_GZIP_WINDOW)
    try:
        for chunk in chunks:
            yield gzip.decompress(chunk, limit + 1)
    except zlib.error:
        raise ProtocolError(f"{doing}: {host} sent its answer compressed, and damaged", host=host) from None
    if not gzip.eof:
        raise TransientError(
            f"{doing}: the compressed answer of {host} ended early", host=host, answered=True
        )
