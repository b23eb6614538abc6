"""A damaged file seen through what mends it: a patch beside it, until the whole is proven.

The damaged file stays as it is until `take_name`. Then each byte of it that differs is written in its place:
a reader sees, byte by byte, what was there or what the digest proved. A process that is killed in the middle
has changed nothing but wrong bytes, and the patch is still beside.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from pathlib import Path

from registry.disk.data import DataFile
from registry.disk.files import CHUNK, Owner, move, remove
from registry.disk.journal import Journal
from registry.disk.sums import Sum, new_summer
from registry.errors import RegistryError, StorageError
from registry.model.spans import Span, SpanSet

_COMPARED = 64 * 1024  # bytes: what is written anew around one wrong byte


class Overlay:
    """The `size` bytes of the file `base`, and over them those of `patch` at `patched`.

    Safe from many threads. `base` may be read-only: then, and where its bytes cannot be written, or it has
    another name too and so is somebody else's as well, a whole new file takes its name.
    """

    def __init__(self, base: DataFile, patch: DataFile, patched: Sequence[Span], size: int) -> None:
        self.path = patch.path
        self._base = base
        self._patch = patch
        self._patched = SpanSet(patched)
        self._size = size
        self._lock = threading.Lock()

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """All of `data` at `offset`; what the damaged file has right is not written again. StorageError."""
        view, there = memoryview(data), self._there(len(data), offset)
        for span in Span(offset, len(data)).cut(_COMPARED):
            part = slice(span.offset - offset, span.end - offset)
            right = there[part] == view[part]
            if not right:
                self._patch.write(view[part], span.offset)
            with self._lock:
                if right:
                    self._patched.discard(span)
                else:
                    self._patched.add(span)

    def read(self, length: int, offset: int) -> bytes:
        """At most `length` bytes from `offset`; fewer only at the end. StorageError."""
        buffer = bytearray(length)
        return bytes(buffer[: self.read_into(memoryview(buffer), offset)])

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`; how many bytes there were. StorageError."""
        at = 0
        for part, patched in self.parts(Span(offset, min(len(buffer), max(0, self._size - offset)))):
            file = self._patch if patched else self._base
            length = file.read_into(buffer[at : at + part.length], part.offset)
            at += length
            if length < part.length:
                break
        return at

    def parts(self, span: Span) -> list[tuple[Span, bool]]:
        """`span` in pieces: whether each is in the patch, or in the damaged file."""
        with self._lock:
            unpatched = list(self._patched.frozen().gaps(span))
        parts, at = [], span.offset
        for gap in unpatched:
            if gap.offset > at:
                parts.append((Span(at, gap.offset - at), True))
            parts.append((gap, False))
            at = gap.end
        if at < span.end:
            parts.append((Span(at, span.end - at), True))
        return parts

    def sum_of(self, span: Span) -> Sum:
        """The check sum of the bytes of `span`. StorageError."""
        summer = new_summer()
        for part in span.cut(CHUNK):
            summer.update(self.read(part.length, part.offset))
        return Sum(span, summer.text())

    def sync_data(self) -> None:
        """Make the patch survive a power loss."""
        self._patch.sync_data()

    def sync(self) -> None:
        """The same, with its size and permissions."""
        self._patch.sync()

    def set_mode(self, mode: int) -> None:
        """Set the permissions of the patch, and of the damaged file where this user may and it is kept."""
        self._patch.set_mode(mode)
        if self._base.status().mode & 0o777 != mode and not self._base.has_other_names():
            with contextlib.suppress(StorageError):
                self._base.set_mode(mode)

    def take_name(self, to: Path, owner: Owner | None, durably: bool) -> None:
        """Make the file at `to`, which was the damaged one, what this is. StorageError."""
        with self._lock:
            whole = self._patched.total == self._size
        ours = self._base.is_at(to) and not self._base.has_other_names()
        if not whole and ours and self._mended():
            remove(self._patch.path)
            return
        self._complete()
        move(self._patch.path, to, owner, durably)

    def close(self) -> None:
        """Let go of both files. May come twice."""
        self._base.close()
        self._patch.close()

    def _there(self, length: int, offset: int) -> bytes:
        """What the damaged file has; nothing where a sector of it cannot be read."""
        try:
            return self._base.read(length, offset)
        except RegistryError:
            return b""

    def _mended(self) -> bool:
        """Write what is patched in its place, as far as it differs; whether that is done, and durable.

        Not where the file is not this user's to write, or a sector of it takes no byte.
        """
        try:
            for piece, patched in self.parts(Span(0, self._size)):
                for part in piece.cut(_COMPARED) if patched else ():
                    right = self._patch.read(part.length, part.offset)
                    if self._there(part.length, part.offset) != right:
                        self._base.write(right, part.offset)
            self._base.truncate(self._size)
            self._base.sync()
        except StorageError:
            return False
        return True

    def _complete(self) -> None:
        """Copy into the patch what it lacks, so that it is the whole file; durable when this returns."""
        for piece, patched in self.parts(Span(0, self._size)):
            for part in piece.cut(CHUNK) if not patched else ():
                self._patch.write(self._base.read(part.length, part.offset), part.offset)
        self._patch.truncate(self._size)
        self._patch.sync()


def open_to_mend(path: Path) -> DataFile:
    """The damaged file at `path`, for reading only where this user may not write it. NotFoundError."""
    try:
        return DataFile.open(path, create=False)
    except StorageError:
        return DataFile.open_read_only(path)


class OverlayJournal:
    """What an overlay's patch has, in the journal `patch`; what is right in the damaged file, in `base`.

    The two are kept apart for the next run: the patch has holes where the damaged file is right.
    """

    def __init__(self, overlay: Overlay, patch: Journal, base: Journal) -> None:
        self.file = patch.file
        self._overlay = overlay
        self._patch = patch
        self._base = base

    def add(self, kept: Sequence[Sum], dropped: Sequence[Span] = ()) -> None:
        """Note that the bytes of `dropped` are no longer to be trusted, and those of `kept` are there."""
        patched: list[Sum] = []
        right: list[Sum] = []
        for piece in kept:
            parts = self._overlay.parts(piece.span)
            for span, in_patch in parts:
                part = piece if span == piece.span else self._overlay.sum_of(span)
                (patched if in_patch else right).append(part)
        if patched or dropped:
            self._patch.add(patched, dropped)
        if right or dropped:
            self._base.add(right, dropped)

    @property
    def empty(self) -> bool:
        """Whether the patch never had anything."""
        return self._patch.empty

    def keep_as(self, _path: Path, sums: Sequence[Sum]) -> None:
        """Keep `sums`, those of the whole file, where they were kept before; the patch is no more."""
        self._base.add(sums)
        remove(self.file.path)

    def close(self) -> None:
        """Let go of both."""
        self._base.file.close()
        self.file.close()
