"""Which secrets are for which repository. What was read from files and the environment is handed in as data.

In this order: the key that was given for this run, an API key bound to the origin, what Ferry's own settings
and logins name, what docker or Podman know, the CI job's own identity, the key of this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import TypeAlias, TypeGuard

from registry.auth.ci import JobIdentity
from registry.auth.docker import DockerConfig, DockerLogin, RunHelper
from registry.auth.keys import PrivateKey, load_key
from registry.auth.prefixes import Prefix, longest
from registry.auth.secrets import SECRET_LENGTH, ApiKey, IdentityToken, Login, Secret
from registry.disk.secrets import read_secret
from registry.errors import InvalidError
from registry.model.names import asked_host
from registry.wire.messages import Origin

OLLAMA_API = Origin("https", "ollama.com", 443)

StoredLogin: TypeAlias = Login | ApiKey | IdentityToken
Note: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ApiKeyFile:
    """An API key that a file holds."""

    path: Path

    def load(self) -> ApiKey:
        """The key, read now. InvalidError without one; DeniedError if others may read it; StorageError."""
        raw = read_secret(self.path, SECRET_LENGTH)
        text = (raw or b"").decode("utf-8", "replace").strip()
        if not text:
            raise InvalidError(f"there is no API key in {self.path}")
        return ApiKey(text)


_Source: TypeAlias = PrivateKey | StoredLogin | ApiKeyFile | Path | DockerLogin | JobIdentity


class Why(Enum):
    """Why a secret is asked with: where it was named, in the order in which they count."""

    GIVEN = 1  # the key of this run
    API_KEY = 2  # an API key of this run
    OWN = 3  # Ferry's own settings and logins; `place` is what for
    DOCKER = 4  # docker's or Podman's logins; `place` is the file
    JOB = 5  # the CI job's own identity
    MACHINE = 6  # the key of this machine


@dataclass(frozen=True, slots=True)
class Candidate:
    """One place where a secret is, and why it is asked."""

    source: _Source
    why: Why
    place: str = ""

    @property
    def signs(self) -> bool:
        """Whether it is a key, and no secret that is itself sent."""
        return isinstance(self.source, PrivateKey | Path)


@dataclass(frozen=True, slots=True)
class Account:
    """Who we are in one part of a registry: `candidates` for a secret, first that fits.

    Two repositories whose accounts are equal are asked as the same person. `faults` is what was written
    about this place and cannot be used.
    """

    candidates: tuple[Candidate, ...] = ()
    faults: tuple[str, ...] = ()
    run_helper: RunHelper = field(default=lambda _program, _host: None, repr=False, compare=False)
    note: Note = field(default=lambda _text: None, repr=False, compare=False)

    def secrets(self, broken: Note) -> Iterator[Secret]:
        """The secrets, best first, each looked up when its turn comes; `broken` hears of what does not work.

        Errors as `load_key`, for a key that the settings name.
        """
        for source in (candidate.source for candidate in self.candidates):
            if isinstance(source, Path):
                yield load_key(source)
            elif isinstance(source, ApiKeyFile):
                yield source.load()
            elif isinstance(source, DockerLogin):
                found = self._docker(source, broken)
                if found is not None:
                    yield found
            else:
                yield source

    @property
    def keys_first(self) -> Account:
        """The same, with keys that sign before logins that are kept; what this run was given stays first."""
        kept = (Why.OWN, Why.DOCKER)
        last = [each for each in self.candidates if each.why in kept and not each.signs]
        return replace(self, candidates=(*(each for each in self.candidates if each not in last), *last))

    @property
    def provider(self) -> Origin | None:
        """Where the CI system gives ID tokens, if one of the secrets is such a job's."""
        jobs = (each.source for each in self.candidates if isinstance(each.source, JobIdentity))
        return next((job.provider for job in jobs), None)

    def each(self) -> Iterator[tuple[Candidate, Account]]:
        """Each candidate, with the account that has no other."""
        for candidate in self.candidates:
            yield candidate, replace(self, candidates=(candidate,))

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

    `given` is the key of this run, `key` the one of this machine; `keys` are files. `jobs` is the CI job that
    this is, for the registries where it may say so, `jobless` why it has no identity there. `note` is told,
    once each time it is met, what cannot be used.

    A place reached in plain HTTP over a network gets no login of
    docker's, and none that was not stored for exactly that.
    """

    key: PrivateKey | None = None
    given: PrivateKey | None = None
    api_keys: Mapping[Origin, ApiKey | ApiKeyFile] = field(default_factory=dict, repr=False)
    keys: Mapping[Prefix, Path | ApiKeyFile] = field(default_factory=dict)
    logins: Mapping[Prefix, StoredLogin] = field(default_factory=dict, repr=False)
    docker: tuple[DockerConfig, ...] = ()
    jobs: Mapping[Origin, JobIdentity] = field(default_factory=dict)
    jobless: Mapping[Origin, str] = field(default_factory=dict)
    run_helper: RunHelper = field(default=lambda _program, _host: None, repr=False)
    note: Note = field(default=lambda _text: None, repr=False)

    def account(self, origin: Origin, repository: str = "") -> Account:
        """Who we are in `repository` at `origin`; "" where it is about none in particular."""
        candidates = (
            Candidate(self.given, Why.GIVEN) if self.given else None,
            Candidate(self.api_keys[origin], Why.API_KEY) if origin in self.api_keys else None,
            self._own(origin, repository),
            *(Candidate(login, Why.DOCKER, login.where) for login in self._docker(origin, repository)),
            Candidate(self.jobs[origin], Why.JOB) if origin in self.jobs else None,
        )
        faults = [
            fault.message
            for config in self.docker
            for fault in config.faults
            if fault.prefix is None or fault.prefix.fits(origin, repository)
        ]
        present = [candidate for candidate in candidates if candidate is not None]
        if not present and origin in self.jobless:
            faults.append(self.jobless[origin])
        if self.key is not None:
            present.append(Candidate(self.key, Why.MACHINE))
        return Account(tuple(present), tuple(faults), self.run_helper, self.note)

    def signing_key(self, origin: Origin) -> PrivateKey | Path | None:
        """The key, or its file, that signs for us at `origin`."""
        return self.given or self._own_key(origin) or self.key

    def _own_key(self, origin: Origin) -> Path | None:
        files = {prefix: path for prefix, path in self.keys.items() if isinstance(path, Path)}
        prefix = longest(files, origin, "")
        return files[prefix] if prefix else None

    def _own(self, origin: Origin, repository: str) -> Candidate | None:
        """What Ferry's settings and logins say: the longest prefix wins, and of two as long, the key."""
        sources: dict[Prefix, _Source] = {**self.logins, **self.keys}
        prefix = longest((*self.keys, *self.logins), origin, repository)
        return Candidate(sources[prefix], Why.OWN, str(prefix)) if prefix else None

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
    return dict(_own_login(host, table, f'{where}: host."{host[:80]}"') for host, table in hosts.items())


def stored_for(host: str) -> Prefix:
    """Whom a login of Ferry's own is for: HTTPS unless it says otherwise, plain HTTP on this machine.

    Docker's hub has several names, and is asked under one.
    """
    prefix = Prefix.parse(host)
    scheme = prefix.scheme or ("http" if Origin.of(f"https://{prefix.host}").loopback else "https")
    return Prefix(asked_host(prefix.host), prefix.path, scheme)


def _own_login(host: str, table: object, where: str) -> tuple[Prefix, StoredLogin]:
    try:
        return stored_for(host), _secret_in(table)
    except InvalidError as error:
        raise InvalidError(f"{where}: {error.message}") from None


def _secret_in(table: object) -> StoredLogin:
    if not _is_table(table) or not all(isinstance(value, str) for value in table.values()):
        raise InvalidError("not a table of texts")
    texts = {key: str(value) for key, value in table.items()}
    match sorted(texts):
        case ["password", "user"]:
            return Login(texts["user"], texts["password"])
        case ["api_key"]:
            return ApiKey(texts["api_key"])
        case ["identity_token"]:
            return IdentityToken(texts["identity_token"])
    raise InvalidError("has neither user and password, nor api_key, nor identity_token")


def _is_table(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)
