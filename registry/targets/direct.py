"""One blob straight to a registry's storage: one PUT of everything to a URL that carries its own permission.

Ollama's second upload extension (PROTOCOL section 3, "Direct upload"). The request that asks for it opens
an ordinary upload session too: that is where the bytes go when the registry offers nothing, and when
storage lets us down.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import quote

from registry.contracts import ChunkRules, How
from registry.errors import CorruptError, InvalidError, NotFoundError, ProtocolError, TransientError
from registry.model.manifests import Descriptor
from registry.model.spans import Span, Spans
from registry.targets.peer import Peer
from registry.targets.proven_there import ProvenThere
from registry.targets.upload import UploadIntake
from registry.wire import faults
from registry.wire.headers import Headers
from registry.wire.messages import Origin, Request, Response, Transport
from registry.wire.redirects import hop_fault

MOST_PUTS = 2  # a PUT that breaks leaves nothing behind: after so many, an ordinary session does better
_SIGNED = "x-signed-header-"
_MOST_SIGNED = 32
_SIGNED_BYTES = 16 * 1024
_STORED = (200, 201, 202, 204)
_EXPIRED = (401, 403)
# Never on a registry's word: who we are, and where a message ends.
_FORBIDDEN = frozenset(
    {
        "authorization",
        "connection",
        "cookie",
        "expect",
        "keep-alive",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


@dataclass(frozen=True, slots=True)
class Offer:
    """Where storage takes a blob, and the headers that were signed with the URL. Both are permissions."""

    url: str = field(repr=False)
    headers: Headers

    @classmethod
    def of(cls, response: Response, registry: Origin, size: int) -> Offer | None:
        """What the answer to the asking POST offers, if anything; InvalidError if it may not be taken.

        The URL may lead where a redirect may: not from HTTPS to plain HTTP, nor into this machine or
        its network from further away.
        """
        urls = response.headers.all("X-Direct-Upload-URL")
        if response.status != 202 or not urls:
            return None
        if len(urls) > 1:
            raise InvalidError(f"{len(urls)} storage URLs for one blob")
        storage = Origin.of(urls[0])
        wrong = hop_fault(registry, storage)
        if wrong:
            raise InvalidError(f"a storage URL that leads {wrong}")
        return cls(urls[0], _signed(response.headers, storage, size))


def _signed(headers: Headers, storage: Origin, size: int) -> Headers:
    """`X-Signed-Header-<Name>: <value>` as `<Name>: <value>`. InvalidError for what is not for it to say."""
    signed = [(name[len(_SIGNED) :], value) for name, value in headers if name.lower().startswith(_SIGNED)]
    if len(signed) > _MOST_SIGNED or sum(len(name) + len(value) for name, value in signed) > _SIGNED_BYTES:
        raise InvalidError(f"more than {_MOST_SIGNED} signed headers, or {_SIGNED_BYTES} bytes of them")
    kept = []
    for name, value in signed:
        # S3's signers list these two as well; they are as they are, and only the same can have been signed.
        fixed = {"host": storage.netloc, "content-length": str(size)}.get(name.lower())
        if name.lower() in _FORBIDDEN or fixed not in (None, value.lower()):
            raise InvalidError(f"a signed header {name[:40]} that cannot be sent")
        if fixed is None:
            kept.append((name, value))
    return Headers(kept)


class Direct:
    """The way past one registry, for as long as it answers those who ask for it.

    `transport` carries no secret of ours: it is for storage.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._refused = False

    def begin(self, peer: Peer, upload: UploadIntake, blob: Descriptor) -> UploadIntake | DirectIntake | None:
        """Where the bytes of `blob` go: storage if that is offered, else `upload`; None if nowhere, because
        the registry says that it has them.

        ProtocolError for an offer that may not be taken.
        """
        if self._refused:
            upload.begin()
            return upload
        request = DirectRequest(self._transport, peer, upload, blob)
        try:
            response = request.begin()
        except (NotFoundError, ProtocolError, TransientError) as error:
            if isinstance(error, TransientError) and not error.answered:
                raise
            # It may take a POST that names a digest for a whole blob of no bytes: ask no more in this run.
            self._refused = self._refused or not isinstance(error, TransientError)
            upload.begin()
            return upload
        if response.status == 201:
            return None
        offer = request.offer(response)
        return upload if offer is None else DirectIntake(request, offer)


@dataclass(frozen=True, slots=True)
class DirectRequest:
    """One blob that a registry is asked to let past it."""

    transport: Transport = field(repr=False)
    peer: Peer
    upload: UploadIntake
    blob: Descriptor

    @property
    def doing(self) -> str:
        """What is being done, for messages."""
        return f"uploading blob {self.blob.digest.short} past {self.peer.host}"

    def begin(self) -> Response:
        """The answer to the POST that asks; it opened a session, unless it is 201."""
        headers = Headers({"X-Redirect-Uploads": "2", "X-Content-Length": str(self.blob.size)})
        return self.upload.begin(f"?digest={quote(str(self.blob.digest), safe='')}", headers)

    def offer(self, response: Response) -> Offer | None:
        """What it offers. ProtocolError."""
        try:
            return Offer.of(response, self.peer.origin, self.blob.size)
        except InvalidError as error:
            self.upload.forget()  # or the next run would take its session, and say nothing
            raise ProtocolError(
                f"{self.doing}: it gave {error.message}",
                host=self.peer.host,
                hint="the registry's storage must be reached over HTTPS, at an address as public as its own",
            ) from None


class DirectIntake(ProvenThere):
    """Takes the whole blob in one PUT to storage; the registry hears of it when the session is closed.

    A PUT that breaks leaves nothing, unless the session says otherwise. So storage has MOST_PUTS, each with
    a URL of its own; then, and for anything less than the whole, the session takes the bytes.
    """

    def __init__(self, request: DirectRequest, offer: Offer) -> None:
        self._request = request
        self._upload = request.upload
        self._offer: Offer | None = offer
        self._puts_left = MOST_PUTS
        self._stored = False

    @property
    def how(self) -> How:
        return self._upload.how

    @property
    def chunk_rules(self) -> ChunkRules:
        if self._offer is None:
            return self._upload.chunk_rules
        size = self._request.blob.size
        return ChunkRules(ordered=True, first=size, least=size, most=size)

    @property
    def received(self) -> Spans:
        return Spans.of([self._whole]) if self._stored else self._upload.received

    def write(self, span: Span, chunks: Iterable[bytes]) -> None:
        """The one PUT, or once storage is given up a PATCH. TransientError if `resume` may help."""
        offer = self._offer
        if self._stored:
            raise InvalidError(f"{self._request.doing}: storage has the whole of it")
        if offer is None or span != self._whole:
            self._offer = None
            self._upload.write(span, chunks)
            return
        self._puts_left -= 1
        response = self._request.transport(Request("PUT", offer.url, offer.headers, chunks, span.length))
        response.close()
        if response.status not in _STORED:
            raise self._turned_away(response)
        self._stored = True

    def resume(self) -> None:
        """Go on with what the session says arrived; if that is nothing, ask for another storage URL."""
        if not self._stored and self._offer is None:
            self._upload.resume()
            return
        known = self._upload.known(self._request.blob.size)
        if self._stored and known:
            return
        self._stored = False
        offer, self._offer = self._offer, None
        if offer is not None and self._puts_left and not (known and self._upload.received):
            self._offer = self._again()
        elif not known:
            self._upload.begin()

    def commit(self) -> None:
        """The closing PUT of the session. CorruptError if what arrived is not the blob."""
        if self.received.missing(self._request.blob.size):
            raise InvalidError(f"{self._request.doing}: the whole of it was not sent")
        try:
            self._upload.commit()
        except CorruptError:
            self._stored, self._offer = False, None
            raise

    def close(self) -> None:
        """The session stays open at the registry, remembered."""
        self._upload.close()

    @property
    def _whole(self) -> Span:
        return Span(0, self._request.blob.size)

    def _again(self) -> Offer | None:
        """A fresh URL with a session of its own; none if the registry changed its mind."""
        response = self._request.begin()
        if response.status == 202:
            return self._request.offer(response)
        self._upload.begin()
        return None

    def _turned_away(self, response: Response) -> TransientError:
        """The error for a PUT that storage did not take: another URL may help where this one expired."""
        status = response.status
        pause = faults.retry_after(response.headers.get("Retry-After"), self._request.peer.now())
        if pause is not None and pause > faults.LONGEST_PAUSE:
            pause, self._puts_left = None, 0  # the registry itself may take the bytes now
        if status not in _EXPIRED and not faults.passes(status):
            self._puts_left = 0
        storage = Origin.of(self._offer.url).netloc if self._offer else self._request.peer.host
        return TransientError(
            f"{self._request.doing}: storage at {storage} answered {status}",
            host=storage,
            retry_after=pause,
            answered=True,
        )
