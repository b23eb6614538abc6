"""Whom a credential means: an account, or a program of a namespace; looked up whenever it is used.

What was revoked a moment ago, by this process or another, means nobody for the next request.
"""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import Connection, bindparam, or_, select

from registry.auth.keys import PublicKey
from registry.errors import DeniedError, Reason
from registry.server.key_scopes import KeyScope
from registry.server.principal import Claim, Credential, Principal, Right, User, Workload
from registry.server.tables import API_KEYS, CREDENTIALS, KEYS, NAMESPACES, PUBLISHERS, SERVICES, USERS

# What is asked on every request is put together once: building a statement costs more than running it.
_OWNER = USERS.alias("owner")  # of the namespace that a program belongs to
_HELD = select(
    CREDENTIALS.c.kind,
    CREDENTIALS.c.id,
    CREDENTIALS.c.cap,
    CREDENTIALS.c.expires,
    CREDENTIALS.c.revoked,
    CREDENTIALS.c.makers,
    USERS.c.id.label("user"),
    USERS.c.name,
    USERS.c.admin,
    USERS.c.disabled,
    USERS.c.created,
    USERS.c.closings,
    API_KEYS.c.scopes,
    API_KEYS.c.secret_hash,
    API_KEYS.c.old_hash,
    API_KEYS.c.old_until,
    NAMESPACES.c.name.label("namespace"),
    _OWNER.c.disabled.label("closed"),
    _OWNER.c.closings.label("owner_closings"),
    SERVICES.c.id.label("service"),
    SERVICES.c.name.label("service_name"),
    SERVICES.c.role,
    PUBLISHERS.c.repository,
)
_OWNED = (
    CREDENTIALS.outerjoin(USERS, USERS.c.id == CREDENTIALS.c.user_id)
    .outerjoin(NAMESPACES, NAMESPACES.c.id == CREDENTIALS.c.namespace)
    .outerjoin(_OWNER, _OWNER.c.id == NAMESPACES.c.owner)
    .outerjoin(SERVICES, SERVICES.c.id == CREDENTIALS.c.service)
    .outerjoin(PUBLISHERS, PUBLISHERS.c.credential == CREDENTIALS.c.id)
)
_ANY_KIND = _OWNED.outerjoin(API_KEYS, API_KEYS.c.credential == CREDENTIALS.c.id)
_BY_ID = _HELD.select_from(_ANY_KIND).where(CREDENTIALS.c.id == bindparam("one"))
_BY_KEY = _HELD.select_from(_ANY_KIND.join(KEYS, KEYS.c.credential == CREDENTIALS.c.id)).where(
    KEYS.c.fingerprint == bindparam("one")
)
_BY_HASH = _HELD.select_from(_OWNED.join(API_KEYS, API_KEYS.c.credential == CREDENTIALS.c.id)).where(
    or_(API_KEYS.c.secret_hash == bindparam("one"), API_KEYS.c.old_hash == bindparam("one"))
)
_MARK = 16  # hex digits of a hash that tell the secrets of one API key apart
PUBLISHED = ("pull", "push")  # what a job may do in its repository
_ASK = "ask the registry's administrator about it"


def principal_of(database: Connection, claim: str, now: float) -> Principal | None:
    """Whom the claim of a token or link means.

    None if the credential was revoked or is over, its account or that of its namespace is disabled, or was
    since it was issued, or the secret it was issued by is not good any more.
    """
    said = Claim.parse(claim)
    row = database.execute(_BY_ID, {"one": said.id}).first()
    if row is None:
        return None
    there = _closings(row)
    # A publisher's identifier alone is asked for where the job has just shown its ID token.
    if said.closings != str(there) and (said.closings or (there and row.repository is None)):
        return None
    return _principal(row, now, said.secret)


def principal_by_hash(database: Connection, secret_hash: str, now: float) -> Principal | None:
    """The same for the API key whose secret has that hash: the present one, or the one before in its time."""
    row = database.execute(_BY_HASH, {"one": secret_hash}).first()
    return _principal(row, now, secret_hash[:_MARK]) if row else None


def speaker(database: Connection, key: PublicKey, now: float) -> Principal:
    """Who the key speaks for. DeniedError says why for nobody: it has signed, so it may know."""
    row = database.execute(_BY_KEY, {"one": key.fingerprint}).first()
    if row is None:
        raise DeniedError(
            f"the key {key} is not one this registry knows",
            reason=Reason.KEY_UNKNOWN,
            hint="connect it: ferry signin (or ollama signin)",
        )
    if row.revoked is not None:
        raise DeniedError(f"the key {key} was revoked", hint=_ASK)
    if row.disabled:
        raise DeniedError(f"the account {row.name} is disabled", hint=_ASK)
    principal = _principal(row, now)
    if principal is None:
        raise DeniedError(f"the key {key} has expired", hint=_ASK)
    return principal


def hashed(secret: str) -> str:
    """What is kept of an API key's secret, which is random enough to need no more than SHA-256."""
    return hashlib.sha256(secret.encode()).hexdigest()


def scopes_in(text: str | None) -> tuple[KeyScope, ...] | None:
    """A key's scopes, as the database keeps them."""
    return None if text is None else tuple(map(KeyScope.parse, text.split()))


def service_name(namespace: str, name: str) -> str:
    """How a service account is called everywhere: `acme/ci`."""
    return f"{namespace}/{name}"


def _principal(row: Any, now: float, secret: str = "") -> Principal | None:
    """`secret`: how the hash of the secret they came by begins."""
    if row.revoked is not None or row.disabled or row.closed:
        return None
    ends = [] if row.expires is None else [row.expires]
    if secret != (row.secret_hash or "")[:_MARK]:
        if not secret or secret != (row.old_hash or "")[:_MARK]:
            return None
        ends.append(row.old_until)
    expires = min(ends, default=None)
    if expires is not None and expires <= now:
        return None
    scopes = scopes_in(row.scopes)
    if row.repository is not None:
        scopes = (KeyScope(row.repository, PUBLISHED),)
    closings = _closings(row)
    credential = Credential(row.kind, row.id, Right.parse(row.cap), expires, scopes, secret, closings)
    if row.user is not None:
        return Principal(User(row.user, row.name, row.admin, row.disabled, row.created), credential)
    workload = _workload(row)
    return Principal(credential=credential, workload=workload) if workload else None


def _closings(row: Any) -> int:
    """How often the account was disabled that ends it: its own, or that of a program's namespace."""
    return int((row.closings if row.user is not None else row.owner_closings) or 0)


def _workload(row: Any) -> Workload | None:
    """The program that a credential without an account belongs to; None if that has ended."""
    if row.namespace is not None and row.repository is not None:
        return Workload(row.id, f"publisher:{row.id}", row.repository, Right.WRITE)
    if row.namespace is None or row.service is None:
        return None
    name = service_name(row.namespace, row.service_name)
    return Workload(row.service, name, row.namespace, Right.parse(row.role), tuple(row.makers.split()))
