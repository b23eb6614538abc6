"""The store as the destination of a copy that may do less than a pull: mend a model, or replace one."""

from __future__ import annotations

from dataclasses import dataclass

from registry.contracts import BusyElsewhere, Intake
from registry.errors import InvalidError, NotFoundError
from registry.model.digests import Digest
from registry.model.manifests import Descriptor, Manifest
from registry.model.names import Name
from registry.targets.store import Store


@dataclass(frozen=True, slots=True)
class _Blobs:
    """The part of the store that such a copy uses as it is."""

    store: Store

    def prepare(self, name: Name, manifest: Manifest) -> None:
        """Mark its blobs as in use. StorageError where they do not fit."""
        self.store.prepare(name, manifest)

    def size(self, name: Name, blob: Descriptor) -> int | None:
        """The blob's size if it is here and proven."""
        return self.store.size(name, blob)

    def receive(self, name: Name, blob: Descriptor, near: Name | None) -> Intake | BusyElsewhere | None:
        """What takes a blob's bytes, or those of its spans that are wrong."""
        return self.store.receive(name, blob, near)


@dataclass(frozen=True, slots=True)
class Repair(_Blobs):
    """A model made whole again that `manifest` describes and that is there already.

    It stays what it is: nothing is named anew, and only what is damaged or missing moves.
    """

    manifest: Manifest

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


@dataclass(frozen=True, slots=True)
class Unmoved(_Blobs):
    """A model that is replaced only while it is what it was, for others may change it.

    The name that is published stands for `was` until then; None: for nothing that can be read.
    """

    was: Digest | None

    def current(self, name: Name) -> Digest | None:
        """What `name` stands for."""
        return self.store.current(name)

    def publish(self, name: Name, manifest: Manifest, was: Digest | None = None) -> None:
        """Replace it. InvalidError if it was changed or removed meanwhile: what arrived stays for a pull."""
        self.store.replace(name, manifest, lambda: self._check(name, manifest.digest))

    def _check(self, name: Name, replaced: Digest) -> None:
        """InvalidError unless it stands for what it did, or was replaced by an attempt before this one."""
        try:
            as_it_was = self.store.verify.manifest(name).digest in (self.was, replaced)
        except NotFoundError:
            as_it_was = False
        except InvalidError:
            as_it_was = self.was is None
        if not as_it_was:
            raise InvalidError(f"{name} was changed here meanwhile, and is left alone", name=str(name))
