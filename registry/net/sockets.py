"""Every socket a client has open, so that all of them can be shut from another thread."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import weakref
from typing import Any

from registry.errors import InvalidError, Reason
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
                # Not SSLSocket.shutdown, which first forgets that the connection is encrypted: a thread
                # that is sending would go on in clear text for a moment.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)


class TlsContext(ssl.SSLContext):
    """Client TLS by the system's CAs; its sockets are watched from before the handshake on."""

    sockets: Sockets

    def wrap_socket(self, sock: socket.socket, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """As `SSLContext.wrap_socket`, for a connected socket."""
        wrapped = super().wrap_socket(sock, *args, **{**kwargs, "do_handshake_on_connect": False})
        try:
            self.sockets.watch(wrapped)
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        return wrapped


def tls_context(sockets: Sockets, *, ca: str = "", insecure: bool = False) -> TlsContext:
    """TLS 1.2 or newer by the system's CAs and those in `ca` (PEM text); InvalidError if that is none.

    `insecure` takes any certificate: the caller has warned the person.
    """
    context = TlsContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sockets = sockets
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context.load_default_certs()
    if ca:
        try:
            context.load_verify_locations(cadata=ca)
        except (ssl.SSLError, ValueError):
            raise InvalidError(
                "the extra CA certificates cannot be read", reason=Reason.CA_UNREADABLE
            ) from None
    return context
