"""What goes over one connection: a request byte for byte, an answer with bounds on its head.

urllib3's connections with three things changed: the request target is sent as it was given; an answer
that comes while the body is still going out is noticed; the sockets can be shut from another thread.
"""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.response import assert_header_parsing

from registry.errors import ProtocolError
from registry.net.pace import Pace
from registry.net.sockets import Sockets
from registry.wire.messages import Request

SEND_BYTES = 1024 * 1024  # the most that is handed to the kernel at once
HEAD_BYTES = 64 * 1024  # status line and headers of an answer, interim answers included


class SourceError(Exception):
    """Carries an error of the stream being sent past urllib3, which would take it for the network's."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request on its way through requests and urllib3, in the place of its body.

    Both rewrite the URLs they are given, so they are given none; the connection takes the target from
    here. `stall` is how many seconds may pass without a byte, `pace` how slowly the body may go.
    """

    request: Request
    stall: float
    pace: Pace

    def target(self, forwarding: bool) -> str:
        """What stands on the request line: the path, or the whole URL for a proxy that forwards."""
        return f"{self.request.origin}{self.request.target}" if forwarding else self.request.target

    def chunks(self) -> Iterator[memoryview]:
        """The body in pieces; ProtocolError before a byte beyond the stated length, or at a missing one."""
        left = self.request.length or 0
        for chunk in _passed_through(self.request.body):
            view = memoryview(chunk).cast("B")
            left -= len(view)
            if left < 0:
                raise ProtocolError(f"the body has more than the {self.request.length} bytes stated")
            for start in range(0, len(view), SEND_BYTES):
                yield view[start : start + SEND_BYTES]
        if left:
            raise ProtocolError(f"the body ended {left} bytes before the {self.request.length} stated")


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


class _Head:
    """An answer's file while its head is read: lines only, and not endlessly many."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._left = HEAD_BYTES
        self._begun = False

    def readline(self, limit: int = -1) -> bytes:
        line: bytes = self._file.readline(min(limit, self._left + 1) if limit >= 0 else self._left + 1)
        self._left -= len(line)
        if self._left < 0:
            raise http.client.LineTooLong("answer's head")
        a_beginning = line != b"" and line[:5] == b"HTTP/"[: len(line)]
        if not line.endswith(b"\n") and (a_beginning or self._begun):
            # http.client takes the end of the connection for the end of the head.
            raise http.client.RemoteDisconnected("in the middle of the head")
        self._begun = True
        return line

    def close(self) -> None:
        self._file.close()


class Answer(http.client.HTTPResponse):
    """An answer whose head has bounds; every interim answer (1xx) is passed over."""

    headers: Any
    last = False  # whether its connection must not be used again

    def begin(self) -> None:
        """Read status line and headers."""
        if self.headers is not None:
            return
        with self._bounded():
            super().begin()
            while 100 <= self.status < 200:
                self.headers = None
                super().begin()
        assert_header_parsing(self.msg)
        self.will_close = self.will_close or self.last

    def _read_and_discard_trailer(self) -> None:
        """The headers behind a chunked body: http.client would read them for ever."""
        with self._bounded():
            super()._read_and_discard_trailer()  # type: ignore[misc]  # not in typeshed

    def _read_next_chunk_size(self) -> int:
        """http.client would take a negative one."""
        size: int = super()._read_next_chunk_size()  # type: ignore[misc]
        if size < 0:
            raise http.client.IncompleteRead(b"")
        return size

    @contextlib.contextmanager
    def _bounded(self) -> Iterator[None]:
        """Lines read here come out of one budget."""
        file = self.fp
        self.fp = _Head(file)  # type: ignore[assignment]
        try:
            yield
        finally:
            self.fp = file


class LastAnswer(Answer):
    """An answer that came before its request was sent whole."""

    last = True


class _Connection(HTTPConnection):
    """The part that plain and TLS connections share."""

    sockets: Sockets

    def _new_conn(self) -> socket.socket:
        """As urllib3's, but for the sockets being watched."""
        try:
            return self.sockets.connect(self._dns_host, self.port, self.timeout)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"no connection within {self.timeout} s") from error
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error

    def request(  # type: ignore[override]
        self,
        method: str,
        url: str,
        body: Outgoing,
        headers: Mapping[str, str],
        **options: Any,
    ) -> None:
        """Send the whole request, or as much as the peer takes before it answers."""
        self.response_class = Answer
        target = body.target(self.proxy_is_forwarding)
        try:
            super().request(method, target, None, headers, **{**options, "chunked": False})
            self.sock.settimeout(body.stall)
            for piece in body.chunks():
                self._send(piece, body)
        except (BrokenPipeError, ConnectionResetError):
            # What the peer said before it hung up can still be read; urllib3 goes on to do that.
            self.response_class = LastAnswer
            raise

    def _send(self, piece: memoryview, body: Outgoing) -> None:
        """Send it all; BrokenPipeError once the peer no longer wants it, because it answered or closed."""
        plain = type(self.sock) is socket.socket
        poller = select.poll()
        # A readable TLS socket may hold session tickets only, so there only a failing or stalled send counts.
        poller.register(self.sock, select.POLLOUT | (select.POLLIN if plain else 0))
        while piece:
            began = time.monotonic()
            events = dict(poller.poll(body.stall * 1000)).get(self.sock.fileno(), 0)
            if events & select.POLLIN and self._interim():
                poller.modify(self.sock, select.POLLOUT)
            elif plain and not events:
                raise TimeoutError
            elif events & select.POLLIN or not events & select.POLLOUT:
                raise BrokenPipeError
            else:
                sent = self._sent(piece)
                body.pace.took(time.monotonic() - began, sent)
                piece = piece[sent:]

    def _sent(self, piece: memoryview) -> int:
        """How much of it the kernel took."""
        try:
            return self.sock.send(piece)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError, TimeoutError):
            raise BrokenPipeError from None

    def _interim(self) -> bool:
        """Whether what the peer says is only that it is still there (1xx)."""
        return self.sock.recv(16, socket.MSG_PEEK)[8:10] == b" 1"


class PlainConnection(_Connection):
    """HTTP over TCP."""


class TlsConnection(_Connection, HTTPSConnection):
    """HTTP over TLS; an `insecure` one does not ask who the peer is."""

    insecure = False

    def connect(self) -> None:
        """Connect and shake hands."""
        super().connect()
        # urllib3 warns on standard error about an unverified peer; here the command line already did.
        self.is_verified = self.is_verified or self.insecure
