"""Which files were hashed already: a blob that somebody else put there is read once, not at every look.

Remembered by size, time and inode, which change when the file is written or replaced. Losing the record, or
a line of it, costs one more hash.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from pathlib import Path

from registry.disk.data import lock_file
from registry.disk.failures import attempt
from registry.disk.files import (
    CHUNK,
    Owner,
    Status,
    make_directory,
    open_for_reading,
    read_bounded,
    status,
)
from registry.disk.journal import seal, unseal
from registry.errors import NotFoundError, RegistryError, StorageError
from registry.model.digests import Digest

_LONGEST = 64 * 1024 * 1024
_KEY = "ferry proven 1"
_LINE = re.compile(r"([0-9a-z:]{1,140}) (\d{1,16}) (-?\d{1,20}) (\d{1,20})")

_TOGETHER = 64  # small files whose lines are written in one go

_Mark = tuple[int, int, int]


def prove_file(path: Path, digest: Digest) -> Status | None:
    """What was proven, if the file's bytes are those of `digest` and nobody changed it meanwhile; else None.

    What was proven is made durable too: a record must not outlive its bytes.
    """
    hasher = digest.hasher()
    buffer = memoryview(bytearray(CHUNK))
    with open_for_reading(path) as file, attempt(f"reading {path}"):
        before = Status.of(os.fstat(file.fileno()))
        while length := file.readinto(buffer):  # type: ignore[attr-defined]
            hasher.update(buffer[:length])
        os.fsync(file.fileno())
        after = Status.of(os.fstat(file.fileno()))
    return after if before == after and digest.matches(hasher) else None


class Proven:
    """The record in the file `path`; shared by processes, safe from many threads."""

    def __init__(self, path: Path, owner: Owner | None = None) -> None:
        self._path = path
        self._owner = owner
        self._marks: dict[str, _Mark] = {}
        self._unwritten: list[bytes] = []
        self._read_up_to = -1
        self._lock = threading.Lock()

    def knows(self, digest: Digest, found: Status) -> bool:
        """Whether the file that `found` tells of was proven to have `digest`."""
        with self._lock:
            if self._marks.get(str(digest)) != _mark(found):
                self._read()
            return self._marks.get(str(digest)) == _mark(found)

    def note(self, digest: Digest, found: Status) -> None:
        """Remember that the file that `found` tells of was proven to have `digest`.

        Others read of a small file later, at the latest after `flush`. Where nothing can be written it is
        remembered for as long as this process lives.
        """
        mark = _mark(found)
        with self._lock:
            self._marks[str(digest)] = mark
            self._unwritten.append(seal(" ".join(map(str, (digest, *mark))), _KEY))
            if found.size >= CHUNK or len(self._unwritten) >= _TOGETHER:
                self._write()

    def flush(self) -> None:
        """Let others read everything that was noted."""
        with self._lock:
            if self._unwritten:
                self._write()

    def _write(self) -> None:
        lines, self._unwritten = self._unwritten, []
        with contextlib.suppress(StorageError, NotFoundError):
            self._append(b"".join(lines))

    def _append(self, lines: bytes) -> None:
        make_directory(self._path.parent, self._owner)
        file = lock_file(self._path, wait=True, owner=self._owner)
        if file is not None:
            try:
                file.write(lines, file.status().size)
            finally:
                file.close()

    def _read(self) -> None:
        """Read the record if it changed since."""
        there = status(self._path)
        size = there.size if there else 0
        if size == self._read_up_to:
            return
        self._read_up_to = size
        try:
            data = read_bounded(self._path, _LONGEST)
        except RegistryError:
            return
        for text in unseal(data, _KEY):
            if line := _LINE.fullmatch(text):
                self._marks[line[1]] = (int(line[2]), int(line[3]), int(line[4]))


def _mark(found: Status) -> _Mark:
    return found.size, found.mtime_ns, found.inode
