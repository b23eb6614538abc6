"""One blob on its way up to a registry: an upload session, its bytes by one method or another, its end.

OCI distribution specification 1.1, "Pushing blobs". The digest is known, so nothing is hashed here:
the registry proves what it got. `method_choice` decides how the bytes go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from urllib.parse import quote

from registry.contracts import ChunkRules, How
from registry.errors import (
    CorruptError,
    InvalidError,
    ProtocolError,
    Reason,
    RegistryError,
    StorageError,
    TransientError,
)
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.model.spans import Span, Spans
from registry.targets.access import reading, writing
from registry.targets.method_choice import LEAST_CHUNK, MOST_CHUNK, MethodChoice, MiB, mebibytes
from registry.targets.methods import Method, Methods
from registry.targets.peer import Peer
from registry.targets.pieces import Watched, exactly
from registry.targets.proven_there import ProvenThere
from registry.targets.sessions import AGE, Sessions, UploadSession
from registry.wire import routes
from registry.wire.faults import Refusal
from registry.wire.headers import NO_FIELDS, Headers
from registry.wire.messages import Access, Request, Response

FIRST_PART = 16 * MiB
# A blob no larger than this goes up inside the closing PUT: one request less, and it can be replayed.
SMALL_BYTES = 256 * 1024
_NONE = Headers()
_BYTES = {"Content-Type": "application/octet-stream"}
_DONE = (200, 201, 202, 204)
# What a registry or a proxy says to a way of sending that it does not know, or to a session that is gone.
_NOT_SO = (400, 404, 405, 410, 411, 415, 416, 422, 501)
_GONE = (404, 410)
_TOO_LARGE = 413
# What the closing PUT says when other bytes arrived than the digest's.
_WRONG_BYTES = ("DIGEST_INVALID", "SIZE_INVALID", "BLOB_UPLOAD_INVALID")


class UploadIntake(ProvenThere):
    """One upload session. Made idle: `remembered` or `begin` says where the bytes go."""

    def __init__(
        self,
        peer: Peer,
        sessions: Sessions,
        methods: Methods,
        name: Name,
        blob: Descriptor,
        first_part: int = FIRST_PART,
    ) -> None:
        """`first_part`: how many bytes the first PATCH brings."""
        self._peer = peer
        self._sessions = sessions
        self._methods = methods
        self._name = name
        self._blob = blob
        self._first_part = first_part
        self._small = small = blob.size <= SMALL_BYTES
        self._all_at_once = ChunkRules(ordered=True, first=blob.size, least=blob.size, most=blob.size)
        self._key = f"{peer.origin}/{name.repository}@{blob.digest}"
        self._method_key = f"{peer.origin} {'small' if small else 'large'}"
        self._choice = MethodChoice(small, methods.get(self._method_key), peer.now())
        self._session = UploadSession("", 0, 0.0)
        self._held = 0  # bytes that the registry keeps, as far as is known
        self._sent = 0  # bytes that it may have of this session
        self._stored = False  # whether the closing PUT was answered well
        self._access = writing(name)
        self._doing = f"uploading blob {blob.digest.short} to {name}"
        self._small_body = b""
        self.how = How.UPLOADED

    # --- where the bytes go ------------------------------------------------------------------------

    def remembered(self) -> bool:
        """Go on with the upload an earlier try began, if the registry still knows it."""
        session = self._sessions.get(self._key) if self._choice.method is Method.CHUNKS else None
        if session is None:
            return False
        if self._peer.now() - session.touched > AGE:
            self.forget()
            return False
        self._session = session
        self._sent = self._blob.size
        if not self.known():
            return False
        if self._held:
            self.how = How.RESUMED
        return True

    def mount(self, source: Name) -> Response:
        """Ask to take the blob over from the repository of `source` (201); else a new session."""
        digest, repository = routes.in_query(self._blob.digest), source.repository
        query = f"?mount={digest}&from={quote(repository, safe='')}"
        return self.begin(query, access=writing(self._name, repository))

    def begin(
        self,
        query: str = "",
        headers: Headers = NO_FIELDS,
        access: Access | None = None,
        body: bytes = b"",
    ) -> Response:
        """A new session, or with a `query` that names the blob perhaps the blob itself (201)."""
        path, ok = routes.uploads(self._name.repository) + query, (201, 202)
        access = access or self._access
        response = self._peer.ask("POST", path, self._doing, ok=ok, access=access, headers=headers, body=body)
        if response.status == 202:
            try:
                least = routes.read_chunk_least(response.headers.get("OCI-Chunk-Min-Length"), MOST_CHUNK)
            except InvalidError as error:
                raise ProtocolError(f"{self._doing}: {self._peer.host}: {error.message}") from None
            self._session = UploadSession("", least, 0.0)
            self._sent = 0
            self._moved(response, f"{self._peer.origin}{path}", 0)
        elif not query:
            raise ProtocolError(f"{self._doing}: {self._peer.host} says it is done before it began")
        return response

    def resume(self) -> None:
        """Find out what is there, where that helps; else begin anew."""
        self._small_body = b""
        method, held = self._choice.method, self._held
        if method is Method.PUT:
            if self._sent and self._is_there():
                self._held, self._stored = self._blob.size, True
                return
        elif self.known() and (method is Method.CHUNKS or self._held == self._blob.size):
            return
        elif held:
            why = f"{self._peer.host} lost {held} bytes that it had kept"
            self._choice.refused(why, at_once=method is not Method.CHUNKS)
        self._start_over()
        if self._choice.method is None:
            raise self._exhausted()
        self.begin()

    def forget(self) -> None:
        """No later run goes on with this session."""
        self._sessions.forget(self._key)

    # --- the bytes ---------------------------------------------------------------------------------

    @property
    def chunk_rules(self) -> ChunkRules:
        if self._choice.method is not Method.CHUNKS:
            return self._all_at_once
        least = self._session.least
        most = max(self._choice.most, least)
        first = min(max(self._first_part, least), most)
        return ChunkRules(ordered=True, first=first, least=least, most=most if self._held else first)

    @property
    def received(self) -> Spans:
        held = self._held + len(self._small_body)
        return Spans((Span(0, held),)) if held else Spans()

    def write(self, span: Span, chunks: Iterable[bytes]) -> None:
        """One request with the bytes of `span`; a small blob is kept for the closing one.

        TransientError if it may go on after `resume`, then perhaps by other rules. ProtocolError
        when the registry takes the bytes in no way.
        """
        method = self._choice.method
        together = self._small and method is Method.PUT  # with the closing request
        if span.offset != self._held + len(self._small_body):
            raise InvalidError(f"{self._doing}: byte {span.offset} does not follow what was sent")
        if method is not Method.CHUNKS and not together and span.length != self._blob.size:
            raise InvalidError(f"{self._doing}: all of it must come at once")
        if together:
            self._small_body += exactly(span, chunks)
        elif method is Method.PUT:
            self._send("PUT", self._closing_url(), span, chunks, {})
        else:
            ranged = {"Content-Range": f"{span.offset}-{span.end - 1}"} if method is Method.CHUNKS else {}
            self._send("PATCH", self._session.location, span, chunks, ranged)

    def commit(self) -> None:
        """The closing PUT. CorruptError if the registry says the bytes are not the digest's."""
        if not self._stored:
            headers = Headers(_BYTES if self._small_body else {})
            request = self._request("PUT", self._closing_url(), headers, self._small_body)
            response = self._peer.transport(request)
            if response.status not in _DONE:
                raise self._not_closed(self._peer.refusal(response, self._doing))
        self._stored = True
        if not self._small:
            self.forget()
        learned = self._choice.worked(self._peer.now())
        if learned is not None and learned is not self._choice.learned:
            self._methods.put(self._method_key, learned)

    def close(self) -> None:
        """The session stays open at the registry, remembered."""

    def known(self, sent: int | None = None) -> bool:
        """`GET <location>`: what arrived; False if the registry does not know the session, or cannot tell.

        `sent`: the most it can have, where bytes went another way than by `write`.
        """
        url = self._session.location
        if not url:
            return False
        self._sent = self._sent if sent is None else sent
        response = self._peer.transport(self._request("GET", url))
        if response.status in (200, 202, 204):
            held = self._told(response)
            if held is None:
                return False
            self._moved(response, url, held)
            self._choice.kept(held)
            return True
        refusal = self._peer.refusal(response, self._doing)
        if refusal.status in (400, 405, *_GONE):
            self.forget()
            return False
        raise self._peer.error_of(refusal, self._doing)

    # --- sending -----------------------------------------------------------------------------------

    def _send(
        self, method: str, url: str, span: Span, chunks: Iterable[bytes], headers: Mapping[str, str]
    ) -> None:
        watched = Watched(chunks)
        try:
            response = self._peer.transport(
                self._request(method, url, Headers({**_BYTES, **headers}), watched, span.length)
            )
        except TransientError as error:
            self._sent = max(self._sent, span.offset + watched.taken)
            if watched.taken and not watched.failed and self._choice.broke(span.length, error.message):
                self._start_over()
            raise
        self._sent = max(self._sent, span.end)
        if response.status not in _DONE:
            refusal = self._peer.refusal(response, self._doing)
            raise self._not_closed(refusal) if method == "PUT" else self._not_taken(refusal, span)
        # Whatever its Range says (ECR, Aliyun, zot): a PATCH that was sent whole and taken is kept.
        if method == "PATCH":
            self._moved(response, url, span.end)
        self._held, self._stored = span.end, method == "PUT"
        self._choice.kept(span.end)

    def _not_taken(self, refusal: Refusal, span: Span) -> RegistryError:
        """The error for a PATCH that was refused: transient where there is another way to go on."""
        error = self._peer.error_of(refusal, self._doing, writing=True)
        if isinstance(error, StorageError):
            error.length = span.length
            return error
        if refusal.status == _TOO_LARGE:
            return self._too_large(error, span.length)
        if isinstance(error, TransientError):
            self._choice.busy(span.length)
        if refusal.status not in _NOT_SO:
            return error
        # May be chance: a session that is gone, and 416 to a body that was sent without a range.
        chance = refusal.status in (_GONE if self._choice.method is Method.CHUNKS else (416,))
        if self._choice.refused(str(refusal), at_once=span.offset == 0 and not chance):
            self._start_over()
        return self._another_way(error)

    def _not_closed(self, refusal: Refusal) -> RegistryError:
        """The error for a closing PUT that was refused: transient where there is another way to go on."""
        error = self._peer.error_of(refusal, self._doing, writing=True)
        why = str(refusal)
        if isinstance(error, StorageError):
            error.length = self._blob.size
            return error
        if refusal.code in _WRONG_BYTES:
            self._choice.wrong_bytes(why)
            self._start_over()
            return CorruptError(
                f"{error.message}: it says that other bytes arrived than the blob has",
                host=self._peer.host,
                name=str(self._name),
                reason=Reason.BLOB_REFUSED,
            )
        if refusal.status == _TOO_LARGE:  # after PATCHes the PUT is empty: it is the blob that is too large
            whole = self._choice.method is Method.PUT
            return self._too_large(error, self._blob.size) if whole else error
        if refusal.status == 500 and not self._small_body:
            if self._choice.closing_failed(why):
                self._start_over()
            return self._another_way(error) if self._choice.method is None else error
        if refusal.status not in _NOT_SO:
            return error
        at_once = self._choice.method is Method.PUT and refusal.status != 416
        if self._choice.not_closed(why, at_once=at_once):
            self._start_over()
        return self._another_way(error)

    def _too_large(self, error: RegistryError, size: int) -> RegistryError:
        """A body of `size` bytes was more than somebody on the way takes: smaller ones, or the end."""
        host = self._peer.host
        what = f"{self._doing}: the proxy or registry at {host} takes no body of {mebibytes(size)} (413)"
        if self._choice.too_large(size, self._session.least, f"413 for {size} bytes"):
            smaller = f"{what}; sending {mebibytes(self._choice.most)} at a time"
            return TransientError(smaller, host=host, reason=Reason.BODY_LIMIT, answered=True, at_once=True)
        if self._choice.method not in (None, Method.CHUNKS):
            self._start_over()
            return TransientError(error.message, host=host, answered=True)
        least = f", and Ferry sends no less than {mebibytes(LEAST_CHUNK)} at a time"
        return ProtocolError(
            f"{what}{least if size >= LEAST_CHUNK else ''}",
            host=host,
            name=str(self._name),
            reason=Reason.BODY_LIMIT,
        )

    def _another_way(self, error: RegistryError) -> RegistryError:
        """`error` as one that is tried again, or the last one, when no method is left."""
        if self._choice.method is None:
            return self._exhausted()
        return TransientError(error.message, host=self._peer.host, answered=True)

    def _exhausted(self) -> ProtocolError:
        return ProtocolError(
            f"{self._doing}: {self._peer.host} takes the bytes in no way that Ferry knows "
            f"({self._choice.tried})",
            host=self._peer.host,
            name=str(self._name),
            reason=Reason.UNEXPECTED_ANSWER,
        )

    def _start_over(self) -> None:
        """Nothing of what was sent counts; the next session takes all of it."""
        self.forget()
        self._session = replace(self._session, location="")
        self._held = self._sent = 0
        self._stored = False
        if self._choice.learned is None:
            self._methods.forget(self._method_key)

    # --- what the registry says --------------------------------------------------------------------

    def _is_there(self) -> bool:
        """Whether the blob is there, although the answer to its PUT was lost."""
        url = f"{self._peer.origin}{routes.blob(self._name.repository, self._blob.digest)}"
        access = reading(self._name)
        return self._peer.transport(Request("HEAD", url, access=access)).status == 200

    def _closing_url(self) -> str:
        location = self._session.location
        join = "&" if "?" in location else "?"
        return f"{location}{join}digest={routes.in_query(self._blob.digest)}"

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

    def _told(self, response: Response) -> int | None:
        """How many bytes the registry says it holds, none that were not sent; None if it does not say."""
        try:
            _, last = routes.read_upload_range(response.headers.get("Range"))
        except InvalidError:
            return None
        # Debian's registry 2.8 and CNCF's v3 say 0-0 for nothing; one single byte looks the same.
        return min(last + 1 if last else 0, self._sent)

    def _moved(self, response: Response, base: str, received: int) -> None:
        """Each answer's location replaces the last one, and is remembered."""
        headers = response.headers
        location = headers.get("Docker-Upload-Location") or headers.get("Location")
        url = self._peer.locate(location, base, self._doing) if location else self._session.location
        if not url:
            raise ProtocolError(f"{self._doing}: {self._peer.host} gave no upload location")
        self._held = received
        self._session = replace(self._session, location=url, touched=self._peer.now())
        if self._choice.method is Method.CHUNKS:
            self._sessions.put(self._key, self._session)
