"""What there is in repositories, in few queries: tags, sizes, who published when. For people to see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, Select, func, select, union

from registry.server.database import reading
from registry.server.tables import BLOBS, CHILDREN, MANIFESTS, PARTS, PUBLIC, REPOSITORIES, TAGS


@dataclass(frozen=True, slots=True)
class RepositorySummary:
    """One repository: how many tags, and the bytes its manifests need, each blob once.

    `modified` is when its newest tag was moved (Unix seconds), `by` who did that; None and "" without tags.
    """

    name: str
    public: bool
    tags: int
    size: int
    modified: float | None
    by: str


@dataclass(frozen=True, slots=True)
class TagSummary:
    """One tag: what it stands for, since when (Unix seconds), by whom, and the bytes of that."""

    tag: str
    digest: str
    modified: float
    by: str
    size: int


@dataclass(frozen=True, slots=True)
class ManifestSummary:
    """One manifest: when it was published (Unix seconds), the tags it has, and the bytes of what it needs."""

    digest: str
    media_type: str
    published: float
    tags: tuple[str, ...]
    size: int


@dataclass(frozen=True, slots=True)
class Overview:
    """Of the repositories in one database. All methods raise StorageError."""

    engine: Engine

    def repositories(self, names: Sequence[str]) -> list[RepositorySummary]:
        """Those of `names` that are there, by name; names are in lower case."""
        mine = REPOSITORIES.c.name.in_(names)
        rows = (
            select(REPOSITORIES.c.id, REPOSITORIES.c.name, PUBLIC.c.repository.is_not(None).label("public"))
            .outerjoin(PUBLIC, PUBLIC.c.repository == REPOSITORIES.c.name)
            .where(mine)
            .order_by(REPOSITORIES.c.name)
        )
        with reading(self.engine) as database:
            found = database.execute(rows).all()
            ids = [each.id for each in found]
            tags = {each.repository: each for each in database.execute(_newest(ids))}
            sizes = {each.repository: each.size for each in database.execute(_sizes(ids))}
        summaries = []
        for each in found:
            newest = tags.get(each.id)
            last = (newest.tags, newest.moved, newest.by) if newest else (0, None, "")
            count, moved, by = last
            size = int(sizes.get(each.id, 0))
            summaries.append(RepositorySummary(each.name, bool(each.public), count, size, moved, by))
        return summaries

    def digests(self, repository: str) -> list[str]:
        """The digests of all its manifests, with a tag and without, the last published first."""
        query = (
            select(MANIFESTS.c.digest)
            .join(REPOSITORIES, REPOSITORIES.c.id == MANIFESTS.c.repository)
            .where(REPOSITORIES.c.name == repository.lower())
            .order_by(MANIFESTS.c.pushed.desc())
        )
        with reading(self.engine) as database:
            return list(database.execute(query).scalars())

    def manifests(self, repository: str, after: str, limit: int) -> list[ManifestSummary]:
        """At most `limit` manifests behind the digest `after`, in order, with a tag and without."""
        query = (
            select(MANIFESTS.c.repository, MANIFESTS.c.digest, MANIFESTS.c.media_type, MANIFESTS.c.pushed)
            .join(REPOSITORIES, REPOSITORIES.c.id == MANIFESTS.c.repository)
            .where(REPOSITORIES.c.name == repository.lower(), MANIFESTS.c.digest > after)
            .order_by(MANIFESTS.c.digest)
            .limit(limit)
        )
        with reading(self.engine) as database:
            found = database.execute(query).all()
            if not found:
                return []
            id, digests = found[0].repository, [each.digest for each in found]
            sizes = {each.manifest: int(each.size) for each in database.execute(_sizes_of(id, digests))}
            named = select(TAGS.c.digest, TAGS.c.tag).where(
                TAGS.c.repository == id, TAGS.c.digest.in_(digests)
            )
            tags: dict[str, list[str]] = {}
            for row in database.execute(named.order_by(TAGS.c.tag)):
                tags.setdefault(row.digest, []).append(row.tag)
        return [
            ManifestSummary(
                each.digest,
                each.media_type,
                each.pushed,
                tuple(tags.get(each.digest, ())),
                sizes.get(each.digest, 0),
            )
            for each in found
        ]

    def tags(self, repository: str, after: str, limit: int) -> list[TagSummary]:
        """At most `limit` tags behind `after`, in order."""
        query = (
            select(TAGS)
            .join(REPOSITORIES, REPOSITORIES.c.id == TAGS.c.repository)
            .where(REPOSITORIES.c.name == repository.lower(), TAGS.c.tag > after)
            .order_by(TAGS.c.tag)
            .limit(limit)
        )
        with reading(self.engine) as database:
            found = database.execute(query).all()
            if not found:
                return []
            digests = sorted({each.digest for each in found})
            rows = database.execute(_sizes_of(found[0].repository, digests))
            sizes = {each.manifest: int(each.size) for each in rows}
        return [
            TagSummary(each.tag, each.digest, each.moved, each.moved_by, sizes.get(each.digest, 0))
            for each in found
        ]


def _newest(repositories: Sequence[int]) -> Select[tuple[int, int, float, str]]:
    """How many tags each repository has, when the newest was moved, and by whom."""
    mine = TAGS.c.repository.in_(repositories)
    latest = (
        select(TAGS.c.repository, func.count().label("tags"), func.max(TAGS.c.moved).label("moved"))
        .where(mine)
        .group_by(TAGS.c.repository)
        .subquery()
    )
    same = (TAGS.c.repository == latest.c.repository) & (TAGS.c.moved == latest.c.moved)
    return (
        select(latest.c.repository, latest.c.tags, latest.c.moved, func.max(TAGS.c.moved_by).label("by"))
        .join(TAGS, same)
        .group_by(latest.c.repository, latest.c.tags, latest.c.moved)
    )


def _sizes(repositories: Sequence[int]) -> Select[tuple[int, int]]:
    """The bytes that each repository's manifests need, each blob once."""
    parts = (
        select(PARTS.c.repository, PARTS.c.part)
        .where(PARTS.c.repository.in_(repositories))
        .distinct()
        .subquery()
    )
    return (
        select(parts.c.repository, func.sum(BLOBS.c.size).label("size"))
        .join(BLOBS, BLOBS.c.digest == parts.c.part)
        .group_by(parts.c.repository)
    )


def _sizes_of(repository: int, digests: Sequence[str]) -> Select[tuple[str, int]]:
    """The bytes that each manifest needs, or the children of each index, each blob once."""
    own = select(PARTS.c.manifest, PARTS.c.part).where(
        PARTS.c.repository == repository, PARTS.c.manifest.in_(digests)
    )
    theirs = (
        select(CHILDREN.c.manifest, PARTS.c.part)
        .join(PARTS, (PARTS.c.repository == CHILDREN.c.repository) & (PARTS.c.manifest == CHILDREN.c.child))
        .where(CHILDREN.c.repository == repository, CHILDREN.c.manifest.in_(digests))
    )
    parts = union(own, theirs).subquery()
    return (
        select(parts.c.manifest, func.sum(BLOBS.c.size).label("size"))
        .join(BLOBS, BLOBS.c.digest == parts.c.part)
        .group_by(parts.c.manifest)
    )
