"""Short-lived tokens, and the signed requests that were seen already (PROTOCOL section 4).

A token only says who asked, and for what. What they may do is looked up when it is used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType

import jwt
from sqlalchemy import Connection, Engine, Insert, bindparam, delete

from registry.auth.signing import FRESH_SECONDS
from registry.contracts import Clock, NewId
from registry.disk.secrets import create_once, read_secret
from registry.errors import DeniedError, InvalidError, StorageError
from registry.model.digests import Digest
from registry.server.database import change, upsert_for
from registry.server.principal import Principal
from registry.server.shared_transactions import SharedTransactions
from registry.server.tables import NONCES

TOKEN_SECONDS = 300
_KEPT_SECONDS = FRESH_SECONDS + 1  # a signed request is not fresh any more then
DAY = 86_400
MOST_SCOPES = 16
_SCOPE_LENGTH = 512
_MOST_ACTIONS = 8
_TOKEN_LENGTH = 8 * 1024
_SECRET_BYTES = 32
_FORGET = delete(NONCES).where(NONCES.c.expires < bindparam("now"))
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,128}")
_SCOPE = re.compile(r"([a-z]{1,32}(?:\([a-z]{1,32}\))?):([^:\s][^\s]{0,400}):([a-z*,]{0,64})")
_REMEMBERED = 512  # tokens, of at most 8 KiB
_ALGORITHM = "HS256"
_CLAIMS = ["iss", "aud", "exp", "nbf", "jti"]


@dataclass(frozen=True, slots=True)
class Scope:
    """One `access` claim (distribution token specification): `actions` on the `name` of that `type`."""

    type: str
    name: str
    actions: tuple[str, ...]

    @classmethod
    def parse(cls, scope: str) -> Scope:
        """`repository:acme/tiny:pull,push`; InvalidError for what is no scope."""
        found = _SCOPE.fullmatch(scope) if len(scope) <= _SCOPE_LENGTH else None
        actions = tuple(dict.fromkeys(filter(None, found[3].split(",")))) if found else ()
        if not found or len(actions) > _MOST_ACTIONS:
            raise InvalidError(f"{scope[:60]!r} is not a scope: <type>:<name>:<actions>")
        return cls(found[1], found[2], actions)

    def covers(self, type: str, name: str, action: str) -> bool:
        """Whether it allows `action` there; names compare without case, `push` includes `delete`."""
        wanted = {action, "push"} if action == "delete" else {action}
        return self.type == type and self.name.lower() == name.lower() and not wanted.isdisjoint(self.actions)

    def __str__(self) -> str:
        return f"{self.type}:{self.name}:{','.join(self.actions)}"

    def as_json(self) -> dict[str, object]:
        """The claim as it stands in a token."""
        return {"type": self.type, "name": self.name, "actions": list(self.actions)}


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a good token says: the credential it was given to ("" is anybody), and the access asked for."""

    credential: str
    access: tuple[Scope, ...]


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs claims with `secret` and reads them back; `clock` in Unix seconds."""

    secret: bytes = field(repr=False)
    clock: Clock
    new_id: NewId

    def __post_init__(self) -> None:
        if len(self.secret) < _SECRET_BYTES:
            raise InvalidError(f"the secret that signs tokens is at least {_SECRET_BYTES} bytes")

    def sign(self, issuer: str, audience: str, seconds: int, claims: Mapping[str, object]) -> str:
        """`claims` as a JSON Web Token (RFC 7519) that is good for `seconds`."""
        now = int(self.clock())
        times = {"iat": now, "nbf": now, "exp": now + seconds}
        payload = {"iss": issuer, "aud": audience, **times, "jti": self.new_id(), **claims}
        return jwt.encode(payload, self.secret, algorithm=_ALGORITHM)

    def verify(self, issuer: str, audience: str, token: str) -> Mapping[str, object]:
        """The claims; the times are checked here, because the library asks the machine's clock.

        DeniedError if they are forged, over, or for another audience.
        """
        if len(token) > _TOKEN_LENGTH:
            raise DeniedError("the token is too long to be one of ours")
        claims = _claims(self.secret, issuer, audience, token)
        begins, ends = claims["nbf"], claims["exp"]
        if not (isinstance(begins, int) and isinstance(ends, int) and begins <= self.clock() < ends):
            raise DeniedError("the token has expired")
        return claims


@dataclass(frozen=True, slots=True)
class Tokens:
    """Issues and reads tokens; `audience` is always the origin one is used at."""

    signer: Signer

    def issue(self, audience: str, principal: Principal, access: Sequence[Scope]) -> str:
        """A token for TOKEN_SECONDS."""
        claims = {
            "sub": principal.name,
            "credential": principal.claim,
            "access": [each.as_json() for each in access],
        }
        return self.signer.sign(audience, audience, TOKEN_SECONDS, claims)

    def read(self, audience: str, token: str) -> TokenClaims:
        """What a token says; DeniedError if it is forged, expired, or for another server."""
        claims = self.signer.verify(audience, audience, token)
        access = claims.get("access")
        if not isinstance(access, list):
            raise DeniedError("the token says nothing of access")
        return TokenClaims(text_claim(claims, "credential"), tuple(parse_access(each) for each in access))


@dataclass(frozen=True, slots=True)
class Nonces:
    """Remembers which signed requests came already; in the database, so that a restart forgets none.

    A database that was restored has forgotten some: none that was signed until `since` (Unix seconds) is
    taken.
    """

    engine: Engine
    clock: Clock
    since: float = 0.0
    _shared: SharedTransactions = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_shared", SharedTransactions(self.engine))

    def spend(self, credential: str, nonce: str, signed: float) -> None:
        """Use `nonce` of a credential up, which was `signed` then; DeniedError if it was used or is none.

        Both are the primary key: of two that spend one at once, one is refused.
        """
        if not _NONCE.fullmatch(nonce):
            raise DeniedError("the signed request has no usable nonce")
        if signed <= self.since:
            raise DeniedError("this request was signed before the registry was restored", hint="sign it anew")
        row = {"credential": credential, "nonce": nonce, "expires": signed + _KEPT_SECONDS}
        if not self._shared.change(partial(self._spent, row)):
            raise DeniedError("this signed request was used before")

    def _spent(self, row: Mapping[str, object], database: Connection) -> bool:
        """Whether the row is new; those that are over go."""
        change(database, _FORGET, {"now": self.clock()})
        return change(database, _spend(database.dialect.name), row) > 0


@lru_cache
def _spend(dialect: str) -> Insert:
    statement: Insert = upsert_for(dialect, NONCES).on_conflict_do_nothing()
    return statement


def secret_in(directory: Path, fresh: bytes) -> bytes:
    """The secret that signs this data directory's tokens, made of `fresh` (32 random bytes) if there is none.

    It is kept as hex digits: the library looks whether a secret's bytes might be some other kind of key.
    DeniedError if others may read it; StorageError.
    """
    path = directory / "token-secret"
    create_once(path, fresh.hex().encode(), Digest.of(fresh).short)
    secret = read_secret(path, 2 * _SECRET_BYTES)
    if secret is None or len(secret) != 2 * _SECRET_BYTES:
        raise StorageError(
            f"{path} is damaged", hint="remove it: tokens and links then have to be asked anew"
        )
    return secret


@lru_cache(maxsize=_REMEMBERED)
def _claims(secret: bytes, issuer: str, audience: str, token: str) -> Mapping[str, object]:
    """The claims of a token that is ours. Remembered, because whether it was signed never changes."""
    try:
        return MappingProxyType(
            jwt.decode(
                token,
                secret,
                algorithms=[_ALGORITHM],
                issuer=issuer,
                audience=audience,
                options={
                    "require": _CLAIMS,
                    "strict_aud": True,
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        )
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        raise DeniedError("the token is not one of this server's") from None


def text_claim(claims: Mapping[str, object], key: str) -> str:
    """The claim of that name; DeniedError if it is no text."""
    value = claims.get(key)
    if not isinstance(value, str):
        raise DeniedError(f"the token's {key} is not text")
    return value


def parse_access(value: object) -> Scope:
    """One `access` claim of a token of ours. DeniedError."""
    if isinstance(value, dict) and isinstance(value.get("actions"), list):
        return Scope(str(value.get("type")), str(value.get("name")), tuple(map(str, value["actions"])))
    raise DeniedError("the token's access cannot be read")
