"""Bytes on their way into a depot: appended in order, hashed while they come, proven before they count.

An upload session has one owner, the newest request: a connection that died, or stands still, owns nothing.
A file that is a blob too, because the transaction after its naming failed, is never changed by its upload.
"""

from __future__ import annotations

import contextlib
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from registry.contracts import Clock
from registry.disk.data import DataFile
from registry.errors import CorruptError, InvalidError, RegistryError, StorageError, TransientError
from registry.model.digests import Digest, Hasher, new_hasher

HASH_STEP = 64 * 1024 * 1024  # bytes that are hashed in one call: others wait no longer than for these
QUIET = 2.0  # seconds: what a broken line left behind is written by then, and a live one has moved
KEPT_FROM = 1024 * 1024  # bytes that a server that is killed may lose of an upload that has just begun
_READ = 1024 * 1024
_BLOB_MODE = 0o644
_MOST_HASHES = 1024  # hashes of interrupted uploads that are kept; one that is dropped is made again


@dataclass(slots=True)
class Begun:
    """An upload that the catalogue does not know yet. `empty`: there is not even a file of it."""

    repository: str
    empty: bool = True


@dataclass(slots=True)
class Running:
    """The hash of an upload's first `upto` bytes."""

    algorithm: str = "sha256"
    hasher: Hasher = field(default_factory=lambda: new_hasher("sha256"))
    upto: int = 0


class Ownership:
    """One request owns an upload session, until it lets go or a newer request takes the session over."""

    def __init__(self, clock: Clock, running: Running | None = None) -> None:
        self.running = running or Running()
        self.took_over = False
        self._clock = clock
        self._moved = clock()
        self._lost = False
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Nobody takes it over while the block runs. TransientError if somebody has."""
        with self._lock:
            if self._lost:
                raise TransientError("a newer request has taken this upload over", retry_after=1)
            try:
                yield
            finally:
                self._moved = self._clock()

    def lose(self, quiet: float) -> Running | None:
        """What it had, if nothing was done with it for `quiet` seconds; None if it is in use."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            if self._clock() - self._moved < quiet:
                return None
            self._lost = True
            running, self.running = self.running, Running()
            return running
        finally:
            self._lock.release()


class Owners:
    """Which request owns which upload, and how far each one's hash has come."""

    def __init__(self, clock: Clock = time.monotonic, quiet: float = QUIET) -> None:
        """`clock` in seconds; a request that did nothing for `quiet` seconds loses to a newer one."""
        self._clock = clock
        self._quiet = quiet
        self._owned: dict[str, Ownership] = {}
        self._running: dict[str, Running] = {}
        self._lock = threading.Lock()

    def take(self, session: str) -> Ownership:
        """The session, for the newest request. TransientError while an older one is at work on it."""
        with self._lock:
            before = self._owned.get(session)
            running = before.lose(self._quiet) if before else self._running.pop(session, None)
            if before is not None and running is None:
                raise TransientError("another request is at work on this upload", retry_after=1)
            ownership = self._owned[session] = Ownership(self._clock, running)
            ownership.took_over = before is not None
            return ownership

    def give_back(self, session: str, ownership: Ownership, *, ended: bool = False) -> None:
        """Let go; the hash is remembered unless the upload has ended."""
        with self._lock:
            if self._owned.get(session) is not ownership:
                return
            del self._owned[session]
            if not ended and ownership.running.upto and len(self._running) < _MOST_HASHES:
                self._running[session] = ownership.running


class DiskUpload:
    """One request's view of an upload session and its file.

    Every call but `close` raises TransientError once a newer request has taken the session over.
    """

    def __init__(
        self,
        session: str,
        open: Callable[[], DataFile],
        owners: Owners,
        ownership: Ownership,
        name: Callable[[Digest, int], None],
        forget: Callable[[], None],
        keep: Callable[[], None] = lambda: None,
        room: Callable[[], None] = lambda: None,
        *,
        empty: bool = False,
    ) -> None:
        """`open()` is its file, made if there is none: if it is `empty`, when there is something to write.

        `name(digest, size)` makes a proven upload a blob, `forget()` drops it, `keep()` has it go on after
        a restart; `room()` raises if the disk is full.
        """
        self._session = session
        self._open = open
        self._opened: DataFile | None = None
        self._owners = owners
        self._ownership = ownership
        self._name = name
        self._forget = forget
        self._keep = keep
        self._room = room
        self._received = 0 if empty else self._file.status().size
        self._is_blob = not empty and self._has_a_blobs_name()
        self._ended = False

    def _has_a_blobs_name(self) -> bool:
        """A file that has a blob's mode, which it gets first. Another program may link what is unfinished."""
        mode = stat.S_IMODE(self._file.status().mode)
        return mode == _BLOB_MODE and self._file.has_other_names()

    @property
    def _file(self) -> DataFile:
        if self._opened is None:
            self._opened = self._open()
        return self._opened

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
        with self._ownership.used():
            if offset < self._received:
                if not self._is_blob:
                    self._file.truncate(offset)
                self._received = offset
                if offset < self._ownership.running.upto:
                    self._ownership.running = Running()

    def write(self, data: bytes) -> None:
        """Append. StorageError when the disk is full or broken; the file then ends where it did before.

        InvalidError for other bytes than those that are a blob already: other repositories may hold it.
        """
        self._room()
        with self._ownership.used():
            if self._received <= KEPT_FROM < self._received + len(data):
                self._keep()
            self._put(data)
            running = self._ownership.running
            if running.upto == self._received:
                running.hasher.update(data)
                running.upto += len(data)
            self._received += len(data)

    def _put(self, data: bytes) -> None:
        if self._is_blob:
            if self._file.read(len(data), self._received) != data:
                raise InvalidError("what this upload brought is a blob already: begin another upload")
            return
        try:
            self._file.write(data, self._received)
        except BaseException:
            self._file.truncate(self._received)
            raise

    def is_hashed(self, digest: Digest) -> bool:
        """Whether all of the bytes were hashed as they came, for a digest of this kind."""
        running = self._ownership.running
        return running.upto == self._received and running.algorithm == digest.algorithm

    def hash_more(self, digest: Digest) -> bool:
        """Hash up to HASH_STEP of the bytes that were not hashed as they came; whether some are left."""
        with self._ownership.used():
            if self._ownership.running.algorithm != digest.algorithm:
                self._ownership.running = Running(digest.algorithm, digest.hasher())
            running = self._ownership.running
            end = min(self._received, running.upto + HASH_STEP)
            while data := self._file.read(min(_READ, end - running.upto), running.upto):
                running.hasher.update(data)
                running.upto += len(data)
            return running.upto == end < self._received

    def commit(self, digest: Digest) -> None:
        """Prove, sync and name it. CorruptError keeps nothing, nor does a disk that makes nothing durable."""
        with self._ownership.used():
            while not self.is_hashed(digest) and self.hash_more(digest):
                pass
            running = self._ownership.running
            if running.upto != self._received or not digest.matches(running.hasher):
                self.cancel()
                raise CorruptError(f"the {self._received} bytes that arrived are not {digest}")
            if self._is_blob and self._file.status().size != self._received:
                raise InvalidError("what this upload brought is a longer blob already: begin another upload")
            self._file.set_mode(_BLOB_MODE)
            self._sync()
            self._name(digest, self._received)
            self._ended = True

    def _sync(self) -> None:
        """A system that could not write bytes drops them, and says the next time that all is written."""
        try:
            self._file.sync()
        except StorageError:
            with contextlib.suppress(RegistryError):  # the database is on that disk too
                self.cancel()
            raise

    def cancel(self) -> None:
        """Drop the session and its bytes, unless they are a blob by now."""
        with self._ownership.used():
            if not self._ended:
                self._forget()
                self._ended = True

    def close(self) -> None:
        """Let go, keeping what was received: while this process lives, where the database fails."""
        if self._received and not self._ended:
            with contextlib.suppress(RegistryError), self._ownership.used():
                self._keep()
        if self._opened is not None:
            self._opened.close()
        self._owners.give_back(self._session, self._ownership, ended=self._ended)
