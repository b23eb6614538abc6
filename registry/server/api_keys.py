"""API keys of accounts and service accounts: made, given a new secret, and revoked by their owners.

A secret is shown once, to its maker; what is kept is its hash, and its last four characters.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, func, insert, or_, select, update

from registry.auth import api_keys
from registry.contracts import NOBODY, Actor, Clock, NewId
from registry.errors import InvalidError, NotFoundError
from registry.server.audit import record
from registry.server.bearers import hashed
from registry.server.credentials import CredentialStore
from registry.server.database import reading, writing
from registry.server.key_scopes import KeyScope
from registry.server.principal import API_KEY, SERVICE, Right, User
from registry.server.services import ServiceAccount
from registry.server.tables import API_KEYS, CREDENTIALS, SERVICES, USERS

DAY = 86_400
USUAL_SECONDS = 90 * DAY
MOST_SECONDS = 365 * DAY
USUAL_OVERLAP = DAY
MOST_OVERLAP = 30 * DAY
MOST_KEYS = 1000  # of one account, machines' keys with them, that are not revoked
_NOTE = 200


@dataclass(frozen=True, slots=True)
class Made:
    """A secret that was just made, and never shown again; times in Unix seconds."""

    id: str
    secret: str
    scopes: tuple[KeyScope, ...]
    expires: float
    old_until: float | None = None

    def __repr__(self) -> str:
        return f"Made({self.id!r})"


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """The API keys in one database; `clock` in Unix seconds, `random` gives so many bytes.

    None is good for longer than `most` seconds. All methods raise StorageError.
    """

    engine: Engine
    clock: Clock
    new_id: NewId
    most: int = MOST_SECONDS
    random: Callable[[int], bytes] = secrets.token_bytes

    def create(
        self,
        holder: User | ServiceAccount,
        scopes: Sequence[KeyScope],
        *,
        seconds: int | None = None,
        note: str = "",
        actor: Actor = NOBODY,
    ) -> Made:
        """A new key of `holder`, good for `seconds` (None: 90 days).

        InvalidError for a bad time or note, and for one key too many; NotFoundError for a service account
        that has ended.
        """
        kind = API_KEY if isinstance(holder, User) else SERVICE
        now, id, secret = self.clock(), self.new_id(), self._secret(kind)
        expires = now + self._checked(min(USUAL_SECONDS, self.most) if seconds is None else seconds)
        if len(note) > _NOTE or not note.isprintable():
            raise InvalidError(f"a note is one line of at most {_NOTE} characters")
        said = " ".join(map(str, scopes))
        row = {"id": id, "kind": kind, "cap": Right.WRITE.name.lower(), "added": now, "expires": expires}
        mine = CREDENTIALS.c.user_id if kind == API_KEY else CREDENTIALS.c.service
        held = select(func.count()).select_from(CREDENTIALS)
        held = held.where(mine == holder.id, CREDENTIALS.c.revoked.is_(None))
        with writing(self.engine) as database:
            if database.execute(held).scalar_one() >= MOST_KEYS:
                raise InvalidError(f"{holder.name} has {MOST_KEYS} keys already", hint="revoke some of them")
            row |= _belonging(database, holder)
            if kind == SERVICE:
                row["makers"] = _maker(database, actor)
            database.execute(insert(CREDENTIALS).values(**row, note=note))
            kept = {"secret_hash": hashed(secret), "last_four": api_keys.last_four(secret), "issued": now}
            database.execute(insert(API_KEYS).values(credential=id, scopes=said, **kept))
            record(database, now, actor, "apikey.create", f"{id} {holder.name} {said}")
        return Made(id, secret, tuple(scopes), expires)

    def rotate(self, holder: str, id: str, overlap: int = USUAL_OVERLAP, actor: Actor = NOBODY) -> Made:
        """A new secret for a key of `holder`, by its name, for as long as the one before was made for.

        That one ends after `overlap` seconds, 0 at once, and with it what was issued by it. Of two that do
        it at once, the later one's secret is the present one. NotFoundError; InvalidError for one that is
        over.
        """
        if not 0 <= overlap <= MOST_OVERLAP:
            raise InvalidError(f"the old secret is good for between 0 and {MOST_OVERLAP} more seconds")
        found = CredentialStore(self.engine, self.clock, self.new_id).one(id)
        if found.user != holder or found.kind not in (API_KEY, SERVICE):
            raise NotFoundError(f"{holder} has no API key {id[:40]}")
        now, secret = self.clock(), self._secret(found.kind)
        if found.state(now) in ("revoked", "expired"):
            raise InvalidError(f"the API key {id} is {found.state(now)}", hint="make a new one")
        with writing(self.engine) as database:
            old = database.execute(select(API_KEYS).filter_by(credential=id)).one()
            mine = select(CREDENTIALS.c.expires, CREDENTIALS.c.makers).filter_by(id=id)
            before, makers = database.execute(mine).one()
            until = min(now + overlap, before)
            expires = now + min(before - old.issued, self.most)
            kept = {"secret_hash": hashed(secret), "last_four": api_keys.last_four(secret), "issued": now}
            kept |= {"old_hash": old.secret_hash, "old_until": until}
            database.execute(update(API_KEYS).filter_by(credential=id).values(**kept))
            change: dict[str, object] = {"expires": expires}
            if found.kind == SERVICE:  # while the old secret is good, it opens what it did to who knows it
                known = makers.split()[-1:] if overlap else []
                change["makers"] = " ".join([*known, _maker(database, actor)]).strip()
            database.execute(update(CREDENTIALS).filter_by(id=id).values(change))
            record(database, now, actor, "apikey.rotate", id)
        return Made(id, secret, found.scopes or (), expires, until)

    def revoke_by_secret(self, secret: str, actor: Actor = NOBODY) -> bool:
        """Revoke the key whose secret this is, the present one or the one before; whether there was one."""
        if not api_keys.is_api_key(secret):
            return False
        known, now = hashed(secret), self.clock()
        with reading(self.engine) as database:
            before = (API_KEYS.c.old_hash == known) & (API_KEYS.c.old_until > now)
            query = select(API_KEYS.c.credential).where(or_(API_KEYS.c.secret_hash == known, before))
            id = database.execute(query).scalar()
        if id is None:
            return False
        with suppress(NotFoundError):  # it was revoked before
            CredentialStore(self.engine, self.clock, self.new_id).revoke_api_key(id, actor)
        return True

    def _secret(self, kind: str) -> str:
        prefix = api_keys.SERVICE_PREFIX if kind == SERVICE else api_keys.PREFIX
        return api_keys.make(self.random(api_keys.RANDOM_BYTES), prefix)

    def _checked(self, seconds: int) -> int:
        if not 1 <= seconds <= self.most:
            raise InvalidError(
                f"an API key is good for at most {self.most // DAY} days here ({self.most} seconds)"
            )
        return seconds


def _maker(database: Connection, actor: Actor) -> str:
    """The account that is shown a secret; "" for none."""
    return database.execute(select(USERS.c.id).filter_by(name=actor.user)).scalar() or ""


def _belonging(database: Connection, holder: User | ServiceAccount) -> dict[str, object]:
    """The columns that say whose a credential is. NotFoundError for a service account that has ended."""
    if isinstance(holder, User):
        return {"user_id": holder.id}
    namespace = database.execute(select(SERVICES.c.namespace).filter_by(id=holder.id)).scalar()
    if namespace is None:
        raise NotFoundError(f"there is no service account {holder.name} any more")
    return {"namespace": namespace, "service": holder.id}
