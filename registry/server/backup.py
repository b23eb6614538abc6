"""Copies of a registry's database: one a day for a week; one on demand, with its blobs or without.

A copy is a database of its own. Its table of blobs says which bytes it needs. With them it is a tar: the
database first, then each blob under the path it has in a data directory.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, select

from registry.disk import files
from registry.disk.archive import Archive
from registry.errors import InvalidError
from registry.model.digests import Digest
from registry.model.spans import FileSpan, Span
from registry.server.blobs import Blobs
from registry.server.database import FILE, connect_read_only, copy_database, reading
from registry.server.directory import COPIES
from registry.server.tables import BLOBS

_KEPT = 7
_DAILY = re.compile(r"registry-\d{4}-\d\d-\d\d\.db")


def daily_copy(directory: Path, engine: Engine, now: float) -> Path | None:
    """Today's copy, if there is none yet; the oldest goes when there are more than seven. StorageError.

    Copies of days to come were made when the clock was ahead: they are older than today's.
    """
    place = directory / COPIES
    path = place / f"registry-{time.strftime('%Y-%m-%d', time.gmtime(now))}.db"
    if files.status(path) is not None:
        return None
    files.make_directory(place, mode=0o700)
    copy_database(engine, path)
    files.set_modified(path, now)
    for name in sorted(_daily(directory), key=lambda name: (name <= path.name, name))[:-_KEPT]:
        files.remove(place / name)
    return path


def copied(directory: Path) -> list[float]:
    """When each daily copy that is there was made, by the clock of then (Unix seconds). StorageError."""
    found = [files.status(directory / COPIES / name) for name in _daily(directory)]
    return [each.modified for each in found if each is not None]


def _daily(directory: Path) -> list[str]:
    return [name for name in files.names(directory / COPIES) if _DAILY.fullmatch(name)]


def backup(engine: Engine, path: Path) -> None:
    """A copy of the database, 0600, while it is in use.

    InvalidError if `path` exists, or the directory it is to be in does not; StorageError.
    """
    _check_free(path)
    copy_database(engine, path)


@dataclass(frozen=True, slots=True)
class BackedUp:
    """What a backup holds: blobs and their bytes; `damaged` are those that it could not take whole."""

    blobs: int
    bytes: int
    damaged: tuple[Digest, ...]


def backup_with_blobs(engine: Engine, blobs: Blobs, path: Path) -> BackedUp:
    """The same with every blob that the copy needs, in one file, while the registry is in use.

    The database is copied first. What is deleted meanwhile lies in the trash for longer than this takes.
    InvalidError if `path` exists; StorageError.
    """
    _check_free(path)
    copy, draft = path.with_name(f".{path.name}.db"), path.with_name(f".{path.name}.draft")
    try:
        copy_database(engine, copy)
        archive = Archive(draft)
        try:
            done = _fill(archive, copy, blobs)
            archive.finish()
        finally:
            archive.close()
        files.move(draft, path)
    finally:
        files.remove(copy)
        files.remove(draft)
    return done


def _fill(archive: Archive, copy: Path, blobs: Blobs) -> BackedUp:
    found = files.status(copy)
    assert found is not None
    archive.add(FILE, FileSpan(copy, 0, found.size))
    count, total, damaged = 0, 0, list[Digest]()
    for digest, size in needed(copy):
        hasher = digest.hasher()
        whole = archive.add(blobs.name(digest), blobs.kept(digest, Span(0, size)), hasher.update)
        count, total = count + 1, total + size
        if not (whole and digest.matches(hasher)):
            damaged.append(digest)
    return BackedUp(count, total, tuple(damaged))


def needed(copy: Path) -> list[tuple[Digest, int]]:
    """The blobs, and their sizes in bytes, that a copy of this Ferry's needs. StorageError."""
    engine = connect_read_only(copy, alone=True)
    try:
        with reading(engine) as database:
            query = select(BLOBS.c.digest, BLOBS.c.size).where(BLOBS.c.hidden.is_(None))
            return [(Digest.parse(digest), size) for digest, size in database.execute(query)]
    finally:
        engine.dispose()


def _check_free(path: Path) -> None:
    if files.status(path) is not None:
        raise InvalidError(f"{path} exists already", hint="give the backup another name")
    if files.status(path.parent) is None:
        raise InvalidError(f"there is no directory {path.parent}", hint="make it, or choose another place")
