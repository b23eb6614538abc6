"""Reads a file that is named by a digest, whole: whether it is what its name says, and where it is not.

The digest alone decides. Check sums of spans, kept from when the bytes were right, locate the damage.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from registry.disk.failures import attempt, failure
from registry.disk.files import CHUNK, Owner, Status, open_for_reading, read_bounded, write_atomic
from registry.disk.journal import JOURNAL_BYTES, journal_key, read_sums, seal
from registry.disk.mapped import WINDOW, Mapped
from registry.disk.sums import Sum, Summer, new_summer, spans_of
from registry.errors import RegistryError
from registry.model.digests import Digest
from registry.model.spans import Span, Spans

Seen = Callable[[int], None]


def unseen(_length: int) -> None:
    """Nobody wants to know how far it is."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What one reading of a file found. `file` is what the disk said of it before.

    `right`: its bytes are those of the digest, and `sums` those of its spans. Else `sums` are those of the
    spans that still are as they were: none where nobody kept any. `changed`: it was written, or touched,
    meanwhile, so that this is no proof of what is there now.
    """

    file: Status
    right: bool
    sums: tuple[Sum, ...]
    changed: bool = False

    @property
    def proven(self) -> bool:
        """Whether what is there now is right."""
        return self.right and not self.changed

    def damaged(self, size: int) -> Spans:
        """The spans that are wrong, as far as that is known; empty where it is not."""
        return Spans() if self.right or not self.sums else spans_of(self.sums).missing(size)


def check_file(
    path: Path,
    digest: Digest,
    size: int,
    kept: Sequence[Sum],
    *,
    grain: int,
    seen: Seen = unseen,
) -> Checked:
    """Read every byte of the file at `path`.

    `kept`: the sums of its spans when it was right, without overlaps. Where they do not cover it, new ones
    are made, of `grain` bytes each, for a blob of more than one. `seen` is told of every piece that was read.
    A sector that cannot be read is damage. What is right is made durable: a record of it must not
    outlive its bytes. NotFoundError, StorageError.
    """
    with open_for_reading(path) as file:
        before = Status.of(os.fstat(file.fileno()))
        enough = size <= grain or spans_of(kept) == Spans.of([Span(0, size)])
        made: list[Sum] = []
        right = False
        if before.size == size:
            pieces = _pieces(file, path, size, None if enough else grain, made)
            right = _hashed(pieces, digest, size, seen)
        if right:
            with attempt(f"syncing {path}"):
                os.fsync(file.fileno())
            sums = list(kept) if enough else made
        else:
            sums = [each for each in kept if _holds(file, path, each)]
        after = Status.of(os.fstat(file.fileno()))
    changed = (before.size, before.mtime_ns) != (after.size, after.mtime_ns)
    if not right and spans_of(sums) == Spans.of([Span(0, size)]) and before.size == size:
        sums = []  # all of them hold, and the blob is wrong: they were made of wrong bytes
    return Checked(before, right, tuple(sums), changed)


def read_kept(path: Path, digest: Digest, size: int) -> list[Sum]:
    """The sums of a blob's spans that are kept in the file `path`, in order; none where it says nothing."""
    try:
        return read_sums(read_bounded(path, JOURNAL_BYTES), journal_key(digest, size), size)
    except RegistryError:  # they are a hint: without them the damage is not located, that is all
        return []


def keep_sums(
    path: Path, digest: Digest, size: int, sums: Sequence[Sum], *, scratch: Path, owner: Owner | None
) -> None:
    """Keep `sums`, and no others, in the file `path`. StorageError."""
    key = journal_key(digest, size)
    lines = (seal(f"+ {each.span.offset} {each.span.length} {each.check}", key) for each in sums)
    write_atomic(path, b"".join(lines), scratch=scratch, owner=owner, durably=False)


def _hashed(pieces: Iterator[memoryview], digest: Digest, size: int, seen: Seen) -> bool:
    """Whether these are the digest's bytes, all `size` of them."""
    hasher, left = digest.hasher(), size
    for piece in pieces:
        hasher.update(piece)
        seen(len(piece))
        left -= len(piece)
    return left == 0 and digest.matches(hasher)


def _pieces(
    file: BinaryIO, path: Path, size: int, grain: int | None, sums: list[Sum]
) -> Generator[memoryview, None, None]:
    """Its bytes in order, up to one that cannot be read; each piece holds until the next. StorageError.

    The sums of its spans are added to `sums`, where a `grain` asks for them.
    """
    with Mapped(file) as mapped:
        for span in Span(0, size).cut(grain or max(size, 1)):
            summer, left = new_summer() if grain else None, span.length
            for piece in _windows(mapped, file, path, span):
                if summer is not None:
                    summer.update(piece)
                yield piece
                left -= len(piece)
            if left:
                return
            if summer is not None:
                sums.append(Sum(span, summer.text()))


def _windows(mapped: Mapped, file: BinaryIO, path: Path, span: Span) -> Iterator[memoryview]:
    """The bytes of `span` as for `_pieces`, without a copy where that can be. StorageError."""
    at = span.offset
    while at < span.end:
        with mapped.window(Span(at, span.end - at)) as view:
            if view is not None:
                yield view
                at += len(view)
                continue
        end = min(at + WINDOW, span.end)
        for piece in _read(file, path, Span(at, end - at)):
            yield piece
            at += len(piece)
        if at < end:
            return


def _read(file: BinaryIO, path: Path, span: Span) -> Iterator[memoryview]:
    """The bytes of `span`, up to one that cannot be read; each piece holds until the next. StorageError."""
    buffer = memoryview(bytearray(min(CHUNK, span.length)))
    for part in span.cut(CHUNK):
        view = buffer[: part.length]
        if not _fill(file, path, view, part.offset):
            return
        yield view


def _holds(file: BinaryIO, path: Path, kept: Sum) -> bool:
    """Whether the bytes of a span are as they were."""
    summer: Summer | None = kept.summer()
    if summer is None:
        return False
    left = kept.span.length
    for piece in _read(file, path, kept.span):
        summer.update(piece)
        left -= len(piece)
    return left == 0 and summer.text() == kept.check


def _fill(file: BinaryIO, path: Path, view: memoryview, offset: int) -> bool:
    """Read all of `view`; False where the file ends before, or the disk cannot read it. StorageError."""
    at = 0
    while at < len(view):
        try:
            length = os.preadv(file.fileno(), [view[at:]], offset + at)
        except OSError as error:
            if error.errno == errno.EIO:
                return False
            raise failure(error, f"reading {path}") from None
        if not length:
            return False
        at += length
    return True
