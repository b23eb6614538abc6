"""Which blobs of a store running processes rely on, so that nobody takes them away meanwhile.

A mark is a small file, locked for as long as its process lives; the lock of one that died is free. Marks are
made while the lock of the store is shared, and looked at while it is held alone. Ferry 0.1, which may be at
work in the same store, calls them claims.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from registry.disk.data import DataFile
from registry.disk.files import Owner, make_directory, names, new_file, read_bounded, remove
from registry.disk.journal import seal, unseal
from registry.errors import InvalidError, NotFoundError, StorageError
from registry.model.digests import Digest

_LONGEST = 16 * 1024 * 1024
_KEY = "ferry claim 1"


class InUse:
    """The blobs `digests`, in use until `release`."""

    def __init__(self, file: DataFile, digests: frozenset[Digest]) -> None:
        self.digests = digests
        self._file = file

    @classmethod
    def mark(cls, directory: Path, digests: Iterable[Digest], owner: Owner | None) -> InUse:
        """Mark that `digests` are in use. StorageError."""
        make_directory(directory, owner)
        path, handle = new_file(directory, "claim", owner=owner)
        file = DataFile(path, handle)
        mark = cls(file, frozenset(digests))
        try:
            if not file.lock():
                raise StorageError(f"{path} is locked by somebody else")
            file.write(b"".join(seal(str(digest), _KEY) for digest in mark.digests), 0)
        except BaseException:
            mark.release()
            raise
        return mark

    def release(self) -> None:
        """No longer in use. May come twice."""
        remove(self._file.path)
        self._file.close()


def blobs_in_use(directory: Path) -> set[Digest]:
    """What running processes use; the marks of processes that ended, of any user, are removed."""
    digests: set[Digest] = set()
    for name in names(directory):
        try:
            file = DataFile.open_read_only(directory / name)
        except NotFoundError:
            continue
        try:
            if file.lock(shared=True):  # nobody makes a mark meanwhile
                remove(file.path)
            else:
                digests.update(_read(file.path))
        finally:
            file.close()
    return digests


def _read(path: Path) -> Iterable[Digest]:
    try:
        return [Digest.parse(text) for text in unseal(read_bounded(path, _LONGEST), _KEY)]
    except NotFoundError:
        return ()
    except InvalidError as error:
        raise StorageError(f"{path}: {error.message}") from None
