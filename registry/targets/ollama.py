"""What an Ollama store can hold (PROTOCOL section 2), and the sentences for what it cannot."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from registry.disk.files import names
from registry.errors import InvalidError, Reason, StorageError
from registry.model.digests import Digest
from registry.model.manifests import DOCKER_CONFIG, OLLAMA, Descriptor, Kind, Manifest
from registry.model.names import Name

# Models and images of others: how the type of a config, an artifact or a layer begins, and what it is then.
_OTHERS = (
    ("application/vnd.cncf.model.", "a ModelPack (CNCF)"),
    ("application/vnd.cnai.", "a ModelPack (CNCF)"),
    ("application/vnd.docker.ai.", "a model of Docker Model Runner"),
    ("application/vnd.docker.image.rootfs.", "a container image"),
    ("application/vnd.oci.image.layer.", "a container image"),
    ("application/vnd.oci.image.config.", "a container image"),
)


def check_name(name: Name) -> None:
    """InvalidError for a name that it cannot hold."""
    if problem := name.ollama_problem():
        raise InvalidError(
            f"an Ollama store cannot hold {problem}",
            name=str(name),
            reason=Reason.NAME_NOT_STORABLE,
        )


def check_kind(name: Name, manifest: Manifest) -> None:
    """InvalidError for a manifest that it cannot hold."""
    if manifest.kind is Kind.INDEX:
        children = ", ".join(str(child.digest) for child in manifest.children[:8])
        more = len(manifest.children) - 8
        raise InvalidError(
            f"{name} is an index of other manifests, which an Ollama store cannot hold: {children}"
            + (f" and {more} more" if more > 0 else ""),
            name=str(name),
            reason=Reason.INDEX_NOT_STORABLE,
        )
    if manifest.config is None:
        raise InvalidError(f"{name} has no config, which an Ollama store needs", name=str(name))
    for blob in manifest.blobs():
        if blob.digest.algorithm != "sha256":
            raise InvalidError(
                f"{name}: an Ollama store holds sha256 blobs only, not {blob.digest.algorithm}",
                name=str(name),
                reason=Reason.DIGEST_NOT_STORABLE,
            )


def another_kind(manifest: Manifest) -> str:
    """What the manifest is, where it is no model that Ollama could run; else ""."""
    types = [layer.media_type for layer in manifest.layers]
    if any(each.startswith(OLLAMA) for each in types):
        return ""
    config = manifest.config.media_type if manifest.config is not None else ""
    if not types and config == DOCKER_CONFIG:  # a cloud model has no layers
        return ""
    for start, what in _OTHERS:
        if any(each.startswith(start) for each in (manifest.artifact_type, config, *types)):
            return what
    return f"an artifact of type {(manifest.artifact_type or config or 'unknown')[:80]}"


class OlderNames:
    """The blobs of a store that are there by the names that old versions of Ollama gave them."""

    def __init__(self, blobs: Path, note: Callable[[str], None]) -> None:
        self._blobs = blobs
        self._note = note
        self._said = False

    def look_for(self, digest: Digest) -> None:
        """Say once if a blob that is missing is there by such a name."""
        if str(digest) in self._names and not self._said:
            self._said = True
            self._note(
                f"blobs in {self._blobs} are named sha256:… as by an old Ollama, and count as missing: "
                "Ollama gives them their new names when it starts"
            )

    @cached_property
    def _names(self) -> frozenset[str]:
        """Looked for once, when the first blob is missing."""
        try:
            return frozenset(name for name in names(self._blobs) if name.startswith("sha256:"))
        except StorageError:  # a directory that may be used and not listed
            return frozenset()


def missing(name: Name, blob: Descriptor) -> InvalidError:
    """The error for a model that is named while a blob of it is not there."""
    return InvalidError(
        f"{name} cannot be published: blob {blob.digest} is missing",
        name=str(name),
        hint="it may have been removed meanwhile; run the same command again",
    )
