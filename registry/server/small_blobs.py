"""The bytes of small blobs that somebody asked for before: opening a file costs more than all the rest.

They are what the file held, for as long as the disk says that the file is the same.
"""

from __future__ import annotations

from threading import Lock

from registry.disk.files import Status
from registry.model.digests import Digest

SMALL_BYTES = 16 * 1024  # the largest blob that is kept
_MOST_BYTES = 4 * 1024 * 1024  # of all that are kept


class SmallBlobs:
    """At most `most` bytes; of more, those that were not asked for longest go."""

    def __init__(self, most: int = _MOST_BYTES) -> None:
        self._most = most
        self._held = 0
        self._kept: dict[Digest, tuple[Status, bytes]] = {}
        self._lock = Lock()

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._kept

    def get(self, digest: Digest, file: Status) -> bytes | None:
        """The bytes of a blob whose file the disk shows as `file`; None if they are not known."""
        with self._lock:
            kept = self._kept.pop(digest, None)
            if kept is None:
                return None
            if kept[0] != file:
                self._held -= len(kept[1])
                return None
            self._kept[digest] = kept  # the last to go
            return kept[1]

    def put(self, digest: Digest, file: Status, data: bytes) -> None:
        """Keep `data`, which was read from the file that the disk showed as `file` before."""
        with self._lock:
            before = self._kept.pop(digest, None)
            self._held += len(data) - (len(before[1]) if before else 0)
            self._kept[digest] = (file, data)
            while self._held > self._most:
                _, oldest = self._kept.pop(next(iter(self._kept)))
                self._held -= len(oldest)
