"""Browsers that are signed in: each by a secret in its cookie, of which the database has the SHA-256 only.

A session is read whenever it is used: what was ended a moment ago is gone for the next request.
"""

from __future__ import annotations

import hashlib
import hmac
from contextlib import suppress
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine, bindparam, delete, insert, select, update

from registry.contracts import Actor, Clock, NewId
from registry.errors import NotFoundError, StorageError
from registry.server.audit import record
from registry.server.database import reading, writing
from registry.server.principal import SESSION, Credential, Principal, User
from registry.server.tables import SESSIONS, USERS

SECONDS = 7 * 86_400  # at most,
IDLE_SECONDS = 86_400  # and this long without a request
_RENEW_AFTER = 60.0  # seconds: how exactly it is known when a session was last used
_FOUND = (
    select(SESSIONS, USERS.c.name, USERS.c.admin, USERS.c.created.label("since"))
    .join(USERS, USERS.c.id == SESSIONS.c.user_id)
    .where(SESSIONS.c.hash == bindparam("hash"), USERS.c.disabled.is_(False))
)


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """A browser that is signed in as `user`.

    `created` is when it signed in, from `address`, and `seen` when it last asked (Unix seconds). `token`
    stands in each of its forms.
    """

    id: str
    user: User
    created: float
    seen: float
    expires: float
    address: str
    token: str = field(repr=False, default="")

    @property
    def principal(self) -> Principal:
        """Who asks."""
        return Principal(self.user, Credential(SESSION, self.id, expires=self.expires))

    def has_token(self, token: str) -> bool:
        """Whether a form came out of one of its pages."""
        return bool(self.token) and hmac.compare_digest(self.token.encode(), token.encode())


@dataclass(frozen=True, slots=True)
class Sessions:
    """The sessions in one database; `new_secret` makes what cannot be guessed. All raise StorageError."""

    engine: Engine
    clock: Clock
    new_id: NewId
    new_secret: NewId

    def begin_in(self, database: Connection, user: User, address: str) -> str:
        """Sign a browser in, in a transaction; the secret for its cookie."""
        now, secret, id = self.clock(), self.new_secret(), self.new_id()
        database.execute(delete(SESSIONS).where(SESSIONS.c.expires <= now))
        times = {"created": now, "seen": now, "expires": now + SECONDS}
        row = {"id": id, "hash": digest_of(secret), "user_id": user.id, "address": address[:64], **times}
        database.execute(insert(SESSIONS).values(**row))
        record(database, now, Actor(user.name, id, address), "session.begin", user.name)
        return secret

    def find(self, secret: str) -> BrowserSession | None:
        """The session of a cookie, if it is still one."""
        if not secret:
            return None
        now = self.clock()
        with reading(self.engine) as database:
            row = database.execute(_FOUND, {"hash": digest_of(secret)}).first()
        if row is None or row.expires <= now or row.seen <= now - IDLE_SECONDS:
            return None
        if row.seen <= now - _RENEW_AFTER:
            self._renew(row.id, now)
        user = User(row.user_id, row.name, row.admin, False, row.since)
        token = hmac.new(secret.encode(), b"forms", hashlib.sha256).hexdigest()
        return BrowserSession(row.id, user, row.created, row.seen, row.expires, row.address, token)

    def of(self, user: User) -> list[BrowserSession]:
        """The sessions of an account, the last used first."""
        now = self.clock()
        mine = select(SESSIONS).where(
            SESSIONS.c.user_id == user.id, SESSIONS.c.expires > now, SESSIONS.c.seen > now - IDLE_SECONDS
        )
        with reading(self.engine) as database:
            rows = database.execute(mine.order_by(SESSIONS.c.seen.desc())).all()
        return [
            BrowserSession(each.id, user, each.created, each.seen, each.expires, each.address)
            for each in rows
        ]

    def end(self, session: BrowserSession, actor: Actor) -> None:
        """Sign one browser out; one that is gone already is no error."""
        with writing(self.engine) as database:
            if database.execute(delete(SESSIONS).filter_by(id=session.id)).rowcount:
                record(database, self.clock(), actor, "session.end", session.user.name)

    def end_one(self, user: User, id: str, actor: Actor) -> None:
        """Sign out one browser of an account. NotFoundError for one that is not signed in."""
        mine = delete(SESSIONS).filter_by(id=id, user_id=user.id)
        with writing(self.engine) as database:
            if not database.execute(mine).rowcount:
                raise NotFoundError(f"{user.name} has no browser {id[:40]} that is signed in")
            record(database, self.clock(), actor, "session.end", user.name)

    def end_others(self, user: User, mine: str, actor: Actor) -> None:
        """Sign every browser of the account out but the session `mine` ("": that one, too)."""
        others = delete(SESSIONS).where(SESSIONS.c.user_id == user.id, SESSIONS.c.id != mine)
        with writing(self.engine) as database:
            database.execute(others)
            record(database, self.clock(), actor, "session.end", f"{user.name} {'others' if mine else 'all'}")

    def _renew(self, id: str, now: float) -> None:
        """Note that it was used. A database that is held just now is no reason to turn anybody away."""
        with suppress(StorageError), writing(self.engine) as database:
            database.execute(update(SESSIONS).where(SESSIONS.c.id == id).values(seen=now))


def digest_of(secret: str) -> str:
    """How a random secret is kept."""
    return hashlib.sha256(secret.encode()).hexdigest()
