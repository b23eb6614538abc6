"""Partials seen from outside: how far another process is, what is left behind, and how to be rid of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from registry.disk.data import DataFile, holder, lock_file
from registry.disk.files import Owner, inside, names, read_bounded, remove, status
from registry.disk.journal import JOURNAL_BYTES, SealedLines, journal_key, note, read_sums
from registry.disk.sums import Sums
from registry.errors import InvalidError, RegistryError
from registry.model.digests import Digest

_DATA = ".data"
_JOURNAL = ".journal"


def data_path(directory: Path, digest: Digest) -> Path:
    """Where a partial's bytes are."""
    return directory / f"{digest.algorithm}-{digest.hex}{_DATA}"


def journal_path(directory: Path, digest: Digest) -> Path:
    """Where a partial's journal is; its lock is the partial's."""
    return directory / f"{digest.algorithm}-{digest.hex}{_JOURNAL}"


class Busy:
    """A partial that another process (or another part of this one) owns right now."""

    def __init__(self, journal: Path, digest: Digest, size: int) -> None:
        self.journal = journal
        self._size = size
        self._lines = SealedLines(journal, journal_key(digest, size), JOURNAL_BYTES)
        self._sums = Sums()

    def received(self) -> int:
        """How many bytes its owner has noted in the journal; each line of it is read once."""
        try:
            anew, texts = self._lines.more()
        except RegistryError:
            return 0
        if anew:
            self._sums = Sums()
        note(self._sums, texts, self._size)
        return self._sums.total

    def written(self) -> float:
        """When its owner last wrote a byte of it, in Unix seconds; 0 where it keeps them in memory."""
        found = status(self.journal.with_suffix(_DATA))
        return found.modified if found else 0.0

    def process(self) -> int | None:
        """The process that owns it, where the system tells."""
        return holder(self.journal)

    def over(self) -> bool:
        """Whether it has no owner any more."""
        return not _is_locked(self.journal)


def hold(directory: Path, digest: Digest, size: int, owner: Owner | None = None) -> DataFile | Busy:
    """The lock of the partial of `digest`, whether there is one or not; Busy if another has it. StorageError.

    The process that lets go of it removes the file first, if it has nothing in it that a later run needs.
    """
    path = journal_path(directory, digest)
    lock = inside(directory, owner, lambda: lock_file(path, owner=owner))
    return lock or Busy(path, digest, size)


@dataclass(frozen=True, slots=True)
class Leftover:
    """A partial that nobody may be working on: the disk space behind it, when it last changed (seconds)."""

    digest: Digest
    held: int
    modified: float


def held(directory: Path, digest: Digest) -> int:
    """The disk space that a partial of `digest` has already, in bytes."""
    found = status(data_path(directory, digest))
    return found.held if found else 0


def received(directory: Path, digest: Digest, size: int) -> int:
    """How many bytes of a blob of `size` its partial has for good, somebody's or nobody's."""
    try:
        journal = read_bounded(journal_path(directory, digest), JOURNAL_BYTES)
    except RegistryError:
        return 0
    return sum(each.span.length for each in read_sums(journal, journal_key(digest, size), size))


def leftovers(directory: Path) -> list[Leftover]:
    """Every partial in `directory`, whether somebody owns it or not."""
    found: dict[Digest, Leftover] = {}
    for name in names(directory):
        there = status(directory / name)
        stem, dot, ending = name.rpartition(".")
        if there is None or dot + ending not in (_DATA, _JOURNAL):
            continue
        try:
            digest = Digest.parse(stem.replace("-", ":", 1))
        except InvalidError:
            continue
        before = found.get(digest, Leftover(digest, 0, 0.0))
        modified = max(before.modified, there.modified)
        found[digest] = Leftover(digest, before.held + there.held, modified)
    return list(found.values())


def is_held(directory: Path, digest: Digest) -> bool:
    """Whether a process is working on the partial of `digest`."""
    return _is_locked(journal_path(directory, digest))


def _is_locked(journal: Path) -> bool:
    try:
        file = DataFile.open_read_only(journal)
    except RegistryError:
        return False
    try:
        return not file.lock(shared=True)
    finally:
        file.close()


def reclaim(directory: Path, digest: Digest, owner: Owner | None = None) -> bool:
    """Take a partial away; False while a process has its lock. What is made for that is `owner`'s."""
    lock = lock_file(journal_path(directory, digest), owner=owner)
    if lock is None:
        return False
    try:
        remove(data_path(directory, digest))
        remove(journal_path(directory, digest))
    finally:
        lock.close()
    return True
