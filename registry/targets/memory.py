"""Models in memory: the fake that keeps the same promises as the real places."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from registry.contracts import BusyElsewhere, ChunkRules, Entry, How, Reading
from registry.errors import CorruptError, InvalidError, NotFoundError, ProtocolError, StorageError
from registry.model.digests import Digest
from registry.model.manifests import Descriptor, Manifest
from registry.model.names import Name
from registry.model.spans import Span, Spans
from registry.targets.pieces import exactly

_CHUNK = 1024 * 1024
_Key = tuple[str, str, str]


@dataclass(eq=False)
class _Partial:
    """A blob on its way: it outlives its intake, as it would on a disk."""

    data: bytearray
    received: Spans = field(default_factory=Spans)
    owned: bool = False
    written: float = 0.0  # a number that grows with every chunk


class Memory:
    """Somewhere models live for as long as the process does; `capacity` in bytes is its disk."""

    def __init__(self, capacity: int = 4 * 1024**3, grain: int = 16 * 1024 * 1024) -> None:
        self._capacity = capacity
        self._grain = grain
        self._manifests: dict[_Key, tuple[Name, Manifest]] = {}
        self._blobs: dict[Digest, bytes] = {}
        self._partials: dict[Digest, _Partial] = {}
        self._lock = threading.RLock()

    # --- reading -----------------------------------------------------------------------------------

    def resolve(self, name: Name) -> Manifest:
        """The manifest; by digest it is found among all of its repository's."""
        with self._lock:
            found = self._manifests.get(_key(name))
            if found is None and name.digest is not None:
                found = next((item for item in self._of(name) if item[1].digest == name.digest), None)
        if found is None:
            raise NotFoundError(f"{name} is not here", name=str(name))
        return found[1]

    def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
        """Exactly `span`."""
        if self.size(name, blob) is None or span.end > blob.size:
            raise NotFoundError(f"blob {blob.digest.short} is not here", name=str(name))
        return Reading(span, _BlobPart(self._blobs[blob.digest], span))

    def size(self, name: Name, blob: Descriptor) -> int | None:
        """Every blob here is proven."""
        with self._lock:
            data = self._blobs.get(blob.digest)
        return blob.size if data is not None and len(data) == blob.size else None

    def entries(self) -> Iterator[Entry]:
        """Every name, sorted."""
        with self._lock:
            held = list(self._manifests.values())
        return iter(
            sorted(
                (Entry(name, manifest.digest, manifest.total) for name, manifest in held),
                key=lambda entry: entry.name.text,
            )
        )

    def tags(self, name: Name) -> Iterator[str]:
        """Sorted."""
        with self._lock:
            found = [held.tag for held, _ in self._of(name)]
        if not found:
            raise NotFoundError(f"{name.repository} is not here", name=str(name))
        return iter(sorted(tag for tag in found if tag))

    # --- writing -----------------------------------------------------------------------------------

    def prepare(self, name: Name, manifest: Manifest) -> None:
        """StorageError beyond the capacity."""
        with self._lock:
            missing = sum(blob.size for blob in manifest.blobs() if blob.digest not in self._blobs)
            free = self._capacity - sum(len(data) for data in self._blobs.values())
        if missing > free:
            raise StorageError(f"not enough room: {missing} bytes needed, {free} free", name=str(name))

    def receive(self, name: Name, blob: Descriptor, near: Name | None) -> MemoryIntake | BusyElsewhere | None:
        """One intake a blob; what an earlier one received is still there."""
        with self._lock:
            if self.size(name, blob) is not None:
                return None
            if blob.size > self._capacity:
                raise StorageError(f"not enough room: {blob.size} bytes needed", name=str(name))
            partial = self._partials.get(blob.digest)
            if partial is None or len(partial.data) != blob.size:
                partial = self._partials[blob.digest] = _Partial(bytearray(blob.size))
            if partial.owned:
                held = partial
                return BusyElsewhere(
                    lambda: held.received.total, lambda: not held.owned, lambda: held.written, ours=True
                )
            partial.owned = True
            return MemoryIntake(self, blob, partial, self._grain)

    def current(self, name: Name) -> Digest | None:
        """What `name` stands for."""
        with self._lock:
            _, manifest = self._manifests.get(_key(name), (name, None))
            return manifest.digest if manifest else None

    def publish(self, name: Name, manifest: Manifest, was: Digest | None = None) -> None:
        """At one instant."""
        with self._lock:
            for blob in manifest.blobs():
                if self.size(name, blob) is None:
                    raise InvalidError(
                        f"{name} cannot be published: blob {blob.digest} is missing", name=str(name)
                    )
            for child in manifest.manifests:
                self.resolve(name.with_reference(child.digest))
            self._manifests[_key(name)] = (name, manifest)

    def remove(self, name: Name) -> None:
        """With every blob that no other manifest names."""
        with self._lock:
            _, manifest = self._manifests.pop(_key(name), (name, None))
            if manifest is None:
                raise NotFoundError(f"{name} is not here", name=str(name))
            named = {blob.digest for _, other in self._manifests.values() for blob in other.blobs()}
            for blob in manifest.blobs():
                if blob.digest not in named:
                    self._blobs.pop(blob.digest, None)

    def _of(self, name: Name) -> list[tuple[Name, Manifest]]:
        wanted = _key(name)[:2]
        return [item for key, item in self._manifests.items() if key[:2] == wanted]

    def _keep(self, digest: Digest, partial: _Partial) -> None:
        with self._lock:
            self._blobs[digest] = bytes(partial.data)
            self._partials.pop(digest, None)


class MemoryIntake:
    """One blob on its way into memory."""

    def __init__(self, memory: Memory, blob: Descriptor, partial: _Partial, grain: int) -> None:
        self._memory = memory
        self._blob = blob
        self._partial = partial
        self._proven = False
        self._open = True
        self._writing: set[Span] = set()
        self._changed = threading.Condition()
        self.how = How.RESUMED if partial.received else How.FETCHED
        self.chunk_rules = ChunkRules(ordered=False, first=grain, least=1, most=grain)

    @property
    def received(self) -> Spans:
        """What is there."""
        return self._partial.received

    def write(self, span: Span, chunks: Iterable[bytes]) -> None:
        """Keeps what arrived when `chunks` breaks."""
        with self._changed:
            taken = Spans.of((*self.received, *self._writing)).within(span)
            if taken or span.end > self._blob.size or not self._open:
                raise InvalidError(f"bytes {span.offset}-{span.end} are not missing")
            self._writing.add(span)
        at = span.offset
        try:
            for chunk in chunks:
                if len(chunk) > span.end - at:
                    raise ProtocolError(f"more than the {span.length} bytes asked for arrived")
                self._partial.data[at : at + len(chunk)] = chunk
                at += len(chunk)
                self._partial.written += 1
            if at < span.end:
                raise ProtocolError(f"{at - span.offset} of {span.length} bytes arrived")
        finally:
            with self._changed:
                self._writing.discard(span)
                self._partial.received = self.received.add(Span(span.offset, at - span.offset))
                self._changed.notify_all()

    def resume(self) -> None:
        """Nothing is ever in doubt."""

    def prove(self) -> None:
        """Waits until all is there."""
        with self._changed:
            self._changed.wait_for(lambda: not self._open or not self.received.missing(self._blob.size))
            if not self._open:
                raise StorageError("the blob was let go before it was whole")
        if Digest.of(memoryview(self._partial.data), self._blob.digest.algorithm) != self._blob.digest:
            raise CorruptError("the bytes that arrived are not those of the digest")
        self._proven = True

    def suspect(self) -> Spans:
        """Memory does not rot."""
        return Spans()

    def differs(self, span: Span, chunks: Iterable[bytes]) -> bool:
        """Compares with what is there."""
        if self._partial.data[span.offset : span.end] == exactly(span, chunks):
            return False
        with self._changed:
            kept = (
                piece
                for gap in Spans.of([span]).missing(self._blob.size)
                for piece in self.received.within(gap)
            )
            self._partial.received = Spans.of(kept)
            self._proven = False
        return True

    def commit(self) -> None:
        """The blob is there from now on."""
        if not self._proven:
            raise InvalidError(f"blob {self._blob.digest.short} was not proven")
        self._memory._keep(self._blob.digest, self._partial)
        self.close()

    def close(self) -> None:
        """What was received stays."""
        with self._changed:
            if self._open:
                self._open = False
                self._partial.owned = False
            self._changed.notify_all()


class _BlobPart:
    """A part of a blob, read once."""

    def __init__(self, data: bytes, span: Span) -> None:
        self._chunks = (data[piece.offset : piece.end] for piece in span.cut(_CHUNK))

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        """Give up the rest."""
        self._chunks.close()


def _key(name: Name) -> _Key:
    return (name.host, name.repository, name.reference)
