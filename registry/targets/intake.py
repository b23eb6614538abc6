"""One blob on its way into the local store: how it is kept until the store gives it its name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from registry.contracts import ChunkRules, How
from registry.disk.data import DataFile
from registry.disk.files import remove
from registry.disk.partial import Partial
from registry.errors import CorruptError, InvalidError, ProtocolError
from registry.model.digests import Digest
from registry.model.manifests import Descriptor
from registry.model.spans import Span, Spans
from registry.targets.pieces import exactly

SMALL = 256 * 1024  # bytes of a blob that is kept in memory until it is whole


class PartialIntake:
    """Takes spans side by side, in any order, and keeps them on disk for a later run.

    `name` gives the proven blob its name; `alive` is called whenever a span is there.
    """

    def __init__(
        self, partial: Partial, grain: int, name: Callable[[Partial], None], alive: Callable[[], None]
    ) -> None:
        self._partial = partial
        self._name = name
        self._alive = alive
        self.how = How.RESUMED if partial.received else How.FETCHED
        self.chunk_rules = ChunkRules(ordered=False, first=grain, least=1, most=grain)

    @property
    def received(self) -> Spans:
        """What is there, from this run or an earlier one."""
        return self._partial.received

    def write(self, span: Span, chunks: Iterable[bytes]) -> None:
        """When it returns, the bytes survive whatever happens; when it breaks, what arrived is kept."""
        self._partial.write(span, chunks)
        self._alive()

    def resume(self) -> None:
        """`received` is always true here."""

    def prove(self) -> None:
        """Hash along the front. CorruptError."""
        self._partial.prove()

    def suspect(self) -> Spans:
        """Drop the spans whose bytes are no longer those that came."""
        damaged = self._partial.damaged()
        for span in damaged:
            self._partial.discard(span)
        return damaged

    def differs(self, span: Span, chunks: Iterable[bytes]) -> bool:
        """Compare a second reading with what is here."""
        return self._partial.differs(span, chunks)

    def commit(self) -> None:
        """Name it. InvalidError if it was not proven, StorageError."""
        self._name(self._partial)
        self._partial.close()

    def close(self) -> None:
        """Let go; what was received stays."""
        self._partial.close()


class SmallIntake:
    """Takes a blob that is not worth resuming in another run: in memory, until it is proven.

    `lock` is that of the blob's partial, so that one process at a time receives it. `name` writes the proven
    bytes and gives them their name.
    """

    how = How.FETCHED

    def __init__(
        self, lock: DataFile, blob: Descriptor, name: Callable[[Descriptor, bytearray], None]
    ) -> None:
        self._lock = lock
        self._blob = blob
        self._name = name
        self._bytes = bytearray()
        self._proven = False
        self._left = threading.Lock()
        self.chunk_rules = ChunkRules(ordered=True, first=SMALL, least=1, most=SMALL)

    @property
    def received(self) -> Spans:
        """What arrived in this run."""
        return Spans((Span(0, len(self._bytes)),)) if self._bytes else Spans()

    def write(self, span: Span, chunks: Iterable[bytes]) -> None:
        """When it breaks, what arrived is kept. InvalidError where `span` is not what comes next."""
        if span.offset != len(self._bytes) or span.end > self._blob.size:
            raise InvalidError(
                f"bytes {span.offset}-{span.end} are not what comes behind {len(self._bytes)} "
                f"of {self._blob.size}"
            )
        for chunk in chunks:
            if len(self._bytes) + len(chunk) > span.end:
                raise ProtocolError(f"more than the {span.length} bytes asked for arrived")
            self._bytes += chunk
        if len(self._bytes) < span.end:
            raise ProtocolError(f"{len(self._bytes) - span.offset} of {span.length} bytes arrived")

    def resume(self) -> None:
        """`received` is always true here."""

    def prove(self) -> None:
        """Hash the bytes. CorruptError, also while some are missing."""
        digest = self._blob.digest
        self._proven = Digest.of(memoryview(self._bytes), digest.algorithm) == digest
        if not self._proven:
            raise CorruptError("the bytes that arrived are not those of the digest")

    def suspect(self) -> Spans:
        """None: memory is not taken to change what it holds."""
        return Spans()

    def differs(self, span: Span, chunks: Iterable[bytes]) -> bool:
        """Compare a second reading with what is here; if it differs, all from `span` on is missing again."""
        if self._bytes[span.offset : span.end] == exactly(span, chunks):
            return False
        del self._bytes[span.offset :]
        self._proven = False
        return True

    def commit(self) -> None:
        """Write and name it. InvalidError if it was not proven, StorageError."""
        if not self._proven:
            raise InvalidError(f"blob {self._blob.digest.short} was not proven")
        self._name(self._blob, self._bytes)
        self.close()

    def close(self) -> None:
        """Let go of the lock. May come twice, from two threads: the second would take another's away."""
        if self._left.acquire(blocking=False):
            remove(self._lock.path)
            self._lock.close()
