"""What docker and Podman know of registries: their files, and the programs that keep their passwords.

What of it is broken is told, and then as if it were not there: it may be about some other registry.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeGuard, TypeVar

from registry.auth.prefixes import Prefix, longest
from registry.auth.secrets import SECRET_LENGTH, IdentityToken, Login
from registry.errors import InvalidError
from registry.model.names import DOCKER_HUB, HUB_HOSTS, asked_host
from registry.wire.messages import Origin

RunHelper = Callable[[str, str], str | None]
"""A credential helper: the program's name and a host; what it prints (JSON), or None if it knows nothing.
InvalidError if it cannot be run, or fails."""

T = TypeVar("T")

_HUB_KEY = "https://index.docker.io/v1/"  # where docker keeps its own hub's login
_API_PATHS = ("v1", "v2")
_PROGRAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_IDENTITY_USER = "<token>"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in a file that cannot be used; `prefix` is whom it is about, None: perhaps anybody."""

    prefix: Prefix | None
    message: str


@dataclass(frozen=True, slots=True)
class DockerLogin:
    """What one file says of a registry: ask `helper` about `server`, and else `login`."""

    where: str
    helper: str = ""
    server: str = ""
    login: Login | IdentityToken | None = field(default=None, repr=False)

    @property
    def program(self) -> str:
        """The helper's program."""
        return f"docker-credential-{self.helper}"

    def ask(self, run: RunHelper) -> Login | IdentityToken | None:
        """What the helper says; InvalidError if it does not do its work."""
        said = run(self.program, self.server) if self.helper else None
        return None if said is None else _helper_login(said, self.helper)


@dataclass(frozen=True, slots=True)
class DockerConfig:
    """`config.json` of docker, or `auth.json` of Podman."""

    where: str
    logins: Mapping[Prefix, Login | IdentityToken] = field(default_factory=dict, repr=False)
    helpers: Mapping[Prefix, str] = field(default_factory=dict)
    store: str = ""
    faults: tuple[Fault, ...] = ()

    @classmethod
    def parse(cls, text: str, where: str) -> DockerConfig:
        """The configuration in a file's text; its faults name the file and the field, never a value."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            return cls.broken(where, "is not JSON" if text.strip() else "is empty")
        if not _is_table(document):
            return cls.broken(where, "is not a JSON object")
        faults: list[Fault] = []
        logins: dict[Prefix, Login | IdentityToken] = _entries(
            document, "auths", where, faults, _docker_login
        )
        helpers = _entries(document, "credHelpers", where, faults, _program)
        store = document.get("credsStore") or ""
        try:
            program = _program(store) if store else ""
        except InvalidError as error:
            program = ""
            faults.append(Fault(None, f"{where}: credsStore: {error.message}"))
        return cls(where, logins, helpers, program or "", tuple(faults))

    @classmethod
    def broken(cls, where: str, why: str) -> DockerConfig:
        """A file that is there and tells nothing."""
        return cls(where, faults=(Fault(None, f"{where} {why}"),))

    def find(self, origin: Origin, repository: str) -> DockerLogin | None:
        """What it says of a repository: helpers by name, then the store of all, then what stands here."""
        asked = Origin(origin.scheme, asked_host(origin.host), origin.port)
        by_name = longest(self.helpers, asked, repository)
        stands = longest(self.logins, asked, repository)
        helper = self.helpers[by_name] if by_name else self.store
        login = self.logins[stands] if stands else None
        if not helper and login is None:
            return None
        server = _HUB_KEY if asked.host == DOCKER_HUB else origin.netloc
        return DockerLogin(self.where, helper, server if helper else "", login)


def _entries(
    document: Mapping[str, object],
    table: str,
    where: str,
    faults: list[Fault],
    read: Callable[[object], T | None],
) -> dict[Prefix, T]:
    """A table's usable entries by whom they are for; of two for one place, the one that names it exactly."""
    entries = document.get(table)
    if entries is None:
        return {}
    if not _is_table(entries):
        faults.append(Fault(None, f"{where}: {table} is not an object"))
        return {}
    found: dict[Prefix, T] = {}
    for key in sorted(entries, key=_is_exact):
        prefix = None
        try:
            prefix = _prefix(key)
            entry = read(entries[key])
        except InvalidError as error:
            faults.append(Fault(prefix, f"{where}: {table}: {key[:80]}: {error.message}"))
            continue
        if entry is not None:
            found[prefix] = entry
    return found


def _is_exact(key: str) -> bool:
    """Whether a key names its place as it is, not as a URL of it; for the hub, as docker does."""
    return key == _HUB_KEY if _prefix_host(key) in HUB_HOSTS else "://" not in key


def _prefix_host(key: str) -> str:
    return key.rpartition("://")[2].partition("/")[0].lower()


def _prefix(key: str) -> Prefix:
    """Whom an entry is for: some keys are URLs of the API, and the hub has several names."""
    prefix = Prefix.parse(key.rpartition("://")[2])
    path = "" if prefix.path in _API_PATHS else prefix.path
    return Prefix(asked_host(prefix.host), path)


def _docker_login(value: object) -> Login | IdentityToken | None:
    """`identitytoken`, or `auth`, or `username` and `password`; None for the empty entry a store leaves."""
    if not _is_table(value):
        raise InvalidError("not an object")
    texts = {key: text for key, text in value.items() if isinstance(text, str) and text}
    if "identitytoken" in texts:
        return IdentityToken(texts["identitytoken"])
    if "username" in texts and "password" in texts and "auth" not in texts:
        return Login(texts["username"], texts["password"])
    return _decoded(texts["auth"]) if "auth" in texts else None


def _decoded(pair: str) -> Login:
    try:
        if len(pair) > SECRET_LENGTH:
            raise ValueError
        user, colon, password = base64.b64decode(pair, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise InvalidError("auth is not base64 of user and password") from None
    if not colon:
        raise InvalidError("auth is not base64 of user and password")
    return Login(user, password.rstrip("\0"))  # docker pads some with zero bytes


def _helper_login(said: str, program: str) -> Login | IdentityToken:
    try:
        answer = json.loads(said)
    except (ValueError, RecursionError):
        answer = None
    if not _is_table(answer):
        raise InvalidError(f"docker-credential-{program} did not answer in JSON")
    user, secret = answer.get("Username"), answer.get("Secret")
    if not isinstance(user, str) or not isinstance(secret, str):
        raise InvalidError(f"docker-credential-{program} did not answer with Username and Secret")
    return IdentityToken(secret) if user == _IDENTITY_USER else Login(user, secret)


def _program(value: object) -> str:
    """The name behind `docker-credential-`: a word, so that it can name no other program."""
    if not isinstance(value, str) or not _PROGRAM.fullmatch(value):
        raise InvalidError("not the name of a credential helper")
    return value


def _is_table(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)
