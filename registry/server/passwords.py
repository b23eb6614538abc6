"""People's passwords, as argon2 keeps them: two are computed at once, and few wait."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from sqlalchemy import Connection, Engine, select

from registry.errors import InvalidError, Reason, TransientError
from registry.server.database import reading, upsert
from registry.server.tables import PASSWORDS, USERS

SHORTEST = 10  # characters; NIST SP 800-63B asks for a length, and for no mixture of kinds of characters
LONGEST = 256
_BUSY_SECONDS = 2.0
# 19 MiB, two passes, one lane, as OWASP has it: with the library's defaults sixteen would take a GiB.
ARGON2 = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


@dataclass(frozen=True, slots=True)
class Hashing:
    """Computes argon2: `at_once` at a time, while at most `waiting` threads wait for their turn.

    A thread that waits is one that nobody else gets, so the others are told to come again.
    """

    argon2: PasswordHasher = ARGON2
    at_once: int = 2
    waiting: int = 2
    _running: BoundedSemaphore = field(init=False, repr=False)
    _inside: BoundedSemaphore = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_running", BoundedSemaphore(self.at_once))
        object.__setattr__(self, "_inside", BoundedSemaphore(self.at_once + self.waiting))

    def hash(self, password: str) -> str:
        """What is kept of a password. TransientError if too many are being computed."""
        with self._turn():
            return self.argon2.hash(_normal(password))

    def matches(self, kept: str | None, password: str) -> bool:
        """Whether it is the one that was kept; with None it takes as long, and is not. TransientError."""
        with self._turn():
            try:
                self.argon2.verify(kept or _nobodys(self.argon2), _normal(password))
            except (VerifyMismatchError, InvalidHashError):
                return False
        return kept is not None

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._inside.acquire(blocking=False):
            raise TransientError(
                "too many people are signing in at once",
                reason=Reason.BUSY,
                retry_after=_BUSY_SECONDS,
            )
        try:
            with self._running:
                yield
        finally:
            self._inside.release()


@dataclass(frozen=True, slots=True)
class Passwords:
    """The passwords in one database. All methods raise StorageError when it fails."""

    engine: Engine
    hashing: Hashing = field(default_factory=Hashing)

    def proven(self, name: str, password: str) -> str:
        """What is kept of the account's password, if this is it; "" if not.

        No account, none with a password, and a wrong one take the same time. TransientError.
        """
        kept = self._kept(name)
        return kept if self.hashing.matches(kept, password[: LONGEST + 1]) and kept else ""

    def has(self, name: str) -> bool:
        """Whether the account `name` has one."""
        return self._kept(name) is not None

    def names(self) -> set[str]:
        """The accounts that have one."""
        query = select(USERS.c.name).join(PASSWORDS, PASSWORDS.c.user_id == USERS.c.id)
        with reading(self.engine) as database:
            return set(database.execute(query).scalars())

    def hashed(self, password: str, name: str = "") -> str:
        """What to keep of a new password. InvalidError if it is short, very long, or the account's name."""
        if not SHORTEST <= len(password) <= LONGEST:
            raise InvalidError(f"a password has {SHORTEST} to {LONGEST} characters")
        if name and password.casefold() == name.casefold():
            raise InvalidError("a password is not the account's name")
        return self.hashing.hash(password)

    def _kept(self, name: str) -> str | None:
        query = select(PASSWORDS.c.hash).join(USERS, USERS.c.id == PASSWORDS.c.user_id)
        with reading(self.engine) as database:
            kept: str | None = database.execute(query.where(USERS.c.name == name)).scalar()
        return kept


def put_password(database: Connection, user: str, kept: str, now: float) -> None:
    """Let the account with the identifier `user` have the password that was hashed to `kept`."""
    what = {"hash": kept, "changed": now}
    add = upsert(database, PASSWORDS).values(user_id=user, **what)
    database.execute(add.on_conflict_do_update(index_elements=["user_id"], set_=what))


def is_kept(database: Connection, user: str, kept: str) -> bool:
    """Whether the account's password is still the one that was hashed to `kept`."""
    return database.execute(select(PASSWORDS.c.hash).filter_by(user_id=user)).scalar() == kept


@lru_cache(maxsize=4)
def _nobodys(argon2: PasswordHasher) -> str:
    """What is compared where nothing was kept, so that it takes as long."""
    return argon2.hash("the password of nobody")


def _normal(password: str) -> str:
    """The one spelling of what a person typed, whatever their keyboard makes of it (NIST SP 800-63B)."""
    return unicodedata.normalize("NFKC", password)
