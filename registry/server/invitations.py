"""Links that are good once: to make the first account, to choose a password, into the pages.

The secret in one is kept as its SHA-256 only. A new link of an account takes the place of its earlier ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, Engine, delete, insert, select

from registry.contracts import NOBODY, Actor, Clock, NewId
from registry.errors import DeniedError, InvalidError, NotFoundError
from registry.server.accounts import ACCOUNT, insert_account, new_account
from registry.server.audit import record
from registry.server.credentials import no_account
from registry.server.database import reading, writing
from registry.server.principal import User
from registry.server.sessions import digest_of
from registry.server.tables import INVITATIONS, PASSWORDS, USERS


class Link(StrEnum):
    """What a link is good for."""

    SET_UP = "setup"
    INVITE = "invite"
    RESET = "reset"
    PAGE = "page"


PATHS = {Link.SET_UP: "/set-up", Link.INVITE: "/invitation", Link.RESET: "/invitation", Link.PAGE: "/page"}
SECONDS = {Link.SET_UP: 3600, Link.INVITE: 86_400, Link.RESET: 86_400, Link.PAGE: 300}
TO_CHOOSE = (Link.INVITE, Link.RESET)


@dataclass(frozen=True, slots=True)
class Invitations:
    """The links in one database; `clock` in Unix seconds, `new_secret` makes what cannot be guessed.

    All methods raise StorageError when the database fails. What they return is the link's path; the secret
    stands in its fragment, which no browser sends.
    """

    engine: Engine
    clock: Clock
    new_id: NewId
    new_secret: NewId

    def set_up(self) -> str | None:
        """The link that makes the first account, an administrator; None if there are accounts already."""
        with writing(self.engine) as database:
            if database.execute(select(USERS.c.id).limit(1)).first():
                return None
            database.execute(delete(INVITATIONS).filter_by(kind=Link.SET_UP))
            return self._made(database, Link.SET_UP, None)

    def invite(self, name: str, actor: Actor = NOBODY, *, admin: bool = False) -> str:
        """The link where `name` chooses the first password; the account is made if there is none.

        InvalidError if the name cannot be an account's, or the account is disabled or has a password.
        """
        with writing(self.engine) as database:
            user = _enabled(database, name)
            if user is None:
                made = new_account(name, self.new_id(), self.clock(), admin=admin)
                insert_account(database, made, actor)
                user = made.id
            elif database.execute(select(PASSWORDS.c.user_id).filter_by(user_id=user)).first():
                raise InvalidError(
                    f"{name} has a password already", hint=f"for another one: ferry admin user reset {name}"
                )
            return self._to_choose(database, Link.INVITE, name, user, actor)

    def reset(self, name: str, actor: Actor = NOBODY) -> str:
        """The link where `name` chooses another password; until then the old one is good.

        NotFoundError; InvalidError for a disabled account.
        """
        with writing(self.engine) as database:
            user = _enabled(database, name)
            if user is None:
                raise no_account(name)
            return self._to_choose(database, Link.RESET, name, user, actor)

    def take_back(self, name: str, actor: Actor = NOBODY) -> None:
        """End the link where `name` could choose a password. NotFoundError for no account or no such link."""
        with writing(self.engine) as database:
            user = database.execute(select(USERS.c.id).filter_by(name=name)).scalar()
            if user is None:
                raise no_account(name)
            mine = (INVITATIONS.c.user_id == user) & INVITATIONS.c.kind.in_(TO_CHOOSE)
            good = mine & (INVITATIONS.c.expires > self.clock())
            if not database.execute(delete(INVITATIONS).where(good)).rowcount:
                raise NotFoundError(f"{name} has no link to choose a password with")
            record(database, self.clock(), actor, "user.take-back", name)

    def page(self, user: User, actor: Actor = NOBODY) -> str:
        """The link into the pages for one who has proven elsewhere who they are."""
        with writing(self.engine) as database:
            database.execute(delete(INVITATIONS).filter_by(kind=Link.PAGE, user_id=user.id))
            record(database, self.clock(), actor, "user.page", user.name)
            return self._made(database, Link.PAGE, user.id)

    def pending(self) -> dict[str, float]:
        """Until when (Unix seconds) each account that is to choose a password may."""
        query = select(USERS.c.name, INVITATIONS.c.expires).join(USERS, USERS.c.id == INVITATIONS.c.user_id)
        mine = query.where(INVITATIONS.c.kind.in_(TO_CHOOSE), INVITATIONS.c.expires > self.clock())
        with reading(self.engine) as database:
            return {row.name: row.expires for row in database.execute(mine)}

    def check(self, secret: str, *kinds: Link) -> User | None:
        """Whose link it is, None for nobody's; DeniedError if it is not good for any of `kinds`, or over."""
        with reading(self.engine) as database:
            return _holder(database, secret, kinds, self.clock())

    def _to_choose(self, database: Connection, kind: Link, name: str, user: str, actor: Actor) -> str:
        mine = INVITATIONS.c.kind.in_(TO_CHOOSE)
        database.execute(delete(INVITATIONS).where(INVITATIONS.c.user_id == user, mine))
        record(database, self.clock(), actor, f"user.{kind}", name)
        return self._made(database, kind, user)

    def _made(self, database: Connection, kind: Link, user: str | None) -> str:
        now, secret = self.clock(), self.new_secret()
        database.execute(delete(INVITATIONS).where(INVITATIONS.c.expires <= now))
        row = {"hash": digest_of(secret), "user_id": user, "kind": kind, "expires": now + SECONDS[kind]}
        database.execute(insert(INVITATIONS).values(**row))
        return f"{PATHS[kind]}#{secret}"


def spend(database: Connection, secret: str, kinds: tuple[Link, ...], now: float) -> User | None:
    """Use a link up; whose it was, None for nobody's. DeniedError, also to one of two who use it at once."""
    user = _holder(database, secret, kinds, now)
    if not database.execute(delete(INVITATIONS).filter_by(hash=digest_of(secret))).rowcount:
        raise _not_good()
    return user


def _holder(database: Connection, secret: str, kinds: tuple[Link, ...], now: float) -> User | None:
    mine = select(INVITATIONS.c.user_id, INVITATIONS.c.kind, INVITATIONS.c.expires)
    link = database.execute(mine.filter_by(hash=digest_of(secret))).first()
    if link is None or link.kind not in kinds or link.expires <= now:
        raise _not_good()
    if link.user_id is None:
        return None
    user = User(*database.execute(ACCOUNT.filter_by(id=link.user_id)).one())
    if user.disabled:
        raise _not_good()
    return user


def _enabled(database: Connection, name: str) -> str | None:
    """The identifier of an account, None if there is none. InvalidError if it is disabled."""
    row = database.execute(select(USERS.c.id, USERS.c.disabled).filter_by(name=name)).first()
    if row is not None and row.disabled:
        raise InvalidError(f"{name} is disabled", hint=f"enable it first: ferry admin user enable {name}")
    return row.id if row else None


def _not_good() -> DeniedError:
    return DeniedError(
        "this link is not good, or not any more: each can be used once, and only for a while",
        hint="ask for a new one",
    )
