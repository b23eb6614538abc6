"""Bytes on their way into a depot: appended in order, hashed while they come, proven before they count."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from registry.disk.data import DataFile
from registry.errors import CorruptError, InvalidError, TransientError
from registry.model.digests import Digest, Hasher, new_hasher

_READ = 1024 * 1024
_MOST_HASHES = 1024  # hashes of interrupted uploads that are kept; one that is dropped is made again


@dataclass(slots=True)
class Running:
    """The SHA-256 of an upload's first `upto` bytes."""

    hasher: Hasher = field(default_factory=lambda: new_hasher("sha256"))
    upto: int = 0


class Ledger:
    """Which uploads somebody is writing to, and how far each one's hash has come."""

    def __init__(self) -> None:
        self._busy: set[str] = set()
        self._running: dict[str, Running] = {}
        self._lock = threading.Lock()

    def take(self, session: str) -> Running:
        """The session, for one writer at a time. TransientError while it has another."""
        with self._lock:
            if session in self._busy:
                raise TransientError("another request is writing to this upload")
            self._busy.add(session)
            return self._running.pop(session, None) or Running()

    def give_back(self, session: str, running: Running | None = None) -> None:
        """Let others write to it; `running` is remembered if it goes on."""
        with self._lock:
            self._busy.discard(session)
            if running is not None and running.upto and len(self._running) < _MOST_HASHES:
                self._running[session] = running


class DiskUpload:
    """One upload session and its file. Not for two threads at once; `Ledger` sees to that."""

    def __init__(
        self,
        session: str,
        file: DataFile,
        ledger: Ledger,
        running: Running,
        name: Callable[[Digest, int], None],
        forget: Callable[[], None],
    ) -> None:
        """`name(digest, size)` makes a proven upload a blob; `forget()` drops it."""
        self._session = session
        self._file = file
        self._ledger = ledger
        self._running = running
        self._name = name
        self._forget = forget
        self._received = file.status().size
        self._ended = False

    @property
    def id(self) -> str:
        return self._session

    @property
    def received(self) -> int:
        return self._received

    def rewind(self, offset: int) -> None:
        """Forget everything from `offset` on; InvalidError beyond what is held."""
        if offset > self._received:
            raise InvalidError(f"byte {offset} does not follow the {self._received} that are here")
        if offset < self._received:
            self._file.truncate(offset)
            self._received = offset
            if offset < self._running.upto:
                self._running = Running()

    def write(self, data: bytes) -> None:
        """Append. StorageError when the disk is full or broken; the file then ends where it did before."""
        try:
            self._file.write(data, self._received)
        except BaseException:
            self._file.truncate(self._received)
            raise
        if self._running.upto == self._received:
            self._running.hasher.update(data)
            self._running.upto += len(data)
        self._received += len(data)

    def commit(self, digest: Digest) -> None:
        """Prove, sync and name it. CorruptError keeps nothing."""
        if not self._proves(digest):
            self.cancel()
            raise CorruptError(f"the {self._received} bytes that arrived are not {digest}")
        self._file.set_mode(0o644)
        self._file.sync()
        self._name(digest, self._received)
        self._ended = True

    def cancel(self) -> None:
        """Drop the session and its bytes."""
        self._forget()
        self._ended = True

    def close(self) -> None:
        """Let go, keeping what was received."""
        self._file.close()
        self._ledger.give_back(self._session, None if self._ended else self._running)

    def _proves(self, digest: Digest) -> bool:
        running = self._running
        if digest.algorithm == "sha256" and running.upto == self._received:
            return digest.matches(running.hasher)
        hasher = digest.hasher()
        offset = 0
        while data := self._file.read(_READ, offset):
            hasher.update(data)
            offset += len(data)
        return digest.matches(hasher)
