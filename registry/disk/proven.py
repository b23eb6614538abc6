"""Which files were hashed already: a blob that somebody else put there is read once, not at every look.

Remembered by size, time and inode, which change when the file is written or replaced. Losing the record, or
a line of it, costs one more hash.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable
from pathlib import Path

from registry.disk.data import DataFile, wait_for_lock
from registry.disk.files import (
    CHUNK,
    Owner,
    Status,
    make_directory,
    status,
    write_atomic,
)
from registry.disk.journal import SealedLines, seal
from registry.errors import NotFoundError, RegistryError, StorageError
from registry.model.digests import Digest

_LONGEST = 64 * 1024 * 1024
_KEY = "ferry proven 1"
_LINE = re.compile(r"(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}) (\d{1,16}) (-?\d{1,20}) (\d{1,20})")

_COMPACT_AT = 1024 * 1024  # bytes: about 10,000 lines
_WORTH = 30.0  # seconds that writing to the record is worth waiting for
_TOGETHER = 64  # small files whose lines are written in one go

Mark = tuple[int, int, int]
"""What changes when a file is written or replaced: its size, time and inode."""

_NO_FILE: Mark = (0, 0, 0)


class Proven:
    """The record in the file `path`; shared by processes, safe from many threads.

    `place` says where the file of a digest is. When the record grows, it is written anew (its draft lies in
    `drafts`) with one line for each file that still is as it was proven.
    """

    def __init__(
        self, path: Path, place: Callable[[Digest], Path], drafts: Path, owner: Owner | None = None
    ) -> None:
        self._path = path
        self._place = place
        self._drafts = drafts
        self._owner = owner
        self._marks: dict[str, Mark] = {}
        self._unwritten: list[bytes] = []
        self._lines = SealedLines(path, _KEY, _LONGEST)
        self._compact_at = _COMPACT_AT
        self._lock = threading.Lock()

    def knows(self, digest: Digest, found: Status) -> bool:
        """Whether the file that `found` tells of was proven to have `digest`."""
        with self._lock:
            if self._marks.get(str(digest)) != mark_of(found):
                self._read()
            return self._marks.get(str(digest)) == mark_of(found)

    def note(self, digest: Digest, found: Status) -> None:
        """Remember that the file that `found` tells of was proven to have `digest`.

        Others read of a small file later, at the latest after `flush`. Where nothing can be written it is
        remembered for as long as this process lives.
        """
        with self._lock:
            self._marks[str(digest)] = mark_of(found)
            self._unwritten.append(_line(str(digest), mark_of(found)))
            if found.size >= CHUNK or len(self._unwritten) >= _TOGETHER:
                self._write()

    def forget(self, digest: Digest) -> None:
        """No longer take any file for proven to have `digest`."""
        with self._lock:
            self._read()
            if str(digest) in self._marks:
                self._marks[str(digest)] = _NO_FILE
                self._unwritten.append(_line(str(digest), _NO_FILE))
                self._write()

    def flush(self) -> None:
        """Let others read everything that was noted."""
        with self._lock:
            if self._unwritten:
                self._write()

    def _write(self) -> None:
        lines, self._unwritten = self._unwritten, []
        with contextlib.suppress(StorageError, NotFoundError):
            make_directory(self._path.parent, self._owner)
            file = wait_for_lock(self._path, owner=self._owner, limit=_WORTH)
            try:
                self._append(file, b"".join(lines))
            finally:
                file.close()

    def _append(self, file: DataFile, lines: bytes) -> None:
        """Add `lines`; who waits for the lock of `file` finds out that it was replaced."""
        end = file.status().size
        file.write(lines, end)
        if end + len(lines) >= self._compact_at:
            self._read()
            held = [(digest, mark) for digest, mark in self._marks.items() if self._holds(digest, mark)]
            whole = b"".join(_line(digest, mark) for digest, mark in held)
            write_atomic(self._path, whole, scratch=self._drafts, owner=self._owner, durably=False)
            self._compact_at = max(_COMPACT_AT, 2 * len(whole))

    def _holds(self, digest: str, mark: Mark) -> bool:
        """Whether the file still is as it was proven."""
        there = status(self._place(Digest.parse(digest)))
        return there is not None and mark_of(there) == mark

    def _read(self) -> None:
        """Read what others added to the record since."""
        try:
            _, texts = self._lines.more()
        except RegistryError:
            return
        for text in texts:
            if line := _LINE.fullmatch(text):
                self._marks[line[1]] = (int(line[2]), int(line[3]), int(line[4]))


def _line(digest: str, mark: Mark) -> bytes:
    return seal(" ".join(map(str, (digest, *mark))), _KEY)


def mark_of(found: Status) -> Mark:
    """That of the file that `found` tells of."""
    return found.size, found.mtime_ns, found.inode
