"""Uploads that were begun, remembered, so that a later run goes on with them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from registry.disk.processes import is_running, this_process
from registry.targets.records import FileRecords, MemoryRecords, Records

AGE = 24 * 3600.0  # seconds after which no registry is expected to know a session any more


@dataclass(frozen=True, slots=True)
class UploadSession:
    """An upload that was begun: where it goes on, its smallest chunk in bytes, when it was last heard of."""

    location: str
    least: int
    touched: float  # Unix seconds

    @classmethod
    def of(cls, fields: dict[str, Any]) -> UploadSession:
        """The session whose fields these are. TypeError if they are not."""
        session = cls(**fields)
        kinds = isinstance(session.least, int) and isinstance(session.touched, int | float)
        if not (kinds and isinstance(session.location, str)):
            raise TypeError("not an upload session")
        return session


Sessions = Records[UploadSession]
"""Sessions by a key that names registry, repository and blob."""


def memory_sessions() -> MemoryRecords[UploadSession]:
    """Remembered for as long as this process lives."""
    return MemoryRecords()


@dataclass(frozen=True, slots=True)
class _Kept:
    """A session in a file, and the process that put it there."""

    location: str
    least: int
    touched: float
    by: str = ""  # Ferry 0.1 did not say

    @classmethod
    def of(cls, fields: dict[str, Any]) -> _Kept:
        by = fields.pop("by", "")
        if not isinstance(by, str):
            raise TypeError("not a process")
        return cls(**asdict(UploadSession.of(fields)), by=by)


class FileSessions:
    """Remembers in files. What a process that runs goes on with is its own: two would write one upload."""

    def __init__(self, records: FileRecords[_Kept]) -> None:
        self._records = records
        self._own = this_process()

    def get(self, key: str) -> UploadSession | None:
        """The session under `key`; None also while another process may be sending bytes in it."""
        kept = self._records.get(key)
        if kept is None or (kept.by != self._own and is_running(kept.by)):
            return None
        return UploadSession(kept.location, kept.least, kept.touched)

    def put(self, key: str, record: UploadSession) -> None:
        """Remember it, as this process's."""
        self._records.put(key, _Kept(**asdict(record), by=self._own))

    def forget(self, key: str) -> None:
        """No longer remember it."""
        self._records.forget(key)

    def prune(self, now: float, age: float) -> int:
        """As `FileRecords.prune`."""
        return self._records.prune(now, age)


def file_sessions(directory: Path) -> FileSessions:
    """Remembered in `directory`."""
    return FileSessions(FileRecords(directory, _Kept.of, ".upload"))
