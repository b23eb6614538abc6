"""A little of the disk that is kept for the database, for when something else has filled all the rest.

Uploads stop long before (`room`). Without this a disk that is full to the last byte would let nobody sign in,
and what is worse, nobody revoke a key.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from registry.disk import files
from registry.disk.data import DataFile
from registry.errors import StorageError

_NAME = "reserve"
# Some hundred changes, also while nothing can be taken over into the database's file.
_BYTES = 4 * 1024 * 1024
_LOW = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reserve:
    """A file in `directory` that holds the room, as long as there is other room."""

    directory: Path

    def keep(self) -> None:
        """Hold the room, unless it is held or there is none to spare."""
        path = self.directory / _NAME
        with suppress(StorageError):
            if files.status(path) is None and files.free_bytes(self.directory) > 2 * _BYTES:
                file = DataFile.open(path, mode=0o600)
                try:
                    file.allocate(_BYTES)
                finally:
                    file.close()

    def give_way(self) -> None:
        """Let the database have the room, if there is hardly any other. Asked before each change."""
        with suppress(StorageError):  # then the change itself says what is wrong
            if files.free_bytes(self.directory) < _LOW:
                files.remove(self.directory / _NAME)
