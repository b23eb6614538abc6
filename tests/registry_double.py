"""One small registry in memory that behaves like any of those people use: a row is data, not a program.

Each field of `Quirks` is one thing that a registry, or a proxy in front of it, does otherwise than the OCI
distribution specification 1.1 says. Facts: REGISTRIES.md. All numbers are bytes unless said otherwise.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from registry.errors import TransientError
from registry.model.spans import Span
from registry.wire.faults import fault
from registry.wire.headers import Headers
from registry.wire.messages import Origin, Request, Response

KiB, MiB = 1024, 1024 * 1024
ORIGIN = Origin("https", "models.example", 443)
STORAGE = Origin("https", "storage.example", 443)
Answer = tuple[int, str, str]  # status, code, message


@dataclass(frozen=True)
class Quirks:
    """What this registry does otherwise."""

    # How a PATCH is taken.
    patch: Answer | None = None  # every PATCH is answered so, after its body was read and dropped
    patches_taken: int = 0  # so many PATCHes of an upload are taken before that
    ranged: Answer | None = None  # a PATCH with Content-Range is refused
    ranged_limit: int | None = None  # one of more bytes is: 416 (GHCR)
    body_limit: int | None = None  # any body of more bytes is: 413 (nginx, Cloudflare)
    put_limit: int | None = None  # a PUT with a body of more bytes is: 413 (Azure)
    closes: bool = False  # 413 is not answered: the connection is closed
    breaks_at: int | None = None  # the connection breaks when an upload reaches this byte
    keeps_broken: bool = True  # what arrived of a broken PATCH is kept
    keeps: str = "all"  # "last chunk", "nothing"
    told: str = "held"  # what `Range` says: "first chunk", "chunk", "less", "words", ""
    vanishes_after: int | None = None  # an upload is gone after so many PATCHes
    location: str = ""  # where every upload goes on, instead of here
    uploads: str = "uploads"  # the path's word for them (GHCR: "upload")

    # How an upload is closed.
    closing: Answer | None = None  # every closing PUT is answered so
    empty_closing: Answer | None = None  # one without a body is
    full_closing: Answer | None = None  # one with a body is
    wrong: Answer = (400, "DIGEST_INVALID", "provided digest did not match uploaded content")

    # Manifests, lists, reading.
    manifest: Answer | None = None  # every manifest is refused so
    head: int = 0  # HEAD of a manifest or blob: this status
    storage: bool = False  # blobs are read through a link that is signed for GET
    digest_header: bool = True
    manifest_type: str = ""  # Content-Type of a manifest
    compresses: str = ""  # "manifests", "blobs": gzip, unasked
    link: str = '<{next}>; rel="next"'  # how the next page is named; {next} is its path
    every: Response | None = None  # everything is answered so
    full_after: int | None = None  # the disk takes so many bytes
    full: Answer = (507, "", "")
    refuses_mounts: bool = False


@dataclass
class _Upload:
    pieces: list[bytes] = field(default_factory=list)
    patches: int = 0
    first: int = 0  # the last byte of the first chunk
    last: tuple[int, int] = (0, 0)  # the last chunk

    @property
    def held(self) -> int:
        return sum(map(len, self.pieces))


@dataclass
class Registry:
    """Blobs and manifests of one registry with `quirks`; `received` counts bytes of bodies that arrived."""

    quirks: Quirks = field(default_factory=Quirks)
    asked: list[str] = field(default_factory=list)  # "PATCH 0-99", "PUT", …: bodies by their length
    received: int = 0
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    _uploads: dict[str, _Upload] = field(default_factory=dict)

    def __call__(self, request: Request) -> Response:
        ranged = request.headers.get("Content-Range")
        self.asked.append(" ".join(filter(None, (request.method, ranged, str(request.length or "")))))
        if request.origin == STORAGE:
            return self._from_storage(request)
        if self.quirks.every is not None:
            self._body(request)
            return self.quirks.every
        if "/manifests/" in request.path:
            return self._manifest(request)
        if request.path.endswith("/tags/list") or request.path.endswith("/_catalog"):
            return self._list(request)
        if "/blobs/upload" in request.path:
            return self._upload(request)
        return self._blob(request)

    def count(self, method: str) -> int:
        """How many requests there were of a method."""
        return sum(line.split()[0] == method for line in self.asked)

    # --- uploads -------------------------------------------------------------------------------------

    def _upload(self, request: Request) -> Response:
        if request.method == "POST":
            return self._begin(request)
        upload = self._uploads.get(request.path)
        if upload is None:
            self._body(request)
            return fault("BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        if request.method == "GET":
            return self._status(request.path, upload, 204)
        refused = self._too_large(request)
        if refused is not None:
            return refused
        if request.method == "PATCH":
            return self._patch(request, upload)
        return self._close(request, upload)

    def _begin(self, request: Request) -> Response:
        digest = request.parameter("mount") or request.parameter("digest")
        if request.parameter("mount") and self.quirks.refuses_mounts:
            return fault("UNSUPPORTED", "no mounts here")
        if request.parameter("mount") and digest in self.blobs:
            return Response(201)
        repository = request.path.removeprefix("/v2/").partition("/blobs/")[0]
        path = f"/v2/{repository}/blobs/{self.quirks.uploads}/{len(self.asked)}"
        if self.quirks.vanishes_after != 0:
            self._uploads[path] = _Upload()
        return Response(202, Headers({"Location": self.quirks.location or path, "Range": "0-0"}))

    def _patch(self, request: Request, upload: _Upload) -> Response:
        quirks, ranged = self.quirks, "Content-Range" in request.headers
        if ranged and quirks.ranged is not None:
            return self._answered(quirks.ranged, request)
        limit = quirks.ranged_limit
        if ranged and limit is not None and (request.length or 0) > limit:
            return self._answered(
                (416, "", f"request body is too large: limit {limit / MiB:.2f}MiB"), request
            )
        if quirks.patch is not None and upload.patches >= quirks.patches_taken:
            return self._answered(quirks.patch, request)
        first = upload.held
        begins = int(request.headers.get("Content-Range").partition("-")[0]) if ranged else first
        if begins != first and quirks.keeps == "all":
            return self._answered((416, "RANGE_INVALID", f"{first} bytes are here"), request)
        pieces = self._body(request, upload)
        upload.patches += 1
        if quirks.full_after is not None and self.received > quirks.full_after:
            return self._answered(quirks.full, request)
        upload.pieces = {"all": upload.pieces + pieces, "last chunk": pieces, "nothing": []}[quirks.keeps]
        upload.last = (first, upload.held - 1)
        upload.first = upload.first or upload.held - 1
        if quirks.vanishes_after is not None and upload.patches >= quirks.vanishes_after:
            del self._uploads[request.path]
        return self._status(request.path, upload, 202)

    def _status(self, path: str, upload: _Upload, status: int) -> Response:
        held = max(upload.held - 1, 0)
        first, last = upload.last
        told = {
            "held": f"0-{held}",
            "first chunk": f"0-{upload.first}",
            "chunk": f"{first}-{last}",
            "less": f"0-{max(held - 1000, 0)}",
            "words": "all of it",
            "": "",
        }[self.quirks.told]
        fields = {"Location": self.quirks.location or path, **({"Range": told} if told else {})}
        return Response(status, Headers(fields))

    def _close(self, request: Request, upload: _Upload) -> Response:
        quirks = self.quirks
        refusal = quirks.closing or (quirks.full_closing if request.length else quirks.empty_closing)
        if refusal is not None:
            return self._answered(refusal, request)
        pieces = upload.pieces + self._body(request, upload)
        digest = request.parameter("digest") or ""
        hashed = hashlib.sha256()
        for piece in pieces:
            hashed.update(piece)
        if digest != f"sha256:{hashed.hexdigest()}":
            self._uploads.pop(request.path, None)
            return self._answered(quirks.wrong, request)
        self.blobs[digest] = b"".join(pieces)
        return Response(201, Headers({"Docker-Content-Digest": digest}))

    def _too_large(self, request: Request) -> Response | None:
        limits = [self.quirks.body_limit, self.quirks.put_limit if request.method == "PUT" else None]
        limit = min((limit for limit in limits if limit is not None), default=None)
        if limit is None or (request.length or 0) <= limit:
            return None
        if self.quirks.closes:
            next(iter(self._chunks(request)), None)
            raise TransientError("models.example closed the connection without a whole answer")
        return Response(
            413, Headers({"Content-Type": "text/html"}), b"<html>413 Request Entity Too Large</html>"
        )

    def _body(self, request: Request, upload: _Upload | None = None) -> list[bytes]:
        """The body's pieces; a connection that breaks leaves what arrived until then."""
        quirks, pieces = self.quirks, []
        held = upload.held if upload is not None else 0
        for chunk in self._chunks(request):
            room = len(chunk) if quirks.breaks_at is None else max(0, quirks.breaks_at - held)
            pieces.append(chunk[:room] if room < len(chunk) else chunk)
            held += len(pieces[-1])
            self.received += len(pieces[-1])
            if room < len(chunk):
                if upload is not None and quirks.keeps_broken:
                    upload.pieces = upload.pieces + pieces
                raise TransientError("models.example closed the connection without a whole answer")
        return pieces

    def _chunks(self, request: Request) -> Iterable[bytes]:
        return (request.body,) if isinstance(request.body, bytes) else request.body

    def _answered(self, answer: Answer, request: Request) -> Response:
        self._body(request)
        status, code, message = answer
        if not code:
            return Response(status, Headers({"Content-Type": "text/plain"}), message.encode())
        return fault(code, message, status=status)

    # --- reading -------------------------------------------------------------------------------------

    def _blob(self, request: Request) -> Response:
        data = self.blobs.get(request.path.rpartition("/")[2])
        if data is None:
            return fault("BLOB_UNKNOWN", "blob unknown to registry")
        if request.method == "HEAD" and self.quirks.head:
            return Response(self.quirks.head)
        if self.quirks.storage:
            link = f"{STORAGE}/{quote(request.path.rpartition('/')[2])}?X-Signature=s3cret-link"
            return Response(307, Headers({"Location": link}))
        return self._bytes(request, data)

    def _from_storage(self, request: Request) -> Response:
        if request.method != "GET":
            return Response(403, Headers(), b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
        return self._bytes(request, self.blobs[request.path.rpartition("/")[2].replace("%3A", ":")])

    def _bytes(self, request: Request, data: bytes) -> Response:
        if request.method == "HEAD":
            return Response(200, Headers({"Content-Length": str(len(data))}), length=len(data))
        more = {"Content-Encoding": "gzip"} if self.quirks.compresses == "blobs" else {}
        wanted = request.headers.get("Range").removeprefix("bytes=")
        if not wanted:
            return Response(200, Headers(more), _pieces(data, Span(0, len(data))), len(data))
        first, last = (int(text) for text in wanted.split("-"))
        told = {"Content-Range": f"bytes {first}-{last}/{len(data)}", **more}
        span = Span(first, last - first + 1)
        return Response(206, Headers(told), _pieces(data, span), span.length)

    # --- manifests and lists ---------------------------------------------------------------------------

    def _manifest(self, request: Request) -> Response:
        quirks, reference = self.quirks, request.path.rpartition("/")[2]
        if request.method == "PUT":
            assert isinstance(request.body, bytes)
            if quirks.manifest is not None:
                return self._answered(quirks.manifest, request)
            self.manifests[reference] = (request.body, request.headers.get("Content-Type"))
            return Response(201)
        if reference not in self.manifests:
            return fault("MANIFEST_UNKNOWN", "manifest unknown")
        if request.method == "HEAD" and quirks.head:
            return Response(quirks.head)
        raw, kind = self.manifests[reference]
        fields: dict[str, str] = {"Content-Type": quirks.manifest_type or kind}
        if quirks.digest_header:
            fields["Docker-Content-Digest"] = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        if quirks.compresses == "manifests":
            raw, fields["Content-Encoding"] = gzip.compress(raw), "gzip"
        return Response(200, Headers(fields), b"" if request.method == "HEAD" else raw, len(raw))

    def _list(self, request: Request) -> Response:
        """Ten names a page."""
        names = sorted(self.manifests)
        rest = [name for name in names if name > (request.parameter("last") or "")]
        fields: Mapping[str, str] = {}
        if len(rest) > 10:
            following = f"{request.path}?n=10&last={rest[9]}"
            fields = {"Link": self.quirks.link.replace("{next}", following)}
        return Response(200, Headers(fields), json.dumps({"tags": rest[:10]}).encode())


def _pieces(data: bytes, span: Span) -> Iterable[bytes]:
    return (data[piece.offset : piece.end] for piece in span.cut(MiB))
