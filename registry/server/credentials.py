"""What accounts and service accounts prove themselves with: machines' ed25519 keys, and API keys.

Nobody else changes what is kept of a credential (`api_keys` makes API keys, and their new secrets);
`bearers` says whom one means.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from registry.auth.keys import PublicKey
from registry.contracts import NOBODY, Actor, Clock, NewId
from registry.errors import InvalidError, NotFoundError
from registry.server import bearers
from registry.server.audit import record
from registry.server.bearers import scopes_in, service_name
from registry.server.database import reading, writing
from registry.server.key_scopes import KeyScope
from registry.server.principal import MACHINE_KEY, Principal, Right
from registry.server.reading import date
from registry.server.tables import API_KEYS, CREDENTIALS, KEYS, NAMESPACES, SERVICES, USERS

_LIST = (
    select(
        CREDENTIALS,
        USERS.c.name.label("user"),
        NAMESPACES.c.name.label("of"),
        SERVICES.c.name.label("service_name"),
        KEYS.c.fingerprint,
        API_KEYS.c.last_four,
        API_KEYS.c.scopes,
        API_KEYS.c.old_until,
    )
    .select_from(
        CREDENTIALS.outerjoin(USERS, USERS.c.id == CREDENTIALS.c.user_id)
        .outerjoin(NAMESPACES, NAMESPACES.c.id == CREDENTIALS.c.namespace)
        .outerjoin(SERVICES, SERVICES.c.id == CREDENTIALS.c.service)
        .outerjoin(API_KEYS, API_KEYS.c.credential == CREDENTIALS.c.id)
        .outerjoin(KEYS, KEYS.c.credential == CREDENTIALS.c.id)
    )
    .where(or_(USERS.c.id.is_not(None), SERVICES.c.id.is_not(None)))
    .order_by(func.coalesce(USERS.c.name, NAMESPACES.c.name), CREDENTIALS.c.added, CREDENTIALS.c.id)
)


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
class Listed:
    """A credential of any kind, as its owner sees it; times in Unix seconds.

    `user` is the account's name, or the service account's: `acme/ci`.
    `shown` is what may be shown of it: a machine's key's fingerprint, an API key's last four characters.
    `scopes` are None for what is good for everything; `old_until`: how long its secret before is good.
    """

    id: str
    kind: str
    user: str
    note: str
    scopes: tuple[KeyScope, ...] | None
    created: float
    expires: float | None
    last_used: float | None
    shown: str
    revoked: float | None
    old_until: float | None

    def state(self, now: float) -> str:
        """`active`, `expired`, `revoked` or `old secret until …`."""
        if self.revoked is not None:
            return "revoked"
        if self.expires is not None and self.expires <= now:
            return "expired"
        if self.old_until is not None and self.old_until > now:
            return f"old secret until {date(self.old_until)}"
        return "active"


@dataclass(frozen=True, slots=True)
class CredentialStore:
    """The credentials in one database; `clock` in Unix seconds. All methods raise StorageError."""

    engine: Engine
    clock: Clock
    new_id: NewId

    def listed(self, user: str = "", *kinds: str) -> list[Listed]:
        """The credentials of `user`, or everybody's, by account and age, revoked ones too. NotFoundError.

        `user` may be a service account; `kinds`: only those of these kinds.
        """
        query = _LIST.where(CREDENTIALS.c.kind.in_(kinds)) if kinds else _LIST
        namespace, _, part = user.partition("/")
        with reading(self.engine) as database:
            if part:
                query = query.where(NAMESPACES.c.name == namespace, SERVICES.c.name == part)
            elif user:
                _check_account(database, user)
                query = query.where(USERS.c.name == user)
            return [_listed(row) for row in database.execute(query)]

    def of_services(self, namespaces: Collection[str]) -> list[Listed]:
        """The keys of the service accounts in some namespaces, as `listed`."""
        query = _LIST.where(NAMESPACES.c.name.in_(namespaces), SERVICES.c.id.is_not(None))
        with reading(self.engine) as database:
            return [_listed(row) for row in database.execute(query)]

    def one(self, id: str) -> Listed:
        """The credential with that identifier. NotFoundError."""
        with reading(self.engine) as database:
            row = database.execute(_LIST.where(CREDENTIALS.c.id == id)).first()
        if row is None:
            raise NotFoundError(f"there is no credential {id[:40]}")
        return _listed(row)

    def revoke(self, user: str, id: str, actor: Actor = NOBODY) -> bool:
        """A credential of any kind is refused from the next request on; `user` is whose it is, by name.

        False if it was revoked before. NotFoundError.
        """
        found = self.one(id)
        if found.user != user:
            raise NotFoundError(f"{user} has no credential {id[:40]} to revoke")
        if found.kind == MACHINE_KEY:
            return self.revoke_key(found.shown, actor)
        return self.revoke_api_key(id, actor)

    def revoke_api_key(self, id: str, actor: Actor = NOBODY) -> bool:
        """From the next request on, both secrets of an API key are refused, and what was issued to it.

        False if it was revoked before. NotFoundError.
        """
        with writing(self.engine) as database:
            known = database.execute(select(API_KEYS.c.credential).filter_by(credential=id)).scalar()
            if known is None:
                raise NotFoundError(
                    f"there is no API key {id[:40]} to revoke", hint="ferry admin apikey list shows them"
                )
            ended = _end(database, known, self.clock())
            if ended:
                record(database, self.clock(), actor, "apikey.revoke", id)
        return ended

    # --- machines' keys ------------------------------------------------------------------------------

    def add_key(self, user: str, key: PublicKey, actor: Actor = NOBODY, note: str = "") -> Key:
        """Let `key` speak for `user`; `note` is what its machine says it is called.

        NotFoundError; InvalidError if it belongs to an account or did.
        """
        with writing(self.engine) as database:
            owner = database.execute(select(USERS.c.id).filter_by(name=user)).scalar()
            if owner is None:
                raise no_account(user)
            return put_key(database, owner, user, key, self.new_id(), self.clock(), actor, note)

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
                _check_account(database, user)
                query = query.where(USERS.c.name == user)
            return [Key(*row) for row in database.execute(query)]

    def revoke_key(self, fingerprint: str, actor: Actor = NOBODY) -> bool:
        """From the next request on, the key and everything issued to it are refused. NotFoundError.

        It stays revoked: nobody can add it again. False if it was revoked before.
        """
        with writing(self.engine) as database:
            known = database.execute(select(KEYS.c.credential).filter_by(fingerprint=fingerprint)).scalar()
            if known is None:
                raise NotFoundError(
                    f"there is no key {fingerprint[:80]} to revoke", hint="ferry admin key list shows them"
                )
            ended = _end(database, known, self.clock())
            if ended:
                record(database, self.clock(), actor, "key.revoke", fingerprint)
        return ended

    def disconnect_key(self, fingerprint: str, actor: Actor = NOBODY) -> None:
        """The same, but the key may be connected again: as a credential of its own. NotFoundError."""
        mine = select(KEYS.c.credential).where(KEYS.c.fingerprint == fingerprint).scalar_subquery()
        with writing(self.engine) as database:
            gone = delete(CREDENTIALS).where(CREDENTIALS.c.id == mine, CREDENTIALS.c.revoked.is_(None))
            if not database.execute(gone).rowcount:
                raise NotFoundError(f"there is no key {fingerprint[:80]} to disconnect")
            record(database, self.clock(), actor, "key.disconnect", fingerprint)

    def speaker(self, key: PublicKey) -> Principal:
        """Who the key speaks for. DeniedError says why for nobody: it has signed, so it may know."""
        with reading(self.engine) as database:
            return bearers.speaker(database, key, self.clock())


def put_key(
    database: Connection,
    owner: str,
    name: str,
    key: PublicKey,
    id: str,
    now: float,
    actor: Actor,
    note: str = "",
) -> Key:
    """Let `key` speak for the account with the identifier `owner`. InvalidError if it ever spoke for one.

    The fingerprint is a primary key: of two that add it at once, one is refused.
    """
    row = {"id": id, "kind": MACHINE_KEY, "user_id": owner, "cap": Right.WRITE.name.lower(), "added": now}
    database.execute(insert(CREDENTIALS).values(**row, note=note))
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


def _check_account(database: Connection, name: str) -> None:
    if database.execute(select(USERS.c.id).filter_by(name=name)).scalar() is None:
        raise no_account(name)


def _end(database: Connection, credential: str, now: float) -> bool:
    """Revoke a credential; whether it was not revoked yet."""
    mine = (CREDENTIALS.c.id == credential) & CREDENTIALS.c.revoked.is_(None)
    return database.execute(update(CREDENTIALS).where(mine).values(revoked=now)).rowcount > 0


def _listed(row: Any) -> Listed:
    return Listed(
        row.id,
        row.kind,
        row.user or service_name(row.of, row.service_name),
        row.note,
        scopes_in(row.scopes),
        row.added,
        row.expires,
        row.last_used,
        row.fingerprint or row.last_four or "",
        row.revoked,
        row.old_until,
    )
