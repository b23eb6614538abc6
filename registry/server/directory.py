"""A registry's data directory: how it is known, made, brought up to date and opened.

It is known by a mark of its own, and nothing is done in a directory without one: what lies there is somebody
else's. A data directory of Ferry 0.1 had no mark; it is known by its database.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, select

from registry.contracts import Clock, NewId
from registry.disk import files
from registry.disk.data import lock_file
from registry.disk.secrets import create_once
from registry.errors import InvalidError, NotFoundError, StorageError
from registry.server.blobs import Blobs
from registry.server.database import (
    FILE,
    OLDEST,
    REVISION,
    connect,
    connect_read_only,
    copy_database,
    create_database,
    open_database,
    reading,
    revision,
)
from registry.server.tables import AUDIT, BLOBS, REPOSITORIES

MARK = "ferry-registry"
_URL = "served-at"
LOCK = "serving"  # the process that serves the directory holds this file's lock
COPIES = "copies"  # where copies of the database are kept
_COPIED = frozenset({"blobs", "uploads", COPIES, "revocations"})  # by people, beside a backup
_MADE_BY = {OLDEST: "0.1"}
_MAKE_ONE = "ferry serve --data DIR makes one, in a directory that is missing or empty"


def check_servable(directory: Path) -> None:
    """InvalidError unless a registry is in `directory`, or may be made there; nothing is changed."""
    names = [name for name in files.names(directory) if not _is_nothing(name)]
    if names and not _is_marked(directory) and not _is_of_0_1(directory):
        raise InvalidError(
            f"{directory} is no registry's data directory: {names[0]} is in it, and no {MARK}",
            hint="choose a directory that is missing or empty, or one that a registry made",
        )


def check_restorable(directory: Path) -> None:
    """The same where a backup is to be put: the blobs that were copied beside it may be all that is there."""
    names = {name for name in files.names(directory) if not _is_nothing(name)}
    if not (names <= _COPIED and Blobs(directory).any()):
        check_servable(directory)


def prepare(directory: Path, clock: Clock, new_id: NewId) -> Engine:
    """The database of the registry in `directory`, made or brought up to date; for its one server.

    `check_servable` has said yes, and nobody else serves it. StorageError if it was made by a newer Ferry,
    or if its database is empty and there are blobs.
    """
    if not _is_marked(directory):
        if _is_of_0_1(directory):  # before the mark, so that a process killed in between starts anew
            _keep_copy(directory, f"registry-{_MADE_BY[OLDEST]}")
        create_once(directory / MARK, f"{new_id()}\n".encode(), "new", mode=0o644)
    blobs = Blobs(directory)
    if files.status(directory / FILE) is None and blobs.any():
        raise _lost(directory)
    engine = _brought_up(directory, clock)
    if _never_held_anything(engine) and blobs.any():
        engine.dispose()
        raise _lost(directory)
    return engine


def open_registry(directory: Path) -> Engine:
    """The database of the registry that is in `directory`, also while it is served.

    InvalidError if no registry is there; StorageError.
    """
    if _is_marked(directory):
        return open_database(directory)
    if _is_of_0_1(directory):
        raise StorageError(
            f"{directory} is a registry of Ferry 0.1",
            hint="start ferry serve on it once: it keeps a copy of the database and brings it up to date",
        )
    raise InvalidError(f"{directory} is no registry's data directory", hint=_MAKE_ONE)


def note_url(directory: Path, url: str) -> None:
    """Note what the server on it is called, for those who make links to its pages beside it. StorageError.

    Nothing is written where that is noted already: a start writes nothing it does not have to.
    """
    if url == noted_url(directory):
        return
    files.write_atomic(directory / _URL, f"{url}\n".encode(), scratch=directory)


def noted_url(directory: Path) -> str:
    """What the last server on it was called; "" before there was one. StorageError."""
    try:
        return files.read_bounded(directory / _URL, 1024).decode("ascii", "replace").strip()
    except NotFoundError:
        return ""


@contextmanager
def unserved(directory: Path) -> Iterator[bool]:
    """Whether nobody serves the registry in `directory`; nobody begins to while the block runs, then."""
    lock = lock_file(directory / LOCK, owner=files.owner_to_keep(directory))
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.close()


def _brought_up(directory: Path, clock: Clock) -> Engine:
    path = directory / FILE
    if files.status(path) is not None:
        engine = connect(path)
        try:
            found = revision(engine)
        finally:
            engine.dispose()
        if found.isdecimal() and found < REVISION:
            from registry.server.migrations import bring_up  # slow to import, and needed once

            _keep_copy(directory, f"registry-{_MADE_BY.get(found, found)}")
            bring_up(path, clock())
    return create_database(directory)


def _keep_copy(directory: Path, name: str) -> None:
    """A copy of the database as an older Ferry left it; the first one of that name stays."""
    path = directory / COPIES / f"{name}.db"
    files.make_directory(path.parent, mode=0o700)
    if files.status(path) is None:
        engine = connect(directory / FILE)
        try:
            copy_database(engine, path)
        finally:
            engine.dispose()


def _lost(directory: Path) -> StorageError:
    return StorageError(
        f"{directory} holds blobs, but its database knows nothing of them",
        hint=f"bring its database back: ferry admin restore FILE --onto {directory} takes a backup, "
        f"or one of the copies in {directory / COPIES}",
    )


def _never_held_anything(engine: Engine) -> bool:
    published = select(AUDIT.c.id).where(AUDIT.c.action == "publish")
    queries = (select(REPOSITORIES.c.id), select(BLOBS.c.size), published)
    with reading(engine) as database:
        return not any(database.execute(query.limit(1)).first() for query in queries)


def _is_nothing(name: str) -> bool:
    """Names that are there before anybody has put anything into a directory."""
    return name == "lost+found" or name.startswith(f".{MARK}.")


def _is_marked(directory: Path) -> bool:
    found = files.status(directory / MARK)
    return found is not None and found.is_file


def _is_of_0_1(directory: Path) -> bool:
    """Whether Ferry 0.1 made it: its database says so itself."""
    found = files.status(directory / FILE)
    if found is None or not found.is_file or not found.size:
        return False
    engine = connect_read_only(directory / FILE, alone=False)  # it may be somebody else's
    try:
        return revision(engine) == OLDEST
    except StorageError:
        return False
    finally:
        engine.dispose()
