"""Uploads that were begun, remembered, so that a later run goes on with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def file_sessions(directory: Path) -> FileRecords[UploadSession]:
    """Remembered in `directory`."""
    return FileRecords(directory, UploadSession.of, ".upload")
