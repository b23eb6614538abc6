"""An answer's body: exactly its stated length, or an error."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import requests
import urllib3

from registry.net.failures import explain
from registry.net.pace import Pace
from registry.wire.messages import Origin

READ_BYTES = 1024 * 1024  # the most one read takes,
TOGETHER_BYTES = 4 * READ_BYTES  # and the most that all reads at the same time do
LEAST_BYTES = 32 * 1024
GATHER_BYTES = 128 * 1024  # TLS yields 16 KiB at a time; whoever writes them wants fewer, larger pieces
GATHER_SECONDS = 0.2  # but does not wait for them
DRAIN_BYTES = 64 * 1024  # what is read of an unwanted answer to keep its connection
_DRAIN_READS = 8
_DRAIN_SECONDS = 0.25  # each

FAILURES = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError)


class Readers:
    """The answers that are being read right now: the more there are, the less each takes at once."""

    def __init__(self) -> None:
        self._count = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """While it lasts, there is one more."""
        with self._lock:
            self._count += 1
        try:
            yield
        finally:
            with self._lock:
                self._count -= 1

    @property
    def share(self) -> int:
        """How many bytes one of them may take."""
        return max(LEAST_BYTES, min(READ_BYTES, TOGETHER_BYTES // max(self._count, 1)))


class Body:
    """The bytes behind an answer's head. Read once, by one thread; `length` None: to the peer's end.

    Whoever does not read to the end calls `close`.
    """

    def __init__(
        self, raw: urllib3.HTTPResponse, length: int | None, origin: Origin, pace: Pace, readers: Readers
    ) -> None:
        self._raw = raw
        self._left = length
        self._origin = origin
        self._pace = pace
        self._readers = readers

    def __iter__(self) -> Iterator[bytes]:
        """TransientError if the peer stops early, breaks off or falls silent."""
        failure: Exception | None = None
        with self._readers.one():
            while failure is None and self._left != 0:
                pieces, failure = self._gather()
                if pieces:
                    yield pieces.pop() if len(pieces) == 1 else b"".join(pieces)
                elif failure is None:
                    return
        if failure is not None:
            self.give_up()
            raise explain(failure, self._origin, answered=True) from failure

    def close(self) -> None:
        """Give up the rest; a short one is read first, so that the connection can be used again."""
        socket = getattr(self._raw.connection, "sock", None)  # none: it ends with this answer anyway
        if socket and self._left and self._left <= DRAIN_BYTES:
            with contextlib.suppress(*FAILURES):
                socket.settimeout(_DRAIN_SECONDS)
                for _ in range(_DRAIN_READS):
                    if not self._raw.read1(DRAIN_BYTES, decode_content=False):
                        break
        self.give_up()

    def give_up(self) -> None:
        """End the connection, unless the body was read to its end."""
        self._raw.close()
        self._raw.release_conn()

    def _gather(self) -> tuple[list[bytes], Exception | None]:
        """What comes next, and why no more comes; nothing and no reason at the end.

        One read takes what is there: what a broken connection had brought until then is not lost.
        """
        pieces: list[bytes] = []
        gathered = 0
        began = now = time.monotonic()
        share = self._readers.share
        enough = min(GATHER_BYTES, share)
        try:
            while gathered < enough and self._left != 0 and now - began < GATHER_SECONDS:
                wanted = enough - gathered if pieces else share  # joining copies, so join little
                piece = self._raw.read1(wanted, decode_content=False)
                if not piece:
                    break
                pieces.append(piece)
                gathered += len(piece)
                if self._left is not None:
                    self._left -= len(piece)
                before, now = now, time.monotonic()
                self._pace.took(now - before, len(piece))
        except FAILURES as error:
            return pieces, error
        return pieces, None
