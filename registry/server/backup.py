"""Copies of a registry's database: one a day, for a week, beside it; one on demand; and the way back.

A copy is a database of its own. Its table of blobs says which bytes it needs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, func, select

from registry.contracts import Clock, NewId
from registry.disk import files
from registry.disk.data import lock_file
from registry.disk.secrets import create_once
from registry.errors import InvalidError, NotFoundError, StorageError
from registry.model.digests import Digest
from registry.server.audit import Entry, entries
from registry.server.blobs import Blobs
from registry.server.database import (
    FILE,
    OLDEST,
    REVISION,
    connect,
    connect_read_only,
    copy_database,
    reading,
    revision,
)
from registry.server.directory import COPIES, MARK, check_servable
from registry.server.tables import AUDIT, BLOBS

LOCK = "serving"  # whoever serves the directory holds this file's lock
_KEPT = 7
_DAILY = "registry-20"
_TAKES_AWAY = ("key.revoke", "user.disable", "user.remove", "grant", "visibility")


def daily_copy(directory: Path, engine: Engine, now: float) -> Path | None:
    """Today's copy, if there is none yet; the oldest goes when there are more than seven. StorageError."""
    place = directory / COPIES
    path = place / f"registry-{time.strftime('%Y-%m-%d', time.gmtime(now))}.db"
    if files.status(path) is not None:
        return None
    files.make_directory(place, mode=0o700)
    copy_database(engine, path)
    daily = [name for name in files.names(place) if name.startswith(_DAILY)]
    for name in daily[:-_KEPT]:
        files.remove(place / name)
    return path


def backup(engine: Engine, path: Path) -> None:
    """A copy of the database, 0600, while it is in use. InvalidError if `path` exists; StorageError."""
    if files.status(path) is not None:
        raise InvalidError(f"{path} exists already", hint="give the backup another name")
    copy_database(engine, path)


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore leaves to see to: blobs that are missing, and what was withdrawn after the copy.

    `aside` is where the database that was there before is now, if there was one.
    """

    blobs: int
    missing: int
    withdrawn: Sequence[Entry]
    aside: Path | None


def restore(copy: Path, directory: Path, clock: Clock, new_id: NewId) -> Restored:
    """Put a copy in the place of the directory's database, onto the blobs that are there.

    Nobody may serve the directory meanwhile. Every token and link that was given is dead afterwards.
    InvalidError for what is no registry's directory or no copy; StorageError.
    """
    check_servable(directory)
    source = _opened(copy)
    try:
        files.make_directory(directory, mode=0o700)
        lock = lock_file(directory / LOCK)
        if lock is None:
            raise StorageError(f"{directory} is being served", hint="stop ferry serve first")
        try:
            create_once(directory / MARK, f"{new_id()}\n".encode(), "new", mode=0o644)
            last, aside, withdrawn = _last(source), None, list[Entry]()
            if files.status(directory / FILE) is not None:
                aside, withdrawn = _set_aside(directory, clock(), last)
            draft = directory / f"{FILE}.restored"
            copy_database(source, draft)
            for name in (f"{FILE}-wal", f"{FILE}-shm"):  # they belong to the one that goes
                files.remove(directory / name)
            files.move(draft, directory / FILE)
            files.remove(directory / "token-secret")
        finally:
            lock.close()
        blobs, missing = _count(source, Blobs(directory))
        return Restored(blobs, missing, withdrawn, aside)
    finally:
        source.dispose()


def _opened(copy: Path) -> Engine:
    found = files.status(copy)
    if found is None or not found.is_file:
        raise NotFoundError(f"there is no backup {copy}")
    engine = connect_read_only(copy, alone=True)
    try:
        made_by = revision(engine)
    except StorageError:
        engine.dispose()
        raise InvalidError(f"{copy} is no copy of a registry's database") from None
    if made_by not in (OLDEST, REVISION):
        engine.dispose()
        raise InvalidError(f"{copy} is no copy that this Ferry can read (revision {made_by or 'none'})")
    return engine


def _set_aside(directory: Path, now: float, last: float) -> tuple[Path, list[Entry]]:
    """Keep the database that is there, as far as it can be read; what it says was withdrawn since `last`."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    aside = directory / COPIES / f"before-restore-{stamp}.db"
    files.make_directory(aside.parent, mode=0o700)
    engine = connect(directory / FILE)
    try:
        copy_database(engine, aside)
        found = entries(engine, after=last, limit=100_000) if revision(engine) == REVISION else []
    except StorageError:  # it is broken: that may be why it is replaced
        files.move(directory / FILE, aside)
        return aside, []
    finally:
        engine.dispose()
    return aside, [each for each in found if each.action in _TAKES_AWAY]


def _last(engine: Engine) -> float:
    """When the last thing happened that the copy knows of."""
    if revision(engine) != REVISION:
        return 0.0
    with reading(engine) as database:
        return float(database.execute(select(func.max(AUDIT.c.time))).scalar() or 0.0)


def _count(engine: Engine, blobs: Blobs) -> tuple[int, int]:
    with reading(engine) as database:
        rows = database.execute(select(BLOBS.c.digest, BLOBS.c.size)).all()
    return len(rows), sum(blobs.size(Digest.parse(digest)) != size for digest, size in rows)
