"""One blob's partial data: a file that is written in many places at once, and a journal of what is there.

DESIGN, "Three shapes on disk". Power may fail at any instant: the journal names only bytes that were synced
before. One process at a time owns a partial; the others may watch how far it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from registry.disk.batch_sync import BatchSync
from registry.disk.coverage import Coverage
from registry.disk.data import DataFile
from registry.disk.files import CHUNK, FILE_MODE, Owner, inside, make_directory, remove
from registry.disk.hashing import hash_while_it_arrives
from registry.disk.journal import Journal
from registry.disk.overlay import Overlay, OverlayJournal, open_to_mend
from registry.disk.partial_files import Busy, data_path, hold
from registry.disk.sums import Sum, Summer, Sums, new_summer, spans_of
from registry.errors import InvalidError, ProtocolError, StorageError
from registry.model.digests import Digest
from registry.model.spans import Span, Spans

GRAIN = 16 * 1024 * 1024
_LINES_OF_GRAIN = 2  # at most, in the journal: spans need not begin where a grain does
_SPARE_LINES = 40  # with these it is a disk block of 4 KiB at least


class Partial:
    """The bytes of one blob as far as they are there. Safe for writes side by side. Made by `open`."""

    def __init__(
        self,
        digest: Digest,
        size: int,
        data: DataFile | Overlay,
        journal: Journal | OverlayJournal,
        sums: list[Sum],
        grain: int,
        owner: Owner | None,
    ) -> None:
        self.digest = digest
        self.size = size
        self._data = data
        self._journal = journal
        self._grain = grain
        self._owner = owner
        self._coverage = Coverage(digest, size, sums)
        self._sync = BatchSync(data, journal, self._coverage)
        self._proven: int | None = None  # the epoch of the coverage that was hashed
        self._promoted = False
        self._keep_sums_as: Path | None = None

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
            sums = _make_room(data, journal, size, grain)
            undo.pop_all()
        return cls(digest, size, data, journal, sums, grain, owner)

    @classmethod
    def over(
        cls,
        directory: Path,
        digest: Digest,
        size: int,
        damaged: Path,
        good: Sequence[Sum],
        sums: Path,
        *,
        grain: int = GRAIN,
        owner: Owner | None = None,
    ) -> Partial | Busy:
        """The partial that mends the file `damaged`, of which the spans of `good` are right.

        It takes what is missing, and what earlier runs fetched of it; the file itself is written when all is
        proven. What turns out to be right in it is noted in `sums`. NotFoundError if it is
        gone; StorageError.
        """
        lock = hold(directory, digest, size, owner)
        if isinstance(lock, Busy):
            return lock
        with contextlib.ExitStack() as undo:
            undo.callback(lock.close)
            base = open_to_mend(damaged)
            undo.callback(base.close)
            patch = DataFile.open(data_path(directory, digest), owner=owner)
            undo.callback(patch.close)
            known = inside(sums.parent, owner, lambda: DataFile.open(sums, owner=owner))
            undo.callback(known.close)
            journal, kept = Journal(lock, digest, size), Journal(known, digest, size)
            there = patch.status().size
            fetched = [each for each in journal.read() if each.span.end <= there]
            journal.make_room(_SPARE_LINES)
            if not (kept.read() and good):
                known.truncate(0)
                kept = Journal(known, digest, size)
            right = spans_of(good)
            fetched = [each for each in fetched if any(True for _ in right.gaps(each.span))]
            whole = Sums()
            for piece in (*good, *fetched):
                whole.add(piece)
            overlay = Overlay(base, patch, [each.span for each in fetched], size)
            undo.pop_all()
        both = OverlayJournal(overlay, journal, kept)
        return cls(digest, size, overlay, both, list(whole), grain, owner)

    # --- writing -----------------------------------------------------------------------------------

    @property
    def received(self) -> Spans:
        """What is there, and stays there whatever happens."""
        return self._coverage.received

    def write(self, span: Span, chunks: Iterable[bytes]) -> None:
        """Put the bytes of `chunks` where `span` is; when it breaks, what arrived is kept.

        ProtocolError if there are fewer or more than `span.length`, InvalidError if `span` is not missing.
        An error of `chunks` passes through.
        """
        self._coverage.begin(span)
        at = start = span.offset
        summer = new_summer()
        try:
            for chunk in chunks:
                if len(chunk) > span.end - at:
                    raise ProtocolError(f"more than the {span.length} bytes asked for arrived")
                self._data.write(chunk, at)
                summer.update(chunk)
                self._coverage.advance(span, at, chunk)
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
            self._coverage.end(span)

    def _settle(self, piece: Sum) -> None:
        """Return when `piece` is durable and noted."""
        if piece.span.length == self.size:  # all of it in one go: it is named next, or fetched again
            self._coverage.check()
            self._coverage.keep([piece])
        elif piece.span.length:
            self._sync.settle(piece)

    # --- proving -----------------------------------------------------------------------------------

    def prove(self) -> None:
        """Hash from the first byte on, as far as they are there, waiting for the rest until all is hashed.

        Takes what the writer at the front queues, and reads the rest from the page cache. CorruptError
        if the bytes are not the digest's; StorageError if it is closed meanwhile.
        """
        try:
            self._proven = hash_while_it_arrives(self._data, self.digest, self.size, self._coverage)
        finally:
            self._coverage.queue_nothing()

    def sums(self) -> list[Sum]:
        """The check sum of every span that is there, in order."""
        return self._coverage.sums

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
        with self._coverage.changed:
            self._sync.drain()
            hit = self._coverage.overlapping(span)
            rest = [self._sum_of(edge, new_summer()) for piece in hit for edge in _edges(piece.span, span)]
            self._journal.add(rest, [piece.span for piece in hit])
            self._coverage.drop(hit)
            self._coverage.keep(rest)

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
        with self._coverage.changed:
            self._coverage.check()
            if self._proven != self._coverage.epoch:
                raise InvalidError(f"blob {self.digest.short} was not proven")
        self._data.set_mode(FILE_MODE)
        try:
            self._data.sync()
        except StorageError as error:
            self._coverage.broke(error)
            raise
        self._data.take_name(to, self._owner, durably)
        self._promoted = True
        if sums is not None and not self._journal.empty:
            make_directory(sums.parent, self._owner)
            self._keep_sums_as = sums

    def close(self) -> None:
        """Let go; what was received stays for a later run. May come twice."""
        if not self._coverage.close():
            return
        worthless = not self._promoted and (self._coverage.empty or self._journal.empty)
        try:
            if worthless:
                remove(self._data.path)
            if self._keep_sums_as is not None:
                self._journal.keep_as(self._keep_sums_as, self._coverage.sums)
            elif worthless or self._promoted:
                remove(self._journal.file.path)
        finally:
            self._data.close()
            self._journal.close()


def _make_room(data: DataFile, journal: Journal, size: int, grain: int) -> list[Sum]:
    """Give both files their room; what is there already, without the sums of bytes that the data has not.

    The journal's is taken now: a disk that somebody else fills meanwhile has none for what arrived.
    """
    there = data.status().size
    sums = [piece for piece in journal.read() if piece.span.end <= there]
    if there > size:
        data.truncate(size)
    if size < CHUNK:  # found out soon enough
        return sums
    try:
        data.allocate(size)
        journal.make_room(_SPARE_LINES + _LINES_OF_GRAIN * (size // grain))
    except StorageError:  # what was taken in vain
        data.truncate(max((piece.span.end for piece in sums), default=0))
        journal.give_back_room()
        raise
    return sums


def _edges(whole: Span, hole: Span) -> list[Span]:
    """What is left of `whole` around `hole`."""
    left = Span(whole.offset, max(0, hole.offset - whole.offset))
    right = Span(hole.end, whole.end - hole.end) if hole.end < whole.end else Span(whole.end, 0)
    return [edge for edge in (left, right) if edge.length]
