"""How registries take the bytes of an upload: the methods there are, and which of them worked where."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from registry.targets.records import FileRecords, MemoryRecords, Records

AGE = 30 * 24 * 3600.0  # seconds after which a registry may have learned what it could not do


class Method(StrEnum):
    """A way to send a blob's bytes (OCI distribution specification 1.1, "Pushing blobs")."""

    CHUNKS = "chunks"  # PATCH after PATCH with Content-Range, then an empty PUT: can go on after a break
    PATCH = "patch"  # one PATCH with all bytes and no Content-Range, then an empty PUT: docker and podman
    PUT = "put"  # all bytes in the closing PUT


@dataclass(frozen=True, slots=True)
class Learned:
    """What worked at a registry: the method, the largest chunk in bytes, and since when that is known."""

    method: Method
    most: int
    since: float  # Unix seconds

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Learned:
        """What these fields say. TypeError or ValueError if they do not."""
        most, since = fields["most"], fields["since"]
        if not (isinstance(most, int) and most > 0 and isinstance(since, int | float)):
            raise TypeError("not what was learned")
        return cls(Method(fields["method"]), most, since)


Methods = Records[Learned]
"""What was learned, by a key that names a registry's origin and how large the blobs are."""


def memory_methods() -> MemoryRecords[Learned]:
    """Remembered for as long as this process lives."""
    return MemoryRecords()


def file_methods(directory: Path) -> FileRecords[Learned]:
    """Remembered in `directory`."""
    return FileRecords(directory, Learned.of, ".method")
