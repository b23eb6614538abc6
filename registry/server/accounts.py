"""Who has an account. Each owns the namespace of its name; both names are taken in one transaction."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from registry.auth.keys import PublicKey
from registry.contracts import NOBODY, Actor, Clock, NewId
from registry.errors import InvalidError
from registry.server.audit import record
from registry.server.credentials import drop_credentials, no_account, put_key
from registry.server.database import first, reading, writing
from registry.server.namespaces import drop, end_workloads
from registry.server.principal import User
from registry.server.services import end_limited_keys
from registry.server.tables import GRANTS, INVITATIONS, NAMESPACES, ORGANISATIONS, SESSIONS, USERS

ACCOUNT = select(USERS.c.id, USERS.c.name, USERS.c.admin, USERS.c.disabled, USERS.c.created)  # as User has it
_ANY = select(USERS.c.id)
_NAME = re.compile(r"[a-z0-9_-]{1,80}")


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts in one database; `clock` in Unix seconds, `new_id` makes UUIDs.

    All methods raise StorageError when the database fails.
    """

    engine: Engine
    clock: Clock
    new_id: NewId

    def add_user(
        self, name: str, *, admin: bool = False, key: PublicKey | None = None, actor: Actor = NOBODY
    ) -> User:
        """A new account, owner of the namespace of its name, perhaps with its first key: all or nothing.

        InvalidError if the name is bad or taken, or the key somebody's.
        """
        now = self.clock()
        user = new_account(name, self.new_id(), now, admin=admin)
        with writing(self.engine) as database:
            insert_account(database, user, actor)
            if key is not None:
                put_key(database, user.id, name, key, self.new_id(), now, actor)
        return user

    def users(self) -> list[User]:
        """Every account, by name."""
        with reading(self.engine) as database:
            return [User(*row) for row in database.execute(ACCOUNT.order_by(USERS.c.name))]

    def user(self, name: str) -> User:
        """The account `name`. NotFoundError."""
        with reading(self.engine) as database:
            row = database.execute(ACCOUNT.filter_by(name=name)).first()
        if row is None:
            raise no_account(name)
        return User(*row)

    def any(self) -> bool:
        """Whether there is any account."""
        return first(self.engine, _ANY) is not None

    def disable(self, name: str, actor: Actor = NOBODY) -> None:
        """From the next request on, every credential of `name` is refused. NotFoundError.

        Its browsers are signed out, and its tokens and links are no good any more, for ever.
        """
        self._set_disabled(name, True, actor)

    def enable(self, name: str, actor: Actor = NOBODY) -> None:
        """Take a `disable` back. NotFoundError."""
        self._set_disabled(name, False, actor)

    def remove(self, name: str, actor: Actor = NOBODY) -> bool:
        """End an account, its credentials and rights; whether models of it stay. NotFoundError.

        Its namespace goes with it, and with that every right anybody had there. If it holds models it
        stays, without its service accounts, and belongs to nobody: then its name is not free either.
        """
        with writing(self.engine) as database:
            owner = database.execute(select(USERS.c.id).filter_by(name=name)).scalar()
            if owner is None:
                raise no_account(name)
            for own in database.execute(select(NAMESPACES.c.id).filter_by(owner=owner)).scalars().all():
                end_workloads(database, own)
                drop(database, own)
            mine = update(NAMESPACES).filter_by(owner=owner).values(owner=None)
            stays = database.execute(mine).rowcount > 0
            end_limited_keys(database, owner, actor, self.clock())
            database.execute(delete(GRANTS).where(GRANTS.c.user_id == owner))
            drop_credentials(database, owner)
            database.execute(delete(USERS).where(USERS.c.id == owner))
            record(database, self.clock(), actor, "user.remove", name)
        return stays

    def _set_disabled(self, name: str, disabled: bool, actor: Actor) -> None:
        with writing(self.engine) as database:
            user = database.execute(select(USERS.c.id).filter_by(name=name)).scalar()
            if user is None:
                raise no_account(name)
            change = {"disabled": disabled, "closings": USERS.c.closings + disabled}
            database.execute(update(USERS).where(USERS.c.id == user).values(change))
            if disabled:
                end_browsers(database, user)
            record(database, self.clock(), actor, "user.disable" if disabled else "user.enable", name)


def new_account(name: str, id: str, now: float, *, admin: bool = False) -> User:
    """An account that is to be made. InvalidError if the name cannot be one's."""
    check_name(name, "an account's")
    return User(id, name, admin, False, now)


def check_name(name: str, whose: str) -> None:
    """InvalidError if it cannot be `whose` name: accounts and organisations share one space of names."""
    if not _NAME.fullmatch(name):
        raise InvalidError(f"{name[:80]!r} cannot be {whose} name", hint="1 to 80 of a-z, 0-9, '-' and '_'")


def insert_account(database: Connection, user: User, actor: Actor) -> None:
    """The account and its namespace: both names are unique, so of two that take one, one is refused."""
    _insert(database, user)
    record(database, user.created, actor, "user.add", f"{user.name} admin" if user.admin else user.name)


def end_browsers(database: Connection, user: str) -> None:
    """Sign out every browser of the account with that identifier, and forget its links."""
    database.execute(delete(SESSIONS).filter_by(user_id=user))
    database.execute(delete(INVITATIONS).filter_by(user_id=user))


def _insert(database: Connection, user: User) -> None:
    organisation = select(ORGANISATIONS.c.created).join(
        NAMESPACES, NAMESPACES.c.id == ORGANISATIONS.c.namespace
    )
    if database.execute(organisation.where(NAMESPACES.c.name == user.name)).first() is not None:
        raise InvalidError(
            f"there is an organisation {user.name}", hint="they share one space of names: take another one"
        )
    row = {"id": user.id, "name": user.name, "admin": user.admin, "disabled": False, "created": user.created}
    try:
        database.execute(insert(USERS).values(**row))
    except IntegrityError:
        raise InvalidError(f"there is an account {user.name} already") from None
    try:
        database.execute(insert(NAMESPACES).values(name=user.name, owner=user.id, created=user.created))
    except IntegrityError:
        raise InvalidError(
            f"{user.name} is a namespace already: models or rights are kept under that name",
            hint="take another name for the account, and grant it rights there: ferry admin grant",
        ) from None
