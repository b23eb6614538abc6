"""The way back from a loss: a copy of the database, onto the blobs that are there or those of a backup.

Blobs first, then what had been withdrawn, then the database takes its place: a process killed in between
is run again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, delete, select

from registry.contracts import NOBODY, Actor, Clock, NewId
from registry.disk import archive, files
from registry.disk.data import DataFile, give, lock_file
from registry.disk.secrets import create_once
from registry.errors import InvalidError, NotFoundError, StorageError
from registry.model.digests import Digest
from registry.model.spans import FileSpan
from registry.server import revocations
from registry.server.audit import last, record
from registry.server.backup import needed
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
    upsert,
    writing,
)
from registry.server.directory import COPIES, LOCK, MARK, check_restorable
from registry.server.revocations import Change, Withdrawals
from registry.server.tables import INVITATIONS, NONCES, SESSIONS

Members = Iterator[tuple[str, FileSpan]]


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore leaves to see to: blobs that are missing, and what was withdrawn after the copy.

    `withdrawn` holds again, if revocations were given; else it has come back to life. `brought` blobs came
    out of the backup. `aside` is where the database that was there before is now, if there was one.
    """

    blobs: int
    missing: int
    brought: int
    withdrawn: Sequence[Change]
    aside: Path | None


@dataclass(frozen=True, slots=True)
class _Replaced:
    """What is left of the database that was there: where it is, its withdrawals and its spent requests."""

    aside: Path | None = None
    changes: Sequence[Change] = ()
    spent: Sequence[dict[str, object]] = ()


@dataclass(frozen=True, slots=True)
class Restore:
    """Puts backups in the place of the database in `directory`, which nobody may serve meanwhile."""

    directory: Path
    clock: Clock
    new_id: NewId
    actor: Actor = NOBODY

    def run(self, copy: Path, withdrawn: Path | None = None) -> Restored:
        """Restore `copy`; `withdrawn` is a file of revocations that are made anew.

        Every token and link that was given is dead afterwards, every browser is signed out, and no request
        that was signed before asks for another token. InvalidError for what is no registry's directory, no
        copy or no such file; StorageError.
        """
        check_restorable(self.directory)
        given = revocations.read(withdrawn) if withdrawn is not None else None
        members = _members(copy)
        if members is None:
            _check_copy(copy)
        files.make_directory(self.directory, self._owner(), mode=0o700)
        lock = lock_file(self.directory / LOCK, owner=self._owner())
        if lock is None:
            raise StorageError(f"{self.directory} is being served", hint="stop ferry serve first")
        draft = self.directory / f"{FILE}.restored"
        try:
            create_once(self.directory / MARK, f"{self.new_id()}\n".encode(), "new", mode=0o644)
            give(self.directory / MARK, self._owner())
            if members is None:
                _copy(copy, draft)
            else:
                _take_out(copy, members, draft)
            return self._restored(copy, draft, members, given)
        finally:
            files.remove(draft)
            lock.close()

    def _restored(
        self, copy: Path, draft: Path, members: Members | None, given: list[Change] | None
    ) -> Restored:
        """The same, with the copy in a file of its own."""
        _bring_up(draft, self.clock())
        blobs, wanted = Blobs(self.directory), dict(needed(draft))
        brought = self._bring(members or iter(()), blobs, wanted)
        replaced = self._set_aside()
        alive = self._withdrawn(draft, given, replaced.changes)
        self._note(draft, copy, replaced.spent)
        files.remove(self.directory / "token-secret")
        for name in (f"{FILE}-wal", f"{FILE}-shm"):  # they belong to the one that goes
            files.remove(self.directory / name)
        give(draft, self._owner())
        files.move(draft, self.directory / FILE)
        missing = sum(blobs.size(digest) != size for digest, size in wanted.items())
        return Restored(len(wanted), missing, brought, alive, replaced.aside)

    def _bring(self, members: Members, blobs: Blobs, wanted: dict[Digest, int]) -> int:
        """Put the blobs of an archive where they are missing; how many. One that is not right is none."""
        upload = self.directory / "uploads" / f"restore-{self.new_id()}"
        names = {blobs.name(digest): digest for digest in wanted}
        brought = 0
        for name, span in members:
            digest = names.get(name)
            if digest is None or span.length != wanted[digest] or blobs.size(digest) == span.length:
                continue
            try:
                if _written(span, upload, digest, self._owner()):
                    blobs.put(upload, digest)
                    brought += 1
            finally:
                files.remove(upload)
        return brought

    def _set_aside(self) -> _Replaced:
        """Keep the database that is there, and what it knows, as far as it can be read."""
        if files.status(self.directory / FILE) is None:
            return _Replaced()
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(self.clock()))
        aside = self.directory / COPIES / f"before-restore-{stamp}.db"
        files.make_directory(aside.parent, self._owner(), mode=0o700)
        engine = connect(self.directory / FILE)
        try:
            copy_database(engine, aside)
            give(aside, self._owner())
            if revision(engine) == OLDEST:
                return _Replaced(aside)
            return _Replaced(aside, revocations.changes(engine), self._spent(engine))
        except StorageError:  # it is broken: that may be why it is replaced
            files.move(self.directory / FILE, aside)
            return _Replaced(aside)
        finally:
            engine.dispose()

    def _owner(self) -> files.Owner | None:
        """Whose the files are that root makes here: who serves the directory is seldom root."""
        return files.owner_to_keep(self.directory)

    def _spent(self, engine: Engine) -> list[dict[str, object]]:
        """The rows of the signed requests that could still be sent again."""
        with reading(engine) as database:
            rows = database.execute(select(NONCES).where(NONCES.c.expires >= self.clock()))
            return [dict(row) for row in rows.mappings()]

    def _note(self, draft: Path, copy: Path, spent: Sequence[dict[str, object]]) -> None:
        """Let the copy know the requests that were spent since, and that it was restored now.

        Browsers sign in anew, and invitations are made anew.
        """
        engine = connect(draft)
        try:
            with writing(engine) as database:
                if spent:
                    database.execute(upsert(database, NONCES).on_conflict_do_nothing(), spent)
                for table in (SESSIONS, INVITATIONS):  # some were used or ended since
                    database.execute(delete(table))
                record(database, self.clock(), self.actor, "restore", copy.name)
        finally:
            engine.dispose()

    def _withdrawn(self, draft: Path, given: list[Change] | None, later: Sequence[Change]) -> list[Change]:
        """What was withdrawn since the copy; it is withdrawn from the copy too, if the file was given."""
        engine = connect(draft)
        try:
            latest, noted = last(engine, until=self.clock()), set(revocations.changes(engine))
            known = [*later, *(given if given is not None else self._noted())]
            withdrawals = Withdrawals(engine, self.clock, self.new_id)
            alive = withdrawals.alive([each for each in known if each.time > latest and each not in noted])
            for change in alive if given is not None else ():
                withdrawals.apply(change)
            return alive
        finally:
            engine.dispose()

    def _noted(self) -> list[Change]:
        with contextlib.suppress(NotFoundError):
            return revocations.read(self.directory / revocations.FILE)
        return []


def _members(copy: Path) -> Members | None:
    """What is in an archive behind its name for a database; None for another file. NotFoundError."""
    found = files.status(copy)
    if found is None or not found.is_file:
        raise NotFoundError(f"there is no backup {copy}")
    return archive.members(copy) if archive.is_archive(copy) else None


def _check_copy(copy: Path) -> None:
    """InvalidError for what is no copy of a registry's database that this Ferry reads."""
    engine = connect_read_only(copy, alone=True)
    try:
        made_by = revision(engine)
    except StorageError:
        raise InvalidError(f"{copy} is no copy of a registry's database") from None
    finally:
        engine.dispose()
    if not OLDEST <= made_by <= REVISION:
        raise InvalidError(f"{copy} is no copy that this Ferry can read (revision {made_by or 'none'})")


def _bring_up(draft: Path, now: float) -> None:
    engine = connect(draft)
    try:
        if revision(engine) == REVISION:
            return
    finally:
        engine.dispose()
    from registry.server.migrations import bring_up  # slow to import, and seldom needed

    bring_up(draft, now)


def _copy(copy: Path, draft: Path) -> None:
    engine: Engine = connect_read_only(copy, alone=True)
    try:
        copy_database(engine, draft)
    finally:
        engine.dispose()


def _take_out(copy: Path, members: Members, draft: Path) -> None:
    """The database of an archive: its first member. InvalidError if it has none."""
    name, span = next(members, ("", None))
    if name != FILE or span is None:
        raise InvalidError(f"{copy} is no backup of a registry")
    _write(span, draft)
    _check_copy(draft)


def _written(span: FileSpan, upload: Path, digest: Digest, owner: files.Owner | None) -> bool:
    """Whether the bytes are the digest's; durably in `upload` then."""
    files.make_directory(upload.parent, owner, mode=0o700)
    hasher = digest.hasher()
    _write(span, upload, hasher.update)
    give(upload, owner)
    return digest.matches(hasher)


def _write(span: FileSpan, path: Path, seen: Callable[[bytes], object] = len) -> None:
    file = DataFile.open(path, mode=0o600)
    try:
        file.truncate(0)
        at = 0
        for chunk in files.read_span(span):
            seen(chunk)
            file.write(chunk, at)
            at += len(chunk)
        file.sync()
    finally:
        file.close()
