"""What was withdrawn, in a file beside the database that is only ever added to: it outlives the database.

Each line is one change of the audit table, as JSON. A restore says which of them the copy does not know
of, and makes them anew when it is told to. Nothing here gives anybody a right.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, delete, select

from registry.contracts import Actor, Clock, NewId
from registry.disk import files
from registry.disk.data import wait_for_lock
from registry.errors import InvalidError, NotFoundError
from registry.server.accounts import Accounts
from registry.server.audit import record
from registry.server.credentials import CredentialStore
from registry.server.database import reading, writing
from registry.server.immutable import ImmutableTags
from registry.server.issuers import WELL_KNOWN
from registry.server.organisations import Organisations
from registry.server.principal import API_KEY, SERVICE, Principal, Right
from registry.server.publishers import Publishers
from registry.server.rights import Rights
from registry.server.services import Services
from registry.server.tables import AUDIT, PASSWORDS, USERS

FILE = "revocations"
LOCK_SECONDS = 5.0  # that others may keep the file: each writes a few lines
_BYTES = 256 * 1024 * 1024  # more than a million lines
_BACK = 86_400.0  # seconds by which a clock may have been put back between two changes
_BY = Actor(address="restored revocations")
# What takes something away, and what gives it back: of two about one thing, the last one counts.
_OF_CREDENTIALS = ("key.revoke", "key.disconnect", "apikey.revoke", "apikey.rotate", "password.set")
_OF_USERS = ("user.remove", "user.disable", "user.enable")
_OF_TEAMS = ("org.remove", "service.revoke", "immutable.add", "immutable.remove")
_OF_JOBS = ("publisher.remove", "issuer.remove")
_KEPT = (*_OF_CREDENTIALS, *_OF_USERS, *_OF_TEAMS, *_OF_JOBS, "grant", "visibility")


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a right or a credential; `time` in Unix seconds, the rest as in the audit table."""

    time: float
    action: str
    subject: str
    repository: str = ""

    @property
    def about(self) -> tuple[str, ...]:
        """What it changes: a later change of the same takes its place."""
        if self.action == "grant":
            user, _, where = self.subject.split(" ", 2)
            return "grant", user, where
        if self.action == "visibility":
            return "visibility", self.repository
        if self.action.startswith("immutable"):
            return "immutable", self.repository, self.subject
        return "disabled" if self.action.endswith("able") else self.action, self.subject

    @property
    def line(self) -> bytes:
        """As the file has it, without its end."""
        fields = {"time": self.time, "action": self.action, "subject": self.subject}
        return json.dumps({**fields, "repository": self.repository}).encode()


def changes(engine: Engine, since: float = 0.0) -> list[Change]:
    """What the database's audit table says was withdrawn or given from `since` on, the oldest first."""
    columns = (AUDIT.c.time, AUDIT.c.action, AUDIT.c.subject, AUDIT.c.repository)
    query = select(*columns).where(AUDIT.c.time >= since, AUDIT.c.action.in_(_KEPT))
    with reading(engine) as database:
        return [Change(*row) for row in database.execute(query.order_by(AUDIT.c.time, AUDIT.c.id))]


def read(path: Path) -> list[Change]:
    """The changes in a file. NotFoundError; InvalidError for one that is none."""
    return [_parsed(path, line) for line in _lines(path)]


def keep(directory: Path, engine: Engine, now: float, limit: float = LOCK_SECONDS) -> int:
    """Add to the directory's file what the database knows and the file does not; how many lines.

    Any process may do it at any time: what one did not come to, the next one does. What was written down
    while the clock was ahead of `now` (Unix seconds) hides nothing that came later. InvalidError if the file
    is damaged; StorageError, also if another process has it locked for longer than `limit` seconds.
    """
    path = directory / FILE
    file = wait_for_lock(path, owner=files.owner_to_keep(directory), limit=limit)
    try:
        file.set_mode(0o600)
        known = _lines(path)
        times = [_parsed(path, line).time for line in known]
        since = max((time for time in times if time <= now), default=0.0) - _BACK
        there = {line for line, time in zip(known, times, strict=True) if time >= since}
        new = [line for each in changes(engine, since) if (line := each.line) not in there]
        if new:
            file.write(b"".join(line + b"\n" for line in new), sum(len(line) + 1 for line in known))
            file.sync()
        return len(new)
    finally:
        file.close()


@dataclass(frozen=True, slots=True)
class Withdrawals:
    """Compares changes with a database that may not know of them; `clock` in Unix seconds."""

    engine: Engine
    clock: Clock
    new_id: NewId

    def alive(self, since: Sequence[Change]) -> list[Change]:
        """Those of the changes that would take something away which the database still gives."""
        last = {each.about: each for each in sorted(since, key=lambda each: each.time)}
        gives = self._gives()
        return [each for each in last.values() if gives[each.action](each)]

    def apply(self, change: Change) -> None:
        """Take it away. What is not there to be taken is none."""
        with contextlib.suppress(NotFoundError, InvalidError):
            self._take()[change.action](change)

    def _gives(self) -> Mapping[str, Callable[[Change], bool]]:
        accounts, credentials, rights = self._parts()
        users = {each.name: each for each in accounts.users()}
        keys = {each.fingerprint for each in credentials.list_keys() if each.revoked is None}
        api_keys = {each.id for each in credentials.listed("", API_KEY, SERVICE) if each.revoked is None}
        with reading(self.engine) as database:
            query = select(USERS.c.name).join(PASSWORDS, PASSWORDS.c.user_id == USERS.c.id)
            passwords = set(database.execute(query).scalars())
        public = rights.public()
        publishers = {each.id for each in self._publishers().listed()}
        issuers = {each.url for each in self._publishers().issuers() if each not in WELL_KNOWN}
        organisations = {each.name for each in self._organisations.all()}
        services = {each.name for each in self._services.listed()}
        patterns = {(each.scope, each.pattern) for each in self._immutable.listed()}

        def more(change: Change) -> bool:
            _, name, where = change.about
            user = users.get(name)
            held = rights.right(Principal(user), where) if user and not user.admin else Right.NONE
            return held > _right(change)

        return {
            "key.revoke": lambda change: change.subject in keys,
            "key.disconnect": lambda change: change.subject in keys,
            "apikey.revoke": lambda change: change.subject in api_keys,
            "apikey.rotate": lambda change: change.subject in api_keys,  # the copy has the old secret
            "password.set": lambda change: change.subject in passwords,  # and the old password
            "publisher.remove": lambda change: change.subject in publishers,
            "issuer.remove": lambda change: change.subject in issuers,
            "user.remove": lambda change: change.subject in users,
            "user.disable": lambda change: change.subject in users and not users[change.subject].disabled,
            "user.enable": lambda _: False,
            "grant": more,
            "visibility": lambda change: change.subject == "private" and change.repository in public,
            "org.remove": lambda change: change.subject in organisations,
            "service.revoke": lambda change: change.subject in services,
            "immutable.add": lambda change: (change.repository, change.subject) not in patterns,
            "immutable.remove": lambda _: False,
        }

    def _take(self) -> Mapping[str, Callable[[Change], object]]:
        accounts, credentials, rights = self._parts()
        return {
            "key.revoke": lambda change: credentials.revoke_key(change.subject, _BY),
            "key.disconnect": lambda change: credentials.disconnect_key(change.subject, _BY),
            "apikey.revoke": lambda change: credentials.revoke_api_key(change.subject, _BY),
            "apikey.rotate": lambda change: credentials.revoke_api_key(change.subject, _BY),
            "password.set": lambda change: self._forget_password(change.subject),
            "publisher.remove": lambda change: self._publishers().remove(change.subject, _BY),
            "issuer.remove": lambda change: self._publishers().forget(change.subject, _BY),
            "user.remove": lambda change: accounts.remove(change.subject, _BY),
            "user.disable": lambda change: accounts.disable(change.subject, _BY),
            "grant": lambda change: rights.grant(change.about[1], change.about[2], _right(change), _BY),
            "visibility": lambda change: rights.set_public(change.repository, False, _BY),
            "org.remove": lambda change: self._organisations.remove(change.subject, _BY),
            "service.revoke": lambda change: self._services.revoke(change.subject, _BY),
            "immutable.add": lambda change: self._immutable.add(change.repository, change.subject, _BY),
        }

    def _forget_password(self, name: str) -> None:
        """The account stays, and chooses another: ferry admin user reset."""
        mine = select(USERS.c.id).filter_by(name=name).scalar_subquery()
        with writing(self.engine) as database:
            database.execute(delete(PASSWORDS).where(PASSWORDS.c.user_id == mine))
            record(database, self.clock(), _BY, "password.forget", name)

    def _publishers(self) -> Publishers:
        return Publishers(self.engine, self.clock, self.new_id)

    @property
    def _organisations(self) -> Organisations:
        return Organisations(self.engine, self.clock)

    @property
    def _services(self) -> Services:
        return Services(self.engine, self.clock, self.new_id)

    @property
    def _immutable(self) -> ImmutableTags:
        return ImmutableTags(self.engine, self.clock)

    def _parts(self) -> tuple[Accounts, CredentialStore, Rights]:
        return (
            Accounts(self.engine, self.clock, self.new_id),
            CredentialStore(self.engine, self.clock, self.new_id),
            Rights(self.engine, self.clock),
        )


def _right(change: Change) -> Right:
    return Right.parse(change.subject.split(" ", 2)[1])


def _parsed(path: Path, line: bytes) -> Change:
    try:
        found = json.loads(line)
        change = Change(
            float(found["time"]), str(found["action"]), str(found["subject"]), str(found["repository"])
        )
        if change.action not in _KEPT:
            raise ValueError(change.action)
        if change.action == "grant":
            _right(change)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError, InvalidError):
        begins = line[:40].decode("utf-8", "replace")
        raise InvalidError(f"{path} is no file of revocations: {begins!r}") from None
    return change


def _lines(path: Path) -> list[bytes]:
    """The whole lines; behind them is what a process wrote when it was killed."""
    return files.read_bounded(path, _BYTES).split(b"\n")[:-1]
