"""ID tokens of CI jobs: whether one is what its issuer signed, for this registry, and still good. Pure.

OpenID Connect Core 1.0, section 3.1.3.7; PROTOCOL section 7. A token chooses among issuers that are known
here by other ways; where keys are to be had it does not say: `jku`, `x5u` and `jwk` in it are not read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import jwt

from registry.errors import DeniedError, InvalidError

if TYPE_CHECKING:
    from jwt.types import Options

TOKEN_LENGTH = 8 * 1024
KEYS_BYTES = 256 * 1024  # of an issuer's keys
SKEW_SECONDS = 60.0  # that another machine's clock may be wrong
LONGEST_SECONDS = 31 * 86_400.0  # that one may be good: a job's longest time at GitLab
_MOST_KEYS = 64
_TEXT = 255  # characters of a key's name, or of a token's `jti`
_RSA_BITS = range(2048, 16 * 1024 + 1)
_ES256_BITS = 256  # the curve P-256
_ALGORITHMS = {"RSA": "RS256", "EC": "ES256"}
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # neither in the database nor in a log
# The claims are checked here: the library asks the machine's clock, and says less about what is wrong.
_SIGNATURE_ONLY: Options = {
    "verify_signature": True,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}
# Such a run has the target's identity and somebody else's code (GitHub, "Security hardening").
_FOREIGN_CODE = ("pull_request_target", "workflow_run")


class UnknownKeyError(DeniedError):
    """The token is signed by a key that its issuer has not shown yet."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys by which one issuer signs, by their names (`kid`)."""

    keys: Mapping[str, jwt.PyJWK] = field(default_factory=dict)

    @classmethod
    def parse(cls, body: bytes) -> KeySet:
        """A JSON Web Key Set (RFC 7517). Keys of other kinds are left out; InvalidError for none at all."""
        try:
            listed = json.loads(body)["keys"]
        except (ValueError, TypeError, KeyError, RecursionError):
            listed = None
        if not isinstance(listed, list):
            raise InvalidError("what should be its keys is no JSON Web Key Set")
        found: dict[str, jwt.PyJWK] = {}
        for each in listed[:_MOST_KEYS]:
            if isinstance(each, dict) and (key := _key(each)) is not None:
                found[str(each["kid"])] = key
        if not found:
            raise InvalidError("it shows no key that signs with RS256 or ES256")
        return cls(found)


def _key(described: Mapping[str, object]) -> jwt.PyJWK | None:
    """One key, for the algorithm that its kind has; None if it is not for signing, or not a good one.

    The algorithm is the key's, never the token's: else a public key could be taken for a shared secret.
    """
    algorithm = _ALGORITHMS.get(str(described.get("kty")))
    name, use = described.get("kid"), described.get("use", "sig")
    if algorithm is None or described.get("alg", algorithm) != algorithm or use != "sig":
        return None
    if not isinstance(name, str) or not 1 <= len(name) <= _TEXT:
        return None
    try:
        key = jwt.PyJWK(dict(described), algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    bits = _RSA_BITS if algorithm == "RS256" else (_ES256_BITS,)
    if key.key.key_size not in bits:
        return None
    public = not hasattr(key.key, "private_bytes")  # an issuer that shows its private key has none any more
    return key if public else None


@dataclass(frozen=True, slots=True)
class IdToken:
    """What a good token says. Times in Unix seconds."""

    issuer: str
    subject: str
    jti: str
    audience: str
    issued: float
    expires: float
    claims: Mapping[str, object] = field(repr=False)

    def text(self, claim: str) -> str | None:
        """A claim as it is compared: numbers and truth values as JSON writes them; None for none."""
        value = self.claims.get(claim)
        if isinstance(value, str):
            return value
        return json.dumps(value) if isinstance(value, bool | int) else None

    def differing(self, wanted: Mapping[str, str]) -> list[str]:
        """The names of those claims in `wanted` that are not exactly so in the token."""
        return [name for name, value in wanted.items() if self.text(name) != value]


def looks_like_one(text: str) -> bool:
    """Whether a text may be an ID token: three parts, the first of which is base64 of `{"`."""
    return text.startswith("eyJ") and text.count(".") == 2


def claimed_issuer(token: str) -> str:
    """Whom a token names as its issuer, not believed yet. DeniedError for what is no token."""
    if len(token) > TOKEN_LENGTH or not looks_like_one(token):
        raise DeniedError("this is not an ID token, or one that is too long")
    try:
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise DeniedError("the ID token cannot be read") from None
    return issuer if isinstance(issuer, str) else ""


def verified(token: str, issuer: str, keys: KeySet, now: float) -> IdToken:
    """What `token` says, if `issuer` signed it with one of `keys` and it is good `now` (Unix seconds).

    DeniedError names what is wrong with it; UnknownKeyError: its key is none of them. Whom it is for
    (`aud`) is looked at by the caller, who knows all that it may be.
    """
    if claimed_issuer(token) != issuer:
        raise DeniedError(f"the ID token's iss is not {issuer}")
    name = jwt.get_unverified_header(token).get("kid")
    if not isinstance(name, str):
        raise DeniedError("the ID token does not name the key that it is signed by (kid)")
    key = keys.keys.get(name)
    if key is None:
        raise UnknownKeyError(f"{issuer} has no key {name[:40]!r}, by which the ID token is signed")
    try:
        claims = jwt.decode(token, key=key, algorithms=[key.algorithm_name], options=_SIGNATURE_ONLY)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise DeniedError(f"the ID token is not signed by {issuer}") from None
    return _checked(claims, issuer, now)


def _checked(claims: Mapping[str, object], issuer: str, now: float) -> IdToken:
    expires, issued = _number(claims, "exp"), _number(claims, "iat")
    begins = _number(claims, "nbf") if "nbf" in claims else issued
    if expires + SKEW_SECONDS <= now:
        raise DeniedError("the ID token's exp is over: it has expired")
    for name, time in (("iat", issued), ("nbf", begins)):
        if time - SKEW_SECONDS > now:
            raise DeniedError(f"the ID token's {name} is in the future: one of the clocks is wrong")
    if expires - now > LONGEST_SECONDS:
        raise DeniedError("the ID token's exp is more than 31 days away")
    event = claims.get("event_name")
    if event in _FOREIGN_CODE:
        raise DeniedError(f"the ID token's event_name is {event}: such a run may hold anybody's code")
    audience = _audience(claims)
    subject, jti = _text(claims, "sub"), _text(claims, "jti")
    return IdToken(issuer, subject, jti, audience, issued, expires, claims)


def _audience(claims: Mapping[str, object]) -> str:
    """Whom the token is for, one place."""
    audience = claims.get("aud")
    if isinstance(audience, list) and len(audience) == 1:
        audience = audience[0]
    if audience is None:
        raise DeniedError("the ID token's aud is missing: it does not say for which registry it is")
    if not isinstance(audience, str):
        raise DeniedError("the ID token's aud is not one text: a token for several places is taken nowhere")
    return audience


def _number(claims: Mapping[str, object], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        raise DeniedError(f"the ID token's {name} is missing, or not a time")
    return float(value)


def _text(claims: Mapping[str, object], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= _TEXT:
        raise DeniedError(f"the ID token's {name} is missing, or not a text of at most {_TEXT} characters")
    if _UNWRITABLE.search(value):
        raise DeniedError(f"the ID token's {name} has control characters in it")
    return value
