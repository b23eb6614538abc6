"""Opens, reads, writes, names and removes files, and says in one sentence what went wrong.

Knows nothing of what is in them. All sizes are bytes. Symbolic links are never followed as the last part
of a path: where a model's file should be, a link is a lie.
"""

from __future__ import annotations

import errno
import io
import itertools
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from registry.disk import system as calls
from registry.disk.failures import MISSING, attempt, existing, failure, free
from registry.errors import InvalidError, NotFoundError, StorageError
from registry.model.spans import FileSpan

T = TypeVar("T")

CHUNK = 1024 * 1024
FILE_MODE = 0o644
DIRECTORY_MODE = 0o755

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a FIFO at this place must not hang us
_NO_DIRECTORY_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)  # CIFS, some FUSE
_drafts = itertools.count()


# --- looking -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Status:
    """What the disk says of one name: `held` is the disk space behind it, times in nanoseconds."""

    size: int
    held: int
    mtime_ns: int
    inode: int
    device: int
    mode: int
    uid: int
    gid: int

    @classmethod
    def of(cls, found: os.stat_result) -> Status:
        """The same from the system's own record."""
        return cls(
            found.st_size,
            found.st_blocks * 512,
            found.st_mtime_ns,
            found.st_ino,
            found.st_dev,
            found.st_mode,
            found.st_uid,
            found.st_gid,
        )

    @property
    def is_file(self) -> bool:
        """A regular file; False for a link to one."""
        return stat.S_ISREG(self.mode)

    @property
    def is_directory(self) -> bool:
        """A directory; False for a link to one."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        """A symbolic link."""
        return stat.S_ISLNK(self.mode)

    @property
    def modified(self) -> float:
        """When it was last written, Unix seconds."""
        return self.mtime_ns / 1e9


def status(path: Path) -> Status | None:
    """What is at `path`, a link itself rather than what it points to; None if nothing is."""
    try:
        return Status.of(os.lstat(path))  # a third of the time that pathlib takes
    except OSError as error:
        if error.errno in MISSING:
            return None
        raise failure(error, f"looking at {path}") from None


def names(directory: Path) -> list[str]:
    """The names in a directory, sorted; empty if there is no directory."""
    try:
        return sorted(os.listdir(directory))  # noqa: PTH208 - names, not paths: there may be many
    except OSError as error:
        if error.errno in MISSING:
            return []
        raise failure(error, f"listing {directory}") from None


def free_bytes(path: Path) -> int:
    """How much an ordinary user may still write at `path`, which need not exist yet."""
    with attempt(f"asking for the free space of {path}"):
        return free(path)


def disk_bytes(path: Path) -> int:
    """How big the filesystem of `path` is, which need not exist yet."""
    with attempt(f"asking for the size of the disk of {path}"):
        found = os.statvfs(existing(path))
        return found.f_blocks * found.f_frsize


def same_filesystem(one: Path, other: Path) -> bool:
    """Whether a file could be renamed from one directory to the other; neither need exist yet."""
    with attempt(f"looking at {one} and {other}"):
        return existing(one).stat().st_dev == existing(other).stat().st_dev


# --- reading -------------------------------------------------------------------------------------------


def open_for_reading(path: Path) -> BinaryIO:
    """The regular file at `path`, unbuffered. NotFoundError; StorageError also for a link or a device."""
    return io.FileIO(_open_regular(path), "rb")


def read_bounded(path: Path, limit: int) -> bytes:
    """All of a file that has at most `limit` bytes. NotFoundError, InvalidError if it is longer."""
    handle = _open_regular(path)
    try:
        with attempt(f"reading {path}"):
            data = bytearray()
            while len(data) <= limit and (chunk := os.read(handle, min(CHUNK, limit + 1 - len(data)))):
                data += chunk
    finally:
        os.close(handle)
    if len(data) > limit:
        raise InvalidError(f"reading {path}: it is longer than {limit} bytes")
    return bytes(data)


@dataclass(frozen=True, slots=True)
class Given:
    """What a person named: its first bytes, and whether it is a file in a directory (else a pipe, say)."""

    data: bytes
    is_file: bool


def read_given(path: Path, limit: int) -> Given:
    """At most `limit` bytes of what is at `path`: a person may name a link or a pipe as well as a file.

    NotFoundError; InvalidError for a directory.
    """
    with attempt(f"reading {path}"):
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = Status.of(os.fstat(handle))
            if found.is_directory:
                raise InvalidError(f"{path} is a directory")
            data = bytearray()
            while len(data) < limit and (chunk := os.read(handle, min(CHUNK, limit - len(data)))):
                data += chunk
        finally:
            os.close(handle)
    return Given(bytes(data), found.is_file)


def read_span(span: FileSpan) -> SpanReader:
    """The bytes of `span`, in chunks of at most 1 MiB. NotFoundError; StorageError if the file is shorter."""
    handle = _open_regular(span.path)
    size = os.fstat(handle).st_size
    if size < span.offset + span.length:
        os.close(handle)
        raise StorageError(f"reading {span.path}: it has {size} bytes, fewer than it should")
    return SpanReader(span, handle)


class SpanReader:
    """Bytes of a file, read once, in order; `close` gives up the rest."""

    def __init__(self, span: FileSpan, handle: int) -> None:
        self._span = span
        self._file = io.FileIO(handle, "rb")

    def __iter__(self) -> Iterator[bytes]:
        at, end = self._span.offset, self._span.offset + self._span.length
        doing = f"reading {self._span.path}"
        try:
            while at < end:
                with attempt(doing):
                    chunk = os.pread(self._file.fileno(), min(CHUNK, end - at), at)
                if not chunk:
                    raise StorageError(f"{doing}: it became shorter meanwhile")
                at += len(chunk)
                yield chunk
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _open_regular(path: Path) -> int:
    doing = f"reading {path}"
    try:
        handle = calls.system.open(path, _READ)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StorageError(f"{doing}: it is a symbolic link, which Ferry does not follow here") from None
        raise failure(error, doing) from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise StorageError(f"{doing}: it is not a file")
    return handle


# --- writing -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose files are."""

    uid: int
    gid: int


def owner_to_keep(directory: Path) -> Owner | None:
    """Whom to give what is made under `directory`: its owner when this process is root, else nobody."""
    if os.geteuid() != 0:
        return None
    with attempt(f"looking at {directory}"):
        found = existing(directory).stat()
    return Owner(found.st_uid, found.st_gid) if found.st_uid != 0 else None


def write_atomic(
    path: Path,
    data: bytes | bytearray,
    *,
    scratch: Path,
    mode: int = FILE_MODE,
    owner: Owner | None = None,
    durably: bool = True,
) -> None:
    """Make `path` hold exactly `data`, durably: a reader sees the old file or the new one.

    The draft lies in `scratch`, a directory on the same filesystem; both directories are made if missing.
    Without `durably` the bytes survive a power loss as soon as their name does, which is left for the caller
    to sync.
    """
    doing = f"writing {path}"
    draft, handle = inside(scratch, owner, lambda: new_file(scratch, path.name, mode, owner))
    try:
        with attempt(doing, path.parent):
            try:
                os.fchmod(handle, mode)  # whatever the umask is
                write_all(handle, data, 0)
                calls.system.sync(handle)
            finally:
                os.close(handle)
        move(draft, path, owner, durably)
    except BaseException:
        remove(draft)
        raise


def new_file(
    directory: Path, name: str, mode: int = FILE_MODE, owner: Owner | None = None
) -> tuple[Path, int]:
    """A new, empty file of this process in `directory`, and a descriptor to write it. StorageError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
    while True:
        path = directory / f"{name}.{os.getpid()}-{next(_drafts)}"
        try:
            handle = calls.system.open(path, flags, mode)
            if owner is not None:
                os.fchown(handle, owner.uid, owner.gid)
            return path, handle
        except FileExistsError:  # left behind by a process that had the same number
            continue
        except OSError as error:
            raise failure(error, f"writing {path}", directory) from None


def write_all(handle: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """All of `data` at `offset`, however often the system must be asked. OSError."""
    view = memoryview(data)
    while view:
        written = calls.system.pwrite(handle, view, offset)
        view, offset = view[written:], offset + written


def move(old: Path, new: Path, owner: Owner | None = None, durably: bool = True) -> None:
    """Give `old` the name `new`, replacing what had it; a directory that vanished is made again."""
    for again in (True, True, False):  # missing at first, and gone again when it was just made
        try:
            calls.system.rename(old, new)
            break
        except FileNotFoundError as error:
            # Ollama removes empty directories under `manifests` at any time: also just now.
            if not again or status(old) is None:
                raise failure(error, f"writing {new}") from None
            make_directory(new.parent, owner)
        except OSError as error:
            raise failure(error, f"writing {new}", new.parent) from None
    if durably:
        sync_directory(new.parent)


def remove(path: Path) -> bool:
    """Take a file away; False if there is none. StorageError."""
    try:
        calls.system.unlink(path)
    except OSError as error:
        if error.errno in MISSING:
            return False
        raise failure(error, f"removing {path}") from None
    return True


def remove_empty(directory: Path, top: Path) -> None:
    """Take `directory` away if it is empty, then what it was in, up to `top`, which stays."""
    while directory != top and top in directory.parents:
        try:
            calls.system.rmdir(directory)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return
            if error.errno not in MISSING:
                raise failure(error, f"removing {directory}") from None
        directory = directory.parent


def inside(directory: Path, owner: Owner | None, make: Callable[[], T]) -> T:
    """What `make` returns, which makes something in `directory`: that is made first if it is missing."""
    try:
        return make()
    except NotFoundError:
        make_directory(directory, owner)
        return make()


def make_directory(path: Path, owner: Owner | None = None, mode: int = DIRECTORY_MODE) -> None:
    """Make `path` and what it is in, as far as they are missing; durably. StorageError."""
    if os.path.isdir(path):  # noqa: PTH112 - pathlib raises where nobody may look
        return
    make_directory(path.parent, owner)
    try:
        calls.system.mkdir(path, mode)
        if owner is None:
            path.chmod(mode)  # whatever the umask is
        else:
            calls.system.give_directory(path, mode, owner.uid, owner.gid)
    except FileExistsError:
        if not path.is_dir():
            raise StorageError(f"making {path}: there is a file of that name") from None
    except OSError as error:
        raise failure(error, f"making {path}", path.parent) from None
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory survive a power loss, where there is such a call. StorageError."""
    with attempt(f"syncing {path}", path):
        handle = calls.system.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            calls.system.sync(handle)
        except OSError as error:
            if error.errno not in _NO_DIRECTORY_SYNC:
                raise
        finally:
            os.close(handle)


def touch(path: Path) -> bool:
    """Set the time of `path` to now; False if this user may not, or nothing is there."""
    try:
        os.utime(path, follow_symlinks=False)
    except OSError:
        return False
    return True


def set_modified(path: Path, seconds: float) -> None:
    """Set the time of `path` to `seconds` (Unix time). NotFoundError, StorageError."""
    with attempt(f"setting the time of {path}"):
        os.utime(path, (seconds, seconds), follow_symlinks=False)
