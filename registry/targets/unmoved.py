"""The store, for a copy that replaces a model only while it is what it was: others may change it."""

from __future__ import annotations

from dataclasses import dataclass

from registry.contracts import BusyElsewhere, Intake
from registry.errors import InvalidError, NotFoundError
from registry.model.digests import Digest
from registry.model.manifests import Descriptor, Manifest
from registry.model.names import Name
from registry.targets.store import Store


@dataclass(frozen=True, slots=True)
class Unmoved:
    """The store as a destination, where the name that is published stands for `was` until then.

    None: for nothing that can be read.
    """

    store: Store
    was: Digest | None

    def prepare(self, name: Name, manifest: Manifest) -> None:
        """Mark its blobs as in use. StorageError where they do not fit."""
        self.store.prepare(name, manifest)

    def size(self, name: Name, blob: Descriptor) -> int | None:
        """The blob's size if it is here and proven."""
        return self.store.size(name, blob)

    def receive(self, name: Name, blob: Descriptor, near: Name | None) -> Intake | BusyElsewhere | None:
        """What takes a blob's bytes."""
        return self.store.receive(name, blob, near)

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
