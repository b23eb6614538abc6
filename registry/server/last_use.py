"""When each credential was last used: noted in memory, and written down once in a while.

Not where it is used, because reading must not wait for a writer; and nothing that anybody may depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Engine, bindparam, or_, update

from registry.contracts import Clock
from registry.server.database import writing
from registry.server.tables import CREDENTIALS

EVERY = 60.0  # seconds: how exactly it is known
_USED = (
    update(CREDENTIALS)
    .where(CREDENTIALS.c.id == bindparam("one"))
    .where(or_(CREDENTIALS.c.last_used.is_(None), CREDENTIALS.c.last_used < bindparam("at")))
    .values(last_used=bindparam("at"))
)


@dataclass(frozen=True, slots=True)
class LastUse:
    """Of the credentials in one database; `clock` in Unix seconds. Safe from several threads.

    `known` are the times this process has noted, `waiting` those that are not written down yet.
    """

    engine: Engine
    clock: Clock
    known: dict[str, float] = field(default_factory=dict)
    waiting: dict[str, float] = field(default_factory=dict)

    def note(self, credential: str) -> None:
        """It is used now ("" is nobody's)."""
        if not credential:
            return
        now = self.clock()
        if now - self.known.get(credential, float("-inf")) >= EVERY:
            self.known[credential] = self.waiting[credential] = now

    def write(self) -> None:
        """Write down what waits. A credential that is gone meanwhile is none. StorageError: all waits on."""
        waiting = dict(self.waiting)
        if not waiting:
            return
        with writing(self.engine) as database:
            database.execute(_USED, [{"one": one, "at": at} for one, at in waiting.items()])
        for one in waiting:
            self.waiting.pop(one, None)
