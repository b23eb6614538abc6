"""Reads a pipe where a small file is expected: `<(…)` of a shell, or a FIFO that a program keeps.

It can be read once, so what came is kept for the next reader in this process; and it is waited for, but not
for ever.
"""

from __future__ import annotations

import os
import select
import stat

from registry.errors import InvalidError

PATIENCE = 30.0  # seconds in which nothing comes
_CHUNK = 64 * 1024

_read: dict[tuple[str, int, int], bytes] = {}  # by path and inode: the number alone is given out again


def is_pipe(handle: int) -> bool:
    """Whether an open file is one."""
    return stat.S_ISFIFO(os.fstat(handle).st_mode)


def read_pipe(handle: int, limit: int, where: str, patience: float = PATIENCE) -> bytes:
    """At most `limit` bytes of the pipe that is open, without blocking, as `handle`; `where` names it.

    InvalidError if nothing comes, not even its end, for `patience` seconds. OSError.
    """
    status = os.fstat(handle)
    pipe = (where, status.st_dev, status.st_ino)
    known = _read.get(pipe)
    if known is not None:
        return known[:limit]
    data, ready = bytearray(), select.poll()
    ready.register(handle, select.POLLIN)
    while len(data) < limit:
        if not ready.poll(patience * 1000):
            raise InvalidError(f"{where} is a pipe, and nothing came out of it for {patience:g} s")
        chunk = os.read(handle, min(_CHUNK, limit - len(data)))
        if not chunk:
            break
        data += chunk
    _read[pipe] = bytes(data)
    return bytes(data)
