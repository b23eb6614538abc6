"""The first part of every repository's name, as rows: each belongs to an account, or to nobody."""

from __future__ import annotations

import re

from sqlalchemy import Connection, delete, select

from registry.errors import InvalidError, StorageError
from registry.server.database import upsert
from registry.server.tables import CREDENTIALS, NAMESPACES, REPOSITORIES, SERVICES

_PART = re.compile(r"[a-z0-9_][a-z0-9_.-]*")
SCOPE_LENGTH = 255


def scope(text: str) -> str:
    """A namespace or repository in the one spelling that is compared: lower case. InvalidError."""
    name = text.lower()
    if len(name) > SCOPE_LENGTH or not all(_PART.fullmatch(part) for part in name.split("/")):
        raise InvalidError(f"{text[:80]!r} is not NAMESPACE or NAMESPACE/MODEL")
    return name


def namespace_of(name: str) -> str:
    """The namespace that a scope or repository is in."""
    return name.partition("/")[0].lower()


def scopes_of(name: str) -> list[str]:
    """The scopes a repository is in, nearest first: `a/b/c`, `a/b`, `a`."""
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]


def ensure(database: Connection, name: str, now: float) -> int:
    """The identifier of the namespace `name`, made if there is none; then it belongs to nobody.

    Of two writers that make it at once, one does and the other finds it: the update that changes nothing
    waits for the other's transaction, and locks the row until ours ends, so that it stays.
    """
    add = upsert(database, NAMESPACES).values(name=name, owner=None, created=now)
    same = add.on_conflict_do_update(index_elements=["name"], set_={"name": name})
    database.execute(same)
    found: int | None = database.execute(select(NAMESPACES.c.id).filter_by(name=name)).scalar()
    if found is None:
        raise StorageError(f"the database lost the namespace {name} it was just given")
    return found


def end_workloads(database: Connection, namespace: int) -> None:
    """Forget the programs that belong to a namespace, and what they prove themselves with."""
    database.execute(delete(CREDENTIALS).filter_by(namespace=namespace))
    database.execute(delete(SERVICES).filter_by(namespace=namespace))


def holds_models(database: Connection, namespace: int) -> bool:
    """Whether anything was ever published or uploaded there."""
    return database.execute(select(REPOSITORIES.c.id).filter_by(namespace=namespace)).first() is not None


def drop(database: Connection, namespace: int) -> bool:
    """End a namespace with every right in it, unless it holds models; whether it did.

    A push that makes a repository meanwhile holds the row by its foreign key: one of the two fails.
    """
    used = select(REPOSITORIES.c.id).where(REPOSITORIES.c.namespace == NAMESPACES.c.id)
    gone = delete(NAMESPACES).where(NAMESPACES.c.id == namespace, ~used.exists())
    return database.execute(gone).rowcount > 0
