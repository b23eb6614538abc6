"""What a registry answered, checked against what it was asked: digests, and the bytes of a range."""

from __future__ import annotations

from registry.errors import CorruptError, InvalidError, ProtocolError, Reason
from registry.model.digests import Digest
from registry.model.manifests import Descriptor
from registry.model.spans import Span
from registry.targets.peer import Peer
from registry.wire import routes
from registry.wire.messages import Response


def span_of(peer: Peer, response: Response, blob: Descriptor, span: Span, doing: str) -> Span:
    """What the answer's bytes are, checked against what was asked (RFC 9110 section 15.3.7)."""
    got = Span(0, blob.size)
    if response.status == 206:
        try:
            first, length, size = routes.read_content_range(response.headers.get("Content-Range"))
        except InvalidError as error:
            raise garbled(peer, f"{doing}: {peer.host} {error.message}") from None
        if first != span.offset or length > span.length or size not in (None, blob.size):
            raise garbled(
                peer,
                f"{doing}: {peer.host} sent bytes {first}-{first + length - 1} of {size}, "
                f"asked for {span.offset}-{span.end - 1} of {blob.size}",
            )
        got = Span(first, length)
    if response.length is not None and response.length != got.length:
        raise garbled(
            peer, f"{doing}: {peer.host} has {response.length} bytes where there should be {got.length}"
        )
    return got


def check_digest(peer: Peer, raw: bytes, said: str, doing: str) -> None:
    """CorruptError where the bytes are not those of the digest that was `said`; "" says nothing."""
    if not said:
        return
    try:
        digest = Digest.parse(said)
    except InvalidError:
        raise ProtocolError(
            f"{doing}: {peer.host} sent a Docker-Content-Digest that is not a digest", host=peer.host
        ) from None
    if Digest.of(raw, digest.algorithm) != digest:
        raise CorruptError(
            f"{doing}: {peer.host} sent bytes that are not those of {digest}",
            host=peer.host,
            hint="a proxy may have changed them; try again, or ask the registry directly",
        )


def garbled(peer: Peer, message: str) -> ProtocolError:
    """The error for one answer that does not fit its question."""
    return ProtocolError(message, host=peer.host, reason=Reason.UNEXPECTED_ANSWER, garbled=True)
