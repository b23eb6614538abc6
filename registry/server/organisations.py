"""Organisations: namespaces that belong to several people, each by the role they have there.

A role is a grant on the namespace, as every other right is, and the nearest grant to a repository holds. The
name is the namespace's: an account of that name would need the same row, so that there is never one of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, delete, select

from registry.contracts import NOBODY, Actor, Clock
from registry.errors import InvalidError, NotFoundError
from registry.server.accounts import check_name
from registry.server.audit import record
from registry.server.credentials import no_account
from registry.server.database import reading, upsert, writing
from registry.server.grants import check_an_owner_stays, put_grant
from registry.server.namespaces import drop, end_workloads, ensure, holds_models
from registry.server.principal import Right
from registry.server.services import end_limited_keys
from registry.server.tables import GRANTS, NAMESPACES, ORGANISATIONS, USERS

ROLES: Mapping[str, Right] = {"reader": Right.READ, "writer": Right.WRITE, "owner": Right.OWNER}


@dataclass(frozen=True, slots=True)
class Organisation:
    """An organisation, and who is in it by which role; `created` in Unix seconds.

    The accounts of those who are `disabled` may do nothing until they are enabled.
    """

    name: str
    created: float
    members: Mapping[str, Right]
    disabled: frozenset[str] = frozenset()

    @property
    def documents(self) -> list[dict[str, object]]:
        """The members for programs: `[{"user","role","disabled"}]`."""
        return [
            {"user": user, "role": role_name(right), "disabled": user in self.disabled}
            for user, right in self.members.items()
        ]


@dataclass(frozen=True, slots=True)
class Organisations:
    """The organisations in one database; `clock` in Unix seconds. All methods raise StorageError."""

    engine: Engine
    clock: Clock

    def add(self, name: str, owner: str = "", actor: Actor = NOBODY) -> bool:
        """A new organisation, perhaps with its first owner; whether something is published there already.

        A namespace of that name that belongs to nobody becomes its own, with what is in it. InvalidError if
        the name is bad, or an account's or organisation's; NotFoundError for the owner.
        """
        check_name(name, "an organisation's")
        now = self.clock()
        with writing(self.engine) as database:
            first = _account(database, owner) if owner else None
            namespace = ensure(database, name, now)
            mine = select(NAMESPACES.c.owner).filter_by(id=namespace)
            if database.execute(mine).scalar() is not None:
                raise InvalidError(f"{name} is an account's name", hint="they share one space of names")
            add = upsert(database, ORGANISATIONS).values(namespace=namespace, created=now)
            if not database.execute(add.on_conflict_do_nothing()).rowcount:
                raise InvalidError(f"there is an organisation {name} already")
            record(database, now, actor, "org.add", name)
            if first is not None:
                put_grant(database, first, name, namespace, Right.OWNER)
                record(database, now, actor, "grant", f"{owner} owner {name}")
            return holds_models(database, namespace)

    def all(self) -> list[Organisation]:
        """Every organisation, by name."""
        with reading(self.engine) as database:
            return _found(database, "")

    def of(self, user: str) -> list[Organisation]:
        """Those that an account has a role in, by name."""
        return [each for each in self.all() if user in each.members]

    def one(self, name: str) -> Organisation:
        """The organisation `name`. NotFoundError."""
        with reading(self.engine) as database:
            found = _found(database, name)
        if not found:
            raise _no_organisation(name)
        return found[0]

    def set_role(
        self, name: str, user: str, role: Right, actor: Actor = NOBODY, *, ownerless: bool = True
    ) -> None:
        """What `user` is in the organisation; NONE ends every right they have there.

        NotFoundError; DeniedError if it would have no owner any more, unless it may be `ownerless`.
        """
        now = self.clock()
        with writing(self.engine) as database:
            account = _account(database, user)
            namespace = _namespace(database, name)
            ensure(database, name, now)  # two that take each other's role away wait for each other
            if role is Right.NONE:
                _take_all(database, account, user, namespace, actor, now)
            else:
                put_grant(database, account, name, namespace, role)
                record(database, now, actor, "grant", f"{user} {role.name.lower()} {name}")
            if not ownerless:
                check_an_owner_stays(database, name)

    def remove(self, name: str, actor: Actor = NOBODY) -> bool:
        """End an organisation, its service accounts, and every right in it; whether models of it stay.

        What is published stays, and belongs to nobody: then its name is not free. NotFoundError.
        """
        with writing(self.engine) as database:
            namespace = _namespace(database, name)
            ensure(database, name, self.clock())
            end_workloads(database, namespace)
            database.execute(delete(GRANTS).filter_by(namespace=namespace))
            database.execute(delete(ORGANISATIONS).filter_by(namespace=namespace))
            stays = not drop(database, namespace)
            record(database, self.clock(), actor, "org.remove", name)
        return stays


def role_name(right: Right) -> str:
    """What a right is called as a role: `reader`, `writer`, `owner`."""
    return next((name for name, each in ROLES.items() if each is right), "none")


def parse_role(text: str) -> Right:
    """`reader`, `writer`, `owner` or `none`; InvalidError for anything else."""
    if text == "none":
        return Right.NONE
    try:
        return ROLES[text]
    except KeyError:
        raise InvalidError(f"{text[:20]!r} is not a role: reader, writer, owner or none") from None


def _found(database: Connection, name: str) -> list[Organisation]:
    """The organisation of that name, or all, with their members."""
    named = select(NAMESPACES.c.name, ORGANISATIONS.c.created).join(
        NAMESPACES, NAMESPACES.c.id == ORGANISATIONS.c.namespace
    )
    member = (
        select(NAMESPACES.c.name, USERS.c.name, GRANTS.c.permission, USERS.c.disabled)
        .join(NAMESPACES, NAMESPACES.c.id == GRANTS.c.namespace)
        .join(ORGANISATIONS, ORGANISATIONS.c.namespace == NAMESPACES.c.id)
        .join(USERS, USERS.c.id == GRANTS.c.user_id)
        .where(GRANTS.c.scope == NAMESPACES.c.name, GRANTS.c.permission != Right.NONE.name.lower())
        .order_by(USERS.c.name)
    )
    if name:
        named, member = (each.where(NAMESPACES.c.name == name) for each in (named, member))
    members: dict[str, dict[str, Right]] = {}
    out: set[str] = set()
    for where, user, right, disabled in database.execute(member):
        members.setdefault(where, {})[user] = Right.parse(right)
        out.update([user] if disabled else ())
    rows = database.execute(named.order_by(NAMESPACES.c.name))
    return [
        Organisation(where, created, found := members.get(where, {}), frozenset(out & found.keys()))
        for where, created in rows
    ]


def _take_all(
    database: Connection, account: str, user: str, namespace: int, actor: Actor, now: float
) -> None:
    """Every grant of the account in the namespace ends, the nearest ones too, and what they limit."""
    mine = (GRANTS.c.user_id == account) & (GRANTS.c.namespace == namespace)
    scopes = database.execute(select(GRANTS.c.scope).where(mine).order_by(GRANTS.c.scope)).scalars().all()
    if not scopes:
        raise NotFoundError(f"{user} has no role there")
    end_limited_keys(database, account, actor, now, namespace)
    database.execute(delete(GRANTS).where(mine))
    for each in scopes:
        record(database, now, actor, "grant", f"{user} none {each}")


def _account(database: Connection, name: str) -> str:
    found: str | None = database.execute(select(USERS.c.id).filter_by(name=name)).scalar()
    if found is None:
        raise no_account(name)
    return found


def _namespace(database: Connection, name: str) -> int:
    """The identifier of an organisation's namespace. NotFoundError."""
    query = select(ORGANISATIONS.c.namespace).join(NAMESPACES, NAMESPACES.c.id == ORGANISATIONS.c.namespace)
    found: int | None = database.execute(query.where(NAMESPACES.c.name == name)).scalar()
    if found is None:
        raise _no_organisation(name)
    return found


def _no_organisation(name: str) -> NotFoundError:
    return NotFoundError(f"there is no organisation {name[:80]!r}", hint="ferry admin org list shows them")
