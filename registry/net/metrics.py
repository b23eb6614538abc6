"""A few numbers for Prometheus over plain HTTP, for a client that runs as a service: one page, one thread.

Not a web server: every request gets the same answer, one after another, within a few seconds.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from registry.errors import StorageError

_HEAD_BYTES = 8 * 1024
_PATIENCE = 2.0  # seconds a reader gets to ask, and to take the answer
_WAITING = 16  # readers that may wait for their turn


class MetricsPage:
    """Answers `GET /metrics` with what `text` says, until `close`."""

    def __init__(self, host: str, port: int, text: Callable[[], str]) -> None:
        """StorageError where the address cannot be had."""
        self._text = text
        try:
            self._socket = socket.create_server((host, port), backlog=_WAITING)
        except OSError as error:
            raise StorageError(f"metrics on {host}:{port}: {error.strerror or error}") from None
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Take no more readers."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                reader, _ = self._socket.accept()
            except OSError:
                return
            with reader, contextlib.suppress(OSError):
                reader.settimeout(_PATIENCE)
                reader.sendall(self._answer(_line(reader)))

    def _answer(self, line: str) -> bytes:
        method, _, rest = line.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if method not in ("GET", "HEAD") or path != "/metrics":
            status, body = "404 Not Found", b"there is /metrics here\n"
        else:
            status, body = "200 OK", self._text().encode()
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + (b"" if method == "HEAD" else body)


def _line(reader: socket.socket) -> str:
    """The request's first line, its whole head read; what is longer than any head is cut."""
    held = b""
    while b"\r\n\r\n" not in held and len(held) < _HEAD_BYTES:
        more = reader.recv(_HEAD_BYTES)
        if not more:
            break
        held += more
    return held.partition(b"\r\n")[0].decode("latin-1")
