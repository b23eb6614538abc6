"""A manifest on its way to a registry: what is refused before a byte moves, what is put, what is read back.

Knows nothing of blobs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from registry.errors import (
    CorruptError,
    DeniedError,
    MissingBlobsError,
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
from registry.wire import routes
from registry.wire.faults import Refusal
from registry.wire.headers import Headers
from registry.wire.messages import Request
from registry.wire.visibility import DENIED, VISIBILITY

ACCEPT = {"Accept": ", ".join((DOCKER_MANIFEST, OCI_MANIFEST, OCI_INDEX, DOCKER_INDEX, OCI_ARTIFACT))}
_KIND_REFUSED = (400, 405, 406, 415, 422)
_BLOB_UNKNOWN = ("MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN")


@dataclass(frozen=True, slots=True)
class PushOptions:
    """What a push asks for besides its manifest.

    `visibility`: "public" or "private" for what is published, in force before anybody sees it; "" leaves it.
    """

    visibility: str = ""


@dataclass(frozen=True, slots=True)
class ManifestPush:
    """Puts manifests at the registry `peer`, whose blobs are there.

    `immutable`: what it has said, by name: which digest stays there, and why. `refused.blobs` is kept true.
    """

    peer: Peer
    refused: Refused
    immutable: Mapping[str, tuple[Digest, str]]
    options: PushOptions

    def check(self, name: Name, manifest: Manifest) -> None:
        """A registry says itself what it does not take; but one that cannot hide a model must not get it.

        Nor is anything sent where it has said that the tag stays another manifest's.
        """
        digest, why = self.immutable.get(str(name), (manifest.digest, ""))
        if digest != manifest.digest:
            raise ProtocolError(
                f"publishing {name}: {self.peer.host} refuses it: {why}; nothing was sent",
                host=self.peer.host,
                name=str(name),
                reason=Reason.TAG_IMMUTABLE,
            )
        if self.options.visibility:
            self._check_visibility(name)

    def publish(self, name: Name, manifest: Manifest, was: Digest | None) -> None:
        """Put the manifest and read it back: done only when exactly those bytes are returned."""
        visibility = self.options.visibility
        if was == manifest.digest and not visibility:
            return
        doing = f"publishing {name}"
        path = routes.manifest(name.repository, name.reference)
        said = {VISIBILITY: visibility} if visibility else {}
        headers = Headers({"Content-Type": manifest.media_type, **said})
        response = self.peer.transport(
            Request("PUT", f"{self.peer.origin}{path}", headers, manifest.raw, access=writing(name))
        )
        if response.status not in (200, 201, 202):
            raise self._unpublished(self.peer.refusal(response, doing), name, manifest, doing)
        self.refused.blobs.difference_update((name.repository, blob.digest) for blob in manifest.blobs())
        if visibility and response.headers.get(VISIBILITY) != visibility:
            raise ProtocolError(
                f"{doing}: it is published, and {self.peer.host} does not say that it is {visibility}",
                host=self.peer.host,
                name=str(name),
            )
        self._read_back(name, manifest)

    def _check_visibility(self, name: Name) -> None:
        """Only where the registry says that it can make it so, and that we may, is anything sent."""
        doing = f"asking whether {name} can be made {self.options.visibility}"
        path = routes.manifest(name.repository, name.reference)
        answer = self.peer.transport(
            Request("HEAD", f"{self.peer.origin}{path}", Headers(ACCEPT), access=writing(name))
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
            raise ProtocolError(
                f"{doing}: {self.peer.host} cannot do that at a push; nothing was sent",
                host=self.peer.host,
                name=str(name),
                reason=Reason.VISIBILITY_UNSUPPORTED,
            )

    def _read_back(self, name: Name, manifest: Manifest) -> None:
        """CorruptError if the registry gives another manifest; any error says that it is published."""
        doing = f"{name} is published; reading it back"
        path = routes.manifest(name.repository, name.reference)
        again = self.peer.ask("GET", path, doing, ok=(200,), access=reading(name), headers=ACCEPT)
        if self.peer.read(again, MANIFEST_BYTES, doing) != manifest.raw:
            raise CorruptError(
                f"publishing {name}: {self.peer.host} returns another manifest than was sent",
                host=self.peer.host,
                name=str(name),
                hint="somebody may have pushed the same name at the same time; push again",
            )

    def _unpublished(self, refusal: Refusal, name: Name, manifest: Manifest, doing: str) -> RegistryError:
        """The error for a manifest that was refused; an OCI-only registry refuses Docker's kind so.

        A blob that it misses and said that it holds (a cache that passes questions on) is not believed again.
        """
        error = self.peer.error_of(refusal, doing, writing=True)
        if refusal.code in _BLOB_UNKNOWN:
            missing = tuple(blob.digest for blob in manifest.blobs() if str(blob.digest) in refusal.digests)
            self.refused.blobs.update((name.repository, digest) for digest in missing)
            message = f"{error.message}; it took that blob before, or said that it has it"
            return MissingBlobsError(message, missing, host=self.peer.host, name=str(name))
        if refusal.status not in _KIND_REFUSED or not isinstance(error, ProtocolError):
            return error
        return ProtocolError(
            f"{doing}: {self.peer.host} refuses a manifest of type {manifest.media_type} "
            f"({refusal.status}{refusal.words and ': '}{refusal.words})",
            host=self.peer.host,
            reason=Reason.DOCKER_MANIFEST if manifest.media_type == DOCKER_MANIFEST else Reason.NONE,
        )
