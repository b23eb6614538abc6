"""The registry application: the OCI distribution API 1.1 over a depot, for one visitor.

Knows what a request asks for and what the specification answers; not who asks (that is the guard's), nor
sockets (the listener's). What stock Ollama needs beyond the specification stands beside it, named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from registry.contracts import Depot
from registry.errors import InvalidError, NotFoundError, RegistryError
from registry.model.digests import Digest
from registry.model.manifests import MANIFEST_BYTES, OCI_INDEX, Manifest
from registry.model.spans import FileSpan
from registry.server.receiving import Receiving
from registry.wire import routes
from registry.wire.faults import answer_to, fault
from registry.wire.headers import Headers
from registry.wire.messages import Accept, Request, Response, accept_small
from registry.wire.routes import Place, Route

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
_PAGE = 1000  # the most that one page of a list has
_VERSION = ("Docker-Distribution-API-Version", "registry/2.0")


def everybody(_repository: str) -> bool:
    """Whoever asks may read it."""
    return True


@dataclass(frozen=True, slots=True)
class App:
    """An exchange over `depot`: what it answers one visitor.

    `readable` says which repositories there are for them; `capability(repository, digest)` is the path
    of a link to a blob that is good without a token, or None where every link is (a lab registry).
    `deposit(repository, session, size)` is the path at which all bytes of an upload can be put at once
    without a token, or None where there is no direct upload.
    """

    depot: Depot
    readable: Callable[[str], bool] = everybody
    capability: Callable[[str, Digest], str] | None = None
    deposit: Callable[[str, str, int], str] | None = None

    def __call__(self, request: Request) -> Response | Accept:
        place = routes.match(request.path)
        if place is None:
            return fault("NAME_UNKNOWN", "there is nothing at this path")
        methods = _HANDLERS.get(place.route, {})
        handler = methods.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
            headers = {"Allow": allowed}
            return fault("UNSUPPORTED", f"{request.method[:20]} is not done here", headers=headers)
        try:
            return handler(self, request, place)
        except RegistryError as error:
            return answer_to(error)

    # --- what is at fixed places -------------------------------------------------------------------

    def base(self, _request: Request, _place: Place) -> Response:
        return Response(200, Headers((_VERSION, ("Content-Type", "application/json"))), b"{}\n")

    def health(self, _request: Request, _place: Place) -> Response:
        self.depot.exists("health")  # a database that does not answer is not healthy
        return Response(200, Headers((("Content-Type", "text/plain"),)), b"ok\n")

    def catalog(self, request: Request, _place: Place) -> Response:
        limit = _limit(request)
        after = request.parameter("last") or ""
        names = self.depot.repositories(after, limit + 1, self.readable)
        document = {"repositories": names[:limit]}
        return _listed(document, names, limit, lambda last: routes.catalog(last, limit))

    # --- manifests ---------------------------------------------------------------------------------

    def manifest(self, request: Request, place: Place) -> Response:
        manifest = self._manifest(place)
        if manifest is None:
            return self._no_manifest(place)
        headers = (
            ("Content-Type", manifest.media_type),
            ("Docker-Content-Digest", str(manifest.digest)),
            ("ETag", f'"{manifest.digest}"'),
            _VERSION,
        )
        return Response(200, Headers(headers), manifest.raw)

    def put_manifest(self, request: Request, place: Place) -> Response | Accept:
        if (request.length or 0) > MANIFEST_BYTES:
            return fault("SIZE_INVALID", f"a manifest has at most {MANIFEST_BYTES} bytes", status=413)
        _reference(place)
        return accept_small(partial(self._put_manifest, request, place), MANIFEST_BYTES)

    def _put_manifest(self, request: Request, place: Place, raw: bytes) -> Response:
        reference = _reference(place)
        digest = reference if isinstance(reference, Digest) else None
        if digest is not None and Digest.of(raw, digest.algorithm) != digest:
            return fault("DIGEST_INVALID", f"the manifest sent is not {digest}")
        try:
            content_type = request.headers.get("Content-Type")
            manifest = Manifest.parse(raw, content_type=content_type, digest=digest)
            self._check_sizes(manifest, place.repository)
        except InvalidError as error:
            return fault("MANIFEST_INVALID", error.message)
        try:
            tag = None if isinstance(reference, Digest) else reference
            self.depot.publish(place.repository, manifest, tag)
        except NotFoundError as error:
            return fault("MANIFEST_BLOB_UNKNOWN", error.message)
        headers = [
            ("Location", _absolute(request, routes.manifest(place.repository, manifest.digest))),
            ("Docker-Content-Digest", str(manifest.digest)),
        ]
        if manifest.subject is not None:  # tells the client that referrers are kept here
            headers.append(("OCI-Subject", str(manifest.subject.digest)))
        return Response(201, Headers(headers))

    def delete_manifest(self, _request: Request, place: Place) -> Response:
        reference = _reference(place)
        try:
            if isinstance(reference, Digest):
                self.depot.delete_manifest(place.repository, reference)
            else:
                self.depot.delete_tag(place.repository, reference)
        except NotFoundError:
            return self._no_manifest(place)
        return Response(202)

    def tags(self, request: Request, place: Place) -> Response:
        if not self.depot.exists(place.repository):
            return _no_repository(place)
        limit = _limit(request)
        tags = self.depot.tags(place.repository, request.parameter("last") or "", limit + 1)
        document = {"name": place.repository, "tags": tags[:limit]}
        return _listed(document, tags, limit, lambda last: routes.tags(place.repository, last, limit))

    def referrers(self, request: Request, place: Place) -> Response:
        """OCI distribution 1.1, "Listing Referrers"; a digest nobody refers to has an empty list."""
        found = self.depot.referrers(place.repository, Digest.parse(place.reference))
        headers = [("Content-Type", OCI_INDEX)]
        wanted = request.parameter("artifactType")
        if wanted is not None:
            found = [manifest for manifest in found if _artifact_type(manifest) == wanted]
            headers.append(("OCI-Filters-Applied", "artifactType"))
        entries = [_referrer(manifest) for manifest in found]
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        return Response(200, Headers(headers), _json(document))

    def _manifest(self, place: Place) -> Manifest | None:
        return self.depot.manifest(place.repository, _reference(place))

    def _no_manifest(self, place: Place) -> Response:
        if not self.depot.exists(place.repository):
            return _no_repository(place)
        return fault("MANIFEST_UNKNOWN", f"{place.repository} has no {place.reference}")

    def _check_sizes(self, manifest: Manifest, repository: str) -> None:
        """A descriptor's size must be its blob's: clients plan with it."""
        for part in manifest.blobs():
            blob = self.depot.blob(repository, part.digest)
            if blob is not None and blob.size != part.size:
                raise InvalidError(f"blob {part.digest} has {blob.size} bytes, not {part.size}")

    # --- blobs -------------------------------------------------------------------------------------

    def blob(self, request: Request, place: Place) -> Response:
        """A blob, or one range of it.

        Stock Ollama needs `Location` on the 200, and asks there for ranges, without its token.
        """
        digest = Digest.parse(place.reference)
        blob = self.depot.blob(place.repository, digest)
        if blob is None:
            if not self.depot.exists(place.repository):
                return _no_repository(place)
            return fault("BLOB_UNKNOWN", f"{place.repository} has no blob {digest}")
        headers = Headers(
            {
                "Content-Type": "application/octet-stream",
                "Docker-Content-Digest": str(digest),
                "ETag": f'"{digest}"',
                "Accept-Ranges": "bytes",
            }
        )
        wanted = _wanted(request, digest, blob.size)
        if wanted is None:
            link = self.capability or routes.blob
            located = headers.with_("Location", link(place.repository, digest))
            return Response(200, located, blob.content, blob.size)
        first, length = wanted
        if not length:
            unsatisfied = {"Content-Range": f"bytes */{blob.size}"}
            return fault("RANGE_INVALID", f"the blob has {blob.size} bytes", headers=unsatisfied)
        partial = headers.with_("Content-Range", f"bytes {first}-{first + length - 1}/{blob.size}")
        return Response(206, partial, _slice(blob.content, first, length), length)

    def delete_blob(self, _request: Request, place: Place) -> Response:
        digest = Digest.parse(place.reference)
        try:
            self.depot.delete_blob(place.repository, digest)
        except NotFoundError:
            return fault("BLOB_UNKNOWN", f"{place.repository} has no blob {digest}")
        except InvalidError as error:
            return fault("UNSUPPORTED", error.message, headers={"Allow": "GET, HEAD"})
        return Response(202)

    # --- uploads -----------------------------------------------------------------------------------

    def begin(self, request: Request, place: Place) -> Response | Accept:
        return self._receiving(request, place).begin()

    def status(self, request: Request, place: Place) -> Response | Accept:
        return self._receiving(request, place).status()

    def patch(self, request: Request, place: Place) -> Response | Accept:
        return self._receiving(request, place).patch()

    def finish(self, request: Request, place: Place) -> Response | Accept:
        return self._receiving(request, place).finish()

    def content(self, request: Request, place: Place) -> Response | Accept:
        if self.deposit is None:
            return fault("NAME_UNKNOWN", "there is nothing at this path")
        return self._receiving(request, place).content()

    def cancel(self, request: Request, place: Place) -> Response | Accept:
        return self._receiving(request, place).cancel()

    def _receiving(self, request: Request, place: Place) -> Receiving:
        here = _absolute(request, "")
        return Receiving(self.depot, self.readable, request, place, here, self.deposit)


Handler = Callable[[App, Request, Place], Response | Accept]

_HANDLERS: Mapping[Route, Mapping[str, Handler]] = {
    Route.BASE: {"GET": App.base},
    Route.HEALTH: {"GET": App.health},
    Route.CATALOG: {"GET": App.catalog},
    Route.MANIFEST: {"GET": App.manifest, "PUT": App.put_manifest, "DELETE": App.delete_manifest},
    Route.TAGS: {"GET": App.tags},
    Route.REFERRERS: {"GET": App.referrers},
    Route.BLOB: {"GET": App.blob, "DELETE": App.delete_blob},
    Route.UPLOADS: {"POST": App.begin},
    Route.UPLOAD: {"GET": App.status, "PATCH": App.patch, "PUT": App.finish, "DELETE": App.cancel},
    Route.CONTENT: {"PUT": App.content},
}


def _reference(place: Place) -> Digest | str:
    """A digest or a tag; InvalidError for what is neither."""
    if ":" in place.reference:
        return Digest.parse(place.reference)
    if not _TAG.fullmatch(place.reference):
        raise InvalidError(f"{place.reference[:80]!r} is not a tag")
    return place.reference


def _no_repository(place: Place) -> Response:
    return fault("NAME_UNKNOWN", f"{place.repository} is not here, or not for you to see")


def _absolute(request: Request, path: str) -> str:
    """`path` at the name the client used: stock Ollama takes no relative upload location."""
    return f"{request.url[: len(request.url) - len(request.target)]}{path}"


def _limit(request: Request) -> int:
    text = request.parameter("n")
    if text is None:
        return _PAGE
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InvalidError(f"n={text[:20]!r} is not a number of entries")
    return min(int(text), _PAGE)


def _listed(
    document: Mapping[str, object], found: list[str], limit: int, path: Callable[[str], str]
) -> Response:
    """One page of a list; `Link` to the next one if there is more (RFC 8288)."""
    headers = [("Content-Type", "application/json")]
    if limit and len(found) > limit:
        headers.append(("Link", f'<{path(found[limit - 1])}>; rel="next"'))
    return Response(200, Headers(headers), _json(document))


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _artifact_type(manifest: Manifest) -> str:
    """Its own, else its config's media type (OCI distribution 1.1, "Listing Referrers")."""
    return manifest.artifact_type or (manifest.config.media_type if manifest.config else "")


def _referrer(manifest: Manifest) -> dict[str, object]:
    entry = manifest.descriptor().as_json()
    if _artifact_type(manifest):
        entry["artifactType"] = _artifact_type(manifest)
    if manifest.annotations:
        entry["annotations"] = dict(manifest.annotations)
    return entry


def _wanted(request: Request, digest: Digest, size: int) -> tuple[int, int] | None:
    """The range a GET asks for as (first, length); None for all, length 0 if there is none such.

    Several ranges, other units and a validator that is not this blob's mean all (RFC 9110 section 14.2).
    """
    if request.method != "GET" or request.headers.get("If-Range", f'"{digest}"') != f'"{digest}"':
        return None
    found = _RANGE.fullmatch(request.headers.get("Range").strip())
    if not found or not (found[1] or found[2]):
        return None
    if not found[1]:
        length = min(int(found[2]), size)
        return size - length, length
    first = int(found[1])
    last = min(int(found[2]), size - 1) if found[2] else size - 1
    if found[2] and int(found[2]) < first:
        return None
    return (first, last - first + 1) if first < size else (size, 0)


def _slice(content: bytes | FileSpan, first: int, length: int) -> bytes | FileSpan:
    if isinstance(content, FileSpan):
        return FileSpan(content.path, content.offset + first, length)
    return content[first : first + length]
