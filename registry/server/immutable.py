"""Tags that stay where they are: patterns of a repository, or of all in a namespace (DESIGN: 412).

A tag that a pattern covers is made once. Then it is not moved and not deleted, by nobody; who owns it takes
the pattern back first. The check is made in the transaction of the change, see `manifests`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from sqlalchemy import Connection, Engine, bindparam, delete, select

from registry.contracts import NOBODY, Actor, Clock
from registry.errors import InvalidError, NotFoundError, ProtocolError, Reason
from registry.server.audit import record
from registry.server.database import reading, upsert, writing
from registry.server.namespaces import ensure, namespace_of, scope, scopes_of
from registry.server.tables import IMMUTABLE, REPOSITORIES, TAGS

_LENGTH = 128
_PATTERN = re.compile(r"(?:[A-Za-z0-9_.*?-]|\[!?[A-Za-z0-9_.-]+\])+")
_RANGE = re.compile(r"([A-Za-z0-9_.])-([A-Za-z0-9_.])")
_MOST_STARS = 4  # each of them is a loop when a tag is compared
MOST_PATTERNS = 100  # of one namespace
_NEAR = select(IMMUTABLE.c.scope, IMMUTABLE.c.pattern).where(
    IMMUTABLE.c.scope.in_(bindparam("scopes", expanding=True))
)


@dataclass(frozen=True, slots=True, order=True)
class TagPattern:
    """The tags of `scope` (a repository, or a namespace) that `pattern` covers, a glob as `v*` is one."""

    scope: str
    pattern: str

    @classmethod
    def parse(cls, where: str, pattern: str) -> TagPattern:
        """InvalidError for a bad scope, and for a pattern that covers no tag: it would protect nothing."""
        sets = re.findall(r"\[([^]]*)", pattern)
        backwards = any(first > last for each in sets for first, last in _RANGE.findall(each))
        too_much = len(pattern) > _LENGTH or pattern.count("*") > _MOST_STARS
        if not _PATTERN.fullmatch(pattern) or backwards or too_much:
            raise InvalidError(
                f"{pattern[:80]!r} is not a pattern of tags",
                hint="as a tag is written; * and ? stand for others, [0-9] for one of them",
            )
        return cls(scope(where), pattern)

    def covers(self, repository: str, tag: str) -> bool:
        """Whether it is about that tag; repositories compare without case, tags with it."""
        return self.scope in scopes_of(repository.lower()) and fnmatchcase(tag, self.pattern)


@dataclass(frozen=True, slots=True)
class ImmutableTags:
    """The patterns in one database; `clock` in Unix seconds. All methods raise StorageError."""

    engine: Engine
    clock: Clock

    def add(self, where: str, pattern: str, actor: Actor = NOBODY) -> bool:
        """From now on, tags in `where` that `pattern` covers stay where they are; whether it is new.

        InvalidError for a bad scope or pattern, or one pattern too many.
        """
        wanted, now = TagPattern.parse(where, pattern), self.clock()
        with writing(self.engine) as database:
            namespace = ensure(database, namespace_of(wanted.scope), now)
            there = database.execute(select(IMMUTABLE.c.scope).filter_by(namespace=namespace)).all()
            if len(there) >= MOST_PATTERNS:
                raise InvalidError(f"{namespace_of(where)} has {MOST_PATTERNS} patterns already")
            row = {"scope": wanted.scope, "pattern": wanted.pattern, "namespace": namespace}
            add = upsert(database, IMMUTABLE).values(**row)
            new = database.execute(add.on_conflict_do_nothing()).rowcount > 0
            if new:
                record(database, now, actor, "immutable.add", wanted.pattern, repository=wanted.scope)
        return new

    def remove(self, where: str, pattern: str, actor: Actor = NOBODY) -> None:
        """Take a pattern back. NotFoundError."""
        name = scope(where)
        with writing(self.engine) as database:
            if not database.execute(delete(IMMUTABLE).filter_by(scope=name, pattern=pattern)).rowcount:
                raise NotFoundError(f"{name} has no immutable tags {pattern[:80]!r}")
            record(database, self.clock(), actor, "immutable.remove", pattern, repository=name)

    def listed(self, where: str = "") -> list[TagPattern]:
        """The patterns that hold in a repository or namespace, its own and those around it; or all."""
        query = select(IMMUTABLE.c.scope, IMMUTABLE.c.pattern)
        if where:
            query = query.where(IMMUTABLE.c.scope.in_(scopes_of(where.lower())))
        with reading(self.engine) as database:
            return sorted(TagPattern(*row) for row in database.execute(query))


def check_none_stays(engine: Engine, repository: str) -> None:
    """ProtocolError if a tag of `repository` is not to be deleted; StorageError."""
    query = select(TAGS.c.tag, TAGS.c.digest).join(REPOSITORIES, REPOSITORIES.c.id == TAGS.c.repository)
    with reading(engine) as database:
        found = patterns_of(database, repository)
        rows = database.execute(query.where(REPOSITORIES.c.name == repository.lower())) if found else ()
        for tag, digest in rows:
            check_stays(found, repository, tag, digest)


def patterns_of(database: Connection, repository: str) -> list[TagPattern]:
    """The patterns that hold in `repository`."""
    rows = database.execute(_NEAR, {"scopes": scopes_of(repository.lower())})
    return sorted(TagPattern(*row) for row in rows)


def covering(patterns: list[TagPattern], repository: str, tag: str) -> TagPattern | None:
    """The first of the patterns that is about the tag."""
    return next((each for each in patterns if each.covers(repository, tag)), None)


def check_stays(patterns: list[TagPattern], repository: str, tag: str, digest: str) -> None:
    """ProtocolError if the tag, which stands for `digest`, is to stay."""
    found = covering(patterns, repository, tag)
    if found is not None:
        raise immutable(repository, tag, digest, found)


def taken(repository: str, tag: str, digest: str) -> ProtocolError:
    """The refusal of a push that was to move no tag: this one stands for `digest`."""
    return ProtocolError(
        f"{repository}:{tag} is there already and stands for {digest}", reason=Reason.TAG_TAKEN
    )


def immutable(repository: str, tag: str, digest: str, found: TagPattern) -> ProtocolError:
    """The refusal to move or delete a tag that stands for `digest`."""
    return ProtocolError(
        f"{repository}:{tag} stays {digest}: the tags '{found.pattern}' of {found.scope} are immutable",
        reason=Reason.TAG_IMMUTABLE,
    )
