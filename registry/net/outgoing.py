"""A request as it goes out: its head in one piece, its body as the peer takes it, no byte more than stated.

An answer that comes meanwhile ends the sending; it is what the peer has to say about the rest.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from registry.errors import ProtocolError
from registry.net.answers import HEAD_BYTES
from registry.net.pace import Pace
from registry.net.tls import TlsSocket
from registry.wire.messages import Request

SEND_BYTES = 1024 * 1024  # the most that is handed to the kernel at once,
TLS_SEND_BYTES = 256 * 1024  # and what is encrypted at once
_EARLY_BYTES = 64 * 1024
_WITH_HEAD = 64 * 1024  # a body of so many bytes goes out in one piece with its head
_WITH_BODY = ("POST", "PUT", "PATCH")
_FRAMING = frozenset({"host", "content-length", "transfer-encoding", "connection"})
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_INTERIM = re.compile(rb"(?:HTTP/1\.[01] 1[^\n]*\n(?:[^\r\n][^\n]*\n)*\r?\n)+")  # whole answers, 1xx each
_GONE = (ssl.SSLEOFError, ssl.SSLZeroReturnError)


class SourceError(Exception):
    """Carries an error of the stream being sent past urllib3, which would take it for the network's."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request on its way through requests and urllib3, in the place of its body.

    Both rewrite the URLs and headers they are given, so they are given none. `stall` is how many seconds may
    pass without a byte, `pace` how slowly the body may go. A proxy that is `forwarding` gets the whole URL.
    """

    request: Request
    agent: str
    forwarding: bool
    stall: float
    pace: Pace

    def head(self, proxy: Mapping[str, str]) -> bytes:
        """The request line and the fields, framing ours alone, with those that the proxy is to see."""
        request, origin = self.request, self.request.origin
        target = f"{origin}{request.target}" if self.forwarding else request.target
        lines = [f"{request.method} {target} HTTP/1.1", f"Host: {origin.netloc}"]
        if "User-Agent" not in request.headers:
            lines.append(f"User-Agent: {self.agent}")
        if "Accept-Encoding" not in request.headers:
            lines.append("Accept-Encoding: identity")
        fields = (*request.headers, *proxy.items())
        lines += [f"{name}: {value}" for name, value in fields if name.lower() not in _FRAMING]
        if request.length or request.method in _WITH_BODY:
            lines.append(f"Content-Length: {request.length or 0}")
        return "\r\n".join((*lines, "", "")).encode("latin-1")

    def send(self, sock: socket.socket, head: bytes) -> bytes:
        """Send all of it; what of an interim answer was read meanwhile.

        EarlyAnswer once the peer no longer wants it, because it answered or closed.
        """
        body = self.request.body
        if isinstance(body, bytes) and len(body) <= _WITH_HEAD:
            sock.sendall(head + body)
            return b""
        sock.sendall(head)
        sock.settimeout(0)
        sending = _Sending(sock, self.stall, self.pace)
        for piece in self._chunks(TLS_SEND_BYTES if sending.tls else SEND_BYTES):
            sending.all_of(piece)
        return sending.heard

    def _chunks(self, most: int) -> Iterator[memoryview]:
        """The body in pieces; ProtocolError before a byte beyond the stated length, or at a missing one."""
        left = self.request.length or 0
        for chunk in _passed_through(self.request.body):
            view = memoryview(chunk).cast("B")
            left -= len(view)
            if left < 0:
                raise ProtocolError(f"the body has more than the {self.request.length} bytes stated")
            for start in range(0, len(view), most):
                yield view[start : start + most]
        if left:
            raise ProtocolError(f"the body ended {left} bytes before the {self.request.length} stated")


class EarlyAnswer(BrokenPipeError):
    """The peer answered, or closed, before it had the whole request. `heard` is what was read of it."""

    def __init__(self, heard: bytes = b"") -> None:
        super().__init__("the peer takes no more of the request")
        self.heard = heard


class _Sending:
    """One body on its way into a socket that does not block."""

    def __init__(self, sock: socket.socket, stall: float, pace: Pace) -> None:
        self.tls = isinstance(sock, TlsSocket)
        self.heard = b""
        self._socket = sock
        self._stall = stall
        self._pace = pace
        self._poller = select.poll()
        self._poller.register(sock, select.POLLOUT | select.POLLIN)

    def all_of(self, piece: memoryview) -> None:
        """Send it all. EarlyAnswer, TimeoutError."""
        began = time.monotonic()
        while piece:
            self._wait()
            try:
                sent = self._socket.send(piece)
            except _NOT_NOW:
                continue  # with the same piece: of TLS, some of it may be on its way
            except (BrokenPipeError, ConnectionResetError, *_GONE):
                raise EarlyAnswer(self.heard) from None
            before, began = began, time.monotonic()
            self._pace.took(began - before, sent)
            piece = piece[sent:]

    def _wait(self) -> None:
        """Until there is room; what the peer says meanwhile is heard."""
        while True:
            found = self._poller.poll(self._stall * 1000)
            if not found:
                raise TimeoutError("the peer takes nothing")
            events = found[0][1]
            if events & select.POLLIN:
                self._listen()
            if events & select.POLLOUT:
                return
            if events & (select.POLLHUP | select.POLLERR):
                raise EarlyAnswer(self.heard)

    def _listen(self) -> None:
        """Read what the peer says; only that it is still there (1xx) is no reason to stop, however often."""
        try:
            more = self._socket.recv(_EARLY_BYTES)
        except _NOT_NOW:
            return  # TLS talks to itself: session tickets
        except (ConnectionResetError, *_GONE):
            raise EarlyAnswer(self.heard) from None
        self.heard += more
        if not more or len(self.heard) > HEAD_BYTES or _answered(self.heard):
            raise EarlyAnswer(self.heard)


def _answered(heard: bytes) -> bool:
    """Whether more was heard than interim answers, and the beginning of what may be one more."""
    interim = _INTERIM.match(heard)
    begun = heard[interim.end() if interim else 0 :]
    return begun[8:10] not in (b"", b" ", b" 1")


def _passed_through(body: bytes | Iterable[bytes]) -> Iterator[bytes]:
    """The body's pieces; its own errors as SourceError."""
    pieces = iter((body,)) if isinstance(body, bytes) else iter(body)
    while True:
        try:
            piece = next(pieces)
        except StopIteration:
            return
        except Exception as error:
            raise SourceError(error) from error
        yield piece
