"""One model on its way: what the transfers of its blobs share."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

from registry.contracts import Destination, How, Source
from registry.model.digests import Digest
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.transfer.current_blobs import CurrentBlobs, Key
from registry.transfer.full import FullDestinations
from registry.transfer.progress import Observer
from registry.transfer.retry import Patience


@dataclass(frozen=True, slots=True)
class BlobSource:
    """Somewhere blobs may come from, and the name by which it is asked for them."""

    source: Source
    name: Name


@dataclass(slots=True)
class ModelTransfer:
    """What the last of `sources` has by its name becomes `to` at `destination`; `near` there has the blobs.

    The others are asked for blobs first, in their order. `unchanged`: `to` stands for the same manifest
    already, so its blobs are there unless one was lost. `lock` is held while `observer` is told something.
    """

    sources: tuple[BlobSource, ...]
    destination: Destination
    to: Name
    near: Name | None
    patience: Patience
    observer: Observer
    current_blobs: CurrentBlobs
    full: FullDestinations
    unchanged: bool = False
    moved: int = 0  # bytes read in this run
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def source(self) -> Source:
        """Where the model is."""
        return self.sources[-1].source

    @property
    def name(self) -> Name:
        """What it is called there."""
        return self.sources[-1].name

    def child(self, digest: Digest) -> ModelTransfer:
        """A manifest of the same two repositories, by its digest."""
        named = tuple(BlobSource(each.source, each.name.with_reference(digest)) for each in self.sources)
        return replace(self, sources=named, to=self.to.with_reference(digest), unchanged=False, moved=0)

    def anew(self) -> ModelTransfer:
        """The same model, where the destination turned out not to hold what was near."""
        return replace(self, near=None, unchanged=False, moved=0)

    def count(self, length: int) -> None:
        """So many bytes were read."""
        with self.lock:
            self.moved += length

    def key(self, blob: Descriptor) -> Key:
        """The blob at its destination, whatever models it is part of."""
        return (self.to.host, blob.digest)

    def near_to(self, blob: Descriptor) -> Name | None:
        """A name at the destination that is known to hold the blob."""
        return self.near or self.current_blobs.holder(self.key(blob))

    # --- what its watcher is told ------------------------------------------------------------------

    def at(self, blob: Descriptor, done: int) -> None:
        """With the lock held: so many bytes of the blob are there."""
        self.observer.at(self.to, blob, done)

    def done(self, blob: Descriptor, how: How) -> None:
        """The blob is there."""
        with self.lock:
            self.observer.done(self.to, blob, how)
