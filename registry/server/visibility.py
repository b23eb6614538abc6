"""Whether anybody may read a repository: one row, written in the transaction of what changes it."""

from __future__ import annotations

from sqlalchemy import Connection, delete

from registry.contracts import Actor
from registry.server.audit import record
from registry.server.database import upsert
from registry.server.namespaces import ensure, namespace_of
from registry.server.tables import PUBLIC
from registry.wire.visibility import write_visibility


def set_visibility(database: Connection, name: str, public: bool, actor: Actor, now: float) -> None:
    """Let anybody read the repository `name` (in lower case), or nobody but those with a right."""
    if public:
        namespace = ensure(database, namespace_of(name), now)
        add = upsert(database, PUBLIC).values(repository=name, namespace=namespace)
        database.execute(add.on_conflict_do_nothing())  # two that say the same
    else:
        database.execute(delete(PUBLIC).filter_by(repository=name))
    record(database, now, actor, "visibility", write_visibility(public), repository=name)
