"""Many files in one: a plain tar, written from its beginning to its end. One that was cut off is good as far
as it goes.
"""

from __future__ import annotations

import contextlib
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from registry.disk import files
from registry.disk.data import DataFile
from registry.errors import NotFoundError, StorageError
from registry.model.spans import FileSpan

_BLOCK = 512
_MODE = 0o600


class Archive:
    """An archive that is being written, 0600. Every method raises StorageError."""

    def __init__(self, path: Path) -> None:
        self._file = DataFile.open(path, mode=_MODE)
        self._file.truncate(0)
        self._end = 0

    def add(self, name: str, span: FileSpan, seen: Callable[[bytes], object] = len) -> bool:
        """A member with the bytes of `span`, which `seen` gets too. False if they could not all be read.

        Zeros stand for the rest then: one bad sector does not end a backup.
        """
        header = tarfile.TarInfo(name)
        header.size, header.mode = span.length, _MODE
        self._write(header.tobuf(tarfile.PAX_FORMAT))
        end = self._end + span.length
        for chunk in _readable(span):
            seen(chunk)
            self._write(chunk)
        whole = self._end == end
        self._end = end + -end % _BLOCK
        self._file.truncate(self._end)
        return whole

    def finish(self) -> None:
        """The end of the archive, and all of it durable."""
        self._file.truncate(self._end + 2 * _BLOCK)
        self._file.sync()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _write(self, data: bytes) -> None:
        self._file.write(data, self._end)
        self._end += len(data)


def is_archive(path: Path) -> bool:
    """Whether the file is a tar, and not a database. NotFoundError; StorageError."""
    with files.open_for_reading(path) as file, contextlib.suppress(tarfile.TarError):
        tarfile.TarInfo.frombuf(file.read(_BLOCK), "utf-8", "surrogateescape")
        return True
    return False


def members(path: Path) -> Iterator[tuple[str, FileSpan]]:
    """The files in an archive and where their bytes are, as far as it goes. StorageError."""
    with files.open_for_reading(path) as file, contextlib.suppress(tarfile.TarError):
        size = file.seek(0, 2)
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it would remember each one
                if member.isreg() and member.offset_data + member.size <= size:
                    yield member.name, FileSpan(path, member.offset_data, member.size)


def _readable(span: FileSpan) -> Iterator[bytes]:
    with contextlib.suppress(NotFoundError, StorageError):
        yield from files.read_span(span)
