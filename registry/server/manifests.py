"""Manifests, tags and who refers to whom: the rest of the catalogue's SQL.

What a manifest needs are rows that refer to it and to what is needed: while it is there, nothing of that can
go. As in `catalogue`, each statement says why it holds beside another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy import Connection, Engine, bindparam, delete, select, update
from sqlalchemy.exc import IntegrityError

from registry.contracts import Actor, Clock, Document, Referrer, Tag
from registry.errors import InvalidError, NotFoundError, ProtocolError
from registry.model.digests import Digest
from registry.model.manifests import Descriptor, Manifest
from registry.server.audit import record
from registry.server.catalogue import batches, ensure_repository, repository_id
from registry.server.database import first, reading, upsert, writing
from registry.server.descriptors import descriptor, until_full
from registry.server.immutable import check_stays, covering, immutable, patterns_of, taken
from registry.server.tables import BLOBS, CHILDREN, LINKS, MANIFESTS, PARTS, REPOSITORIES, TAGS
from registry.server.visibility import set_visibility

DAY = 86_400.0
_MOST_PULLED = 100_000  # pulls that are waiting to be noted

_DOCUMENT = (
    select(MANIFESTS.c.digest, MANIFESTS.c.media_type, MANIFESTS.c.raw, MANIFESTS.c.used)
    .join(REPOSITORIES, REPOSITORIES.c.id == MANIFESTS.c.repository)
    .where(REPOSITORIES.c.name == bindparam("repository"))
)
_BY_DIGEST = _DOCUMENT.where(MANIFESTS.c.digest == bindparam("reference"))
_BY_TAG = _DOCUMENT.join(
    TAGS, (TAGS.c.repository == MANIFESTS.c.repository) & (TAGS.c.digest == MANIFESTS.c.digest)
).where(TAGS.c.tag == bindparam("reference"))


@dataclass(frozen=True, slots=True)
class Manifests:
    """The manifests in one database; `clock` in Unix seconds. Every method raises StorageError."""

    engine: Engine
    clock: Clock
    pulled: dict[tuple[str, str], float] = field(default_factory=dict)

    def manifest(self, repository: str, reference: Digest | str) -> Document | None:
        by = _BY_DIGEST if isinstance(reference, Digest) else _BY_TAG
        asked = {"repository": repository.lower(), "reference": str(reference)}
        row = first(self.engine, by, asked)
        if row is None:
            return None
        digest, media_type, raw, used = row
        now = self.clock()
        if now - used > DAY and len(self.pulled) < _MOST_PULLED:
            self.pulled[repository.lower(), digest] = now
        return Document(Digest.parse(digest), media_type, raw)

    def why_immutable(self, repository: str, tag: str) -> str:
        mine = select(TAGS.c.digest).join(REPOSITORIES, REPOSITORIES.c.id == TAGS.c.repository)
        with reading(self.engine) as database:
            found = covering(patterns_of(database, repository), repository, tag)
            if found is None:
                return ""
            tags = mine.where(REPOSITORIES.c.name == repository.lower(), TAGS.c.tag == tag)
            digest = database.execute(tags).scalar()
        return immutable(repository, tag, digest, found).message if digest is not None else ""

    def publish(
        self,
        repository: str,
        manifest: Manifest,
        tag: str | None,
        actor: Actor,
        public: bool | None = None,
        more: Sequence[str] = (),
        if_absent: bool = False,
    ) -> None:
        now = self.clock()
        tags = [*more] if tag is None else [tag, *more]
        with writing(self.engine) as database:
            found = ensure_repository(database, repository, now)
            _check_blobs(database, found, repository, manifest.blobs())
            _check_children(database, found, repository, manifest.manifests)
            try:
                self._keep(database, found, manifest, actor)
            except IntegrityError:  # what was there a moment ago has been collected or deleted since
                raise NotFoundError(f"a part of {manifest.digest} is not in {repository} any more") from None
            patterns = patterns_of(database, repository) if tags else []
            for each in tags:
                stays = covering(patterns, repository, each)
                refused = partial(immutable, found=stays) if stays else taken if if_absent else None
                _point(database, found, repository, each, manifest.digest, actor, now, refused)
            if public is not None:
                set_visibility(database, repository.lower(), public, actor, now)
            digest = str(manifest.digest)
            for each in tags or [""]:
                record(database, now, actor, "publish", each, repository=repository, digest=digest)

    def _keep(self, database: Connection, repository: int, manifest: Manifest, actor: Actor) -> None:
        """The manifest and what it needs. Of two that keep the same one, the second changes only its time.

        The conflict makes the second wait for the first, whose parts are then there too.
        """
        now, kind = self.clock(), manifest.referrer_type
        row = {"repository": repository, "digest": str(manifest.digest), "media_type": manifest.media_type}
        row |= {"subject": str(manifest.subject.digest) if manifest.subject else None}
        row |= {"artifact_type": kind[:255], "descriptor": descriptor(manifest), "raw": manifest.raw}
        add = upsert(database, MANIFESTS).values(**row, pushed=now, pushed_by=actor.user, used=now)
        same = add.on_conflict_do_update(index_elements=["repository", "digest"], set_={"used": now})
        database.execute(same)
        key = {"repository": repository, "manifest": str(manifest.digest)}
        for table, column, parts in (
            (PARTS, "part", manifest.blobs()),
            (CHILDREN, "child", iter(manifest.manifests)),
        ):
            rows = [{**key, column: part} for part in dict.fromkeys(str(each.digest) for each in parts)]
            if rows:
                database.execute(upsert(database, table).on_conflict_do_nothing(), rows)

    def note_pulls(self) -> None:
        """Write down what was pulled since the last time: who pins a digest is not to lose it.

        Not where it is pulled, because reading must not wait for a writer. Two that note one write the same.
        """
        if not self.pulled:
            return
        noted = dict(self.pulled)
        with writing(self.engine) as database:
            for (repository, digest), now in noted.items():
                mine = select(REPOSITORIES.c.id).filter_by(name=repository).scalar_subquery()
                change = update(MANIFESTS).where(MANIFESTS.c.repository == mine, MANIFESTS.c.digest == digest)
                database.execute(change.values(used=now))
        for key in noted:
            self.pulled.pop(key, None)

    def delete_manifest(self, repository: str, digest: Digest, actor: Actor) -> None:
        """NotFoundError; InvalidError while an index of the repository names it; ProtocolError for its tags.

        Its tags and parts go with it by their foreign keys. An index that is published meanwhile refers to
        it by one too: one of the two fails.
        """
        with writing(self.engine) as database:
            found = repository_id(database, repository)
            key = {"repository": found, "digest": str(digest)}
            if found is None or database.execute(select(MANIFESTS.c.used).filter_by(**key)).first() is None:
                raise NotFoundError(f"{repository} has no manifest {digest}")
            patterns = patterns_of(database, repository)
            for tag in database.execute(select(TAGS.c.tag).filter_by(**key)).scalars() if patterns else ():
                check_stays(patterns, repository, tag, str(digest))
            try:
                drop_manifest(database, found, str(digest), self.clock())
            except IntegrityError:
                raise InvalidError(f"an index of {repository} needs this manifest") from None
            record(
                database, self.clock(), actor, "manifest.delete", repository=repository, digest=str(digest)
            )

    def delete_tag(self, repository: str, tag: str, actor: Actor) -> None:
        now = self.clock()
        with writing(self.engine) as database:
            found = repository_id(database, repository)
            key = {"repository": found, "tag": tag}
            digest = database.execute(select(TAGS.c.digest).filter_by(**key)).scalar()
            if found is None or digest is None:
                raise NotFoundError(f"{repository} has no tag {tag}")
            check_stays(patterns_of(database, repository), repository, tag, digest)
            if not database.execute(delete(TAGS).filter_by(**key)).rowcount:
                raise NotFoundError(f"{repository} has no tag {tag}")
            _let_go(database, found, digest, now)
            record(database, now, actor, "tag.delete", tag, repository=repository, digest=digest)

    def tags(self, repository: str, after: str, limit: int) -> list[Tag]:
        query = (
            select(TAGS.c.tag, TAGS.c.digest, TAGS.c.moved, TAGS.c.moved_by)
            .join(REPOSITORIES, REPOSITORIES.c.id == TAGS.c.repository)
            .where(REPOSITORIES.c.name == repository.lower(), TAGS.c.tag > after)
            .order_by(TAGS.c.tag)
            .limit(limit)
        )
        with reading(self.engine) as database:
            return [
                Tag(tag, Digest.parse(digest), moved, by)
                for tag, digest, moved, by in database.execute(query)
            ]

    def referrers(
        self, repository: str, digest: Digest, kind: str | None, after: str, limit: int
    ) -> list[Referrer]:
        query = (
            select(MANIFESTS.c.digest, MANIFESTS.c.descriptor)
            .join(REPOSITORIES, REPOSITORIES.c.id == MANIFESTS.c.repository)
            .where(REPOSITORIES.c.name == repository.lower(), MANIFESTS.c.subject == str(digest))
            .where(MANIFESTS.c.digest > after)
            .order_by(MANIFESTS.c.digest)
            .limit(limit)
        )
        if kind is not None:
            query = query.where(MANIFESTS.c.artifact_type == kind[:255])
        with reading(self.engine) as database:
            rows = database.execute(query.execution_options(yield_per=1))  # each may have megabytes
            return until_full(Referrer(Digest.parse(text), entry) for text, entry in rows)


def drop_manifest(database: Connection, repository: int, digest: str, now: float) -> None:
    """Delete a manifest. What it held is in use for another grace: a push of it may be on its way.

    IntegrityError while an index needs it.
    """
    parts = select(PARTS.c.part).filter_by(repository=repository, manifest=digest)
    database.execute(
        update(LINKS).where(LINKS.c.repository == repository, LINKS.c.digest.in_(parts)).values(since=now)
    )
    children = select(CHILDREN.c.child).filter_by(repository=repository, manifest=digest)
    of_index = (MANIFESTS.c.repository == repository) & MANIFESTS.c.digest.in_(children)
    database.execute(update(MANIFESTS).where(of_index).values(used=now))
    database.execute(delete(MANIFESTS).filter_by(repository=repository, digest=digest))


def _let_go(database: Connection, repository: int, digest: str, now: float) -> None:
    """A manifest that lost a tag is as if it had just been used: who pins its digest is not to lose it."""
    database.execute(update(MANIFESTS).filter_by(repository=repository, digest=digest).values(used=now))


def _point(
    database: Connection,
    repository: int,
    name: str,
    tag: str,
    digest: Digest,
    actor: Actor,
    now: float,
    refused: Callable[[str, str, str], ProtocolError] | None,
) -> None:
    """Let the tag stand for the manifest. Of two that move it the later holds, as one after the other.

    One that may not move is made once: of two that make it, the later one's row is not written, and nothing
    of its transaction stays. `refused` then makes its error, of the repository, the tag and the old digest.
    """
    before = select(TAGS.c.digest).filter_by(repository=repository, tag=tag)
    old = database.execute(before).scalar()
    if old is not None and old != str(digest):
        _let_go(database, repository, old, now)
    what = {"digest": str(digest), "moved": now, "moved_by": actor.user}
    add = upsert(database, TAGS).values(repository=repository, tag=tag, **what)
    same = TAGS.c.digest == str(digest) if refused else None
    move = add.on_conflict_do_update(index_elements=["repository", "tag"], set_=what, where=same)
    if not database.execute(move).rowcount and refused:
        raise refused(name, tag, database.execute(before).scalar_one())


def _check_blobs(database: Connection, repository: int, name: str, blobs: Iterable[Descriptor]) -> None:
    """NotFoundError names the first that the repository does not hold; InvalidError one of another size."""
    sizes = {str(blob.digest): blob.size for blob in blobs}
    for some in batches(sizes):
        query = (
            select(LINKS.c.digest, BLOBS.c.size)
            .join(BLOBS, BLOBS.c.digest == LINKS.c.digest)
            .where(LINKS.c.repository == repository, LINKS.c.digest.in_(some), BLOBS.c.hidden.is_(None))
        )
        there: dict[str, int] = dict(tuple(row) for row in database.execute(query))
        for digest in some:
            if digest not in there:
                raise NotFoundError(f"blob {digest} is not in {name}")
            if there[digest] != sizes[digest]:
                raise InvalidError(f"blob {digest} has {there[digest]} bytes, not {sizes[digest]}")


def _check_children(database: Connection, repository: int, name: str, children: Iterable[Descriptor]) -> None:
    for some in batches(str(child.digest) for child in children):
        query = select(MANIFESTS.c.digest).where(
            MANIFESTS.c.repository == repository, MANIFESTS.c.digest.in_(some)
        )
        there = set(database.execute(query).scalars())
        missing = next((digest for digest in some if digest not in there), None)
        if missing is not None:
            raise NotFoundError(f"manifest {missing} is not in {name}")
