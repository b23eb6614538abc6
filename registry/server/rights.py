"""Who may do what where: owners, grants and visibility, as the database has them whenever it is asked.

What was found out is remembered for as long as nothing it depends on has changed, which the database itself
counts: a right withdrawn a moment ago, by this process or another, is gone for the next request. A right is
held in a namespace's row, not under its name: it ends with the namespace.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine, bindparam, delete, select

from registry.contracts import NOBODY, Actor, Clock
from registry.errors import InvalidError, NotFoundError
from registry.server.audit import record
from registry.server.bearers import hashed, principal_by_hash, principal_of
from registry.server.credentials import no_account
from registry.server.database import first, reading, writing
from registry.server.grants import check_an_owner_stays, put_grant
from registry.server.namespaces import SCOPE_LENGTH, ensure, namespace_of, scope, scopes_of
from registry.server.principal import Principal, Right, User
from registry.server.tables import GRANTS, NAMESPACES, PUBLIC, REPOSITORIES, RIGHTS_CHANGES, USERS
from registry.server.visibility import set_visibility

# What is asked on every request is put together once: building a statement costs more than running it.
_CHANGES = select(RIGHTS_CHANGES.c.count)
_OWNER = select(NAMESPACES.c.owner).where(NAMESPACES.c.name == bindparam("namespace"))
_GRANTED = select(GRANTS.c.scope, GRANTS.c.permission).where(GRANTS.c.user_id == bindparam("user"))
_GRANTED_NEAR = _GRANTED.where(GRANTS.c.scope.in_(bindparam("scopes", expanding=True)))
# Grants of the accounts that know a program's secret; administrators may everything whatever is granted.
_GRANTED_MAKERS = (
    select(GRANTS.c.user_id, GRANTS.c.scope, GRANTS.c.permission)
    .join(USERS, USERS.c.id == GRANTS.c.user_id)
    .where(GRANTS.c.user_id.in_(bindparam("makers", expanding=True)), USERS.c.admin.is_(False))
)
_IS_PUBLIC = select(PUBLIC.c.repository).where(PUBLIC.c.repository == bindparam("repository"))
_MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Grant:
    """What `user` may do in `scope`, a namespace or one repository."""

    user: str
    scope: str
    right: Right


@dataclass(frozen=True, slots=True)
class RememberedRight:
    """Who a credential means and what they may do in one repository, at one count of the changes."""

    changes: int
    principal: Principal
    right: Right

    def holds(self, changes: int, now: float) -> bool:
        """Whether it is still so: nothing has changed, and the credential is not over."""
        credential = self.principal.credential
        expires = credential.expires if credential else None
        return self.changes == changes and (expires is None or now < expires)


@dataclass(frozen=True, slots=True)
class Rights:
    """The rights in one database; `clock` in Unix seconds. All methods raise StorageError.

    `standings`, by credential and repository, is what `standing` has found out.
    """

    engine: Engine
    clock: Clock
    standings: dict[tuple[str, str], RememberedRight] = field(default_factory=dict)

    # --- what an administrator does ------------------------------------------------------------------

    def grant(
        self, user: str, where: str, right: Right, actor: Actor = NOBODY, *, ownerless: bool = True
    ) -> bool:
        """What `user` may do in a namespace (everything below it) or one repository; whether that is there.

        The grant nearest to a repository holds, so `NONE` closes one repository of an open namespace,
        and takes an earlier grant back. NotFoundError; InvalidError for a bad scope or the user's own;
        DeniedError where an organisation would have no owner any more, unless it may be `ownerless`.
        """
        name, now = scope(where), self.clock()
        with writing(self.engine) as database:
            account = database.execute(select(USERS.c.id).filter_by(name=user)).scalar()
            if account is None:
                raise no_account(user)
            there = _is_there(database, name)
            if database.execute(_OWNER, {"namespace": namespace_of(name)}).scalar() == account:
                raise InvalidError(f"{name} is {user}'s own, and grants do not change what owners may do")
            namespace = ensure(database, namespace_of(name), now)
            put_grant(database, account, name, namespace, right)
            record(database, now, actor, "grant", f"{user} {right.name.lower()} {name}")
            if not ownerless:
                check_an_owner_stays(database, namespace_of(name))
        return there

    def grants_in(self, where: str) -> list[Grant]:
        """The grants that hold in a repository or namespace, its own and those around it, by account."""
        query = (
            select(USERS.c.name, GRANTS.c.scope, GRANTS.c.permission)
            .join(USERS, USERS.c.id == GRANTS.c.user_id)
            .where(GRANTS.c.scope.in_(scopes_of(where.lower())))
        )
        with reading(self.engine) as database:
            rows = database.execute(query.order_by(USERS.c.name, GRANTS.c.scope))
            return [Grant(name, where, Right.parse(right)) for name, where, right in rows]

    def grants(self, user: str = "") -> list[Grant]:
        """The grants of `user`, or everybody's, by account and scope. NotFoundError."""
        query = select(USERS.c.name, GRANTS.c.scope, GRANTS.c.permission).join(
            USERS, USERS.c.id == GRANTS.c.user_id
        )
        with reading(self.engine) as database:
            if user:
                if database.execute(select(USERS.c.id).filter_by(name=user)).scalar() is None:
                    raise no_account(user)
                query = query.where(USERS.c.name == user)
            rows = database.execute(query.order_by(USERS.c.name, GRANTS.c.scope))
            return [Grant(name, where, Right.parse(right)) for name, where, right in rows]

    def set_public(self, repository: str, public: bool, actor: Actor = NOBODY) -> bool:
        """Let anybody read `namespace/model`, or nobody but those with a right; whether it is there yet."""
        name, now = scope(repository), self.clock()
        if "/" not in name:
            raise InvalidError(
                f"{repository!r} is a namespace", hint="visibility is said of one model: NAMESPACE/MODEL"
            )
        with writing(self.engine) as database:
            there = _is_there(database, name)
            set_visibility(database, name, public, actor, now)
        return there

    def public(self) -> list[str]:
        """The repositories that anybody may read, by name."""
        with reading(self.engine) as database:
            return list(database.execute(select(PUBLIC.c.repository).order_by(PUBLIC.c.repository)).scalars())

    def ungrant(self, user: str, where: str, actor: Actor = NOBODY, *, ownerless: bool = True) -> None:
        """Forget a grant, so that the next one around it holds, if there is one. NotFoundError for none.

        DeniedError as `grant`.
        """
        name = scope(where)
        with writing(self.engine) as database:
            account = database.execute(select(USERS.c.id).filter_by(name=user)).scalar()
            if account is None:
                raise no_account(user)
            ensure(database, namespace_of(name), self.clock())
            if not database.execute(delete(GRANTS).filter_by(user_id=account, scope=name)).rowcount:
                raise NotFoundError(f"{user} has no share in {name}")
            rows = database.execute(_GRANTED, {"user": account})
            left = _nearest({where: Right.parse(right) for where, right in rows}, name)
            record(database, self.clock(), actor, "grant", f"{user} {left.name.lower()} {name}")
            if not ownerless:
                check_an_owner_stays(database, namespace_of(name))

    # --- what the server asks, on every request ------------------------------------------------------

    def right(self, principal: Principal, repository: str) -> Right:
        """What `principal` may do in `repository` now. Whether it exists makes no difference."""
        if principal == Principal(floor=principal.floor):
            return self._anybodys(principal.floor, repository.lower())
        with reading(self.engine) as database:
            return _right(database, principal, repository)

    def _anybodys(self, floor: Right, name: str) -> Right:
        """As `_right`, of strangers: there may be very many."""
        if floor is Right.NONE and len(name) <= SCOPE_LENGTH:
            return Right.READ if first(self.engine, _IS_PUBLIC, {"repository": name}) else floor
        return floor

    def standing(self, credential: str, repository: str) -> tuple[Principal, Right] | None:
        """Whom a credential means, and what they may do in `repository`, now; None for nobody.

        What is remembered holds if the changes counted by this request are as many as then. What is found
        out anew is looked up in one transaction together with the count.
        """
        return self._standing((credential, repository.lower()), principal_of)

    def standing_by_secret(self, secret: str, repository: str) -> tuple[Principal, Right] | None:
        """The same for the API key whose secret this is."""
        return self._standing((hashed(secret), repository.lower()), principal_by_hash)

    def _standing(
        self, key: tuple[str, str], find: Callable[[Connection, str, float], Principal | None]
    ) -> tuple[Principal, Right] | None:
        """`find` takes the first half of the key. Identifiers are shorter than hashes: none is another."""
        now = self.clock()
        known = self.standings.get(key)
        if known is not None and known.holds(first(self.engine, _CHANGES)[0], now):
            return known.principal, known.right
        with reading(self.engine) as database:
            changes = database.execute(_CHANGES).scalar_one()
            principal = find(database, key[0], now)
            if principal is None:
                return None
            right = _right(database, principal, key[1])
        if len(self.standings) >= _MOST_REMEMBERED:
            self.standings.clear()
        self.standings[key] = RememberedRight(changes, principal, right)
        return principal, right

    def owns(self, principal: Principal, where: str) -> bool:
        """Whether a namespace, or what is in it, is theirs to share: the owner's, or an administrator's."""
        if principal.user is None:
            return False
        with reading(self.engine) as database:
            return _granted(database, principal, where.lower()) is Right.OWNER

    def owned(self, user: User) -> list[str]:
        """The namespaces that are an account's own, and those it has the role of an owner in, by name."""
        own = select(NAMESPACES.c.name).where(NAMESPACES.c.owner == user.id)
        role = (
            select(NAMESPACES.c.name)
            .join(GRANTS, GRANTS.c.namespace == NAMESPACES.c.id)
            .where(GRANTS.c.user_id == user.id, GRANTS.c.scope == NAMESPACES.c.name)
            .where(GRANTS.c.permission == Right.OWNER.name.lower())
        )
        with reading(self.engine) as database:
            return sorted(database.execute(own.union(role)).scalars())

    def reader(self, principal: Principal) -> Callable[[str], bool]:
        """Whether `principal` may read a repository, for asking about very many at one moment."""
        judge = self.judge(principal)
        return lambda repository: judge(repository) >= Right.READ

    def judge(self, principal: Principal) -> Callable[[str], Right]:
        """What `principal` may do in a repository, as `right`, for asking about very many at one moment."""
        user, credential = principal.user, principal.credential
        with reading(self.engine) as database:
            grants = _grants(database, principal)
            limit = _makers_limit(database, principal)
            public = set(database.execute(select(PUBLIC.c.repository)).scalars())
            own = select(NAMESPACES.c.name).where(NAMESPACES.c.owner == (user.id if user else ""))
            owned = set(database.execute(own).scalars())

        def right(repository: str) -> Right:
            name = repository.lower()
            if user is not None and (user.admin or namespace_of(name) in owned):
                granted = Right.OWNER
            elif principal.workload is not None:
                granted = min(principal.workload.may(name), limit(name))
            else:
                granted = max(principal.floor, _nearest(grants, name))
            if credential is not None:
                granted = min(granted, credential.most(name))
            return max(granted, Right.READ) if name in public else granted

        return right


def _right(database: Connection, principal: Principal, repository: str) -> Right:
    """What is granted, but never more than the credential's cap; what is public is readable to all."""
    name = repository.lower()
    if len(name) > SCOPE_LENGTH:
        return principal.floor
    granted = _granted(database, principal, name)
    if principal.credential is not None:
        granted = min(granted, principal.credential.most(name))
    if granted is Right.NONE and database.execute(_IS_PUBLIC, {"repository": name}).first():
        return Right.READ
    return granted


def _granted(database: Connection, principal: Principal, name: str) -> Right:
    """Administrators and owners may everything; else the nearest grant holds, or what a workload says."""
    user = principal.user
    if principal.workload is not None:
        return min(principal.workload.may(name), _makers_limit(database, principal)(name))
    if user is None:
        return principal.floor
    if user.admin or database.execute(_OWNER, {"namespace": namespace_of(name)}).scalar() == user.id:
        return Right.OWNER
    return max(principal.floor, _nearest(_grants(database, principal, scopes_of(name)), name))


def _makers_limit(database: Connection, principal: Principal) -> Callable[[str], Right]:
    """The most that a program may do in a repository by what is granted to those who know its secret.

    That is what their grants say that are nearer than the namespace, whose role it has itself.
    """
    makers = principal.workload.makers if principal.workload else ()
    grants: dict[str, dict[str, Right]] = {}
    if makers:
        for user, where, right in database.execute(_GRANTED_MAKERS, {"makers": makers}):
            if "/" in where:
                grants.setdefault(user, {})[where] = Right.parse(right)

    def limit(name: str) -> Right:
        nearest = (
            next((own[each] for each in scopes_of(name) if each in own), Right.OWNER)
            for own in grants.values()
        )
        return min(nearest, default=Right.OWNER)

    return limit


def _nearest(grants: Mapping[str, Right], name: str) -> Right:
    """The grant nearest to a repository is the one that holds."""
    return next((grants[each] for each in scopes_of(name) if each in grants), Right.NONE)


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
    return {where: Right.parse(right) for where, right in rows}


def _is_there(database: Connection, name: str) -> bool:
    """Whether a namespace, or a repository, holds or may hold anything yet."""
    table = REPOSITORIES if "/" in name else NAMESPACES
    return database.execute(select(table.c.id).filter_by(name=name)).scalar() is not None
