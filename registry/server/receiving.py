"""How a blob comes in: one request of an upload session, from the first POST to the closing PUT.

OCI distribution specification 1.1, "Pushing blobs"; PROTOCOL section 3 for what stock Ollama does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from registry.contracts import Depot, Upload
from registry.errors import InvalidError, NotFoundError, RegistryError
from registry.model.digests import Digest
from registry.server.principal import Readers, Right
from registry.server.reading import parsed_digest
from registry.server.visitor import Visitor
from registry.wire import routes
from registry.wire.faults import fault
from registry.wire.headers import Headers
from registry.wire.messages import Accept, Request, Response
from registry.wire.routes import Place
from registry.wire.single_post import OFFERED
from registry.wire.visibility import SUPPORTED

MOST_BYTES = 2**44  # 16 TiB: the largest blob, and so the largest body
_SIZE = re.compile(r"[0-9]{1,14}")
_SIGNED = {"Content-Type": "application/octet-stream"}  # what a direct upload must bear, as a signed URL's
_STOCK = "ollama"  # how stock's user agents begin


@dataclass(frozen=True, slots=True)
class Unannounced:
    """The bytes of a POST that is the blob itself: dropped where it breaks off.

    Nobody was told its session, so that no request could go on with it.
    """

    upload: Upload

    def write(self, data: bytes) -> None:
        """As the upload."""
        self.upload.write(data)

    def close(self) -> None:
        """Let go; what has not become a blob is dropped."""
        with suppress(RegistryError):  # a database that fails: then it goes as what nobody goes on with
            self.upload.cancel()
        self.upload.close()


@dataclass(frozen=True, slots=True)
class Receiving:
    """One request to the uploads of a repository.

    `upload_link(session, size)` is the path at which all bytes of an upload can be put without a token;
    None where there is no direct upload.
    """

    depot: Depot
    readers: Readers
    request: Request
    visitor: Visitor
    upload_link: Callable[[str, int], str] | None = None

    @property
    def place(self) -> Place:
        """The repository and session that the request is about."""
        return self.visitor.place

    def begin(self) -> Response | Accept:
        """`POST`: a mount, the whole blob at once, or a new session, perhaps with a direct way into it."""
        mount = self.request.parameter("mount")
        if mount is not None:
            mounted = parsed_digest(mount)
            source = self._source(mounted)
            if source and self.depot.mount(self.place.repository, mounted, source):
                return self._created(mounted)
        wanted = self.request.parameter("digest")
        digest = parsed_digest(wanted) if wanted else None
        size = self._announced() if digest is not None else 0
        if digest is not None and size:
            held = self.depot.blob(self.place.repository, digest, renew=True)
            if held is not None and held.size == size:
                return self._created(digest)
        upload = self.depot.begin(self.place.repository)
        # Stock opens a session by an empty POST that names the digest: only a body makes it the blob itself.
        if digest is not None and (self.request.length != 0 or digest == Digest.of(b"", digest.algorithm)):
            return self._closing(upload, digest, Unannounced(upload))
        response = self._offered(upload, size) if size else self._accepted(upload)
        upload.close()
        return response

    def _source(self, digest: Digest) -> str | None:
        """Where a mount may come from: only where the visitor may read; if they do not say, it is found."""
        source = self.request.parameter("from")
        if source == self.place.repository:  # asks whether it is here: a right to write is one to read
            return source
        if source is None:
            holders = self.depot.holders(digest)
            return next(filter(self.readers.reader(self.visitor.principal), holders), None)
        may = self.readers.right(self.visitor.principal, source) >= Right.READ
        return source if may else None

    def status(self) -> Response:
        """`GET`: how much is here."""
        upload = self._upload()
        if upload is None:
            return self._unknown()
        response = self._told(upload, 204)
        upload.close()
        return response

    def cancel(self) -> Response:
        """`DELETE`: forget it."""
        upload = self._upload()
        if upload is None:
            return self._unknown()
        upload.cancel()
        upload.close()
        return Response(204)

    def patch(self) -> Response | Accept:
        """`PATCH`: more bytes, kept as far as they arrive."""
        upload = self._upload()
        if upload is None:
            return self._unknown()
        refusal = self._refusal(upload)
        if refusal is not None:
            upload.close()
            return refusal
        return Accept(upload, lambda: self._accepted(upload), MOST_BYTES)

    def finish(self) -> Response | Accept:
        """`PUT`: perhaps the last bytes, then the blob. May be repeated when its answer was lost."""
        wanted = self.request.parameter("digest")
        if wanted is None:
            return fault("DIGEST_INVALID", "the closing PUT must say the digest")
        digest = parsed_digest(wanted)
        upload = self._upload()
        if upload is None:
            if self.depot.blob(self.place.repository, digest, renew=True) is not None:
                return self._created(digest)
            return self._unknown()
        refusal = self._refusal(upload)
        if refusal is not None:
            upload.close()
            return refusal
        return self._closing(upload, digest)

    def content(self) -> Response | Accept:
        """`PUT` of all bytes at once, as a direct upload brings them. May be repeated."""
        upload = self._upload()
        if upload is None:
            return self._unknown()
        upload.rewind(0)
        return Accept(upload, lambda: Response(200), MOST_BYTES)

    def _closing(self, upload: Upload, digest: Digest, intake: Unannounced | None = None) -> Accept:
        """Perhaps more bytes, then the blob; what was not hashed as it came is hashed before."""
        hash_more = None if upload.is_hashed(digest) else partial(upload.hash_more, digest)
        then = partial(self._commit, upload, digest)
        return Accept(intake or upload, then, MOST_BYTES, hash_more=hash_more)

    def _announced(self) -> int:
        """The size of the blob that a request for a direct upload announces; 0 if it is none."""
        headers = self.request.headers
        if self.upload_link is None or headers.get("X-Redirect-Uploads") != "2" or self.request.length != 0:
            return 0
        text = headers.get("X-Content-Length")
        if not _SIZE.fullmatch(text) or int(text) > MOST_BYTES:
            raise InvalidError(f"X-Content-Length {text[:40]!r} is not the size of a blob")
        return int(text)

    def _offered(self, upload: Upload, size: int) -> Response:
        """A new session, and where its bytes can be put at once (PROTOCOL section 3, "Direct upload")."""
        if self.upload_link is None:
            return self._accepted(upload)
        link = self.upload_link(upload.id, size)
        signed = ((f"X-Signed-Header-{name}", value) for name, value in _SIGNED.items())
        begun = self._accepted(upload)
        return Response(
            begun.status,
            Headers((*begun.headers, ("X-Direct-Upload-URL", f"{self.visitor.here.base}{link}"), *signed)),
        )

    def _commit(self, upload: Upload, digest: Digest) -> Response:
        upload.commit(digest)
        return self._created(digest)

    def _upload(self) -> Upload | None:
        try:
            return self.depot.upload(self.place.repository, self.place.reference)
        except NotFoundError:
            return None

    def _refusal(self, upload: Upload) -> Response | None:
        """Why this body cannot follow what is here; rewinds where it begins before that."""
        value = self.request.headers.get("Content-Range")
        if not value:
            return None
        try:
            first, last = routes.read_upload_range(value)
        except InvalidError as error:
            return fault("BLOB_UPLOAD_INVALID", error.message)
        length = self.request.length
        if last < first or (length is not None and length != last - first + 1):
            if length == 0 and self.request.method == "PUT":
                return None
            return fault("SIZE_INVALID", f"the body has {length} bytes, its Content-Range is {value[:60]}")
        if first > upload.received or (last < upload.received and not self._is_stock()):
            refused = fault("RANGE_INVALID", f"{upload.received} bytes are here")
            return Response(
                refused.status, Headers((*self._told(upload, 416).headers, *refused.headers)), refused.body
            )
        upload.rewind(first)
        return None

    def _is_stock(self) -> bool:
        """Whether an `ollama` asks: after a lost answer it sends a part again that is here already."""
        return self.request.headers.get("User-Agent").lower().startswith(_STOCK)

    def _accepted(self, upload: Upload) -> Response:
        return self._told(upload, 202)

    def _told(self, upload: Upload, status: int) -> Response:
        headers = {
            "Location": f"{self.visitor.here.base}{routes.upload(self.place.repository, upload.id)}",
            "Range": f"0-{max(upload.received - 1, 0)}",
            "Docker-Upload-UUID": upload.id,
        }
        return Response(status, Headers((*headers.items(), SUPPORTED, OFFERED)))

    def _created(self, digest: Digest) -> Response:
        location = f"{self.visitor.here.base}{routes.blob(self.place.repository, digest)}"
        told = {"Location": location, "Docker-Content-Digest": str(digest)}
        return Response(201, Headers((*told.items(), SUPPORTED)))

    def _unknown(self) -> Response:
        return fault("BLOB_UPLOAD_UNKNOWN", f"{self.place.repository} has no such upload")


def bears_signed(request: Request) -> bool:
    """Whether a direct upload bears the headers its URL was given with, and, as at S3, nobody's name."""
    headers = request.headers
    return "Authorization" not in headers and all(headers.all(name) == [_SIGNED[name]] for name in _SIGNED)
