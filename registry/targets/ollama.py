"""What an Ollama store can hold (PROTOCOL section 2), and the sentences for what it cannot."""

from __future__ import annotations

from registry.errors import InvalidError
from registry.model.manifests import Descriptor, Kind, Manifest
from registry.model.names import Name


def check_name(name: Name) -> None:
    """InvalidError for a name that it cannot hold."""
    if problem := name.ollama_problem():
        raise InvalidError(
            f"an Ollama store cannot hold {problem}",
            name=str(name),
            hint="choose a name for it here: --as NAME",
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
            hint="pull one of them by its digest: NAME@sha256:… --as NAME",
        )
    if manifest.config is None:
        raise InvalidError(f"{name} has no config, which an Ollama store needs", name=str(name))
    for blob in manifest.blobs():
        if blob.digest.algorithm != "sha256":
            raise InvalidError(
                f"{name}: an Ollama store holds sha256 blobs only, not {blob.digest.algorithm}",
                name=str(name),
                hint="ferry mirror copies it between registries",
            )


def missing(name: Name, blob: Descriptor) -> InvalidError:
    """The error for a model that is named while a blob of it is not there."""
    return InvalidError(
        f"{name} cannot be published: blob {blob.digest} is missing",
        name=str(name),
        hint="it may have been removed meanwhile; run the same command again",
    )
