"""Small records by key, remembered for as long as the process lives, or in files between runs.

What is remembered of a registry may carry a permission, so the files are 0600.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from registry.disk import files
from registry.errors import RegistryError

_FILE_BYTES = 32 * 1024

Record = TypeVar("Record")


class Records(Protocol[Record]):
    """Remembers one record (a dataclass) a key."""

    def get(self, key: str) -> Record | None:
        """The record remembered under `key`, however old."""

    def put(self, key: str, record: Record) -> None:
        """Remember it."""

    def forget(self, key: str) -> None:
        """No longer remember it."""


class MemoryRecords(Generic[Record]):
    """Remembers for as long as this process lives."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> Record | None:
        with self._lock:
            return self._records.get(key)

    def put(self, key: str, record: Record) -> None:
        with self._lock:
            self._records[key] = record

    def forget(self, key: str) -> None:
        with self._lock:
            self._records.pop(key, None)


class ReadOnce(Generic[Record]):
    """`records` of which each is asked for again and again, once for every blob: it is read once."""

    def __init__(self, records: Records[Record]) -> None:
        self._records = records
        self._known: dict[str, Record | None] = {}

    def get(self, key: str) -> Record | None:
        """As it was when somebody first asked, or as it was put since."""
        if key not in self._known:
            self._known[key] = self._records.get(key)
        return self._known[key]

    def put(self, key: str, record: Record) -> None:
        self._known[key] = record
        self._records.put(key, record)

    def forget(self, key: str) -> None:
        self._known[key] = None
        self._records.forget(key)


@dataclass(frozen=True, slots=True)
class FileRecords(Generic[Record]):
    """Remembers in `directory`, one file a record; what cannot be remembered is not, and nothing fails.

    `read` makes a record of a JSON object's fields; TypeError, ValueError or KeyError if it is none.
    """

    directory: Path
    read: Callable[[dict[str, Any]], Record]
    suffix: str

    def get(self, key: str) -> Record | None:
        try:
            document = json.loads(files.read_bounded(self._path(key), _FILE_BYTES))
            return self.read(document) if document.pop("key") == key else None
        except (RegistryError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None

    def put(self, key: str, record: Record) -> None:
        data = json.dumps({"key": key, **asdict(record)}).encode()  # type: ignore[call-overload]
        try:
            files.make_directory(self.directory, mode=0o700)
            files.write_atomic(self._path(key), data, scratch=self.directory, mode=0o600)
        except RegistryError:  # a read-only home
            return

    def forget(self, key: str) -> None:
        try:
            files.remove(self._path(key))
        except RegistryError:
            return

    def prune(self, now: float, age: float) -> int:
        """Forget what is older than `age` seconds, and drafts that were left behind; how many that were."""
        gone = 0
        for name in files.names(self.directory):
            found = files.status(self.directory / name)
            if found and found.is_file and now - found.modified > age:
                gone += files.remove(self.directory / name)
        return gone

    def _path(self, key: str) -> Path:
        return self.directory / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}{self.suffix}"
