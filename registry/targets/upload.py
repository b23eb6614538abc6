"""One blob on its way up to a registry: an upload session, its parts in order, its closing PUT.

OCI distribution specification 1.1, "Pushing blobs". The digest is known, so nothing is hashed here:
the registry proves what it got.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote

from registry.contracts import Appetite, How
from registry.errors import CorruptError, InvalidError, NotFoundError, ProtocolError, TransientError
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.model.spans import Span, Spans
from registry.targets.peer import Peer
from registry.targets.pieces import exactly
from registry.targets.sessions import AGE, Session, Sessions
from registry.wire import routes
from registry.wire.headers import Headers
from registry.wire.messages import Access, Request, Response

MiB = 1024 * 1024
FIRST_PART = 16 * MiB
MOST_PART = 1024 * MiB
_CHUNK_MIN_CEILING = MOST_PART
# A blob no larger than this goes up inside the closing PUT: one request less, and it can be replayed.
CARRIED = 256 * 1024
_NONE = Headers()


def writing(name: Name, mounted_from: str = "") -> Access:
    """The right to write where `name` is, and to take a blob over from another repository there."""
    return Access(name.repository, ("pull", "push"), mounted_from)


@dataclass(frozen=True, slots=True)
class Mounted:
    """A blob the registry took over from another of its repositories: nothing is left to send."""

    blob: Descriptor
    how = How.MOUNTED

    @property
    def appetite(self) -> Appetite:
        return Appetite(ordered=True, first=FIRST_PART, least=0, most=MOST_PART)

    @property
    def received(self) -> Spans:
        return Spans.of([Span(0, self.blob.size)])

    def write(self, span: Span, chunks: Iterable[bytes]) -> None:
        raise InvalidError("a mounted blob takes no bytes")

    def resume(self) -> None: ...

    def prove(self) -> None: ...

    def suspect(self) -> Spans:
        return Spans()

    def differs(self, span: Span, chunks: Iterable[bytes]) -> bool:
        return False

    def commit(self) -> None: ...

    def close(self) -> None: ...


class UploadIntake:
    """One upload session. Made idle: `remembered` or `begin` says where the bytes go."""

    def __init__(
        self, peer: Peer, sessions: Sessions, name: Name, blob: Descriptor, first_part: int = FIRST_PART
    ) -> None:
        """`first_part`: how many bytes the first PATCH brings."""
        self._peer = peer
        self._sessions = sessions
        self._name = name
        self._blob = blob
        self._first_part = first_part
        self._key = f"{peer.origin}/{name.repository}@{blob.digest}"
        self._session = Session("", 0, 0.0)
        self._held = 0
        self._access = writing(name)
        self._doing = f"uploading blob {blob.digest.short} to {name}"
        self._carried = b""
        self.how = How.UPLOADED

    # --- where the bytes go ------------------------------------------------------------------------

    def remembered(self) -> bool:
        """Go on with the upload an earlier try began, if the registry still knows it."""
        session = self._sessions.get(self._key) if self._blob.size > CARRIED else None
        if session is None or self._peer.now() - session.touched > AGE:
            return False
        self._session = session
        if not self.known():
            return False
        if self._held:
            self.how = How.RESUMED
        return True

    def mount(self, source: Name) -> Response:
        """Ask to take the blob over from the repository of `source` (201); else a new session."""
        digest, repository = str(self._blob.digest), source.repository
        query = f"?mount={quote(digest, safe='')}&from={quote(repository, safe='')}"
        return self.begin(query, access=writing(self._name, repository))

    def begin(
        self, query: str = "", headers: Mapping[str, str] | None = None, access: Access | None = None
    ) -> Response:
        """A new session, or with a `query` that names the blob perhaps the blob itself (201)."""
        path = routes.uploads(self._name.repository) + query
        access = access or self._access
        response = self._peer.ask("POST", path, self._doing, ok=(201, 202), access=access, headers=headers)
        if response.status == 202:
            least = response.headers.get("OCI-Chunk-Min-Length")
            self._session = Session("", self._chunk_least(least), 0.0)
            self._moved(response, f"{self._peer.origin}{path}", 0)
        elif not query:
            raise ProtocolError(f"{self._doing}: {self._peer.host} says it is done before it began")
        return response

    def resume(self) -> None:
        """Ask what arrived; a session that vanished is begun anew."""
        self._carried = b""
        if not self.known():
            self.begin()

    def forget(self) -> None:
        """No later run goes on with this session."""
        self._sessions.forget(self._key)

    # --- the bytes ---------------------------------------------------------------------------------

    @property
    def appetite(self) -> Appetite:
        return Appetite(
            ordered=True,
            first=max(self._first_part, self._session.least),
            least=self._session.least,
            most=max(MOST_PART, self._session.least),
        )

    @property
    def received(self) -> Spans:
        return Spans.of([Span(0, self._held + len(self._carried))])

    def write(self, span: Span, chunks: Iterable[bytes]) -> None:
        """One PATCH. TransientError if it may go on after `resume`."""
        if span.offset != self._held:
            raise InvalidError(f"{self._doing}: byte {span.offset} does not follow what was sent")
        if span == Span(0, self._blob.size) and span.length <= CARRIED:
            self._carried = exactly(span, chunks)
            return
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Range": f"{span.offset}-{span.end - 1}",
        }
        url = self._session.location
        response = self._peer.transport(self._request("PATCH", url, Headers(headers), chunks, span.length))
        if response.status in (416, 404, 410):  # the registry holds something else than we think: ask it
            refused = self._peer.refusal(response, self._doing)
            if not span.offset:  # it holds something it does not tell: nothing to go on with
                self._session = replace(self._session, location="")
            raise TransientError(refused.message, host=self._peer.host, answered=True)
        if response.status not in (200, 201, 202, 204):
            raise self._peer.refusal(response, self._doing)
        self._moved(response, url, self._arrived(response, span.end))

    def prove(self) -> None:
        """The registry proves the blob when the session is closed."""

    def suspect(self) -> Spans:
        """Nothing of ours can be looked at again."""
        return Spans()

    def differs(self, span: Span, chunks: Iterable[bytes]) -> bool:
        """Nothing of ours can be looked at again."""
        return False

    def commit(self) -> None:
        """The closing PUT. CorruptError if the registry says the bytes are not the digest's."""
        location = self._session.location
        join = "&" if "?" in location else "?"
        url = f"{location}{join}digest={quote(str(self._blob.digest), safe='')}"
        headers = Headers({"Content-Type": "application/octet-stream"} if self._carried else {})
        response = self._peer.transport(self._request("PUT", url, headers, self._carried))
        if response.status in (200, 201, 202, 204):
            if self._blob.size > CARRIED:
                self._sessions.forget(self._key)
            return
        refusal = self._peer.refusal(response, self._doing)
        if (
            response.status == 400
        ):  # DIGEST_INVALID: what arrived is not the blob; nothing of it is worth keeping
            self._sessions.forget(self._key)
            self._session = replace(self._session, location="")
            self._held = 0
            raise CorruptError(
                refusal.message,
                host=self._peer.host,
                name=str(self._name),
                hint="the bytes were damaged on the way, or the local blob is: ferry verify",
            )
        if response.status in (404, 416):
            raise TransientError(refusal.message, host=self._peer.host, answered=True)
        raise refusal

    def close(self) -> None:
        """The session stays open at the registry, remembered."""

    # --- what the registry says --------------------------------------------------------------------

    def known(self) -> bool:
        """`GET <location>`: what arrived; False if the registry no longer knows the session."""
        url = self._session.location
        if not url:
            return False
        response = self._peer.transport(self._request("GET", url))
        if response.status in (200, 202, 204):
            self._moved(response, url, self._arrived(response, 0))
            return True
        refusal = self._peer.refusal(response, self._doing)
        if isinstance(refusal, NotFoundError) or response.status in (400, 405):
            self._sessions.forget(self._key)
            return False
        raise refusal

    def _request(
        self,
        method: str,
        url: str,
        headers: Headers = _NONE,
        body: bytes | Iterable[bytes] = b"",
        length: int = 0,
    ) -> Request:
        """A request to the session's URL, which alone does not tell what it is for."""
        return Request(method, url, headers, body, length, access=self._access)

    def _arrived(self, response: Response, expected: int) -> int:
        """How much the registry holds by its `Range`; `expected` where it does not say."""
        value = response.headers.get("Range")
        if not value:
            return expected
        try:
            first, last = routes.read_upload_range(value)
        except InvalidError as error:
            raise ProtocolError(f"{self._doing}: {self._peer.host}: {error.message}") from None
        if first != 0 or last >= max(self._blob.size, 1):
            raise ProtocolError(
                f"{self._doing}: {self._peer.host} says it holds bytes {first}-{last} of {self._blob.size}",
                host=self._peer.host,
            )
        if not expected:
            # Debian's registry 2.8 and CNCF's v3 say 0-0 for nothing; one single byte looks the same.
            return last + 1 if last else 0
        return min(last + 1, expected)

    def _moved(self, response: Response, base: str, received: int) -> None:
        """Each answer's location replaces the last one, and is remembered."""
        headers = response.headers
        location = headers.get("Docker-Upload-Location") or headers.get("Location")
        url = self._peer.locate(location, base, self._doing) if location else self._session.location
        if not url:
            raise ProtocolError(f"{self._doing}: {self._peer.host} gave no upload location")
        self._held = received
        self._session = replace(self._session, location=url, touched=self._peer.now())
        if self._blob.size > CARRIED:
            self._sessions.put(self._key, self._session)

    def _chunk_least(self, value: str) -> int:
        if not value:
            return 0
        if not (value.isascii() and value.isdigit() and len(value) < 16):
            raise ProtocolError(f"{self._doing}: OCI-Chunk-Min-Length is not a number", host=self._peer.host)
        least = int(value)
        if least > _CHUNK_MIN_CEILING:
            raise ProtocolError(
                f"{self._doing}: {self._peer.host} wants chunks of at least {least} bytes",
                host=self._peer.host,
            )
        return least
