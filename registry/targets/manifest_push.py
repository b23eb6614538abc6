"""A manifest on its way to a registry: what is refused before a byte moves, what is put, what is read back.

Knows nothing of blobs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from registry.errors import (
    CorruptError,
    DeniedError,
    InvalidError,
    MissingBlobsError,
    NotFoundError,
    ProtocolError,
    Reason,
    RegistryError,
)
from registry.model.digests import Digest
from registry.model.manifests import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    MANIFEST_BYTES,
    OCI_ARTIFACT,
    OCI_INDEX,
    OCI_MANIFEST,
    Manifest,
)
from registry.model.names import Name
from registry.targets.access import reading, writing
from registry.targets.peer import Peer
from registry.targets.refused import Refused
from registry.wire import faults, routes
from registry.wire.faults import Refusal
from registry.wire.headers import Headers
from registry.wire.messages import Request, Response
from registry.wire.visibility import DENIED, VISIBILITY

ACCEPT = Headers(
    {"Accept": ", ".join((DOCKER_MANIFEST, OCI_MANIFEST, OCI_INDEX, DOCKER_INDEX, OCI_ARTIFACT))}
)
_KIND_REFUSED = (400, 405, 406, 415, 422)
_BLOB_UNKNOWN = ("MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN")
_PUT = (200, 201, 202)
_CONDITION = 412  # RFC 9110 section 13.1.2: what If-None-Match named is there
# What a registry says to tags behind a manifest's digest that takes no such thing.
_NO_TAGS = (400, 404, 405, 414, 422, 431, 501)
MOST_TAGS = 50  # of one push: they stand in one request's first line
_CHANCES = 4  # for a manifest whose digest is called wrong


@dataclass(frozen=True, slots=True)
class PushOptions:
    """What a push asks for besides its manifest.

    `visibility`: "public" or "private" for what is published, in force before anybody sees it; "" leaves it.
    `also`: tags that the manifest gets besides its name's, if that has one. `if_absent`: no tag is moved that
    stands for another.
    """

    visibility: str = ""
    also: tuple[str, ...] = ()
    if_absent: bool = False

    @property
    def asks(self) -> bool:
        """Whether it matters what the tags stand for."""
        return bool(self.also) or self.if_absent


@dataclass(frozen=True, slots=True)
class ManifestPush:
    """Puts manifests at the registry `peer`, whose blobs are there.

    `digest` asks it what a name stands for. `immutable`: what it has said, by name: which digest stays there,
    and why. `recent`: what names stood for a moment ago, for one look each. `refused.blobs` is kept true.
    """

    peer: Peer
    digest: Callable[[Name], Digest]
    refused: Refused
    immutable: Mapping[str, tuple[Digest, str]]
    options: PushOptions
    recent: dict[Name, Digest | None] = field(default_factory=dict)

    def check(self, name: Name, manifest: Manifest) -> None:
        """A registry says itself what it does not take; but one that cannot hide a model must not get it.

        Nor is anything sent where a tag stays another manifest's: the registry has said so, or we are to.
        """
        if name.digest is not None and Digest.of(manifest.raw, name.digest.algorithm) != name.digest:
            message = f"publishing {name}: the manifest is {manifest.digest}; nothing was sent"
            raise InvalidError(message, host=self.peer.host, name=str(name))
        for each in self._names(name):
            there = self._there_lately(each) if self.options.asks else None
            stays, why = self.immutable.get(str(each), (manifest.digest, ""))
            if stays != manifest.digest:
                message = f"publishing {each}: {self.peer.host} refuses it: {why}; nothing was sent"
                raise self._error(message, each, Reason.TAG_IMMUTABLE)
            self._check_absent(each, there, manifest, "nothing was sent")
        if self.options.visibility:
            self._check_visibility(name)

    def publish(self, name: Name, manifest: Manifest, was: Digest | None) -> None:
        """Put the manifest and read it back: done only when exactly those bytes are returned.

        Several tags are put in one request, which `ferry serve` takes as one change; where a registry does
        not know that, one after another.
        """
        wanted = self._to_put(name, manifest, was)
        done = self._put_together(wanted, manifest) if len(wanted) > 1 else []
        for each in wanted:
            if each not in done:
                self._put_one(each, manifest, done)
                done.append(each)

    def _names(self, name: Name) -> list[Name]:
        """The name, and those that the other tags make; each once. What an index names has no tag."""
        if name.digest is not None:
            return [name]
        return list(dict.fromkeys((name, *(name.with_reference(tag) for tag in self.options.also))))

    def _there(self, name: Name) -> Digest | None:
        """What the name stands for; None for nothing, and where that is not told and does not matter."""
        try:
            return self.digest(name)
        except NotFoundError:
            return None
        except (DeniedError, ProtocolError):
            if self.options.if_absent:
                raise
            return None

    def _there_lately(self, name: Name) -> Digest | None:
        """The same, where nobody has just asked: `publish` asks anew, after hours maybe."""
        return self.recent.pop(name) if name in self.recent else self._there(name)

    def _to_put(self, name: Name, manifest: Manifest, was: Digest | None) -> list[Name]:
        """The names that have to be put: of another manifest, or of none, or to be seen by others."""
        asked = self._names(name) if self.options.asks else []
        there = {each: self._there(each) for each in asked} or {name: was}
        for each, digest in there.items():
            self._check_absent(each, digest, manifest, "somebody made it meanwhile; no tag was moved")
        wanted = [each for each, digest in there.items() if digest != manifest.digest]
        return wanted or ([name] if self.options.visibility else [])

    def _check_absent(self, name: Name, there: Digest | None, manifest: Manifest, after: str) -> None:
        if self.options.if_absent and there is not None and there != manifest.digest:
            message = f"publishing {name}: it is there already and stands for {there}; {after}"
            raise self._error(message, name, Reason.TAG_TAKEN)

    def _put_together(self, names: Sequence[Name], manifest: Manifest) -> list[Name]:
        """Put the manifest under all names in one request; the names that it has then."""
        name = names[0].with_reference(manifest.digest)
        doing = f"publishing {', '.join(map(str, names))}"
        query = "&".join(f"tag={quote(each.tag, safe='')}" for each in names)
        response = self._put(name, manifest, f"?{query}")
        if response.status not in _PUT:
            refusal = self.peer.refusal(response, doing)
            if refusal.status in _NO_TAGS and refusal.code not in _BLOB_UNKNOWN:
                return []
            raise self._unpublished(refusal, name, manifest, doing)
        taken = {tag.strip() for line in response.headers.all("OCI-Tag") for tag in line.split(",")}
        made = [each for each in names if each.tag in taken]
        if made:
            self._check_published(made[0], manifest, response, doing)
        for each in made:
            self._read_back(each, manifest)
        return made

    def _put_one(self, name: Name, manifest: Manifest, done: Sequence[Name]) -> None:
        """Put the manifest under one name; an error says which were put before."""
        before = f" ({', '.join(map(str, done))} published already)" if done else ""
        doing = f"publishing {name}{before}"
        response = self._taken(name, manifest, doing)
        if self.peer.refusal(response, doing).page:  # whatever else it answers, it was taken
            raise faults.web_page(doing, self.peer.host)
        self._check_published(name, manifest, response, doing)
        self._read_back(name, manifest)

    def _taken(self, name: Name, manifest: Manifest, doing: str) -> Response:
        """The answer of a registry that took it.

        Debian's calls the digest wrong while somebody else puts the same manifest: that is over at once.
        """
        for chance in range(1, _CHANCES + 1):
            response = self._put(name, manifest)
            if response.status in _PUT:
                break
            refusal = self.peer.refusal(response, doing)
            if refusal.code != "DIGEST_INVALID" or chance == _CHANCES:
                raise self._unpublished(refusal, name, manifest, doing)
        return response

    def _put(self, name: Name, manifest: Manifest, query: str = "") -> Response:
        said = {"Content-Type": manifest.media_type}
        if self.options.visibility:
            said[VISIBILITY] = self.options.visibility
        if self.options.if_absent:
            said["If-None-Match"] = "*"
        url = f"{self.peer.origin}{routes.manifest(name.repository, name.reference)}{query}"
        return self.peer.transport(Request("PUT", url, Headers(said), manifest.raw, access=writing(name)))

    def _check_published(self, name: Name, manifest: Manifest, response: Response, doing: str) -> None:
        """It was taken; ProtocolError where the registry does not say that it is as visible as was asked."""
        self.refused.blobs.difference_update((name.repository, blob.digest) for blob in manifest.blobs())
        visibility = self.options.visibility
        if visibility and response.headers.get(VISIBILITY) != visibility:
            raise self._error(
                f"{doing}: it is published, and {self.peer.host} does not say that it is {visibility}", name
            )

    def _error(self, message: str, name: Name, reason: Reason = Reason.NONE) -> ProtocolError:
        return ProtocolError(message, host=self.peer.host, name=str(name), reason=reason)

    def _check_visibility(self, name: Name) -> None:
        """Only where the registry says that it can make it so, and that we may, is anything sent."""
        doing = f"asking whether {name} can be made {self.options.visibility}"
        path = routes.manifest(name.repository, name.reference)
        answer = self.peer.transport(
            Request("HEAD", f"{self.peer.origin}{path}", ACCEPT, access=writing(name))
        )
        answer.close()
        if answer.status not in (200, 404):
            raise self.peer.error_of(self.peer.refusal(answer, doing), doing)
        said = answer.headers.get(VISIBILITY)
        if said == DENIED:
            raise DeniedError(
                f"{doing}: only its owner says so at {self.peer.host}; nothing was sent",
                host=self.peer.host,
                name=str(name),
                reason=Reason.NOT_ALLOWED,
            )
        if not said:
            raise self._error(
                f"{doing}: {self.peer.host} cannot do that at a push; nothing was sent",
                name,
                Reason.VISIBILITY_UNSUPPORTED,
            )

    def _read_back(self, name: Name, manifest: Manifest) -> None:
        """CorruptError if the registry gives another manifest; any error says that it is published."""
        doing = f"{name} is published; reading it back"
        path = routes.manifest(name.repository, name.reference)
        try:
            again = self.peer.ask("GET", path, doing, ok=(200,), access=reading(name), headers=ACCEPT)
        except NotFoundError as error:
            raise NotFoundError(
                error.message,
                host=self.peer.host,
                name=str(name),
                hint="it may be seen a little later; who may not pull there cannot see it: push again to try",
            ) from None
        raw = self.peer.read(again, MANIFEST_BYTES, doing)
        if faults.is_web_page(raw):
            raise faults.web_page(doing, self.peer.host)
        if raw != manifest.raw:
            raise CorruptError(
                f"{doing}: {self.peer.host} returns another manifest than was sent",
                host=self.peer.host,
                name=str(name),
                hint="somebody may have pushed the same name at the same time; push again",
            )

    def _unpublished(self, refusal: Refusal, name: Name, manifest: Manifest, doing: str) -> RegistryError:
        """The error for a manifest that was refused; an OCI-only registry refuses Docker's kind so.

        A blob that it misses and said that it holds (a cache that passes questions on) is not believed again.
        """
        error = self.peer.error_of(refusal, doing, writing=True)
        missing = tuple(blob.digest for blob in manifest.blobs() if str(blob.digest) in refusal.digests)
        for layer in manifest.layers:
            if not layer.distributable and str(layer.digest) in refusal.digests and not missing:
                what = f"a model with a layer that is kept elsewhere, as {layer.digest.short} is"
                return self._error(f"{doing}: {self.peer.host} does not take {what} ({refusal})", name)
        if refusal.code in _BLOB_UNKNOWN:
            self.refused.blobs.update((name.repository, digest) for digest in missing)
            message = f"{error.message}; it took that blob before, or said that it has it"
            return MissingBlobsError(message, missing, host=self.peer.host, name=str(name))
        if self.options.if_absent and refusal.status == _CONDITION:
            return self._error(f"{error.message}; no tag was moved", name, Reason.TAG_TAKEN)
        if refusal.status not in _KIND_REFUSED or not isinstance(error, ProtocolError):
            return error
        return ProtocolError(
            f"{doing}: {self.peer.host} refuses a manifest of type {manifest.media_type} "
            f"({refusal.status}{refusal.words and ': '}{refusal.words})",
            host=self.peer.host,
            reason=Reason.DOCKER_MANIFEST if manifest.media_type == DOCKER_MANIFEST else Reason.NONE,
        )
