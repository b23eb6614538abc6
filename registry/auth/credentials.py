"""Which secret is for which origin. What was read from files and the environment is handed in as data.

In this order: an API key bound to the origin, a login of Ferry's own, what docker or Podman know of the
host, the key of this machine.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeGuard
from urllib.parse import urlsplit

from registry.auth.keys import PrivateKey
from registry.auth.secrets import SECRET_LENGTH, ApiKey, IdentityToken, Login, Secret
from registry.errors import InvalidError
from registry.wire.messages import Origin, is_loopback

RunHelper = Callable[[str, str], str | None]
"""A credential helper: the program's name and a host; what it prints (JSON), or None if it knows nothing."""

OLLAMA_API = Origin("https", "ollama.com", 443)
_DOCKER_HUB = "https://index.docker.io/v1/"
_HUB_HOSTS = ("registry-1.docker.io", "index.docker.io", "docker.io")
_PROGRAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_IDENTITY_USER = "<token>"


@dataclass(frozen=True, slots=True)
class DockerConfig:
    """What `config.json` of docker, or `auth.json` of Podman, says of hosts."""

    logins: Mapping[str, Login | IdentityToken] = field(default_factory=dict, repr=False)
    helpers: Mapping[str, str] = field(default_factory=dict)
    store: str = ""

    @classmethod
    def parse(cls, text: str, where: str) -> DockerConfig:
        """The configuration in a file's text; InvalidError names the file and the field, never a value."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            raise InvalidError(f"{where} is not JSON") from None
        if not isinstance(document, dict):
            raise InvalidError(f"{where} is not a JSON object")
        auths, helpers = document.get("auths", {}), document.get("credHelpers", {})
        store = document.get("credsStore", "")
        if not _is_table(auths) or not _is_table(helpers):
            raise InvalidError(f"{where}: auths and credHelpers are objects")
        programs = {key: _program(value, f"{where}: credHelpers") for key, value in helpers.items()}
        logins = {
            _host_of(key): login
            for key, value in auths.items()
            if (login := _docker_login(value, f"{where}: auths: {key[:80]}")) is not None
        }
        return cls(logins, programs, _program(store, f"{where}: credsStore") if store else "")

    def find(self, host: str, run: RunHelper) -> Login | IdentityToken | None:
        """The secret for a host (with port), asked of its helper or found in the file."""
        program = self.helpers.get(host) or self.store
        server = _DOCKER_HUB if host in _HUB_HOSTS else host
        said = run(f"docker-credential-{program}", server) if program else None
        found = None if said is None else _helper_login(said, program)
        return found or self.logins.get(_host_of(server))


@dataclass(frozen=True, slots=True)
class Credentials:
    """Everything that says who a person is; `for_origin` hands out at most one secret per place.

    A place reached in plain HTTP over a network gets neither a docker password nor one that was not
    stored for exactly that.
    """

    key: PrivateKey | None = None
    api_keys: Mapping[Origin, ApiKey] = field(default_factory=dict, repr=False)
    logins: Mapping[Origin, Login | ApiKey | IdentityToken] = field(default_factory=dict, repr=False)
    docker: tuple[DockerConfig, ...] = ()
    run_helper: RunHelper = field(default=lambda _program, _host: None, repr=False)

    def for_origin(self, origin: Origin) -> Secret:
        """The secret for `origin`, or None."""
        own = self.api_keys.get(origin) or self.logins.get(origin)
        if own is not None:
            return own
        if origin.scheme == "https" or origin.loopback:
            for config in self.docker:
                found = config.find(origin.netloc, self.run_helper)
                if found is not None:
                    return found
        return self.key


def api_keys(ferry: str, registry: Origin | None, ollama: str) -> Mapping[Origin, ApiKey]:
    """$FERRY_API_KEY for the origin of $FERRY_REGISTRY, and $OLLAMA_API_KEY for ollama.com; "" for none."""
    if ferry and registry is None:
        raise InvalidError(
            "FERRY_API_KEY is set, but not the registry it is for",
            hint="set FERRY_REGISTRY to that host; the key is sent nowhere else",
        )
    keys = {OLLAMA_API: ApiKey(ollama)} if ollama else {}
    return {**keys, registry: ApiKey(ferry)} if ferry and registry else keys


def parse_logins(
    document: Mapping[str, object], where: str
) -> Mapping[Origin, Login | ApiKey | IdentityToken]:
    """The logins in Ferry's decoded `credentials.toml`: a table `[host."<host or origin>"]` each, with
    `user` and `password`, or `api_key`, or `identity_token`. InvalidError names file and key.
    """
    unknown = [key for key in document if key != "host"]
    hosts = document.get("host", {})
    if unknown or not _is_table(hosts):
        raise InvalidError(f'{where}: {(unknown or ["host"])[0][:80]}: only tables [host."…"] are known')
    return {
        origin_of(host): _own_login(table, f'{where}: host."{host[:80]}"') for host, table in hosts.items()
    }


def origin_of(host: str) -> Origin:
    """The origin a host stands for: as written with a scheme, plain HTTP on this machine, else HTTPS."""
    if "://" in host:
        return Origin.of(host)
    return Origin.of(f"{'http' if is_loopback(Origin.of(f'https://{host}').host) else 'https'}://{host}")


def _own_login(table: object, where: str) -> Login | ApiKey | IdentityToken:
    if not _is_table(table) or not all(isinstance(value, str) for value in table.values()):
        raise InvalidError(f"{where}: not a table of texts")
    texts = {key: str(value) for key, value in table.items()}
    match sorted(texts):
        case ["password", "user"]:
            return Login(texts["user"], texts["password"])
        case ["api_key"]:
            return ApiKey(texts["api_key"])
        case ["identity_token"]:
            return IdentityToken(texts["identity_token"])
    raise InvalidError(f"{where}: has neither user and password, nor api_key, nor identity_token")


# --- docker's and Podman's files -----------------------------------------------------------------------


def _host_of(key: str) -> str:
    """The host (with port) of an `auths` key: some are URLs, and docker's own hub is known by an old one."""
    host = urlsplit(key).netloc if "://" in key else key
    path = urlsplit(key).path if "://" in key else ""
    if host in _HUB_HOSTS:
        return _HUB_HOSTS[0]
    return host if path.strip("/") in ("", "v1", "v2") else key


def _docker_login(value: object, where: str) -> Login | IdentityToken | None:
    if not _is_table(value):
        raise InvalidError(f"{where} is not an object")
    try:
        return _identity_or_login(value)
    except InvalidError as error:
        raise InvalidError(f"{where}: {error.message}") from None


def _identity_or_login(value: Mapping[str, object]) -> Login | IdentityToken | None:
    token, pair = value.get("identitytoken"), value.get("auth")
    if isinstance(token, str) and token:
        return IdentityToken(token)
    if not isinstance(pair, str) or not pair:  # a credential store leaves empty entries behind
        return None
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


def _program(value: object, where: str) -> str:
    """The name behind `docker-credential-`: a word, so that it can name no other program."""
    if not isinstance(value, str) or not _PROGRAM.fullmatch(value):
        raise InvalidError(f"{where}: not the name of a credential helper")
    return value


def _is_table(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)
