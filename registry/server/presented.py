"""What an `Authorization` header presents: a token, or an API key's secret. Pure; nothing is looked up here.

API keys come as `Bearer`, or as the password of `Basic` under any user name (RFC 7617), because that is what
docker and its kin send. A person's password is not taken so, and `Basic` is never offered.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

from registry.auth.api_keys import PREFIX
from registry.errors import DeniedError, Reason

_BASIC_LENGTH = 1024


@dataclass(frozen=True, slots=True)
class Presented:
    """Exactly one of both: a token to be read, or the secret of an API key, which may be a wrong one."""

    token: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)

    @classmethod
    def parse(cls, value: str) -> Presented:
        """DeniedError for another scheme, and for a password that is no API key."""
        scheme, _, rest = value.partition(" ")
        rest = rest.strip()
        match scheme.lower():
            case "bearer":
                return cls(secret=rest) if rest.startswith(PREFIX) else cls(token=rest)
            case "basic":
                password = _password(rest)
                if password.startswith(PREFIX):
                    return cls(secret=password)
                raise DeniedError(
                    "a password is not taken here, only an API key in its place",
                    reason=Reason.LOGIN_REFUSED,
                )
        raise DeniedError("only Bearer tokens and API keys are taken here")


def _password(credentials: str) -> str:
    """The part behind the first colon; "" for what is not Basic's form."""
    if len(credentials) > _BASIC_LENGTH:
        return ""
    try:
        decoded = base64.b64decode(credentials, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
    return decoded.partition(":")[2]
