"""Short-lived tokens and long-lived links: what the server signs and reads back (PROTOCOL sections 3, 4).

A token only says who asked, and for what. What they may do is looked up when it is used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import jwt
from sqlalchemy import Engine, delete, insert
from sqlalchemy.exc import IntegrityError

from registry.contracts import Clock, NewId
from registry.disk.secrets import create_once, read_secret
from registry.errors import DeniedError, InvalidError, StorageError
from registry.model.digests import Digest
from registry.server.accounts import Principal
from registry.server.database import writing
from registry.server.schema import NONCES

TOKEN_SECONDS = 300
DEPOSIT_SECONDS = 3600  # a direct upload must have begun by then
DAY = 86_400
MOST_SCOPES = 16
_SCOPE_LENGTH = 512
_MOST_ACTIONS = 8
_TOKEN_LENGTH = 8 * 1024
_SECRET_BYTES = 32
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,128}")
_SCOPE = re.compile(r"([a-z]{1,32}(?:\([a-z]{1,32}\))?):([^:\s][^\s]{0,400}):([a-z*,]{0,64})")
_REMEMBERED = 512  # tokens, of at most 8 KiB
_ALGORITHM = "HS256"
_CLAIMS = ["iss", "aud", "exp", "nbf", "jti"]


@dataclass(frozen=True, slots=True)
class Access:
    """One `access` claim (distribution token specification): `actions` on the `name` of that `type`."""

    type: str
    name: str
    actions: tuple[str, ...]

    @classmethod
    def parse(cls, scope: str) -> Access:
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

    def as_json(self) -> dict[str, object]:
        """The claim as it stands in a token."""
        return {"type": self.type, "name": self.name, "actions": list(self.actions)}


@dataclass(frozen=True, slots=True)
class Claim:
    """What a good token says: the fingerprint it was given to ("" is anybody), and the access asked for."""

    key: str
    access: tuple[Access, ...]

    def covers(self, type: str, name: str, action: str) -> bool:
        """Whether any of its access does."""
        return any(access.covers(type, name, action) for access in self.access)


@dataclass(frozen=True, slots=True)
class Capability:
    """What a download link is good for: one blob through one repository, on behalf of one key or anybody."""

    key: str
    repository: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class Deposit:
    """What a storage link is good for: all `size` bytes of one upload, on behalf of one key or anybody."""

    key: str
    repository: str
    session: str
    size: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """Issues and reads what is signed with `secret`; `audience` is always the origin it is used at."""

    secret: bytes = field(repr=False)
    clock: Clock
    new_id: NewId
    capability_seconds: int = 7 * DAY

    def __post_init__(self) -> None:
        if len(self.secret) < _SECRET_BYTES:
            raise InvalidError(f"the secret that signs tokens is at least {_SECRET_BYTES} bytes")
        if not 60 <= self.capability_seconds <= 365 * DAY:
            raise InvalidError("a capability lives between a minute and 365 days")

    def issue(self, audience: str, principal: Principal, access: Sequence[Access]) -> str:
        """A token for TOKEN_SECONDS."""
        name = principal.user.name if principal.user else ""
        claims = {"sub": name, "key": principal.key, "access": [each.as_json() for each in access]}
        return self._sign(audience, audience, TOKEN_SECONDS, claims)

    def read(self, audience: str, token: str) -> Claim:
        """What a token says; DeniedError if it is forged, expired, or for another server."""
        claims = self._verify(audience, audience, token)
        access = claims.get("access")
        if not isinstance(access, list):
            raise DeniedError("the token says nothing of access")
        return Claim(_text(claims, "key"), tuple(_access(each) for each in access))

    def capability(self, audience: str, principal: Principal, repository: str, digest: Digest) -> str:
        """A link's secret: one blob, for days, and only as long as the right behind it lasts."""
        claims = {"key": principal.key, "repository": repository, "digest": str(digest)}
        return self._sign(audience, _links(audience), self.capability_seconds, claims)

    def read_capability(self, audience: str, token: str) -> Capability:
        """What a link is good for; DeniedError if it is forged, expired, or no link."""
        claims = self._verify(audience, _links(audience), token)
        try:
            digest = Digest.parse(_text(claims, "digest"))
        except InvalidError:
            raise DeniedError("the link names no blob") from None
        return Capability(_text(claims, "key"), _text(claims, "repository"), digest)

    def deposit(self, audience: str, principal: Principal, repository: str, session: str, size: int) -> str:
        """A storage link's secret: one upload, begun within the hour, while the right behind it lasts."""
        claims = {"key": principal.key, "repository": repository, "session": session, "size": size}
        return self._sign(audience, _deposits(audience), DEPOSIT_SECONDS, claims)

    def read_deposit(self, audience: str, token: str) -> Deposit:
        """What a storage link is good for; DeniedError if it is forged, expired, or no such link."""
        claims = self._verify(audience, _deposits(audience), token)
        size = claims.get("size")
        if not isinstance(size, int):
            raise DeniedError("the link says no size")
        return Deposit(_text(claims, "key"), _text(claims, "repository"), _text(claims, "session"), size)

    def _sign(self, issuer: str, audience: str, seconds: int, claims: Mapping[str, object]) -> str:
        now = int(self.clock())
        times = {"iat": now, "nbf": now, "exp": now + seconds}
        payload = {"iss": issuer, "aud": audience, **times, "jti": self.new_id(), **claims}
        return jwt.encode(payload, self.secret, algorithm=_ALGORITHM)

    def _verify(self, issuer: str, audience: str, token: str) -> Mapping[str, object]:
        """The claims; the times are checked here, because the library asks the machine's clock."""
        if len(token) > _TOKEN_LENGTH:
            raise DeniedError("the token is too long to be one of ours")
        claims = _claims(self.secret, issuer, audience, token)
        begins, ends = claims["nbf"], claims["exp"]
        if not (isinstance(begins, int) and isinstance(ends, int) and begins <= self.clock() < ends):
            raise DeniedError("the token has expired")
        return claims


@dataclass(frozen=True, slots=True)
class Nonces:
    """Remembers which signed requests came already; in the database, so that a restart forgets none."""

    engine: Engine
    clock: Clock

    def spend(self, key: str, nonce: str, expires: float) -> None:
        """Use `nonce` of `key` up; DeniedError if it was used before or is none. Kept until `expires`."""
        if not _NONCE.fullmatch(nonce):
            raise DeniedError("the signed request has no usable nonce")
        with writing(self.engine) as database:
            database.execute(delete(NONCES).where(NONCES.c.expires < self.clock()))
            try:
                database.execute(insert(NONCES).values(key=key, nonce=nonce, expires=expires))
            except IntegrityError:
                raise DeniedError("this signed request was used before") from None


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


def _links(audience: str) -> str:
    """The audience of download links: they are no tokens, and tokens are no links."""
    return f"{audience}/v2/_capability"


def _deposits(audience: str) -> str:
    """The audience of storage links: who may read a blob by a link cannot write by it."""
    return f"{audience}/v2/_storage"


def _text(claims: Mapping[str, object], key: str) -> str:
    value = claims.get(key)
    if not isinstance(value, str):
        raise DeniedError(f"the token's {key} is not text")
    return value


def _access(value: object) -> Access:
    if isinstance(value, dict) and isinstance(value.get("actions"), list):
        return Access(str(value.get("type")), str(value.get("name")), tuple(map(str, value["actions"])))
    raise DeniedError("the token's access cannot be read")
