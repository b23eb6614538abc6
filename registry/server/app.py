"""The registry application: the OCI distribution API 1.1 over a depot.

Knows what a request asks for and what the specification answers; not who may (that is the guard's), nor
sockets (the listener's). What stock Ollama needs beyond the specification stands beside it, named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from registry.contracts import Depot
from registry.errors import InvalidError, NotFoundError
from registry.model.digests import Digest
from registry.model.manifests import MANIFEST_BYTES, OCI_INDEX, Manifest
from registry.model.spans import Span
from registry.server.descriptors import fitting
from registry.server.principal import Everything, Principal, Readers, Right
from registry.server.reading import date, page_limit, parsed_digest, reference, tag_parameters
from registry.server.receiving import Receiving
from registry.server.visitor import Visitor
from registry.wire import routes
from registry.wire.faults import fault
from registry.wire.headers import Headers
from registry.wire.immutable import IMMUTABLE
from registry.wire.messages import Accept, Request, Response, accept_small
from registry.wire.routes import Place
from registry.wire.single_post import OFFERED, OFFERED_EMPTY
from registry.wire.visibility import DENIED, SUPPORTED, VISIBILITY, read_visibility, write_visibility

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
_VERSION = ("Docker-Distribution-API-Version", "registry/2.0")


class Linker(Protocol):
    """Makes the secret parts of links that are good without a token; `audience` is where they are used."""

    def download(self, audience: str, principal: Principal, repository: str, digest: Digest) -> str:
        """To one blob."""

    def upload(self, audience: str, principal: Principal, repository: str, session: str, size: int) -> str:
        """To where all bytes of an upload can be put at once."""


@dataclass(frozen=True, slots=True)
class App:
    """What the registry answers to a visitor the guard has let in, from `depot`.

    Without `links` a blob's own path stands where a link to it would. `direct_upload` offers clients that
    ask for it one PUT of a whole blob to a link (PROTOCOL section 3).
    """

    depot: Depot
    readers: Readers = field(default_factory=Everything)
    links: Linker | None = None
    direct_upload: bool = False

    # --- what is at fixed places -------------------------------------------------------------------

    def base(self, _request: Request, _visitor: Visitor) -> Response:
        return Response(200, Headers((_VERSION, ("Content-Type", "application/json"))), b"{}\n")

    def health(self, _request: Request, _visitor: Visitor) -> Response:
        self.depot.exists("health")  # a database that does not answer is not healthy
        return Response(200, Headers((("Content-Type", "text/plain"),)), b"ok\n")

    def catalog(self, request: Request, visitor: Visitor) -> Response:
        limit = page_limit(request)
        after = request.parameter("last") or ""
        names = self.depot.repositories(after, limit + 1, self.readers.reader(visitor.principal))
        document = {"repositories": names[:limit]}
        return _listed(document, names, limit, lambda last: routes.catalog(last, limit))

    # --- manifests ---------------------------------------------------------------------------------

    def manifest(self, request: Request, visitor: Visitor) -> Response:
        """To who may write there, the answer to a HEAD says too what a push would be refused for.

        That is a tag that is to stay where it is, and that others say whether it is public. It says also
        what it takes of small blobs.
        """
        place, named = visitor.place, reference(visitor.place)
        found = self.depot.manifest(place.repository, named)
        writes = request.method == "HEAD" and visitor.right >= Right.WRITE
        owns = not writes or self.readers.owns(visitor.principal, place.repository)
        said = (SUPPORTED if owns else (VISIBILITY, DENIED), *((OFFERED,) if writes else ()))
        if found is None:
            return self._no_manifest(place, said)
        tagged = writes and not isinstance(named, Digest)
        stays = self.depot.why_immutable(place.repository, str(named)) if tagged else ""
        headers = (
            ("Content-Type", found.media_type),
            ("Docker-Content-Digest", str(found.digest)),
            ("ETag", f'"{found.digest}"'),
            _VERSION,
            *said,
            *(((IMMUTABLE, stays),) if stays else ()),
        )
        return Response(200, Headers(headers), found.raw)

    def put_manifest(self, request: Request, visitor: Visitor) -> Response | Accept:
        if (request.length or 0) > MANIFEST_BYTES:
            return fault("SIZE_INVALID", f"a manifest has at most {MANIFEST_BYTES} bytes", status=413)
        named, tags = reference(visitor.place), tag_parameters(request)
        if tags and not isinstance(named, Digest):
            return fault("TAG_INVALID", "tags are parameters of a manifest's digest only")
        public = read_visibility(request.headers.all(VISIBILITY))
        repository = visitor.place.repository
        if public is not None and not self.readers.owns(visitor.principal, repository):
            return fault("DENIED", f"only its owner says whether {repository} is public")
        return accept_small(partial(self._put_manifest, request, visitor, tags, public), MANIFEST_BYTES)

    def _put_manifest(
        self, request: Request, visitor: Visitor, more: list[str], public: bool | None, raw: bytes
    ) -> Response:
        """`more`: the tags that a manifest pushed by its digest is to have too."""
        place = visitor.place
        named = reference(place)
        digest = named if isinstance(named, Digest) else None
        if digest is not None and Digest.of(raw, digest.algorithm) != digest:
            return fault("DIGEST_INVALID", f"the manifest sent is not {digest}")
        try:
            content_type = request.headers.get("Content-Type")
            manifest = Manifest.parse(raw, content_type=content_type, digest=digest)
            tag = None if isinstance(named, Digest) else named
            new = request.headers.get("If-None-Match") == "*"  # or is this very manifest: it was sent twice
            self.depot.publish(place.repository, manifest, tag, visitor.actor, public, more, new)
        except InvalidError as error:
            return fault("MANIFEST_INVALID", error.message)
        except NotFoundError as error:
            return fault("MANIFEST_BLOB_UNKNOWN", error.message)
        headers = [
            ("Location", visitor.here.base + routes.manifest(place.repository, manifest.digest)),
            ("Docker-Content-Digest", str(manifest.digest)),
        ]
        headers += (("OCI-Tag", tag) for tag in more)
        if public is not None:
            headers.append((VISIBILITY, write_visibility(public)))
        if manifest.subject is not None:  # tells the client that referrers are kept here
            headers.append(("OCI-Subject", str(manifest.subject.digest)))
        return Response(201, Headers(headers))

    def delete_manifest(self, _request: Request, visitor: Visitor) -> Response:
        place = visitor.place
        named = reference(place)
        try:
            if isinstance(named, Digest):
                self.depot.delete_manifest(place.repository, named, visitor.actor)
            else:
                self.depot.delete_tag(place.repository, named, visitor.actor)
        except NotFoundError:
            return self._no_manifest(place)
        except InvalidError as error:
            return fault("UNSUPPORTED", error.message, headers={"Allow": "GET, HEAD, PUT"})
        return Response(202)

    def tags(self, request: Request, visitor: Visitor) -> Response:
        """The tags; beside them, for who knows to look, since when each stands, for what, and by whom."""
        repository = visitor.place.repository
        if not self.depot.exists(repository):
            return _no_repository(visitor.place)
        limit = page_limit(request)
        found = self.depot.tags(repository, request.parameter("last") or "", limit + 1)
        names = [each.tag for each in found]
        document = {
            "name": repository,
            "tags": names[:limit],
            "published": [
                {"tag": each.tag, "digest": str(each.digest), "at": date(each.moved), "by": each.moved_by}
                for each in found[:limit]
            ],
        }
        return _listed(document, names, limit, lambda last: routes.tags(repository, last, limit))

    def referrers(self, request: Request, visitor: Visitor) -> Response:
        """OCI distribution 1.1, "Listing Referrers"; a digest nobody refers to has an empty list."""
        repository, digest = visitor.place.repository, parsed_digest(visitor.place.reference)
        kind, limit = request.parameter("artifactType"), page_limit(request)
        after = request.parameter("last") or ""
        found = self.depot.referrers(repository, digest, kind, after, limit + 1)
        page = fitting(found[:limit])
        entries = ",".join(each.descriptor for each in page)
        body = f'{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{entries}]}}\n'
        headers = [("Content-Type", OCI_INDEX)]
        if kind is not None:
            headers.append(("OCI-Filters-Applied", "artifactType"))
        if page and len(page) < len(found):
            headers.append(_next(routes.referrers(repository, digest, kind, str(page[-1].digest), limit)))
        return Response(200, Headers(headers), body.encode())

    def _no_manifest(self, place: Place, said: tuple[tuple[str, str], ...] = (SUPPORTED,)) -> Response:
        if not self.depot.exists(place.repository):
            return _no_repository(place, dict(OFFERED_EMPTY if each == OFFERED else each for each in said))
        return fault("MANIFEST_UNKNOWN", f"{place.repository} has no {place.reference}", headers=dict(said))

    # --- blobs -------------------------------------------------------------------------------------

    def blob(self, request: Request, visitor: Visitor) -> Response:
        """A blob, or one range of it.

        Stock Ollama needs `Location` on the 200, and asks there for ranges, without its token. A HEAD of a
        client that may write is how a push begins: what it is told to be here stays for a while.
        """
        place = visitor.place
        digest = parsed_digest(place.reference)
        renew = request.method == "HEAD" and visitor.right >= Right.WRITE
        blob = self.depot.blob(place.repository, digest, renew=renew)
        if blob is None:
            if not self.depot.exists(place.repository):
                return _no_repository(place)
            return fault("BLOB_UNKNOWN", f"{place.repository} has no blob {digest}")
        headers = {
            "Content-Type": "application/octet-stream",
            "Docker-Content-Digest": str(digest),
            "ETag": f'"{digest}"',
            "Accept-Ranges": "bytes",
        }
        wanted = _wanted(request, digest, blob.size)
        if wanted is None:
            if request.method == "GET":  # nobody follows it from a HEAD, and signing one takes time
                headers["Location"] = self.link_to(visitor, digest)
            body = blob.content(Span(0, blob.size)) if request.method == "GET" else b""
            return Response(200, Headers(headers), body, blob.size)
        first, length = wanted
        if not length:
            unsatisfied = {"Content-Range": f"bytes */{blob.size}"}
            return fault("RANGE_INVALID", f"the blob has {blob.size} bytes", headers=unsatisfied)
        headers["Content-Range"] = f"bytes {first}-{first + length - 1}/{blob.size}"
        return Response(206, Headers(headers), blob.content(Span(first, length)), length)

    def link_to(self, visitor: Visitor, digest: Digest) -> str:
        """Where the blob is without a token. A link names itself: a new one would let it outlive its days."""
        if visitor.link:
            return visitor.link
        repository = visitor.place.repository
        if self.links is None:
            return routes.blob(repository, digest)
        audience = str(visitor.here.origin)
        return routes.capability(self.links.download(audience, visitor.principal, repository, digest))

    def delete_blob(self, _request: Request, visitor: Visitor) -> Response:
        place = visitor.place
        digest = parsed_digest(place.reference)
        try:
            self.depot.delete_blob(place.repository, digest, visitor.actor)
        except NotFoundError:
            return fault("BLOB_UNKNOWN", f"{place.repository} has no blob {digest}")
        except InvalidError as error:
            return fault("UNSUPPORTED", error.message, headers={"Allow": "GET, HEAD"})
        return Response(202)

    # --- uploads -----------------------------------------------------------------------------------

    def begin(self, request: Request, visitor: Visitor) -> Response | Accept:
        return self._receiving(request, visitor).begin()

    def status(self, request: Request, visitor: Visitor) -> Response | Accept:
        return self._receiving(request, visitor).status()

    def patch(self, request: Request, visitor: Visitor) -> Response | Accept:
        return self._receiving(request, visitor).patch()

    def finish(self, request: Request, visitor: Visitor) -> Response | Accept:
        return self._receiving(request, visitor).finish()

    def content(self, request: Request, visitor: Visitor) -> Response | Accept:
        if not self.direct_upload:
            return fault("NAME_UNKNOWN", "there is nothing at this path")
        return self._receiving(request, visitor).content()

    def cancel(self, request: Request, visitor: Visitor) -> Response | Accept:
        return self._receiving(request, visitor).cancel()

    def _receiving(self, request: Request, visitor: Visitor) -> Receiving:
        def upload_link(session: str, size: int) -> str:
            repository = visitor.place.repository
            if self.links is None:
                return routes.content(repository, session)
            audience = str(visitor.here.origin)
            return routes.storage(self.links.upload(audience, visitor.principal, repository, session, size))

        direct = upload_link if self.direct_upload else None
        return Receiving(self.depot, self.readers, request, visitor, direct)


def _no_repository(place: Place, headers: Mapping[str, str] | None = None) -> Response:
    said = f"{place.repository} is not here, or not for you to see"
    return fault("NAME_UNKNOWN", said, headers=headers)


def _listed(
    document: Mapping[str, object], found: list[str], limit: int, path: Callable[[str], str]
) -> Response:
    """One page of a list; `Link` to the next one if there is more (RFC 8288)."""
    headers = [("Content-Type", "application/json")]
    if limit and len(found) > limit:
        headers.append(_next(path(found[limit - 1])))
    return Response(200, Headers(headers), _json(document))


def _next(path: str) -> tuple[str, str]:
    """Where the list goes on (RFC 8288)."""
    return "Link", f'<{path}>; rel="next"'


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


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
    if found[2] and int(found[2]) < first:  # RFC 9110 would have it ignored, the OCI suite has it refused
        return size, 0
    return (first, last - first + 1) if first < size else (size, 0)
