"""Uploads that were begun, remembered: for as long as the process lives, or in files between runs.

A location may carry a permission, so the files are 0600; they say nothing but where one upload goes on.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from registry.disk import files
from registry.errors import RegistryError

AGE = 24 * 3600.0  # seconds after which no registry is expected to know a session any more
_FILE_BYTES = 32 * 1024
_SUFFIX = ".upload"


@dataclass(frozen=True, slots=True)
class Session:
    """An upload that was begun: where it goes on, its smallest chunk in bytes, when it was last heard of."""

    location: str
    least: int
    touched: float  # Unix seconds


class Sessions(Protocol):
    """Remembers one session a key; a key names registry, repository and blob."""

    def get(self, key: str) -> Session | None:
        """The session remembered under `key`, however old."""

    def put(self, key: str, session: Session) -> None:
        """Remember it."""

    def forget(self, key: str) -> None:
        """No longer remember it."""


class MemorySessions:
    """Remembers for as long as this process lives."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> Session | None:
        with self._lock:
            return self._sessions.get(key)

    def put(self, key: str, session: Session) -> None:
        with self._lock:
            self._sessions[key] = session

    def forget(self, key: str) -> None:
        with self._lock:
            self._sessions.pop(key, None)


@dataclass(frozen=True, slots=True)
class FileSessions:
    """Remembers in `directory`, one file a session; what cannot be remembered costs an upload, no more."""

    directory: Path

    def get(self, key: str) -> Session | None:
        try:
            document = json.loads(files.read_bounded(self._path(key), _FILE_BYTES))
            if document.pop("key") != key:
                return None
            session = Session(**document)
            well_formed = (
                isinstance(session.location, str)
                and isinstance(session.least, int)
                and isinstance(session.touched, int | float)
            )
        except (RegistryError, ValueError, TypeError, KeyError, AttributeError):
            return None
        return session if well_formed else None

    def put(self, key: str, session: Session) -> None:
        data = json.dumps({"key": key, **asdict(session)}).encode()
        try:
            files.make_directory(self.directory, mode=0o700)
            files.write_atomic(self._path(key), data, scratch=self.directory, mode=0o600)
        except RegistryError:  # a read-only home: this run goes on, the next one begins anew
            return

    def forget(self, key: str) -> None:
        try:
            files.remove(self._path(key))
        except RegistryError:
            return

    def prune(self, now: float) -> int:
        """Forget what is older than AGE, and drafts that were left behind; how many that were."""
        gone = 0
        for name in files.names(self.directory):
            found = files.status(self.directory / name)
            if found and found.is_file and now - found.modified > AGE:
                gone += files.remove(self.directory / name)
        return gone

    def _path(self, key: str) -> Path:
        return self.directory / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}{_SUFFIX}"
