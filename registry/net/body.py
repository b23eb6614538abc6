"""An answer's body: exactly its stated length, or an error."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Iterator

import requests
import urllib3

from registry.net.failures import explain
from registry.net.pace import Pace
from registry.net.pools import PooledAnswer
from registry.wire.messages import Origin

PIECE_BYTES = 256 * 1024  # what is gathered before it is passed on, and all the memory one answer takes twice
_UNSTATED_BYTES = 64 * 1024  # the same where nobody knows how much will come
DRAIN_BYTES = 64 * 1024  # what is read of an unwanted answer to keep its connection
_DRAIN_READS = 8
_DRAIN_SECONDS = 0.25  # each

FAILURES = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
)


class Body:
    """The bytes behind an answer's head. Read once, by one thread.

    A reader that stops before the end calls `close`.
    """

    def __init__(self, answer: PooledAnswer, origin: Origin, pace: Pace) -> None:
        self._answer = answer
        self._origin = origin
        self._pace = pace

    def __iter__(self) -> Iterator[bytes]:
        """TransientError if the peer stops early, breaks off or falls silent."""
        answer = self._answer
        left = answer.left
        buffer = memoryview(bytearray(_UNSTATED_BYTES if left is None else min(left, PIECE_BYTES)))
        while answer.left != 0:
            began = time.monotonic()
            try:
                length = answer.fill(buffer)
                self._pace.took(time.monotonic() - began, length)
            except FAILURES as error:
                answer.release()
                raise explain(error, self._origin, answered=True) from error
            if answer.left == 0:
                answer.release()
            if length:
                yield bytes(buffer[:length])

    def close(self) -> None:
        """Give up the rest; a short one is read first, so that the connection can be used again."""
        answer = self._answer
        if answer.left and answer.left <= DRAIN_BYTES:
            with contextlib.suppress(*FAILURES):
                answer.silence(_DRAIN_SECONDS)
                buffer = memoryview(bytearray(DRAIN_BYTES))
                for _ in range(_DRAIN_READS):
                    if not answer.left or not answer.fill(buffer):
                        break
        answer.release()
