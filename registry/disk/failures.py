"""What went wrong with a disk, as one clear sentence and the right class of error."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from registry.errors import NotFoundError, Reason, RegistryError, StorageError
from registry.model.amounts import amount

MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_HINTS = {
    errno.EROFS: "the filesystem is read-only; choose another place",
    errno.EACCES: "check who owns it and who may write there: ls -ld shows it",
    errno.EPERM: "check who owns it and who may write there: ls -ld shows it",
    errno.ENOLCK: "its filesystem locks no files, as some network shares: take a disk of this machine",
    errno.EIO: "the disk reports an error; look at the system's log before writing anything else to it",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.EXDEV: "both places must be on the same filesystem",
}


def failure(error: OSError, doing: str, place: Path | None = None) -> RegistryError:
    """The error to raise for `error`, met while `doing` something ("writing /models/blobs/sha256-…").

    NotFoundError where a file or directory is missing, else StorageError; a full disk says what is left
    at `place`.
    """
    reason = error.strerror or str(error)
    if error.errno in MISSING:
        return NotFoundError(f"{doing}: {reason}")
    if error.errno in _FULL:
        return StorageError(f"{doing}: {_lacking(error.errno, place)}", reason=Reason.DISK_FULL)
    return StorageError(f"{doing}: {reason}", hint=_HINTS.get(error.errno or 0, ""))


def _lacking(number: int | None, place: Path | None) -> str:
    """What there is no more of: bytes, files, or bytes that this user may have."""
    if number == errno.EDQUOT:
        return "your disk quota is used up"
    if place is not None:
        with contextlib.suppress(OSError):
            found = os.statvfs(existing(place))
            if found.f_files and not found.f_favail:  # some filesystems do not count files
                return "the disk takes no more files (no inode is free)"
            return f"the disk is full, {amount(free(place))} free"
    return "the disk is full"


@contextlib.contextmanager
def attempt(doing: str, place: Path | None = None) -> Iterator[None]:
    """Every OSError inside is raised as `failure` says."""
    try:
        yield
    except OSError as error:
        raise failure(error, doing, place) from None


def free(path: Path) -> int:
    """How many bytes an ordinary user may still write at `path`, which need not exist yet. OSError."""
    try:
        found = os.statvfs(path)
    except OSError as error:
        if error.errno not in MISSING:
            raise
        found = os.statvfs(existing(path))
    return found.f_bavail * found.f_frsize


def existing(path: Path) -> Path:
    """`path`, or the nearest directory above it that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
