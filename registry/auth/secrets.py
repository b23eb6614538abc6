"""The kinds of secret a person may have for a place. None of them shows itself."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from registry.auth.ci import JobIdentity
from registry.auth.keys import PrivateKey
from registry.errors import InvalidError

SECRET_LENGTH = 8 * 1024


@dataclass(frozen=True, slots=True)
class Login:
    """A user name and password."""

    user: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        _check("user name", self.user)
        _check("password", self.password)
        if ":" in self.user:  # RFC 7617 section 2
            raise InvalidError("a user name with a colon cannot be sent")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A text that says who one is: sent as `Bearer`."""

    text: str = field(repr=False)

    def __post_init__(self) -> None:
        _check("API key", self.text)
        if not self.text.isascii() or " " in self.text or not self.text:
            raise InvalidError("an API key is one word of ASCII characters")


@dataclass(frozen=True, slots=True)
class IdentityToken:
    """What a docker login left instead of a password: exchanged for tokens by OAuth2."""

    text: str = field(repr=False)

    def __post_init__(self) -> None:
        _check("identity token", self.text)


def shown_as(secret: Secret) -> tuple[str, ...]:
    """The texts that would give a secret away."""
    match secret:
        case PrivateKey(seed=seed):
            lines = [line for line in secret.openssh().splitlines() if not line.startswith("-")]
            return (base64.b64encode(seed).decode().rstrip("="), seed.hex(), *lines)
        case Login(user=user, password=password):
            return (password, f"{user}:{password}")
        case ApiKey(text=text) | IdentityToken(text=text):
            return (text,)
        case JobIdentity(request_token=asking, id_token=text):
            return tuple(filter(None, (asking, text)))
        case None:
            return ()


Secret = PrivateKey | Login | ApiKey | IdentityToken | JobIdentity | None
"""None: nobody in particular."""


def _check(what: str, text: str) -> None:
    if len(text) > SECRET_LENGTH or not all(character.isprintable() for character in text):
        raise InvalidError(f"the {what} is too long, or has control characters in it")
