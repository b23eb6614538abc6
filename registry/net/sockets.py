"""Every socket a client has open, so that all of them can be shut from another thread."""

from __future__ import annotations

import contextlib
import socket
import threading
import weakref

from registry.net import addresses


class Sockets:
    """The live sockets of one client."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def connect(self, host: str, port: int, timeout: float) -> socket.socket:
        """A TCP connection to the first address of `host` that takes one; OSError of the last one tried.

        The sockets are watched before they connect, so that `shut` ends the waiting too.
        """
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return addresses.connect(found, timeout, self.watch)

    @property
    def count(self) -> int:
        """How many there are."""
        with self._lock:
            return len(self._live)

    def watch(self, connection: socket.socket) -> None:
        """Shut `connection` too, when the time comes."""
        with self._lock:
            self._live.add(connection)

    def shut(self) -> None:
        """Shut every socket there is; a thread that waits on one gets an error. The next one is a new one."""
        with self._lock:
            live = list(self._live)
        for connection in live:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
