"""Which repository holds which blob, and which uploads are under way: SQL, and not one byte of a blob.

Nothing rests on SQLite's letting one writer in at a time: each statement says why it holds where two
transactions run side by side and see what the other has committed (PostgreSQL's READ COMMITTED). Mostly a
foreign key does it: a row that another one needs cannot go, and of two that meet one waits, then fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import islice

from sqlalchemy import Connection, Engine, Insert, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from registry.contracts import Actor, Clock
from registry.errors import InvalidError, NotFoundError, StorageError
from registry.model.digests import Digest
from registry.server.audit import record
from registry.server.database import change, first, first_in, reading, upsert, upsert_for, writing
from registry.server.namespaces import ensure, namespace_of
from registry.server.shared_transactions import SharedTransactions
from registry.server.tables import BLOBS, LINKS, REPOSITORIES, UPLOADS

AT_ONCE = 500  # digests that one statement asks about
RENEW_AFTER = 600.0  # seconds: a writer's questions about a blob renew it no more often than that

_SIZE = (
    select(BLOBS.c.size, LINKS.c.since)
    .join(LINKS, LINKS.c.digest == BLOBS.c.digest)
    .join(REPOSITORIES, REPOSITORIES.c.id == LINKS.c.repository)
    .where(
        REPOSITORIES.c.name == bindparam("repository"),
        LINKS.c.digest == bindparam("digest"),
        BLOBS.c.hidden.is_(None),
    )
)
_UPLOAD = (
    select(UPLOADS.c.id)
    .join(REPOSITORIES, REPOSITORIES.c.id == UPLOADS.c.repository)
    .where(UPLOADS.c.id == bindparam("session"), REPOSITORIES.c.name == bindparam("repository"))
)
_BEGUN = insert(UPLOADS)
_IN = select(
    REPOSITORIES.c.id,
    bindparam("digest", type_=LINKS.c.digest.type).label("digest"),
    bindparam("since", type_=LINKS.c.since.type).label("since"),
).where(REPOSITORIES.c.name == bindparam("name"))
_ENDED = delete(UPLOADS).where(UPLOADS.c.id == bindparam("session"))
_ID = select(REPOSITORIES.c.id).where(REPOSITORIES.c.name == bindparam("name"))


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The catalogue in one database; `clock` in Unix seconds. Every method raises StorageError."""

    engine: Engine
    clock: Clock
    _shared: SharedTransactions = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_shared", SharedTransactions(self.engine))

    # --- repositories ------------------------------------------------------------------------------

    def repositories(self, after: str, limit: int, readable: Callable[[str], bool]) -> list[str]:
        query = (
            select(REPOSITORIES.c.name)
            .where(REPOSITORIES.c.name > after.lower())
            .order_by(REPOSITORIES.c.name)
        )
        with reading(self.engine) as database:
            names = database.execute(query.execution_options(yield_per=AT_ONCE)).scalars()
            return list(islice(filter(readable, names), limit))

    def exists(self, repository: str) -> bool:
        return first(self.engine, _ID, {"name": repository.lower()}) is not None

    # --- blobs -------------------------------------------------------------------------------------

    def size(self, repository: str, digest: Digest) -> int | None:
        """The size of a blob that the repository holds and that is not hidden."""
        row = first(self.engine, _SIZE, _of(repository, digest))
        return row[0] if row else None

    def renew(self, repository: str, digest: Digest) -> int | None:
        """The blob's size, as `size`; it will not be collected for another grace, if it is still there.

        The update decides: either the collector waits for it and then finds the link fresh, or it has
        deleted the link, and there is nothing to update.
        """
        now = self.clock()
        row = first(self.engine, _SIZE, _of(repository, digest))
        if row is None or row[1] > now - RENEW_AFTER:
            return row[0] if row else None
        mine = select(REPOSITORIES.c.id).filter_by(name=repository.lower()).scalar_subquery()
        with writing(self.engine) as database:
            renewed = update(LINKS).where(LINKS.c.repository == mine, LINKS.c.digest == str(digest))
            return row[0] if database.execute(renewed.values(since=now)).rowcount else None

    def holders(self, digest: Digest) -> list[str]:
        query = (
            select(REPOSITORIES.c.name)
            .join(LINKS, LINKS.c.repository == REPOSITORIES.c.id)
            .where(LINKS.c.digest == str(digest))
            .order_by(REPOSITORIES.c.name)
        )
        with reading(self.engine) as database:
            return list(database.execute(query).scalars())

    def mount(self, repository: str, digest: Digest, source: str) -> bool:
        """Let `repository` hold what `source` holds; False if `source` does not.

        The source may lose it meanwhile; the new link's foreign key holds the blob's row, or fails.
        """
        with writing(self.engine) as database:
            if database.execute(_SIZE, _of(source, digest)).first() is None:
                return False
            try:
                self._link(database, repository, digest)
            except IntegrityError:
                return False
        return True

    def delete_blob(self, repository: str, digest: Digest, actor: Actor) -> None:
        """NotFoundError; InvalidError while a manifest of the repository needs it.

        A manifest that is published meanwhile has a part that refers to the link: one of the two fails.
        """
        with writing(self.engine) as database:
            found = repository_id(database, repository)
            link = {"repository": found, "digest": str(digest)}
            if found is None or database.execute(select(LINKS.c.since).filter_by(**link)).first() is None:
                raise NotFoundError(f"{repository} holds no blob {digest}")
            try:
                database.execute(delete(LINKS).filter_by(**link))
            except IntegrityError:
                raise InvalidError(f"a manifest of {repository} needs this blob") from None
            record(database, self.clock(), actor, "blob.delete", repository=repository, digest=str(digest))

    # --- uploads -----------------------------------------------------------------------------------

    def begin_upload(self, repository: str, session: str) -> None:
        """A new session. Its identifier is a primary key, and never comes twice."""
        now = self.clock()
        with writing(self.engine) as database:
            row = {"id": session, "repository": ensure_repository(database, repository, now), "touched": now}
            change(database, _BEGUN, row)

    def has_upload(self, repository: str, session: str) -> bool:
        asked = {"repository": repository.lower(), "session": session}
        return first(self.engine, _UPLOAD, asked) is not None

    def end_upload(self, session: str) -> None:
        """Forget a session; one that is gone already is no error."""
        with writing(self.engine) as database:
            change(database, _ENDED, {"session": session})

    def hold(self, repository: str, digest: Digest, size: int, session: str | None = None) -> None:
        """Bytes are durable under their digest: from this transaction on they are a blob of the repository.

        `session` ends with it, if the catalogue knows the upload. The blob's row is made or made visible
        again by one statement, which locks it: a collector that would drop it waits, and then finds a link
        that refers to it.
        """
        self._shared.change(partial(self._hold, repository, digest, size, session))

    def _hold(
        self, repository: str, digest: Digest, size: int, session: str | None, database: Connection
    ) -> None:
        blob = {"digest": str(digest), "size": size, "checked": self.clock(), "hidden": None}
        change(database, _held(database.dialect.name), blob)
        self._link(database, repository, digest)
        if session is not None:
            change(database, _ENDED, {"session": session})

    def _link(self, database: Connection, repository: str, digest: Digest) -> None:
        """Of two that hold the same blob at once, both do; the time is the later one's.

        A repository that a collector takes away meanwhile is made again.
        """
        now, link = self.clock(), _linked(database.dialect.name)
        values = {"name": repository.lower(), "digest": str(digest), "since": now}
        if not change(database, link, values):
            ensure_repository(database, repository, now)
            if not change(database, link, values):
                raise StorageError(f"the database lost the repository {repository} it was just given")


@lru_cache
def _held(dialect: str) -> Insert:
    add = upsert_for(dialect, BLOBS)
    new = {name: add.excluded[name] for name in ("size", "checked", "hidden")}
    statement: Insert = add.on_conflict_do_update(index_elements=["digest"], set_=new)
    return statement


@lru_cache
def _linked(dialect: str) -> Insert:
    add = upsert_for(dialect, LINKS).from_select(["repository", "digest", "since"], _IN)
    keys, new = ["repository", "digest"], {"since": add.excluded.since}
    statement: Insert = add.on_conflict_do_update(index_elements=keys, set_=new)
    return statement


def repository_id(database: Connection, name: str) -> int | None:
    """The identifier of a repository, or None."""
    row = first_in(database, _ID, {"name": name.lower()})
    return row[0] if row else None


def ensure_repository(database: Connection, name: str, now: float) -> int:
    """The identifier of a repository, made if there is none.

    The update that changes nothing locks the row, so that a collector that finds the repository empty
    waits, and then finds what this transaction put there: its foreign key.
    """
    name = name.lower()
    found = repository_id(database, name)
    if found is not None:
        return found
    namespace = ensure(database, namespace_of(name), now)
    add = upsert(database, REPOSITORIES).values(name=name, namespace=namespace)
    database.execute(add.on_conflict_do_update(index_elements=["name"], set_={"name": name}))
    found = repository_id(database, name)
    if found is None:
        raise StorageError(f"the database lost the repository {name} it was just given")
    return found


def batches(items: Iterable[str]) -> Iterator[list[str]]:
    """`items` in lists of AT_ONCE."""
    remaining = iter(items)
    while some := list(islice(remaining, AT_ONCE)):
        yield some


def _of(repository: str, digest: Digest) -> dict[str, str]:
    return {"repository": repository.lower(), "digest": str(digest)}
