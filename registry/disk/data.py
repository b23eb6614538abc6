"""A file that is written and read in many places at once, and can be locked: data, journals, uploads."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from registry.disk import system as calls
from registry.disk.failures import attempt, failure
from registry.disk.files import FILE_MODE, Owner, Status, move, read_bounded, remove, status, write_all
from registry.errors import RegistryError, StorageError

_ROOM = 64 * 1024 * 1024  # bytes of disk space that are asked for first
_AT_ONCE = 0.01  # seconds that asking may take
_ONE_NAME = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_LOCKS = Path("/proc/locks")
_LOCKS_BYTES = 1024 * 1024
_FIRST_REST = 0.002  # seconds between two looks at a lock, twice as many each time
_LONGEST_REST = 0.1
_TOLD_AFTER = 3.0  # seconds: locks are held for much less
_BUSY = (errno.EAGAIN, errno.EACCES)


class DataFile:
    """An open file; safe from many threads. Every method raises StorageError for what the disk refuses.

    Made by `open`. The descriptor is closed when `close` was called and the last call in progress ended,
    so that a late write never reaches a file that was given the same number.
    """

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self._handle = handle
        self._users = 1
        self._closed = False
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls, path: Path, *, create: bool = True, mode: int = FILE_MODE, owner: Owner | None = None
    ) -> DataFile:
        """The file at `path` for reading and writing. NotFoundError without `create`."""
        flags = os.O_RDWR | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
        with attempt(f"opening {path}", path.parent):
            handle = calls.system.open(path, flags, mode)
            if create and owner is not None:
                os.fchown(handle, owner.uid, owner.gid)
        return cls(path, handle)

    @classmethod
    def open_read_only(cls, path: Path) -> DataFile:
        """The file at `path`, which this user need not be allowed to write. NotFoundError.

        Its lock should be taken shared: NFS gives no other one to a file that is open for reading.
        """
        with attempt(f"opening {path}", path.parent):
            return cls(path, calls.system.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK))

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """All of `data` at `offset`. When the disk is full, some of it may have been written."""
        with self._using("writing") as handle:
            write_all(handle, data, offset)

    def read(self, length: int, offset: int) -> bytes:
        """At most `length` bytes from `offset`; fewer only at the end of the file."""
        with self._using("reading") as handle:
            return os.pread(handle, length, offset)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`; how many bytes there were."""
        with self._using("reading") as handle:
            return os.preadv(handle, [buffer], offset)

    def sync_data(self) -> None:
        """Make the bytes survive a power loss."""
        with self._using("syncing") as handle:
            calls.system.sync_data(handle)

    def sync(self) -> None:
        """Make the bytes, size, times and permissions survive a power loss."""
        with self._using("syncing") as handle:
            calls.system.sync(handle)

    def truncate(self, size: int) -> None:
        """Give it exactly `size` bytes."""
        with self._using("writing") as handle:
            calls.system.truncate(handle, size)

    def allocate(self, size: int) -> None:
        """Give it at least `size` bytes, with disk space behind each where the filesystem can promise it.

        A filesystem that fills what it promises (one in memory) does that when the bytes come anyway: it is
        asked for no more than what it gives at once.
        """
        with self._using("making room for") as handle:
            promised, began = 0, time.monotonic()
            while promised < size and time.monotonic() - began < _AT_ONCE:
                promised = min(size, max(promised * 2, _ROOM))
                calls.system.allocate(handle, promised)
            if os.fstat(handle).st_size < size:
                calls.system.truncate(handle, size)

    def set_mode(self, mode: int) -> None:
        """Set its permissions, whatever the umask is."""
        with self._using("writing") as handle:
            os.fchmod(handle, mode)

    def status(self) -> Status:
        """What the disk says of it."""
        with self._using("looking at") as handle:
            return Status.of(os.fstat(handle))

    def has_other_names(self) -> bool:
        """Whether it has more than one name: what is written here is read by the others too."""
        with self._using("looking at") as handle:
            return os.fstat(handle).st_nlink > 1

    def is_at(self, path: Path) -> bool:
        """Whether `path` is a name of this very file still."""
        mine = self.status()
        try:
            there = Status.of(path.lstat())
        except OSError:
            return False
        return (there.inode, there.device) == (mine.inode, mine.device)

    def lock(self, *, shared: bool = False, wait: bool = False) -> bool:
        """Take the file's advisory lock until it is closed; False if another has it (only without `wait`)."""
        operation = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
        try:
            fcntl.flock(self._handle, operation)
        except OSError as error:
            if error.errno in _BUSY and not wait:
                return False
            raise failure(error, f"locking {self.path}") from None
        return True

    def take_name(self, to: Path, owner: Owner | None, durably: bool) -> None:
        """Get the name `to`, in the place of what had it."""
        move(self.path, to, owner, durably)

    def close(self) -> None:
        """Let go of it and of its lock, once every call in progress has ended. May come twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._leave()

    def __del__(self) -> None:
        """A lock dies with its owner, also where an error kept `close` from being called."""
        with contextlib.suppress(Exception):  # `open` failed, or the interpreter is ending
            self.close()

    @contextlib.contextmanager
    def _using(self, verb: str) -> Iterator[int]:
        with self._lock:
            if self._closed:
                raise StorageError(f"{verb} {self.path}: it was closed already")
            self._users += 1
        try:
            yield self._handle
        except OSError as error:
            raise failure(error, f"{verb} {self.path}", self.path.parent) from None
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            os.close(self._handle)


def lock_file(
    path: Path, *, shared: bool = False, wait: bool = False, owner: Owner | None = None
) -> DataFile | None:
    """The file at `path`, made if missing, with its lock taken; None if another has it (without `wait`).

    A process that removes such a file must hold its lock: then no two can hold the lock of one name.
    """
    while True:
        file = DataFile.open(path, owner=owner)
        if not file.lock(shared=shared, wait=wait):
            file.close()
            return None
        if file.is_at(path):
            return file
        file.close()  # removed between open and lock: this lock is nobody's any more


def wait_for_lock(
    path: Path,
    *,
    shared: bool = False,
    owner: Owner | None = None,
    note: Callable[[str], None] = lambda _text: None,
    limit: float = 600.0,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> DataFile:
    """The file of `lock_file`, once its lock is free. StorageError if that takes more than `limit` seconds.

    `note` is told which process has it, if that lasts: one that was stopped (Ctrl-Z) keeps its locks.
    """
    began, rest, told = clock(), _FIRST_REST, False
    while (lock := lock_file(path, shared=shared, owner=owner)) is None:
        waited, process = clock() - began, holder(path)
        who = f"process {process}" if process else "another process"
        look = f"ps -p {process} shows that process" if process else ""
        if waited > limit:
            raise StorageError(f"{who} has {path} locked, for {waited:.0f} s already", hint=look)
        if waited > _TOLD_AFTER and not told:
            note(f"waiting for {who}, which has {path} locked{f' ({look})' if look else ''}")
            told = True
        pause(rest)
        rest = min(rest * 2, _LONGEST_REST)
    return lock


def holder(path: Path) -> int | None:
    """The process that has the lock of the file at `path`; None where the system does not tell (proc(5))."""
    try:
        found = status(path)
        locks = read_bounded(_LOCKS, _LOCKS_BYTES).decode("ascii", "replace")
    except RegistryError:
        return None
    if found is None:
        return None
    file = f"{os.major(found.device):02x}:{os.minor(found.device):02x}:{found.inode}"
    for line in locks.splitlines():
        match line.split():
            case [_, "FLOCK", _, "WRITE", number, at, *_] if at == file and number.isdecimal():
                return int(number) or None  # 0: it is in another container
    return None


def give(path: Path, owner: Owner | None) -> None:
    """Make the file at `path` theirs, where there is somebody to give it to. StorageError.

    A link is given away, and not what it leads to: they could have put it there, to get another's file.
    """
    if owner is not None:
        with attempt(f"giving away {path}", path.parent):
            os.chown(path, owner.uid, owner.gid, follow_symlinks=False)


def also_name(old: Path, new: Path, draft: Path, owner: Owner | None = None) -> None:
    """Give the file at `old` the name `new` too, durably, replacing what had it. StorageError.

    It gets there by the name `draft`, in a directory that exists. Where a file can have but one name, `old`
    is gone afterwards.
    """
    remove(draft)
    try:
        calls.system.link(old, draft)
    except OSError as error:
        if error.errno not in _ONE_NAME:
            raise failure(error, f"naming {new}", new.parent) from None
        draft = old
    move(draft, new, owner)
    if draft != old:
        remove(draft)  # where `new` was that very file already, renaming does nothing
