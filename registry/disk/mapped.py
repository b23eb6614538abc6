"""Shows the bytes of a file without copying them: its pages in the system's cache are mapped.

A look at mapped bytes kills the process (SIGBUS) once the file is cut short, or where its disk cannot read
them. So a file is mapped only under a read lease (fcntl(2), `F_SETLEASE`): who opens it for writing, or cuts
it, waits until the lease is given back. And the pages are read beforehand, by a call that fails where the
disk does (madvise(2), `MADV_POPULATE_READ`). Where one of the two is not to be had - the file is another's or
somebody writes it, the filesystem is on a network, the kernel is older than 5.14 - nothing is mapped; nor
is a small file, which is read in less time.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Self

from registry.model.spans import Span

MiB = 1024 * 1024
WINDOW = 16 * MiB
"""Bytes that are mapped at a time at most: to map them costs little then, and a writer waits for no more."""
AT_ONCE = 32 * MiB
"""Bytes that are mapped by all threads together: they count as this process's memory."""
LEAST = MiB
"""Bytes that are mapped at a time also where much is mapped already: to map fewer costs too much."""

_POPULATE_READ = 22  # madvise(2); Python has no name for it


class _Room:
    """How much is mapped now: a thread for each of 64 processors takes little more than one does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = 0

    @contextmanager
    def taken(self, wanted: int) -> Generator[int, None, None]:
        """Room for `wanted` bytes or for fewer, whole MiB then, while this lasts: half of what is left."""
        with self._lock:
            half = (AT_ONCE - self._taken) // 2
            length = min(wanted, WINDOW, max(half - half % LEAST, LEAST))
            self._taken += length
        try:
            yield length
        finally:
            with self._lock:
                self._taken -= length


_room = _Room()


class Mapped:
    """A file that is open for reading, by one thread; as a context, which gives the lease back."""

    def __init__(self, file: BinaryIO) -> None:
        self._handle = file.fileno()
        # A copy of a small file costs less than a lease and a mapping.
        self._leased = os.fstat(self._handle).st_size >= LEAST and _take_lease(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._give_back()

    @contextmanager
    def window(self, span: Span) -> Generator[memoryview | None, None, None]:
        """The bytes that `span` begins with, while this lasts; None where they must be read instead.

        They are as many as other windows leave room for. The system begins to read what comes behind them.
        """
        with _room.taken(span.length) as length:
            found = self._map(Span(span.offset, length)) if self._still_leased() else None
            if found is None:
                yield None
                return
            with found, memoryview(found) as view:
                yield view

    def _map(self, span: Span) -> mmap.mmap | None:
        try:
            found = mmap.mmap(self._handle, span.length, prot=mmap.PROT_READ, offset=span.offset)
        except (OSError, ValueError):  # no room for it, no such bytes, or they do not begin with a page
            return None
        try:
            found.madvise(_POPULATE_READ)
            os.posix_fadvise(self._handle, span.end, WINDOW, os.POSIX_FADV_WILLNEED)
        except OSError:
            found.close()
            return None
        return found

    def _still_leased(self) -> bool:
        """Whether nobody waits for the file; who does goes on now."""
        if self._leased and fcntl.fcntl(self._handle, fcntl.F_GETLEASE) != fcntl.F_RDLCK:
            self._give_back()
        return self._leased

    def _give_back(self) -> None:
        if self._leased:
            self._leased = False
            with suppress(OSError):  # the system took it away, after 45 s in which this process did nothing
                fcntl.fcntl(self._handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def _take_lease(handle: int) -> bool:
    if sys.platform != "linux":
        return False
    try:
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)  # who waits is told of by one that nobody minds
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError:
        return False
    return True
