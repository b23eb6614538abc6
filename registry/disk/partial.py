"""One blob's partial data: a file that is written in many places at once, and a journal of what is there.

DESIGN, "Three shapes on disk". Power may fail at any instant: the journal names only bytes that were synced
before. One process at a time owns a partial; the others may watch how far it is.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable
from pathlib import Path

from registry.disk.data import DataFile
from registry.disk.files import CHUNK, FILE_MODE, Owner, make_directory, move, remove, sync_directory
from registry.disk.hash_queue import HashQueue
from registry.disk.journal import Journal
from registry.disk.partial_files import Busy, data_path, hold
from registry.disk.sums import Sum, Summer, Sums, new_summer, spans_of
from registry.errors import CorruptError, InvalidError, ProtocolError, RegistryError, StorageError
from registry.model.digests import Digest
from registry.model.spans import Span, Spans, SpanSet

GRAIN = 16 * 1024 * 1024


class Partial:
    """The bytes of one blob as far as they are there. Safe for writes side by side. Made by `open`."""

    def __init__(
        self,
        digest: Digest,
        size: int,
        data: DataFile,
        journal: Journal,
        sums: list[Sum],
        grain: int,
        owner: Owner | None,
    ) -> None:
        self.digest = digest
        self.size = size
        self._data = data
        self._journal = journal
        self._sums = Sums()
        self._received = SpanSet(piece.span for piece in sums)
        for piece in sums:
            self._sums.add(piece)
        self._grain = grain
        self._owner = owner
        self._writing: dict[Span, int] = {}  # how far each running write has come
        self._unsynced: list[Sum] = []
        self._syncing = False
        self._findable = False  # whether the files' names are durable
        self._broken: RegistryError | None = None
        self._to_hash = HashQueue()
        self._epoch = 0  # counts what was discarded: a hash over it is worth nothing
        self._proven = False
        self._promoted = False
        self._keep_sums_as: Path | None = None
        self._closed = False
        self._changed = threading.Condition()

    @classmethod
    def open(
        cls, directory: Path, digest: Digest, size: int, *, grain: int = GRAIN, owner: Owner | None = None
    ) -> Partial | Busy:
        """The partial of `digest` in `directory`, with what earlier runs left there; Busy if it has an owner.

        `grain`: after how many bytes at most a write notes what it has. StorageError, also where there is
        no room for the whole blob.
        """
        lock = hold(directory, digest, size, owner)
        if isinstance(lock, Busy):
            return lock
        with contextlib.ExitStack() as undo:
            undo.callback(lock.close)
            data = DataFile.open(data_path(directory, digest), owner=owner)
            undo.callback(data.close)
            journal = Journal(lock, digest, size)
            sums = _make_room(data, size, journal.read())
            undo.pop_all()
        return cls(digest, size, data, journal, sums, grain, owner)

    # --- writing -----------------------------------------------------------------------------------

    @property
    def received(self) -> Spans:
        """What is there, and stays there whatever happens."""
        with self._changed:
            return self._received.frozen()

    def write(self, span: Span, chunks: Iterable[bytes]) -> None:
        """Put the bytes of `chunks` where `span` is; when it breaks, what arrived is kept.

        ProtocolError if there are fewer or more than `span.length`, InvalidError if `span` is not missing.
        An error of `chunks` passes through.
        """
        self._begin(span)
        at = start = span.offset
        summer = new_summer()
        try:
            for chunk in chunks:
                if len(chunk) > span.end - at:
                    raise ProtocolError(f"more than the {span.length} bytes asked for arrived")
                self._data.write(chunk, at)
                summer.update(chunk)
                self._advance(span, at, chunk)
                at += len(chunk)
                if at - start >= self._grain:
                    piece = Sum(Span(start, at - start), summer.text())
                    start, summer = at, new_summer()
                    self._settle(piece)
            if at < span.end:
                raise ProtocolError(f"{at - span.offset} of {span.length} bytes arrived")
        except BaseException:
            with contextlib.suppress(StorageError):  # the first cause counts
                self._settle(Sum(Span(start, at - start), summer.text()))
            raise
        else:
            self._settle(Sum(Span(start, at - start), summer.text()))
        finally:
            with self._changed:
                del self._writing[span]

    def _begin(self, span: Span) -> None:
        with self._changed:
            self._check()
            running = any(one.offset < span.end and span.offset < one.end for one in self._writing)
            if span.end > self.size or running or self._received.touches(span) or span in self._writing:
                raise InvalidError(
                    f"bytes {span.offset}-{span.end} of {self.size} are not missing, or on their way already"
                )
            self._writing[span] = span.offset

    def _advance(self, span: Span, at: int, chunk: bytes) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._to_hash.full(at))
            self._writing[span] = at + len(chunk)
            self._to_hash.put(at, chunk)
            self._changed.notify_all()

    def _settle(self, piece: Sum) -> None:
        """Return when `piece` is durable and noted. One thread syncs for all that wait meanwhile."""
        if not piece.span.length:
            return
        with self._changed:
            self._check()
            if piece.span.length == self.size:  # all of it in one go: it is named next, or fetched again
                self._keep([piece])
                return
            self._unsynced.append(piece)
            self._changed.wait_for(lambda: not self._syncing)
            self._check()
            if piece not in self._unsynced:
                return
            batch = self._next_batch()
        self._sync(batch)

    def _next_batch(self) -> list[Sum]:
        batch, self._unsynced = self._unsynced, []
        self._syncing = True
        return batch

    def _sync(self, batch: list[Sum]) -> None:
        noted = False
        try:
            self._data.sync_data()
            if not self._findable:
                sync_directory(self._data.path.parent)
                self._findable = True
            self._journal.add(batch)
            noted = True
        except RegistryError as error:
            with self._changed:  # what a failed sync leaves on the disk is anyone's guess
                self._broken = error
            raise
        finally:
            with self._changed:
                self._syncing = False
                if noted:
                    self._keep(batch)
                self._changed.notify_all()

    def _keep(self, pieces: list[Sum]) -> None:
        for piece in pieces:
            self._sums.add(piece)
            self._received.add(piece.span)
        self._changed.notify_all()

    def _check(self) -> None:
        if self._broken is not None:
            raise StorageError(self._broken.message, hint=self._broken.hint)
        if self._closed:
            raise StorageError(f"blob {self.digest.short} was let go before it was whole")

    # --- proving -----------------------------------------------------------------------------------

    def prove(self) -> None:
        """Hash from the first byte on, as far as they are there, waiting for the rest until all is hashed.

        Takes what the writer at the front queues, and reads the rest from the page cache. CorruptError
        if the bytes are not the digest's; StorageError if it is closed meanwhile.
        """
        try:
            epoch = self._hash_to_the_end()
        finally:
            with self._changed:  # nobody takes what is queued any more
                self._to_hash.clear()
                self._changed.notify_all()
        with self._changed:
            self._proven = self._epoch == epoch

    def _hash_to_the_end(self) -> int:
        """Which epoch's bytes were proven."""
        buffer = memoryview(bytearray(min(CHUNK, self.size)))
        epoch, at, hasher = self._epoch, 0, self.digest.hasher()
        while True:
            now, chunk, front = self._behind(at)
            if now != epoch:
                epoch, at, hasher = now, 0, self.digest.hasher()
                continue
            if chunk is not None:
                hasher.update(chunk)
                at += len(chunk)
            while at < front:
                length = self._data.read_into(buffer[: front - at], at)
                if not length:
                    raise StorageError(f"{self._data.path}: it became shorter meanwhile")
                hasher.update(buffer[:length])
                at += length
            if at == self.size:
                break
        if not self.digest.matches(hasher):
            raise CorruptError("the bytes that arrived are not those of the digest")
        return epoch

    def _behind(self, at: int) -> tuple[int, bytes | None, int]:
        """Wait until there are bytes behind `at` (or the end is reached).

        The epoch, the bytes if they were queued, and else up to where they can be read.
        """
        with self._changed:
            while True:
                self._check()
                chunk = self._to_hash.take(at)
                if chunk is not None:
                    self._changed.notify_all()  # there is room for another
                    return self._epoch, chunk, at
                front = self._front()
                self._to_hash.expect(max(front, at))
                if front > at or front == self.size:
                    return self._epoch, None, front
                self._changed.wait()

    def _front(self) -> int:
        """How many bytes from zero on can be read without a gap, those of running writes too."""
        front, before = self._received.reach(0), -1
        while front != before:
            before = front
            for span, end in self._writing.items():
                if span.offset <= front < end:
                    front = self._received.reach(end)
        return front

    def sums(self) -> list[Sum]:
        """The check sum of every span that is there, in order."""
        with self._changed:
            return list(self._sums)

    def damaged(self) -> Spans:
        """The spans whose bytes on the disk are no longer those that came."""
        return spans_of(piece for piece in self.sums() if not self._is_whole(piece))

    def differs(self, span: Span, chunks: Iterable[bytes]) -> bool:
        """Whether `chunks`, a second reading of `span`, are other bytes than those on the disk.

        If so, `span` is missing again. ProtocolError if there are fewer or more than `span.length`.
        """
        at = span.offset
        for chunk in chunks:
            if len(chunk) > span.end - at:
                raise ProtocolError(f"more than the {span.length} bytes asked for arrived")
            if self._data.read(len(chunk), at) != chunk:
                self.discard(span)
                return True
            at += len(chunk)
        if at < span.end:
            raise ProtocolError(f"{at - span.offset} of {span.length} bytes arrived")
        return False

    def discard(self, span: Span) -> None:
        """Forget the bytes of `span`; they are missing again, and what was proven with them is not.

        What arrived and is being made durable right now is waited for: it is forgotten, too.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._syncing)
            self._check()
            if self._unsynced:
                self._sync(self._next_batch())
            hit = self._sums.overlapping(span)
            rest = [self._sum_of(edge, new_summer()) for piece in hit for edge in _edges(piece.span, span)]
            self._journal.add(rest, [piece.span for piece in hit])
            for piece in hit:
                self._sums.drop(piece.span)
                self._received.discard(piece.span)
            self._keep(rest)
            self._epoch += 1
            self._to_hash.clear()
            self._proven = False

    def _is_whole(self, piece: Sum) -> bool:
        summer = piece.summer()
        if summer is None:
            return False
        try:
            return self._sum_of(piece.span, summer) == piece
        except StorageError:  # a sector that cannot be read is damage, too
            return False

    def _sum_of(self, span: Span, summer: Summer) -> Sum:
        at = span.offset
        while at < span.end:
            chunk = self._data.read(min(CHUNK, span.end - at), at)
            if not chunk:
                raise StorageError(f"{self._data.path}: it became shorter meanwhile")
            summer.update(chunk)
            at += len(chunk)
        return Sum(span, summer.text())

    # --- ending ------------------------------------------------------------------------------------

    def promote(self, to: Path, *, sums: Path | None = None, durably: bool = True) -> None:
        """Give the proven bytes their final name `to`, durably; the partial stays locked until `close`.

        Its span sums are kept as `sums`, if it has any to keep. Without `durably` the name itself is left
        for the caller to sync. InvalidError if nothing was proven; StorageError, with everything kept.
        """
        with self._changed:
            self._check()
            if not self._proven:
                raise InvalidError(f"blob {self.digest.short} was not proven")
        self._data.set_mode(FILE_MODE)
        try:
            self._data.sync()
        except StorageError as error:
            self._broken = error
            raise
        move(self._data.path, to, self._owner, durably)
        self._promoted = True
        if sums is not None and not self._journal.empty:
            make_directory(sums.parent, self._owner)
            self._keep_sums_as = sums

    def close(self) -> None:
        """Let go; what was received stays for a later run. May come twice."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._to_hash.clear()
            self._changed.notify_all()
            worthless = not self._promoted and not self._sums and not self._writing
        try:
            if worthless:
                remove(self._data.path)
            if self._keep_sums_as is not None:
                move(self._journal.file.path, self._keep_sums_as, durably=False)
            elif worthless or self._promoted:
                remove(self._journal.file.path)
        finally:
            self._data.close()
            self._journal.file.close()


def _make_room(data: DataFile, size: int, sums: list[Sum]) -> list[Sum]:
    """Give the data file its size, and drop the sums of bytes that it has not."""
    there = data.status().size
    sums = [piece for piece in sums if piece.span.end <= there]
    if there > size:
        data.truncate(size)
    if size < CHUNK:  # found out soon enough
        return sums
    try:
        data.allocate(size)
    except StorageError:
        data.truncate(max((piece.span.end for piece in sums), default=0))  # what was taken in vain
        raise
    return sums


def _edges(whole: Span, hole: Span) -> list[Span]:
    """What is left of `whole` around `hole`."""
    left = Span(whole.offset, max(0, hole.offset - whole.offset))
    right = Span(hole.end, whole.end - hole.end) if hole.end < whole.end else Span(whole.end, 0)
    return [edge for edge in (left, right) if edge.length]
