"""The hash of a blob that is still arriving: it follows the front, and ends when the last byte is there."""

from __future__ import annotations

from registry.disk.coverage import Coverage
from registry.disk.data import DataFile
from registry.disk.files import CHUNK
from registry.disk.overlay import Overlay
from registry.errors import CorruptError, StorageError
from registry.model.digests import Digest


def hash_while_it_arrives(data: DataFile | Overlay, digest: Digest, size: int, coverage: Coverage) -> int:
    """Hash all `size` bytes, waiting for those that are missing; the epoch of `coverage` that was proven.

    Takes what the writer at the front queues, and reads the rest from the page cache. CorruptError if the
    bytes are not the digest's; StorageError if the coverage is closed meanwhile.
    """
    buffer = memoryview(bytearray(min(CHUNK, size)))
    epoch, at, hasher = coverage.epoch, 0, digest.hasher()
    while True:
        now, chunk, front = coverage.behind(at)
        if now != epoch:
            epoch, at, hasher = now, 0, digest.hasher()
            continue
        if chunk is not None:
            hasher.update(chunk)
            at += len(chunk)
        while at < front:
            length = data.read_into(buffer[: front - at], at)
            if not length:
                raise StorageError(f"{data.path}: it became shorter meanwhile")
            hasher.update(buffer[:length])
            at += length
        if at == size:
            break
    if not digest.matches(hasher):
        raise CorruptError("the bytes that arrived are not those of the digest")
    return epoch
