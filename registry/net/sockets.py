"""Every socket a client has open, so that all of them can be shut from another thread."""

from __future__ import annotations

import contextlib
import socket
import threading
import weakref

from registry.net import addresses


class Sockets:
    """The live sockets of one client; after `shut` none is opened any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._shut = False

    def connect(self, host: str, port: int, timeout: float) -> socket.socket:
        """A TCP connection to the first address of `host` that takes one; OSError of the last one tried.

        The sockets are watched before they connect, so that `shut` ends the waiting too.
        """
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return addresses.connect(found, timeout, self.watch)

    def watch(self, connection: socket.socket) -> None:
        """Shut `connection` too when the time comes, at once if it has come."""
        with self._lock:
            if self._shut:
                raise ConnectionAbortedError("the client is closed")
            self._live.add(connection)

    def shut(self) -> None:
        """Shut every socket; a thread that waits on one gets an error."""
        with self._lock:
            self._shut = True
            live = list(self._live)
        for connection in live:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
