"""Which secrets are for which repository. What was read from files and the environment is handed in as data.

In this order: the key that was given for this run, an API key bound to the origin, what Ferry's own settings
and logins name, what docker or Podman know, the key of this machine. The CI job's own identity will stand
before that last one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, TypeGuard

from registry.auth.docker import DockerConfig, DockerLogin, RunHelper
from registry.auth.keys import PrivateKey, load_key
from registry.auth.prefixes import Prefix, longest
from registry.auth.secrets import ApiKey, IdentityToken, Login, Secret
from registry.errors import InvalidError
from registry.wire.messages import Origin

OLLAMA_API = Origin("https", "ollama.com", 443)

StoredLogin: TypeAlias = Login | ApiKey | IdentityToken
_Source: TypeAlias = PrivateKey | StoredLogin | Path | DockerLogin
Note: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Account:
    """Who we are in one part of a registry: `sources` of secrets, first that fits.

    Two repositories whose accounts are equal are asked as the same person. `faults` is what was written
    about this place and cannot be used.
    """

    sources: tuple[_Source, ...] = ()
    faults: tuple[str, ...] = ()
    run_helper: RunHelper = field(default=lambda _program, _host: None, repr=False, compare=False)
    note: Note = field(default=lambda _text: None, repr=False, compare=False)

    def secrets(self, broken: Note) -> Iterator[Secret]:
        """The secrets, best first, each looked up when its turn comes; `broken` hears of what does not work.

        Errors as `load_key`, for a key that the settings name.
        """
        for source in self.sources:
            if isinstance(source, Path):
                yield load_key(source)
            elif isinstance(source, DockerLogin):
                found = self._docker(source, broken)
                if found is not None:
                    yield found
            else:
                yield source

    def _docker(self, source: DockerLogin, broken: Note) -> Secret:
        try:
            found = source.ask(self.run_helper)
        except InvalidError as error:
            message = f"{error.message} (named by {source.where})"
            self.note(message)
            broken(message)
            found = None
        return found or source.login


@dataclass(frozen=True, slots=True)
class Credentials:
    """Everything that says who a person is.

    `given` is the key of this run, `key` the one of this machine; `keys` are files. `note` is told, once
    each time it is met, what cannot be used. A place reached in plain HTTP over a network gets no login of
    docker's, and none that was not stored for exactly that.
    """

    key: PrivateKey | None = None
    given: PrivateKey | None = None
    api_keys: Mapping[Origin, ApiKey] = field(default_factory=dict, repr=False)
    keys: Mapping[Prefix, Path] = field(default_factory=dict)
    logins: Mapping[Prefix, StoredLogin] = field(default_factory=dict, repr=False)
    docker: tuple[DockerConfig, ...] = ()
    run_helper: RunHelper = field(default=lambda _program, _host: None, repr=False)
    note: Note = field(default=lambda _text: None, repr=False)

    def account(self, origin: Origin, repository: str = "") -> Account:
        """Who we are in `repository` at `origin`; "" where it is about none in particular."""
        candidates = (
            self.given,
            self.api_keys.get(origin),
            self._own(origin, repository),
            *self._docker(origin, repository),
            self.key,
        )
        faults = [
            fault.message
            for config in self.docker
            for fault in config.faults
            if fault.prefix is None or fault.prefix.fits(origin, repository)
        ]
        sources = tuple(source for source in candidates if source is not None)
        return Account(sources, tuple(faults), self.run_helper, self.note)

    def signing_key(self, origin: Origin) -> PrivateKey | Path | None:
        """The key, or its file, that signs for us at `origin`."""
        return self.given or self._own_key(origin) or self.key

    def _own_key(self, origin: Origin) -> Path | None:
        prefix = longest(self.keys, origin, "")
        return self.keys[prefix] if prefix else None

    def _own(self, origin: Origin, repository: str) -> _Source | None:
        """What Ferry's settings and logins say: the longest prefix wins, and of two as long, the key."""
        sources: dict[Prefix, _Source] = {**self.logins, **self.keys}
        prefix = longest((*self.keys, *self.logins), origin, repository)
        return sources[prefix] if prefix else None

    def _docker(self, origin: Origin, repository: str) -> Iterator[DockerLogin]:
        if origin.scheme == "https" or origin.loopback:
            for config in self.docker:
                found = config.find(origin, repository)
                if found is not None:
                    yield found


def parse_logins(document: Mapping[str, object], where: str) -> Mapping[Prefix, StoredLogin]:
    """The logins in Ferry's decoded `credentials.toml`: a table `[host."HOST or HOST/NAMESPACE"]` each, with
    `user` and `password`, or `api_key`, or `identity_token`. InvalidError names file and key.
    """
    unknown = [key for key in document if key != "host"]
    hosts = document.get("host", {})
    if unknown or not _is_table(hosts):
        raise InvalidError(f'{where}: {(unknown or ["host"])[0][:80]}: only tables [host."…"] are known')
    return {
        _stored_for(host): _own_login(table, f'{where}: host."{host[:80]}"') for host, table in hosts.items()
    }


def _stored_for(host: str) -> Prefix:
    """Whom a login of Ferry's own is for: HTTPS unless it says otherwise, plain HTTP on this machine."""
    prefix = Prefix.parse(host)
    if prefix.scheme:
        return prefix
    scheme = "http" if Origin.of(f"https://{prefix.host}").loopback else "https"
    return Prefix(prefix.host, prefix.path, scheme)


def _own_login(table: object, where: str) -> StoredLogin:
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


def _is_table(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)
