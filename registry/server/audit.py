"""What was changed, by whom, from where and when: rows that are only ever added.

A row is written in the transaction it speaks of: what happened is there, and what did not is not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, func, insert, select

from registry.contracts import Actor
from registry.server.database import reading
from registry.server.tables import AUDIT

_SUBJECT = 400
_ADDRESS = 64
_ADD = insert(AUDIT)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change; `time` in Unix seconds. `subject` is a tag, an account, a right: what was changed."""

    id: int
    time: float
    user: str
    credential: str
    address: str
    action: str
    repository: str
    subject: str
    digest: str


def record(
    database: Connection,
    now: float,
    actor: Actor,
    action: str,
    subject: str = "",
    *,
    repository: str = "",
    digest: str = "",
) -> None:
    """Add a row to the transaction."""
    row = {
        "time": now,
        "user": actor.user,
        "credential": actor.credential,
        "address": actor.address[:_ADDRESS],
        "action": action,
        "repository": repository.lower(),
        "subject": subject[:_SUBJECT],
        "digest": digest,
    }
    database.execute(_ADD, row)


def last(engine: Engine, action: str = "", until: float = math.inf) -> float:
    """When something was last changed, or that last happened (Unix seconds); 0 for never. StorageError.

    What was written down as later than `until` does not count: the clock was ahead.
    """
    query = select(func.max(AUDIT.c.time)).where(AUDIT.c.time <= until)
    if action:
        query = query.where(AUDIT.c.action == action)
    with reading(engine) as database:
        return float(database.execute(query).scalar() or 0.0)


def entries(
    engine: Engine, *, after: float = 0.0, repository: str = "", limit: int = 1000
) -> list[AuditEntry]:
    """The oldest `limit` changes behind `after` (Unix seconds), of one repository or all. StorageError."""
    query = select(AUDIT).where(AUDIT.c.time > after).order_by(AUDIT.c.time, AUDIT.c.id).limit(limit)
    if repository:
        query = query.where(AUDIT.c.repository == repository.lower())
    with reading(engine) as database:
        return [AuditEntry(*row) for row in database.execute(query)]


def latest(
    engine: Engine,
    *,
    before: int = 0,
    after: float = 0.0,
    repository: str = "",
    user: str = "",
    limit: int = 100,
) -> list[AuditEntry]:
    """The newest `limit` changes behind `after` (Unix seconds), of one repository or account or all.

    `before`: older than that row.
    """
    query = select(AUDIT).order_by(AUDIT.c.id.desc()).limit(limit)
    if after:
        query = query.where(AUDIT.c.time > after)
    if before:
        query = query.where(AUDIT.c.id < before)
    if repository:
        query = query.where(AUDIT.c.repository == repository.lower())
    if user:
        query = query.where(AUDIT.c.user == user)
    with reading(engine) as database:
        return [AuditEntry(*row) for row in database.execute(query)]
