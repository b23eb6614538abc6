"""What an `Authorization` header presents: a token, or what stands for one. Pure; nothing is looked up here.

API keys and tokens of jobs come as `Bearer`, or as the password of `Basic` under any user name (RFC 7617),
because that is what docker and its kin send; a job's ID token as such a password only. A person's password is
not taken so, and `Basic` is never offered.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

from registry.auth.api_keys import PREFIX
from registry.errors import DeniedError, Reason
from registry.server import job_tokens
from registry.server.id_tokens import TOKEN_LENGTH, looks_like_one

_BASIC_LENGTH = TOKEN_LENGTH * 3 // 2


@dataclass(frozen=True, slots=True)
class Presented:
    """Exactly one of them: a token to be read, the secret of an API key, which may be a wrong one, the token
    of a job, or its ID token.
    """

    token: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    job: str = field(default="", repr=False)
    id_token: str = field(default="", repr=False)

    @classmethod
    def parse(cls, value: str) -> Presented:
        """DeniedError for another scheme, and for a password of a person."""
        scheme, _, rest = value.partition(" ")
        rest = rest.strip()
        match scheme.lower():
            case "bearer":
                return cls._by_secret(rest) or cls(token=rest)
            case "basic":
                return cls.password(_password(rest))
        raise DeniedError("only Bearer tokens and API keys are taken here")

    @classmethod
    def password(cls, text: str) -> Presented:
        """What came where a password is usual. DeniedError for what is none of them."""
        found = cls._by_secret(text)
        if found is None and looks_like_one(text):
            found = cls(id_token=text)
        if found is None:
            raise DeniedError(
                "a password is not taken here, only an API key in its place", reason=Reason.LOGIN_REFUSED
            )
        return found

    @classmethod
    def _by_secret(cls, text: str) -> Presented | None:
        """An API key or a job's token, by how it begins."""
        if text.startswith(job_tokens.PREFIX):
            return cls(job=text)
        return cls(secret=text) if text.startswith(PREFIX) else None


def _password(credentials: str) -> str:
    """The part behind the first colon; "" for what is not Basic's form."""
    if len(credentials) > _BASIC_LENGTH:
        return ""
    try:
        decoded = base64.b64decode(credentials, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
    return decoded.partition(":")[2]
