"""The system calls that change a disk, in one object that a test may replace to record, lose or fail them."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

_NOT_HERE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENOTTY)
_F_FULLFSYNC = 51  # macOS: fsync alone leaves the bytes in the drive's own cache


class System:
    """Each method is one call; all raise OSError."""

    def open(self, path: Path, flags: int, mode: int = 0o644) -> int:
        """A descriptor of `path`; it is not inherited by other programs."""
        return os.open(path, flags | os.O_CLOEXEC, mode)

    def pwrite(self, handle: int, data: bytes | memoryview, offset: int) -> int:
        """Write some of `data` at `offset`; how much was written."""
        return os.pwrite(handle, data, offset)

    def truncate(self, handle: int, size: int) -> None:
        """Give the file exactly `size` bytes."""
        os.ftruncate(handle, size)

    def allocate(self, handle: int, size: int) -> None:
        """Give the file `size` bytes with disk space behind each, where the filesystem can; else nothing."""
        fallocate = _fallocate() if sys.platform == "linux" else None
        if fallocate is None:
            return
        error = fallocate(handle, size)
        if error and error not in _NOT_HERE:
            raise OSError(error, os.strerror(error))

    def sync(self, handle: int) -> None:
        """Make the file's bytes and everything needed to find them survive a power loss."""
        if sys.platform == "darwin":
            try:
                fcntl.fcntl(handle, _F_FULLFSYNC)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
            else:
                return
        os.fsync(handle)

    def sync_data(self, handle: int) -> None:
        """The same for the bytes alone, without times and permissions, where there is such a call."""
        if hasattr(os, "fdatasync"):
            os.fdatasync(handle)
        else:
            self.sync(handle)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name at one instant, taking the place of what had it."""
        os.rename(old, new)  # noqa: PTH104 - pathlib takes twice as long

    def link(self, old: Path, new: Path) -> None:
        """Give a file a second name; FileExistsError if it is taken."""
        os.link(old, new, follow_symlinks=False)

    def unlink(self, path: Path) -> None:
        """Take a file's name away."""
        os.unlink(path)  # noqa: PTH108 - pathlib takes twice as long

    def mkdir(self, path: Path, mode: int) -> None:
        """Make one directory."""
        path.mkdir(mode=mode)

    def give_directory(self, path: Path, mode: int, uid: int, gid: int) -> None:
        """Make a directory theirs; not what a link leads to, which they may have put in its place."""
        handle = self.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            os.fchmod(handle, mode)
            os.fchown(handle, uid, gid)
        finally:
            os.close(handle)

    def rmdir(self, path: Path) -> None:
        """Take an empty directory away."""
        path.rmdir()


@cache
def _fallocate() -> Callable[[int, int], int] | None:
    """Linux's own fallocate, returning an error number: the C library's posix_fallocate writes into every
    block of a filesystem that has no such call (NFS), which takes hours for a large file."""
    import ctypes  # here, because `ferry list` never allocates and shall not wait for it

    try:
        call = ctypes.CDLL(None, use_errno=True).fallocate
    except (OSError, AttributeError):
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return lambda handle, size: ctypes.get_errno() if call(handle, 0, 0, size) else 0


system: System = System()
"""What `registry.disk` calls. Only tests put another one here."""
