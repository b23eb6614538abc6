"""What goes over one connection: a request byte for byte, an answer with bounds on its head.

urllib3's connections with three things changed: the request target is sent as it was given; an answer
that comes while the body is still going out is noticed; the sockets can be shut from another thread.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import select
import socket
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HeaderParsingError,
    NameResolutionError,
    NewConnectionError,
)

from registry.errors import ProtocolError
from registry.net.pace import Pace
from registry.net.sockets import Sockets
from registry.wire.messages import Request

SEND_BYTES = 1024 * 1024  # the most that is handed to the kernel at once
HEAD_BYTES = 64 * 1024  # status line and headers of an answer, interim answers included


_STATUS = re.compile(rb"HTTP/1\.(?P<minor>[01])[ \t]+(?P<code>[1-9][0-9]{2})(?![0-9])(?P<reason>.*)\r?\n")
_LENGTH_DIGITS = 19  # from here on a length is not believed
_EMPTY = (b"\r\n", b"\n")


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


def _lines(file: Any) -> Iterator[bytes]:
    """The lines of an answer's head, the empty ones too; LineTooLong when they are more than HEAD_BYTES.

    RemoteDisconnected if the peer stops in the middle: http.client takes that for the end of the head.
    """
    left, begun = HEAD_BYTES, False
    while True:
        line = file.readline(left + 1)
        left -= len(line)
        if left < 0:
            raise http.client.LineTooLong("answer's head")
        if not line.endswith(b"\n") and (begun or b"HTTP/".startswith(line[:5])):
            raise http.client.RemoteDisconnected("in the middle of the head")
        begun = line not in _EMPTY
        yield line


def _status(line: bytes) -> re.Match[bytes]:
    """What a status line says (RFC 9112 section 4). BadStatusLine."""
    found = _STATUS.fullmatch(line)
    if found is None:
        raise http.client.BadStatusLine(line.decode("iso-8859-1"))
    return found


def _fields(lines: Iterator[bytes]) -> http.client.HTTPMessage:
    """The fields up to an empty line. The standard library's own parser is one for mail, and slow."""
    fields = http.client.HTTPMessage()
    while (line := next(lines)) not in _EMPTY:
        name, colon, value = line.decode("iso-8859-1").partition(":")
        if not colon:
            raise HeaderParsingError([], line)
        fields.set_raw(name, value.strip(" \t\r\n"))
    return fields


class Answer(http.client.HTTPResponse):
    """An answer whose head has bounds; every interim answer (1xx) is passed over."""

    headers: Any
    last = False  # whether its connection must not be used again

    def begin(self) -> None:
        """Read status line and headers."""
        if self.headers is not None:
            return
        lines = _lines(self.fp)
        status, fields = _status(next(lines)), _fields(lines)
        while status["code"].startswith(b"1"):
            status, fields = _status(next(lines)), _fields(lines)
        self.version = 10 + int(status["minor"])
        self.code = self.status = int(status["code"])
        self.reason = status["reason"].decode("iso-8859-1").strip()
        self.headers = self.msg = fields
        self._frame()

    def _frame(self) -> None:
        """Where the body ends, and whether the connection with it (RFC 9112 sections 6.3 and 9.3)."""
        bodiless = self._method == "HEAD" or self.status in (204, 304)  # type: ignore[attr-defined]
        length = self.headers.get("Content-Length", "")
        self.chunked = self.headers.get("Transfer-Encoding", "").lower() == "chunked"
        self.chunk_left = None
        stated = length.isdecimal() and len(length) < _LENGTH_DIGITS and not self.chunked
        self.length = 0 if bodiless else int(length) if stated else None
        endless = self.length is None and not self.chunked
        self.will_close = self.last or endless or self._check_close()  # type: ignore[attr-defined]

    def _read_and_discard_trailer(self) -> None:
        """The headers behind a chunked body: http.client would read them for ever."""
        with contextlib.suppress(http.client.RemoteDisconnected):  # all that counts is here
            _fields(_lines(self.fp))

    def _read_next_chunk_size(self) -> int:
        """http.client would take a negative one."""
        size: int = super()._read_next_chunk_size()  # type: ignore[misc]
        if size < 0:
            raise http.client.IncompleteRead(b"")
        return size


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
            if body.request.body or body.request.length:
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
