"""Who somebody is: an account or a namespace's program, by one of its credentials, or anybody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from registry.errors import InvalidError
from registry.server.key_scopes import KeyScope

MACHINE_KEY = "key"  # the kinds of credential
API_KEY = "api"
SESSION = "session"
SERVICE = "service"  # an API key of a service account
PUBLISHER = "publisher"  # the identity of a CI job


class Right(IntEnum):
    """What one may do in a repository; each includes the ones before.

    WRITE is push and delete; OWNER says who else may do what there.
    """

    NONE = 0
    READ = 1
    WRITE = 2
    OWNER = 3

    @classmethod
    def parse(cls, text: str) -> Right:
        """`none`, `read`, `write` or `owner`; InvalidError for anything else."""
        try:
            return cls[text.upper()]
        except KeyError:
            raise InvalidError(f"{text[:20]!r} is not a right: read, write, owner or none") from None


@dataclass(frozen=True, slots=True)
class User:
    """An account; `created` in Unix seconds."""

    id: str
    name: str
    admin: bool
    disabled: bool
    created: float


@dataclass(frozen=True, slots=True)
class Workload:
    """A program with rights of its own: a service account, or a trusted publisher. It belongs to a namespace.

    It may do what `right` says in `scope`, which is the namespace or a repository in it, and nothing
    elsewhere; it has no account. `name` is how audit and log call it; a `/` or `:` is in it, so that it is
    no account's name. `makers`: the accounts (identifiers) that were shown the secret it came by: it may do
    nothing in a repository that is closed to one of them.
    """

    id: str
    name: str
    scope: str
    right: Right
    makers: tuple[str, ...] = ()

    def may(self, repository: str) -> Right:
        """What it may do in `repository` (lower case), by itself."""
        inside = repository == self.scope or repository.startswith(f"{self.scope}/")
        return self.right if inside else Right.NONE


@dataclass(frozen=True, slots=True)
class Claim:
    """How tokens and links name a credential, as `id.secret.closings`, which are those of `Credential`.

    What was issued by a secret ends with that secret, and all that was issued ends where the account is
    disabled. `closings` is "" where it never was, but "0" for a publisher: no new token has its id alone.
    """

    id: str
    secret: str = ""
    closings: str = ""

    @classmethod
    def parse(cls, text: str) -> Claim:
        """What a token or link says; any text says something."""
        return cls(*text.split(".", 2))

    def __str__(self) -> str:
        return f"{self.id}.{self.secret}.{self.closings}".rstrip(".")


@dataclass(frozen=True, slots=True)
class Credential:
    """What an account or workload proves itself with. Its `id` is never given to another one.

    `cap` is the most that may be done with it, whatever its account may; `expires` in Unix seconds, or
    None. `scopes`: what an API key is good for; None for what is good for everything. `secret`: which of
    an API key's secrets they came by, as the beginning of its hash. `closings`: how often its account, or
    that of its namespace, was disabled.
    """

    kind: str
    id: str
    cap: Right = Right.WRITE
    expires: float | None = None
    scopes: tuple[KeyScope, ...] | None = None
    secret: str = ""
    closings: int = 0

    @property
    def claim(self) -> str:
        """How what is issued now names it."""
        counted = self.closings or self.kind == PUBLISHER
        return str(Claim(self.id, self.secret, str(self.closings) if counted else ""))

    def allows(self, repository: str, action: str) -> bool:
        """Whether it is good for `action` (pull, push, delete) in `repository`, whatever its account may."""
        return self.scopes is None or any(each.covers(repository, action) for each in self.scopes)

    def most(self, repository: str) -> Right:
        """The most that may be done with it in `repository`: WRITE for a part of that too."""
        if self.allows(repository, "push") or self.allows(repository, "delete"):
            return self.cap
        return min(self.cap, Right.READ if self.allows(repository, "pull") else Right.NONE)


@dataclass(frozen=True, slots=True)
class Principal:
    """The one who asks: an account (`user`) or a `workload` by one of its credentials, or anybody.

    `floor` is what they may do everywhere, signed in or not: more than nothing only in a lab registry.
    """

    user: User | None = None
    credential: Credential | None = None
    floor: Right = Right.NONE
    workload: Workload | None = None

    @property
    def name(self) -> str:
        """The account's or workload's name, "" for anybody."""
        known = self.user or self.workload
        return known.name if known else ""

    @property
    def is_admin(self) -> bool:
        """Whether it is an administrator's account."""
        return self.user is not None and self.user.admin

    @property
    def credential_id(self) -> str:
        """The credential's identifier, "" for anybody."""
        return self.credential.id if self.credential else ""

    @property
    def claim(self) -> str:
        """How tokens and links name the credential, "" for anybody."""
        return self.credential.claim if self.credential else ""

    @property
    def by_api_key(self) -> bool:
        """Whether it is a program that asks, which never makes or widens credentials."""
        return self.credential is not None and self.credential.kind in (API_KEY, SERVICE)

    def allows(self, repository: str, action: str) -> bool:
        """Whether what they prove themselves with is good for `action` there, whatever they may."""
        return self.credential is None or self.credential.allows(repository, action)


ANYBODY = Principal()


class Readers(Protocol):
    """Which repositories there are for somebody at all."""

    def right(self, principal: Principal, repository: str) -> Right:
        """What they may do in it now."""

    def reader(self, principal: Principal) -> Callable[[str], bool]:
        """Whether they may read a repository, for asking about very many at one moment."""

    def owns(self, principal: Principal, where: str) -> bool:
        """Whether they say who else may read it."""


class Everything:
    """Everybody may everything: a registry without accounts."""

    def right(self, _principal: Principal, _repository: str) -> Right:
        return Right.WRITE

    def reader(self, _principal: Principal) -> Callable[[str], bool]:
        return lambda _: True

    def owns(self, _principal: Principal, _where: str) -> bool:
        return True
