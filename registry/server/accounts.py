"""Who has an account, which keys are theirs, and who may do what where.

Everything is read from the database at the moment it is asked for, and nothing is remembered: a key
revoked or a right withdrawn a moment ago, by this process or another, is gone for the next request.
The SQL is plain enough for PostgreSQL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from sqlalchemy import Connection, Engine, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from registry.auth.keys import PublicKey
from registry.contracts import Clock, NewId
from registry.errors import InvalidError, NotFoundError
from registry.server.database import reading, writing
from registry.server.schema import GRANTS, KEYS, PUBLIC, USERS

# What is asked on every request is put together once: building a statement costs more than running it.
_WHO = (
    select(USERS)
    .join(KEYS)
    .where(KEYS.c.fingerprint == bindparam("fingerprint"), KEYS.c.revoked.is_(None), ~USERS.c.disabled)
)
_GRANTED = select(GRANTS.c.scope, GRANTS.c.permission).where(GRANTS.c.user_id == bindparam("user"))
_GRANTED_NEAR = _GRANTED.where(GRANTS.c.scope.in_(bindparam("scopes", expanding=True)))
_IS_PUBLIC = select(PUBLIC).where(PUBLIC.c.repository == bindparam("repository"))

_NAME = re.compile(r"[a-z0-9_-]{1,80}")
_PART = re.compile(r"[a-z0-9_][a-z0-9_.-]*")
_SCOPE_LENGTH = 255


class Right(IntEnum):
    """What one may do in a repository; each includes the ones before. WRITE is push and delete."""

    NONE = 0
    READ = 1
    WRITE = 2

    @classmethod
    def parse(cls, text: str) -> Right:
        """`none`, `read` or `write`; InvalidError for anything else."""
        try:
            return cls[text.upper()]
        except KeyError:
            raise InvalidError(f"{text[:20]!r} is not a right: read, write or none") from None


@dataclass(frozen=True, slots=True)
class User:
    """An account; `created` in Unix seconds."""

    id: str
    name: str
    admin: bool
    disabled: bool
    created: float


@dataclass(frozen=True, slots=True)
class Key:
    """A key of an account; `added` and `revoked` in Unix seconds."""

    fingerprint: str
    text: str
    user: str
    added: float
    revoked: float | None


@dataclass(frozen=True, slots=True)
class Grant:
    """What `user` may do in `scope`, a namespace or one repository."""

    user: str
    scope: str
    right: Right


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever asks: an account by one of its keys, or anybody.

    `floor` is what they may do everywhere, whoever they are: more than nothing only in a lab registry.
    """

    user: User | None = None
    key: str = ""
    floor: Right = Right.NONE


ANYBODY = Principal()


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts in one database; `clock` in Unix seconds, `new_id` makes UUIDs.

    All methods raise StorageError when the database fails.
    """

    engine: Engine
    clock: Clock
    new_id: NewId

    # --- what an administrator does ------------------------------------------------------------------

    def add_user(self, name: str, *, admin: bool = False) -> User:
        """A new account, owner of the namespace of its name. InvalidError if the name is bad or taken."""
        if not _NAME.fullmatch(name):
            raise InvalidError(
                f"{name[:80]!r} cannot be an account's name", hint="1 to 80 of a-z, 0-9, '-' and '_'"
            )
        user = User(self.new_id(), name, admin, False, self.clock())
        with writing(self.engine) as database:
            try:
                database.execute(
                    insert(USERS).values(
                        id=user.id, name=name, admin=admin, disabled=False, created=user.created
                    )
                )
            except IntegrityError:
                raise InvalidError(f"there is an account {name} already") from None
        return user

    def users(self) -> list[User]:
        """Every account, by name."""
        with reading(self.engine) as database:
            return [User(*row) for row in database.execute(select(USERS).order_by(USERS.c.name))]

    def user(self, name: str) -> User:
        """The account `name`. NotFoundError."""
        with reading(self.engine) as database:
            return _user(database, name)

    def any(self) -> bool:
        """Whether there is any account."""
        with reading(self.engine) as database:
            return database.execute(select(USERS.c.id).limit(1)).first() is not None

    def disable(self, name: str) -> None:
        """From the next request on, every key of `name` is refused. NotFoundError."""
        self._set_disabled(name, True)

    def enable(self, name: str) -> None:
        """Take a `disable` back. NotFoundError."""
        self._set_disabled(name, False)

    def add_key(self, user: str, key: PublicKey) -> Key:
        """Let `key` speak for `user`. NotFoundError; InvalidError if it belongs to an account or did.

        A revoked key stays revoked: what was issued to it would come back to life with it.
        """
        added = self.clock()
        with writing(self.engine) as database:
            owner = _user(database, user)
            try:
                database.execute(
                    insert(KEYS).values(
                        fingerprint=key.fingerprint, text=key.text, user_id=owner.id, added=added
                    )
                )
            except IntegrityError:
                raise InvalidError(
                    f"the key {key} belongs to an account already, or was revoked",
                    hint="ferry admin key list shows whose it is; a revoked key is replaced by a new one",
                ) from None
        return Key(key.fingerprint, key.text, user, added, None)

    def keys(self, user: str = "") -> list[Key]:
        """The keys of `user`, or of everybody, by account and age, revoked ones too. NotFoundError."""
        columns = (KEYS.c.fingerprint, KEYS.c.text, USERS.c.name, KEYS.c.added, KEYS.c.revoked)
        query = select(*columns).join(USERS).order_by(USERS.c.name, KEYS.c.added)
        with reading(self.engine) as database:
            if user:
                query = query.where(USERS.c.id == _user(database, user).id)
            return [Key(*row) for row in database.execute(query)]

    def revoke(self, fingerprint: str) -> None:
        """From the next request on, the key and everything issued to it are refused. NotFoundError."""
        with writing(self.engine) as database:
            if not database.execute(
                update(KEYS)
                .where(KEYS.c.fingerprint == fingerprint, KEYS.c.revoked.is_(None))
                .values(revoked=self.clock())
            ).rowcount:
                raise NotFoundError(
                    f"there is no key {fingerprint[:80]} to revoke", hint="ferry admin key list shows them"
                )

    def grant(self, user: str, scope: str, right: Right) -> None:
        """What `user` may do in `scope`: a namespace (everything below it) or one repository.

        The grant nearest to a repository holds, so `NONE` closes one repository of an open namespace,
        and takes an earlier grant back. NotFoundError; InvalidError for a bad scope or the user's own.
        """
        scope = _scope(scope)
        with writing(self.engine) as database:
            account = _user(database, user)
            if _owns(account, scope):
                raise InvalidError(f"{scope} is {user}'s own, and grants do not change what owners may do")
            row = {"user_id": account.id, "scope": scope}
            database.execute(delete(GRANTS).filter_by(**row))
            database.execute(insert(GRANTS).values(**row, permission=right.name.lower()))

    def grants(self, user: str = "") -> list[Grant]:
        """The grants of `user`, or everybody's, by account and scope. NotFoundError."""
        query = select(USERS.c.name, GRANTS.c.scope, GRANTS.c.permission).join(USERS)
        with reading(self.engine) as database:
            if user:
                query = query.where(USERS.c.id == _user(database, user).id)
            rows = database.execute(query.order_by(USERS.c.name, GRANTS.c.scope))
            return [Grant(name, scope, Right.parse(right)) for name, scope, right in rows]

    def set_public(self, repository: str, public: bool) -> None:
        """Let anybody read `namespace/model`, or nobody but those with a right; it need not exist yet."""
        name = _scope(repository)
        if "/" not in name:
            raise InvalidError(
                f"{repository!r} is a namespace", hint="visibility is said of one model: NAMESPACE/MODEL"
            )
        with writing(self.engine) as database:
            database.execute(delete(PUBLIC).filter_by(repository=name))
            if public:
                database.execute(insert(PUBLIC).values(repository=name))

    # --- what the server asks, on every request ------------------------------------------------------

    def principal(self, fingerprint: str) -> Principal | None:
        """Who the key speaks for; None if it is unknown or revoked, or its account disabled."""
        with reading(self.engine) as database:
            return _principal(database, fingerprint)

    def right(self, principal: Principal, repository: str) -> Right:
        """What `principal` may do in `repository` now. Whether it exists makes no difference."""
        with reading(self.engine) as database:
            return _right(database, principal, repository)

    def standing(self, fingerprint: str, repository: str) -> tuple[Principal, Right] | None:
        """Who the key speaks for and what they may do in `repository`, in one look at the database."""
        with reading(self.engine) as database:
            principal = _principal(database, fingerprint)
            return (principal, _right(database, principal, repository)) if principal else None

    def reader(self, principal: Principal) -> Callable[[str], bool]:
        """Whether `principal` may read a repository, for asking about very many at one moment."""
        with reading(self.engine) as database:
            grants = _grants(database, principal)
            public = set(database.execute(select(PUBLIC.c.repository)).scalars())

        def readable(repository: str) -> bool:
            name = repository.lower()
            if _everything(principal, name) or name in public:
                return True
            return max(principal.floor, _nearest(grants, name)) >= Right.READ

        return readable

    def _set_disabled(self, name: str, disabled: bool) -> None:
        with writing(self.engine) as database:
            if not database.execute(
                update(USERS).where(USERS.c.name == name).values(disabled=disabled)
            ).rowcount:
                raise _no_account(name)


def _principal(database: Connection, fingerprint: str) -> Principal | None:
    row = database.execute(_WHO, {"fingerprint": fingerprint}).first()
    return Principal(User(*row), fingerprint) if row else None


def _right(database: Connection, principal: Principal, repository: str) -> Right:
    """Administrators and owners may everything; else the nearest grant holds; what is public is readable."""
    name = repository.lower()
    if len(name) > _SCOPE_LENGTH:
        return principal.floor
    if _everything(principal, name):
        return Right.WRITE
    granted = max(principal.floor, _nearest(_grants(database, principal, _scopes(name)), name))
    if granted is Right.NONE and database.execute(_IS_PUBLIC, {"repository": name}).first():
        return Right.READ
    return granted


def _everything(principal: Principal, name: str) -> bool:
    """Whether it is an administrator, or the owner of the namespace: they need no grant."""
    user = principal.user
    return user is not None and (user.admin or _owns(user, name))


def _owns(user: User, name: str) -> bool:
    return name.partition("/")[0] == user.name


def _scopes(name: str) -> list[str]:
    """The scopes a repository is in, nearest first: `a/b/c`, `a/b`, `a`."""
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _nearest(grants: Mapping[str, Right], name: str) -> Right:
    """The grant nearest to a repository is the one that holds."""
    return next((grants[scope] for scope in _scopes(name) if scope in grants), Right.NONE)


def _grants(
    database: Connection, principal: Principal, scopes: Sequence[str] | None = None
) -> Mapping[str, Right]:
    """The grants of `principal`, all of them or those in `scopes`."""
    if principal.user is None:
        return {}
    user = {"user": principal.user.id}
    if scopes is None:
        rows = database.execute(_GRANTED, user)
    else:
        rows = database.execute(_GRANTED_NEAR, {**user, "scopes": scopes})
    return {scope: Right.parse(right) for scope, right in rows}


def _user(database: Connection, name: str) -> User:
    row = database.execute(select(USERS).filter_by(name=name)).first()
    if row is None:
        raise _no_account(name)
    return User(*row)


def _no_account(name: str) -> NotFoundError:
    return NotFoundError(f"there is no account {name[:80]!r}", hint="ferry admin user list shows them")


def _scope(text: str) -> str:
    """A namespace or repository in the one spelling that is compared: lower case."""
    scope = text.lower()
    if len(scope) > _SCOPE_LENGTH or not all(_PART.fullmatch(part) for part in scope.split("/")):
        raise InvalidError(f"{text[:80]!r} is not NAMESPACE or NAMESPACE/MODEL")
    return scope
