"""Small files that hold a secret: for their owner only, never overwritten, never read when others may."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from registry.disk.failures import failure
from registry.disk.pipes import PATIENCE, is_pipe, read_pipe
from registry.errors import DeniedError, InvalidError, Reason, StorageError

_OTHERS = 0o077


def read_secret(path: Path, limit: int, patience: float = PATIENCE) -> bytes | None:
    """At most `limit` bytes of the file or pipe at `path`, or None if there is none.

    DeniedError if anyone but its owner may touch it, InvalidError if it is neither, or longer, or a pipe out
    of which nothing comes for `patience` seconds; StorageError if it cannot be read.
    """
    try:
        # O_NONBLOCK: opening a FIFO that nobody writes to must not hang us.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise DeniedError(
            f"{path} may not be read by this user", hint=f"ls -l {path} shows whose it is"
        ) from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(handle)
        pipe = is_pipe(handle)
        if not pipe and not stat.S_ISREG(status.st_mode):
            raise InvalidError(f"{path} is not a file")
        if status.st_mode & _OTHERS:
            raise DeniedError(
                f"{path} is a secret, but others may touch it (mode {stat.S_IMODE(status.st_mode):04o})",
                reason=Reason.SECRET_EXPOSED,
                detail=str(path),
            )
        data = read_pipe(handle, limit + 1, str(path), patience) if pipe else os.read(handle, limit + 1)
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from None
    finally:
        os.close(handle)
    if len(data) > limit:
        raise InvalidError(f"{path} is longer than {limit} bytes")
    return data


def create_once(path: Path, data: bytes, fresh: str, mode: int = 0o600) -> bool:
    """Make `path` with exactly `data`; False, and nothing changed, if it exists already.

    A reader sees no file or the whole one: it is written under another name (`fresh` makes that
    name unique) and linked into place. Missing directories are made with 0700. StorageError.
    """
    draft = path.with_name(f".{path.name}.{fresh}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return False
        return True
    except OSError as error:
        found = failure(error, f"making {path}", path.parent)
        raise StorageError(found.message, **found.details) from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()
