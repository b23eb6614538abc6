"""A model of the store made whole again: the destination of a copy that brings what is damaged or missing.

The model is there, and stays what it is: nothing is named anew, and only what is wrong moves.
"""

from __future__ import annotations

from dataclasses import dataclass

from registry.contracts import BusyElsewhere, Intake
from registry.errors import NotFoundError
from registry.model.digests import Digest
from registry.model.manifests import Descriptor, Manifest
from registry.model.names import Name
from registry.targets.store import Store


@dataclass(frozen=True, slots=True)
class Repair:
    """The store, for blobs of the model that `manifest` describes and that is there already."""

    store: Store
    manifest: Manifest

    def prepare(self, name: Name, manifest: Manifest) -> None:
        """Mark its blobs as in use. StorageError where they do not fit."""
        self.store.prepare(name, manifest)

    def size(self, name: Name, blob: Descriptor) -> int | None:
        """The blob's size if it is here and proven."""
        return self.store.size(name, blob)

    def receive(self, name: Name, blob: Descriptor, near: Name | None) -> Intake | BusyElsewhere | None:
        """What takes the spans of a blob that are wrong."""
        return self.store.receive(name, blob, near)

    def current(self, _name: Name) -> Digest | None:
        """The model is there."""
        return self.manifest.digest

    def publish(self, name: Name, manifest: Manifest, was: Digest | None = None) -> None:
        """The name is there; NotFoundError if a blob of it is missing still."""
        self.store.release(name, manifest)
        for blob in manifest.blobs():
            if self.store.size(name, blob) is None:
                raise NotFoundError(
                    f"blob {blob.digest.short} of {name} was removed meanwhile", name=str(name)
                )
