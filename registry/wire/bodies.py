"""Small answers read whole, with a ceiling."""

from __future__ import annotations

from registry.errors import ProtocolError
from registry.model.spans import FileSpan
from registry.wire.messages import Response


def read_body(response: Response, limit: int, doing: str, host: str) -> bytes:
    """The whole body of at most `limit` bytes; ProtocolError beyond, and the answer is closed."""
    body = response.body
    if isinstance(body, FileSpan):
        raise TypeError("a client's answer has no file in it")
    chunks: list[bytes] = []
    total = 0
    for chunk in (body,) if isinstance(body, bytes) else body:
        total += len(chunk)
        if total > limit:
            response.close()
            raise ProtocolError(f"{doing}: {host} sent more than {limit} bytes", host=host)
        chunks.append(chunk)
    return b"".join(chunks)
