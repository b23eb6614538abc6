"""A few numbers for Prometheus over plain HTTP, for a client that runs as a service: one page.

Not a web server: every request gets the same answer within a few seconds, and a few readers at once do.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable

from registry.net.listening import listen

_HEAD_BYTES = 8 * 1024
_PATIENCE = 2.0  # seconds a reader gets to ask, and again to take the answer
_AT_ONCE = 16  # readers: one that is slow keeps nobody waiting
_WAITING = 16  # readers that may wait for their turn
_PAUSE = 1.0  # seconds until readers are taken again where the system has no descriptor for one


class MetricsPage:
    """Answers `GET /metrics` with what `text` says, until `close`."""

    def __init__(
        self,
        host: str,
        port: int,
        text: Callable[[], str],
        *,
        patience: float = _PATIENCE,
        pause: float = _PAUSE,
    ) -> None:
        """InvalidError where the address cannot be had."""
        self._text = text
        self._patience = patience
        self._pause = pause
        self._closed = threading.Event()
        self._free = threading.BoundedSemaphore(_AT_ONCE)
        self._socket = listen(host, port, _WAITING, "metrics")
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Take no more readers."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while not self._closed.is_set():
            try:
                reader, _ = self._socket.accept()
            except OSError:  # closed; or too many files are open for a while
                self._closed.wait(self._pause)
                continue
            self._free.acquire()
            try:
                threading.Thread(target=self._serve_one, args=(reader,), daemon=True).start()
            except RuntimeError:  # the system gives no more threads: then one after another
                self._serve_one(reader)

    def _serve_one(self, reader: socket.socket) -> None:
        try:
            with reader, contextlib.suppress(OSError):
                line = _line(reader, time.monotonic() + self._patience)
                reader.settimeout(self._patience)
                reader.sendall(self._answer(line))
        finally:
            self._free.release()

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


def _line(reader: socket.socket, until: float) -> str:
    """The request's first line, its whole head read; what is longer than any head is cut. OSError if late."""
    held = b""
    while b"\r\n\r\n" not in held and len(held) < _HEAD_BYTES:
        reader.settimeout(max(0.001, until - time.monotonic()))  # a byte now and then earns no more time
        more = reader.recv(_HEAD_BYTES)
        if not more:
            break
        held += more
    return held.partition(b"\r\n")[0].decode("latin-1")
