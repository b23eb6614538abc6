"""How a right is written down: one row for an account and a scope, in the transaction of what changes it."""

from __future__ import annotations

from sqlalchemy import Connection, select

from registry.errors import DeniedError
from registry.server.database import upsert
from registry.server.principal import Right
from registry.server.tables import GRANTS, NAMESPACES, ORGANISATIONS, USERS


def put_grant(database: Connection, account: str, where: str, namespace: int, right: Right) -> None:
    """What the account with that identifier may do in a scope of the namespace.

    Of two that are made at once the later holds, as one after the other.
    """
    row = {"user_id": account, "scope": where, "namespace": namespace}
    add = upsert(database, GRANTS).values(**row, permission=right.name.lower())
    database.execute(
        add.on_conflict_do_update(
            index_elements=["user_id", "scope"],
            set_={"permission": add.excluded.permission, "namespace": namespace},
        )
    )


def check_an_owner_stays(database: Connection, namespace: str) -> None:
    """DeniedError if an organisation has no owner any more who could sign in.

    Who changes its roles holds the namespace's row (`namespaces.ensure`): of two that take each other's role
    away, the second sees what the first did.
    """
    organisation = select(ORGANISATIONS.c.created).join(
        NAMESPACES, NAMESPACES.c.id == ORGANISATIONS.c.namespace
    )
    if database.execute(organisation.where(NAMESPACES.c.name == namespace)).first() is None:
        return
    owner = (
        select(USERS.c.id)
        .join(GRANTS, GRANTS.c.user_id == USERS.c.id)
        .where(
            GRANTS.c.scope == namespace,
            GRANTS.c.permission == Right.OWNER.name.lower(),
            USERS.c.disabled.is_(False),
        )
    )
    if database.execute(owner).first() is None:
        raise DeniedError(f"{namespace} would have no owner any more: make somebody else its owner first")
