"""Reclaims what no model needs any more: out of the catalogue first, then the bytes.

Rule 17: what goes was named once and is named no more, for longer than the grace; its bytes lie in the trash
for days. A file that the catalogue never knew is shown and never touched. A client that was told that a blob
is there may still be on the way to the manifest that names it: what is in a repository to which something is
pushed is kept for longer. No file is looked at inside a transaction, and each transaction is small: others
write in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, delete, func, or_, select, tuple_
from sqlalchemy.exc import IntegrityError

from registry.contracts import NOBODY, Actor
from registry.disk import files
from registry.errors import StorageError
from registry.model.digests import Digest
from registry.server.audit import record
from registry.server.blobs import TRASH_SECONDS, Found
from registry.server.catalogue import AT_ONCE, batches
from registry.server.database import reading, writing
from registry.server.depot import DiskDepot
from registry.server.manifests import DAY, drop_manifest
from registry.server.tables import (
    BLOBS,
    CHILDREN,
    LINKS,
    MANIFESTS,
    METADATA,
    NAMESPACES,
    PARTS,
    REPOSITORIES,
    TAGS,
    UPLOADS,
)

GRACE = DAY  # seconds that what no manifest names, or an upload nobody goes on with, is kept
PUSHED_TO = 7 * DAY  # the same in a repository to which something was pushed within the grace: some take days
LEAST = 3600.0  # seconds below which neither goes while clients may push, whatever is asked
KEEP_UNTAGGED = 30 * DAY  # seconds since the last pull that a manifest without a tag is kept

_PART_OF = and_(PARTS.c.repository == LINKS.c.repository, PARTS.c.part == LINKS.c.digest)
_NEEDED = select(PARTS.c.part).where(_PART_OF).exists()
_HELD = select(LINKS.c.digest).where(LINKS.c.digest == BLOBS.c.digest)


@dataclass(frozen=True, slots=True)
class Terms:
    """For how long what is not needed is kept, in seconds; `untagged` None for ever.

    `pushed_to` is kept what is in a repository to which something was pushed within the grace.
    """

    grace: float = GRACE
    untagged: float | None = KEEP_UNTAGGED
    trash: float = TRASH_SECONDS
    pushed_to: float = PUSHED_TO

    @classmethod
    def asked(
        cls, older_than: float | None = None, untagged: float | None = KEEP_UNTAGGED, *, served: bool = True
    ) -> Terms:
        """Whatever has not been needed for `older_than` seconds, also what lies in the trash for that long.

        While the registry is served, what a push may be on its way to name is kept all the same.
        """
        if served and untagged is not None:
            untagged = max(untagged, DAY)  # an index comes after what it names
        if older_than is None:
            return cls(untagged=untagged)
        trash = min(older_than, TRASH_SECONDS)
        if not served:
            return cls(older_than, untagged, trash, older_than)
        return cls(max(older_than, LEAST), untagged, trash, max(older_than, PUSHED_TO))


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """What was done, or would be: bytes freed, bytes put into the trash, and what is left to wait for.

    `waiting` bytes are not needed and not old enough, or in the trash; all of them are free at `until`
    (Unix seconds; None if nothing waits). `untagged` manifests have no tag, and stay for a while.
    """

    freed: int = 0
    trashed: int = 0
    blobs: int = 0
    manifests: int = 0
    uploads: int = 0
    waiting: int = 0
    until: float | None = None
    untagged: int = 0


@dataclass(frozen=True, slots=True)
class _Session:
    """An upload: when it began, when bytes last came for it (Unix seconds), and how many are here."""

    repository: int | None = None
    begun: float = 0.0
    written: float = 0.0
    size: int = 0

    @property
    def moved(self) -> float:
        """When something last came."""
        return max(self.begun, self.written)


@dataclass(frozen=True, slots=True)
class Reclaim:
    """The collector of one depot. Safe beside a running server, and beside another collector."""

    depot: DiskDepot
    terms: Terms = Terms()
    actor: Actor = NOBODY

    def run(self) -> Reclaimed:
        """Reclaim what may go now."""
        self.depot.manifests.note_pulls()
        uploads, of_uploads = self._uploads()
        manifests = self._manifests()
        self._links()
        blobs, trashed = self._blobs()
        freed = of_uploads + self._trash()
        self._empty_places()
        done = Reclaimed(freed, trashed, blobs, manifests, uploads)
        if done != Reclaimed():
            with writing(self.depot.engine) as database:
                said = f"{manifests} manifests, {blobs} blobs, {trashed} bytes to the trash, {freed} freed"
                record(database, self.depot.clock(), self.actor, "gc", said)
        return self._with_waiting(done)

    def preview(self) -> Reclaimed:
        """What `run` would do, and nothing done."""
        stale = [*self._stale_uploads()]
        sizes = [files.status(self.depot.upload_path(session)) for session in stale]
        kept = _HELD.where(or_(_NEEDED, self._young())).exists()
        with reading(self.depot.engine) as database:
            row = database.execute(select(func.count(), func.sum(BLOBS.c.size)).where(~kept)).one()
            manifests = len(database.execute(self._untagged()).all())
            blobs, size = self._let_go(database)
        trash = sum(each.size for each in self._old_trash())
        freed = sum(found.size for found in sizes if found) + trash
        would = self._with_waiting(Reclaimed(freed, row[1] or 0, row[0], manifests, len(stale)))
        would = replace(would, waiting=would.waiting - trash, untagged=would.untagged - manifests)
        if not blobs:
            return would
        if not self.terms.grace:
            return replace(would, blobs=would.blobs + blobs, trashed=would.trashed + size)
        until = self.depot.clock() + self.terms.grace + self.terms.trash
        return replace(would, waiting=would.waiting + size, until=max(until, would.until or 0.0))

    def strays(self) -> list[Found]:
        """Blob files that the catalogue does not know. Only a person removes them; a push adopts them."""
        found = {each.digest: each for each in self.depot.blobs.list()}
        return [found[each] for each in self._unknown(found)]

    # --- what nobody goes on with ------------------------------------------------------------------

    @property
    def _before(self) -> float:
        return self.depot.clock() - self.terms.grace

    def _sessions(self) -> dict[str, _Session]:
        """Every upload, and every file of none."""
        query = select(UPLOADS.c.id, UPLOADS.c.repository, UPLOADS.c.touched)
        with reading(self.depot.engine) as database:
            found = {row.id: _Session(row.repository, row.touched) for row in database.execute(query)}
        for name in found.keys() | set(files.names(self.depot.directory / "uploads")):
            session, file = found.get(name, _Session()), files.status(self.depot.upload_path(name))
            if file is not None:
                session = replace(session, written=file.modified, size=file.size)
            found[name] = session
        return found

    def _stale_uploads(self) -> list[str]:
        """Those that nobody has written to for the grace."""
        return [name for name, each in self._sessions().items() if each.moved < self._before]

    def _uploads(self) -> tuple[int, int]:
        freed, stale = 0, self._stale_uploads()
        for session in stale:
            found = files.status(self.depot.upload_path(session))
            self.depot.catalogue.end_upload(session)  # first: a client that comes now is told that it is gone
            files.remove(self.depot.upload_path(session))
            freed += found.size if found else 0
        return len(stale), freed

    # --- what no tag names -------------------------------------------------------------------------

    def _untagged(self) -> Select[tuple[int, str]]:
        """Manifests that nothing names, and that were not pulled for long."""
        keep = self.terms.untagged
        before = self.depot.clock() - keep if keep is not None else -1.0
        return self._unnamed().where(MANIFESTS.c.used < before)

    def _unnamed(self) -> Select[tuple[int, str]]:
        """Manifests that have no tag, and that no index and no subject needs."""
        same = MANIFESTS.c.repository
        tagged = select(TAGS.c.tag).where(TAGS.c.repository == same, TAGS.c.digest == MANIFESTS.c.digest)
        child = select(CHILDREN.c.child).where(
            CHILDREN.c.repository == same, CHILDREN.c.child == MANIFESTS.c.digest
        )
        about = MANIFESTS.alias("about")
        of_subject = select(about.c.digest).where(
            about.c.repository == same, about.c.digest == MANIFESTS.c.subject
        )
        query = select(same, MANIFESTS.c.digest)
        return query.where(~tagged.exists(), ~child.exists(), ~of_subject.exists())

    def _let_go(self, database: Connection) -> tuple[int, int]:
        """How many blobs only the manifests that go name, and their bytes: they wait for another grace."""
        going = self._untagged().subquery()
        goes = select(going.c.digest).where(
            going.c.repository == PARTS.c.repository, going.c.digest == PARTS.c.manifest
        )
        stays = select(PARTS.c.part).where(_PART_OF, ~goes.exists()).exists()
        only = and_(_HELD.where(_NEEDED).exists(), ~_HELD.where(stays).exists())
        row = database.execute(select(func.count(), func.sum(BLOBS.c.size)).where(only)).one()
        return row[0], row[1] or 0

    def _manifests(self) -> int:
        with reading(self.depot.engine) as database:
            found = [(row.repository, row.digest) for row in database.execute(self._untagged())]
        dropped = 0
        for repository, digest in found:
            dropped += self._attempt(partial(self._drop_manifest, repository, digest))
        return dropped

    def _drop_manifest(self, repository: int, digest: str) -> int:
        """One of them, if that is still so.

        A push of the same manifest, which may give it a tag, changes its time first: then the condition
        does not hold any more, and where the two meet one waits for the other.
        """
        with writing(self.depot.engine) as database:
            still = self._untagged().where(MANIFESTS.c.repository == repository, MANIFESTS.c.digest == digest)
            if database.execute(still.with_for_update(of=MANIFESTS)).first() is None:
                return 0
            drop_manifest(database, repository, digest, self.depot.clock())
        return 1

    # --- what no manifest names --------------------------------------------------------------------

    def _young(self) -> ColumnElement[bool]:
        """The links that are not old enough: what is pushed to keeps its own for longer."""
        fresh, begun = LINKS.alias(), UPLOADS.alias()
        uploads = self._sessions().values()
        receiving = {each.repository for each in uploads if each.begun < self._before <= each.written}
        pushed_to = or_(
            LINKS.c.repository.in_(select(fresh.c.repository).where(fresh.c.since >= self._before)),
            LINKS.c.repository.in_(select(begun.c.repository).where(begun.c.touched >= self._before)),
            LINKS.c.repository.in_(receiving),
        )
        longest = self.depot.clock() - self.terms.pushed_to
        return or_(LINKS.c.since >= self._before, and_(LINKS.c.since >= longest, pushed_to))

    def _links(self) -> None:
        """The links of blobs that no manifest of the repository needs, and that are old enough.

        Whether something is pushed to the repository is not asked again where a link is deleted: a client
        that has begun meanwhile has asked for the blob, which made the link young.
        """
        unneeded = and_(LINKS.c.since < self._before, ~_NEEDED)
        self._drop(
            LINKS.c.repository,
            LINKS.c.digest,
            table=LINKS,
            condition=unneeded,
            looked_for=and_(unneeded, ~self._young()),
        )

    def _blobs(self) -> tuple[int, int]:
        """The blobs that no repository holds: out of the catalogue first, then into the trash.

        Which they are is noted before, so that the next collector ends what one that is killed began.
        """
        blobs, unheld = self.depot.blobs, ~_HELD.exists()
        with reading(self.depot.engine) as database:
            found = [
                Digest.parse(each)
                for each in database.execute(select(BLOBS.c.digest).where(unheld)).scalars()
            ]
        leaving = blobs.note_leaving(found)
        self._drop(BLOBS.c.digest, table=BLOBS, condition=unheld)
        now = self.depot.clock()
        sizes = [blobs.throw_away(each, now) for each in self._unknown(leaving)]
        blobs.forget_leaving()
        return len(sizes), sum(sizes)

    def _unknown(self, digests: Iterable[Digest]) -> list[Digest]:
        """Those that the catalogue does not know, each once."""
        unknown = {str(each): each for each in digests}
        for some in batches(list(unknown)):
            with reading(self.depot.engine) as database:
                query = select(BLOBS.c.digest).where(BLOBS.c.digest.in_(some))
                for known in database.execute(query).scalars():
                    del unknown[known]
        return list(unknown.values())

    def _old_trash(self) -> list[Found]:
        before = self.depot.clock() - self.terms.trash
        return [each for each in self.depot.blobs.trash() if each.modified <= before]

    def _trash(self) -> int:
        """What lies in the trash for long enough, unless it is a blob again: then it is brought back."""
        freed, old = 0, {str(each.digest): each for each in self._old_trash()}
        for some in batches(list(old)):
            with reading(self.depot.engine) as database:
                query = select(BLOBS.c.digest).where(BLOBS.c.digest.in_(some))
                known = set(database.execute(query).scalars())
            for text in some:
                if text in known:
                    self.depot.blobs.size(old[text].digest)
                self.depot.blobs.remove_trash(old[text].digest)
                freed += 0 if text in known else old[text].size
        return freed

    def _empty_places(self) -> None:
        """Repositories that hold nothing, then namespaces in which nothing is and that belong to nobody."""
        self._drop(REPOSITORIES.c.id, table=REPOSITORIES, condition=~_referred_to(REPOSITORIES))
        unused = and_(NAMESPACES.c.owner.is_(None), ~_referred_to(NAMESPACES))
        self._drop(NAMESPACES.c.id, table=NAMESPACES, condition=unused)

    # --- small transactions ------------------------------------------------------------------------

    def _drop(
        self,
        *key: ColumnElement[Any],
        table: Table,
        condition: ColumnElement[bool],
        looked_for: ColumnElement[bool] | None = None,
    ) -> None:
        """Delete the rows of `table` where `condition` holds, some at a time.

        `looked_for` may be narrower. The condition is asked again where the row is deleted. A row that
        another one has come to need meanwhile is kept by that one's foreign key: its whole lot is then left
        for the next time.
        """
        with reading(self.depot.engine) as database:
            looked = condition if looked_for is None else looked_for
            found = [tuple(row) for row in database.execute(select(*key).where(looked))]
        for start in range(0, len(found), AT_ONCE):
            some = found[start : start + AT_ONCE]

            def delete_some(some: list[tuple[Any, ...]] = some) -> int:
                with writing(self.depot.engine) as database:
                    going = database.execute(delete(table).where(tuple_(*key).in_(some), condition))
                return going.rowcount

            self._attempt(delete_some)

    def _attempt(self, step: Callable[[], int]) -> int:
        """`step()`, or 0 if a foreign key refused it."""
        try:
            return step()
        except StorageError as error:
            if isinstance(error.__cause__, IntegrityError):
                return 0
            raise

    def _with_waiting(self, done: Reclaimed) -> Reclaimed:
        """The same, with what waits for its time."""
        unneeded = ~_HELD.where(_NEEDED).exists()
        link = LINKS.alias()
        pushed = select(link.c.repository, func.max(link.c.since)).group_by(link.c.repository)
        waits = pushed.join(BLOBS, BLOBS.c.digest == link.c.digest).where(unneeded)
        with reading(self.depot.engine) as database:
            waiting = database.execute(select(func.sum(BLOBS.c.size)).where(unneeded)).scalar() or 0
            newest = database.execute(waits).all()
            latest = dict(tuple(row) for row in database.execute(pushed))
            untagged = len(database.execute(self._unnamed()).all())
        trash = [*self.depot.blobs.trash()]
        uploads = [each for each in self._sessions().values() if each.moved >= self._before]
        waiting += sum(each.size for each in trash) + sum(each.size for each in uploads)
        ends = [each.modified + self.terms.trash for each in trash]
        ends += [each.moved + self.terms.grace for each in uploads]
        for each in uploads:
            if each.repository in latest:
                latest[each.repository] = max(latest[each.repository], each.moved)
        for repository, since in newest:
            quiet = latest[repository] + self.terms.grace
            goes = min(since + self.terms.pushed_to, quiet)
            ends.append(max(goes, self.depot.clock()) + self.terms.trash)
        return replace(done, waiting=waiting, until=max(ends, default=None), untagged=untagged)


def _referred_to(table: Table) -> ColumnElement[bool]:
    """Whether any row of the database refers to one of `table`: also of a table that is added later."""
    id = table.c.id
    columns = [key.parent for each in METADATA.sorted_tables for key in each.foreign_keys if key.column is id]
    return or_(*(select(column).where(column == id).exists() for column in columns))
