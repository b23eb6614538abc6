"""What a data directory holds, opened: for the process that serves it, and for `ferry admin` beside that.

Nothing here speaks HTTP: an HTTP engine is not loaded for one change of a right.
"""

from __future__ import annotations

import secrets
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from registry.server.accounts import Accounts
from registry.server.api_keys import ApiKeys
from registry.server.credentials import CredentialStore
from registry.server.depot import DiskDepot
from registry.server.directory import open_registry, prepare
from registry.server.immutable import ImmutableTags
from registry.server.invitations import Invitations
from registry.server.last_use import LastUse
from registry.server.organisations import Organisations
from registry.server.publishers import Publishers
from registry.server.reserve import Reserve
from registry.server.rights import Rights
from registry.server.room import Room
from registry.server.services import Services
from registry.server.sessions import Sessions


def new_id() -> str:
    """A fresh UUID."""
    return str(uuid.uuid4())


def new_secret() -> str:
    """What nobody can guess, in characters that an address takes."""
    return secrets.token_urlsafe(24)


@dataclass(frozen=True, slots=True)
class Registry:
    """What a data directory holds: models, accounts, credentials, rights and sessions, in one database."""

    depot: DiskDepot
    accounts: Accounts
    credentials: CredentialStore
    api_keys: ApiKeys
    rights: Rights
    sessions: Sessions
    invitations: Invitations
    last_use: LastUse
    organisations: Organisations
    services: Services
    immutable: ImmutableTags
    publishers: Publishers

    @classmethod
    def over(cls, directory: Path, engine: Engine, room: Room | None = None) -> Registry:
        """The registry in `directory` whose database is open."""
        return cls(
            DiskDepot(directory, engine, time.time, new_id, room=room or Room()),
            Accounts(engine, time.time, new_id),
            CredentialStore(engine, time.time, new_id),
            ApiKeys(engine, time.time, new_id),
            Rights(engine, time.time),
            Sessions(engine, time.time, new_id, new_secret),
            Invitations(engine, time.time, new_id, new_secret),
            LastUse(engine, time.time),
            Organisations(engine, time.time),
            Services(engine, time.time, new_id),
            ImmutableTags(engine, time.time),
            Publishers(engine, time.time, new_id),
        )

    @classmethod
    def open(cls, directory: Path) -> Registry:
        """The registry in `directory`, also while it is served. InvalidError for none; StorageError."""
        return cls.over(directory, open_registry(directory))

    @classmethod
    def prepare(cls, directory: Path, min_free: int | None = None) -> Registry:
        """The same for its one server: made if there is none, brought up to date if it is an older one."""
        engine = prepare(directory, time.time, new_id)
        Reserve(directory).keep()
        return cls.over(directory, engine, Room.at(directory, min_free))

    def close(self) -> None:
        """Let go of the database."""
        self.depot.engine.dispose()
