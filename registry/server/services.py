"""Service accounts: programs that belong to a namespace, with a role in it, and API keys of their own.

They have no password, no machines and no pages; `api_keys` makes their keys, `bearers` says what those may.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from registry.contracts import NOBODY, Actor, Clock, NewId
from registry.errors import InvalidError, NotFoundError
from registry.server.audit import record
from registry.server.bearers import service_name
from registry.server.database import reading, writing
from registry.server.namespaces import ensure, namespace_of, scope
from registry.server.principal import Right
from registry.server.tables import CREDENTIALS, GRANTS, NAMESPACES, SERVICES, USERS

MOST_SERVICES = 100  # of one namespace
_PART = re.compile(r"[a-z0-9_-]{1,40}")
_WHOLE = 80  # characters of a name in the audit table
_NOTE = 200
_LIST = (
    select(
        SERVICES.c.id,
        NAMESPACES.c.name.label("namespace"),
        SERVICES.c.name,
        SERVICES.c.role,
        SERVICES.c.created,
        SERVICES.c.note,
        func.count(CREDENTIALS.c.id).label("keys"),
        func.max(CREDENTIALS.c.last_used).label("last_used"),
    )
    .join(NAMESPACES, NAMESPACES.c.id == SERVICES.c.namespace)
    .outerjoin(CREDENTIALS, (CREDENTIALS.c.service == SERVICES.c.id) & CREDENTIALS.c.revoked.is_(None))
    .group_by(SERVICES.c.id, NAMESPACES.c.name)
    .order_by(NAMESPACES.c.name, SERVICES.c.name)
)


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A service account; `keys` that are not revoked. Times in Unix seconds."""

    id: str
    namespace: str
    part: str
    right: Right
    created: float
    note: str
    keys: int
    last_used: float | None

    @property
    def name(self) -> str:
        """What it is called: `acme/ci`."""
        return service_name(self.namespace, self.part)


@dataclass(frozen=True, slots=True)
class Services:
    """The service accounts in one database; `clock` in Unix seconds. All methods raise StorageError."""

    engine: Engine
    clock: Clock
    new_id: NewId

    def add(self, name: str, right: Right, note: str = "", actor: Actor = NOBODY) -> ServiceAccount:
        """The service account `NAMESPACE/NAME`, with READ or WRITE in the namespace, and no key yet.

        InvalidError if the name is bad or taken, and for one too many.
        """
        namespace, part = _parts(name)
        if right not in (Right.READ, Right.WRITE):
            raise InvalidError("a service account is a reader or a writer")
        if len(note) > _NOTE or not note.isprintable():
            raise InvalidError(f"a note is one line of at most {_NOTE} characters")
        now, id = self.clock(), self.new_id()
        with writing(self.engine) as database:
            found = ensure(database, namespace, now)
            held = select(func.count()).select_from(SERVICES).where(SERVICES.c.namespace == found)
            if database.execute(held).scalar_one() >= MOST_SERVICES:
                raise InvalidError(f"{namespace} has {MOST_SERVICES} service accounts already")
            row = {"id": id, "namespace": found, "name": part, "role": right.name.lower()}
            try:
                database.execute(insert(SERVICES).values(**row, created=now, note=note))
            except IntegrityError:
                raise InvalidError(f"there is a service account {name.lower()} already") from None
            record(database, now, actor, "service.add", f"{name.lower()} {right.name.lower()}")
        return ServiceAccount(id, namespace, part, right, now, note, 0, None)

    def listed(self, namespace: str = "") -> list[ServiceAccount]:
        """The service accounts of a namespace, or all, by name."""
        query = _LIST.where(NAMESPACES.c.name == namespace.lower()) if namespace else _LIST
        with reading(self.engine) as database:
            return [
                ServiceAccount(
                    row.id,
                    row.namespace,
                    row.name,
                    Right.parse(row.role),
                    row.created,
                    row.note,
                    row.keys,
                    row.last_used,
                )
                for row in database.execute(query)
            ]

    def one(self, name: str) -> ServiceAccount:
        """The service account `NAMESPACE/NAME`. NotFoundError."""
        found = [each for each in self.listed(namespace_of(name)) if each.name == name.lower()]
        if not found:
            raise _no_service(name)
        return found[0]

    def revoke(self, name: str, actor: Actor = NOBODY) -> None:
        """From the next request on its keys are refused, and what was issued to them. NotFoundError.

        Its name is free again: what is made under it is another one.
        """
        found = self.one(name)
        with writing(self.engine) as database:
            if not database.execute(delete(SERVICES).filter_by(id=found.id)).rowcount:
                raise _no_service(name)
            record(database, self.clock(), actor, "service.revoke", found.name)


def end_limited_keys(
    database: Connection, account: str, actor: Actor, now: float, namespace: int | None = None
) -> None:
    """Revoke the keys that open less because the account with that identifier was shown their secret.

    Its grants are about to end, those of one `namespace` or all: what they close is not to be open to
    a secret that somebody took along.
    """
    closed = (
        select(SERVICES.c.id, SERVICES.c.role, GRANTS.c.permission)
        .join(GRANTS, GRANTS.c.namespace == SERVICES.c.namespace)
        .join(USERS, USERS.c.id == GRANTS.c.user_id)
        .where(GRANTS.c.user_id == account, GRANTS.c.scope.contains("/"), USERS.c.admin.is_(False))
    )
    if namespace is not None:
        closed = closed.where(GRANTS.c.namespace == namespace)
    rows = database.execute(closed).all()
    limited = {id for id, role, granted in rows if Right.parse(granted) < Right.parse(role)}
    mine = CREDENTIALS.c.service.in_(limited) & CREDENTIALS.c.revoked.is_(None)
    for id, makers in database.execute(select(CREDENTIALS.c.id, CREDENTIALS.c.makers).where(mine)).all():
        if account in makers.split():
            database.execute(update(CREDENTIALS).filter_by(id=id).values(revoked=now))
            record(database, now, actor, "apikey.revoke", id)


def _parts(name: str) -> tuple[str, str]:
    """The namespace and the part behind it, in lower case. InvalidError."""
    namespace, _, part = name.lower().partition("/")
    if not _PART.fullmatch(part) or len(name) > _WHOLE or scope(namespace) != namespace:
        raise InvalidError(
            f"{name[:80]!r} is not a service account's name",
            hint=f"NAMESPACE/NAME: the name 1 to 40 of a-z, 0-9, '-' and '_', {_WHOLE} in all",
        )
    return namespace, part


def _no_service(name: str) -> NotFoundError:
    return NotFoundError(
        f"there is no service account {name[:80]!r}", hint="ferry admin service list shows them"
    )
