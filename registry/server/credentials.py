"""What accounts prove themselves with: credentials, of which a machine's ed25519 key is the first kind.

Nobody else knows fingerprints. Everything is read at the moment it is asked for: what was revoked a moment
ago, by this process or another, is gone for the next request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from registry.auth.keys import PublicKey
from registry.contracts import NOBODY, Actor, Clock, NewId
from registry.errors import DeniedError, InvalidError, NotFoundError, Reason
from registry.server.audit import record
from registry.server.database import reading, writing
from registry.server.principal import Credential, Principal, Right, User
from registry.server.tables import CREDENTIALS, KEYS, USERS

# What is asked on every request is put together once: building a statement costs more than running it.
_HELD = select(
    CREDENTIALS.c.kind,
    CREDENTIALS.c.id,
    CREDENTIALS.c.cap,
    CREDENTIALS.c.expires,
    CREDENTIALS.c.revoked,
    USERS.c.id.label("user"),
    USERS.c.name,
    USERS.c.admin,
    USERS.c.disabled,
    USERS.c.created,
).join(USERS, USERS.c.id == CREDENTIALS.c.user_id, isouter=True)
_BY_ID = _HELD.where(CREDENTIALS.c.id == bindparam("one"))
_BY_KEY = _HELD.join(KEYS, KEYS.c.credential == CREDENTIALS.c.id).where(
    KEYS.c.fingerprint == bindparam("one")
)
_ASK = "ask the registry's administrator about it"


@dataclass(frozen=True, slots=True)
class Key:
    """A key of an account; `id` is its credential's. Times in Unix seconds."""

    id: str
    fingerprint: str
    text: str
    user: str
    added: float
    revoked: float | None


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials in one database; `clock` in Unix seconds. All methods raise StorageError."""

    engine: Engine
    clock: Clock
    new_id: NewId

    def add_key(self, user: str, key: PublicKey, actor: Actor = NOBODY) -> Key:
        """Let `key` speak for `user`. NotFoundError; InvalidError if it belongs to an account or did."""
        with writing(self.engine) as database:
            owner = database.execute(select(USERS.c.id).filter_by(name=user)).scalar()
            if owner is None:
                raise no_account(user)
            return put_key(database, owner, user, key, self.new_id(), self.clock(), actor)

    def list_keys(self, user: str = "") -> list[Key]:
        """The keys of `user`, or of everybody, by account and age, revoked ones too. NotFoundError."""
        columns = (KEYS.c.fingerprint, KEYS.c.text, USERS.c.name, CREDENTIALS.c.added, CREDENTIALS.c.revoked)
        query = (
            select(CREDENTIALS.c.id, *columns)
            .join(KEYS, KEYS.c.credential == CREDENTIALS.c.id)
            .join(USERS, USERS.c.id == CREDENTIALS.c.user_id)
            .order_by(USERS.c.name, CREDENTIALS.c.added)
        )
        with reading(self.engine) as database:
            if user:
                if database.execute(select(USERS.c.id).filter_by(name=user)).scalar() is None:
                    raise no_account(user)
                query = query.where(USERS.c.name == user)
            return [Key(*row) for row in database.execute(query)]

    def revoke_key(self, fingerprint: str, actor: Actor = NOBODY) -> None:
        """From the next request on, the key and everything issued to it are refused. NotFoundError.

        It stays revoked: nobody can add it again.
        """
        mine = select(KEYS.c.credential).where(KEYS.c.fingerprint == fingerprint).scalar_subquery()
        with writing(self.engine) as database:
            if not database.execute(
                update(CREDENTIALS)
                .where(CREDENTIALS.c.id == mine, CREDENTIALS.c.revoked.is_(None))
                .values(revoked=self.clock())
            ).rowcount:
                raise NotFoundError(
                    f"there is no key {fingerprint[:80]} to revoke", hint="ferry admin key list shows them"
                )
            record(database, self.clock(), actor, "key.revoke", fingerprint)

    def speaker(self, key: PublicKey) -> Principal:
        """Who the key speaks for. DeniedError says why for nobody: it has signed, so it may know."""
        with reading(self.engine) as database:
            row = database.execute(_BY_KEY, {"one": key.fingerprint}).first()
        if row is None:
            raise DeniedError(
                f"the key {key} is not one this registry knows",
                reason=Reason.KEY_UNKNOWN,
                hint="ask its administrator to add it: ferry admin key add",
            )
        if row.revoked is not None:
            raise DeniedError(f"the key {key} was revoked", hint=_ASK)
        if row.disabled:
            raise DeniedError(f"the account {row.name} is disabled", hint=_ASK)
        principal = _principal(row, self.clock())
        if principal is None:
            raise DeniedError(f"the key {key} has expired", hint=_ASK)
        return principal


def principal_of(database: Connection, credential: str, now: float) -> Principal | None:
    """Whom a credential's identifier means; None if it was revoked or is over, or its account disabled."""
    row = database.execute(_BY_ID, {"one": credential}).first()
    return _principal(row, now) if row else None


def put_key(
    database: Connection, owner: str, name: str, key: PublicKey, id: str, now: float, actor: Actor
) -> Key:
    """Let `key` speak for the account with the identifier `owner`. InvalidError if it ever spoke for one.

    The fingerprint is a primary key: of two that add it at once, one is refused.
    """
    database.execute(
        insert(CREDENTIALS).values(id=id, kind="key", user_id=owner, cap=Right.WRITE.name.lower(), added=now)
    )
    try:
        database.execute(insert(KEYS).values(fingerprint=key.fingerprint, text=key.text, credential=id))
    except IntegrityError:
        raise InvalidError(
            f"the key {key} belongs to an account already, or was revoked",
            hint="ferry admin key list shows whose it is; a revoked key is replaced by a new one",
        ) from None
    record(database, now, actor, "key.add", f"{name} {key}")
    return Key(id, key.fingerprint, key.text, name, now, None)


def drop_credentials(database: Connection, owner: str) -> None:
    """Forget the credentials of an account that ends; what was revoked stays so, and belongs to nobody."""
    mine = CREDENTIALS.c.user_id == owner
    database.execute(delete(CREDENTIALS).where(mine, CREDENTIALS.c.revoked.is_(None)))
    database.execute(update(CREDENTIALS).where(mine).values(user_id=None))


def no_account(name: str) -> NotFoundError:
    """What is said of an account that is not there."""
    return NotFoundError(f"there is no account {name[:80]!r}", hint="ferry admin user list shows them")


def _principal(row: Any, now: float) -> Principal | None:
    if row.revoked is not None or row.user is None or row.disabled:
        return None
    if row.expires is not None and row.expires <= now:
        return None
    user = User(row.user, row.name, row.admin, row.disabled, row.created)
    return Principal(user, Credential(row.kind, row.id, Right.parse(row.cap), row.expires))
