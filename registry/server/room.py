"""How much of the disk is left, and when that is too little to take more.

A disk that is full to the last byte takes the database with it, and then nothing can be deleted either.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from registry.disk import files
from registry.errors import Reason, StorageError
from registry.model.amounts import amount

GIB = 1024**3
_FLOOR = 16 * 1024**2  # bytes that no wish takes: the database is written, and copied, in them


@dataclass(frozen=True, slots=True)
class Room:
    """Refuses what would be kept in `directory` when less than `least` bytes are free there."""

    directory: Path | None = None
    least: int = 0

    @classmethod
    def at(cls, directory: Path, least: int | None = None) -> Room:
        """By default the lesser of 1 GiB and 5 % of the disk; at least 16 MiB, whatever is wished."""
        if least is None:
            least = min(GIB, files.disk_bytes(directory) // 20)
        return cls(directory, max(_FLOOR, least))

    @property
    def free(self) -> int:
        """Bytes that are free. StorageError."""
        return files.free_bytes(self.directory) if self.directory is not None else 0

    def check(self) -> None:
        """StorageError with `Reason.NO_ROOM` when there is too little room."""
        if self.directory is None or not self.least:
            return
        free = self.free
        if free < self.least:
            raise StorageError(
                f"the registry's disk is nearly full: {amount(free)} free, and it takes nothing more below "
                f"{amount(self.least)}",
                reason=Reason.NO_ROOM,
            )
