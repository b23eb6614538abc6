"""Which of a host's addresses is talked to: the first that takes a connection (RFC 8305)."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any

NEXT_SECONDS = 0.25  # how long one address has to answer before the next is asked beside it

Address = tuple[int, int, int, str, tuple[Any, ...]]
"""As `socket.getaddrinfo` gives it: family, kind, protocol, canonical name, address."""


def connect(
    addresses: Sequence[Address], timeout: float, watch: Callable[[socket.socket], None]
) -> socket.socket:
    """A TCP connection to the first of `addresses` that takes one; OSError of the last that failed.

    TimeoutError if none did within `timeout` seconds after the last was asked. `watch` is shown each socket
    before it connects, and may raise.
    """
    attempts = _Attempts(timeout, watch)
    try:
        for address in alternating(addresses):
            attempts.begin(address)
            connected = attempts.wait(NEXT_SECONDS)
            if connected is not None:
                return connected
        connected = attempts.wait(timeout)
        if connected is not None:
            return connected
    finally:
        attempts.close()
    raise attempts.failure or TimeoutError("no address took the connection")


def alternating(addresses: Sequence[Address]) -> list[Address]:
    """The system's order, but for the families taking turns: a network often lacks all of one family."""
    first = [one for one in addresses if one[0] == addresses[0][0]]
    other = [one for one in addresses if one[0] != addresses[0][0]]
    return [one for pair in zip_longest(first, other) for one in pair if one is not None]


class _Attempts:
    """Connections that were begun and have not failed."""

    def __init__(self, timeout: float, watch: Callable[[socket.socket], None]) -> None:
        self.failure: OSError | None = None
        self._timeout = timeout
        self._watch = watch
        self._running: dict[int, socket.socket] = {}
        self._poller = select.poll()

    def begin(self, address: Address) -> None:
        """Ask `address` for a connection, without waiting."""
        family, kind, protocol, _, where = address
        try:
            made = socket.socket(family, kind, protocol)
        except OSError as error:  # no such family here
            self.failure = error
            return
        self._running[made.fileno()] = made
        self._watch(made)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setblocking(False)
        self._poller.register(made, select.POLLOUT)
        code = made.connect_ex(where)
        if code not in (0, errno.EINPROGRESS):
            self._failed(made, code)

    def wait(self, seconds: float) -> socket.socket | None:
        """The first that is connected within `seconds`; None where none is, at once if all have failed."""
        until = time.monotonic() + seconds
        while self._running:
            found = self._poller.poll(max(0.0, until - time.monotonic()) * 1000)
            if not found:
                return None
            for handle, events in found:
                one = self._running[handle]
                code = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not code and not events & (select.POLLHUP | select.POLLERR):
                    return self._taken(one)
                self._failed(one, code or errno.ECONNABORTED)
        return None

    def close(self) -> None:
        """Give up those that are running."""
        for one in self._running.values():
            one.close()

    def _taken(self, one: socket.socket) -> socket.socket:
        del self._running[one.fileno()]
        one.settimeout(self._timeout)
        return one

    def _failed(self, one: socket.socket, code: int) -> None:
        self._poller.unregister(one)
        del self._running[one.fileno()]
        one.close()
        self.failure = OSError(code, os.strerror(code))
