"""An answer as it comes over a socket: a head with bounds, and where its body ends (RFC 9112).

Read by hand, and not by http.client: its parser is one for mail, it believes lengths that contradict each
other, and it gives the socket of an answer that closes to somebody else. What is read of a body goes from
the socket straight into the reader's buffer.
"""

from __future__ import annotations

import http.client
import math
import re
import socket
import time
from collections.abc import Callable

from registry.errors import InvalidError
from registry.wire.headers import Headers

HEAD_BYTES = 64 * 1024  # status line and headers of an answer, interim answers included
FILL_SECONDS = 0.02  # for how long a buffer is filled: its reader wants few large pieces, and soon
_RECEIVE_BYTES = 64 * 1024
_LINE_BYTES = 4096  # of a chunk's size
_END = re.compile(rb"\n\r?\n")  # behind a \r, mostly; beginning with that, it takes ten times as long to find
_STATUS = re.compile(r"HTTP/1\.(?P<minor>[01])[ \t]+(?P<code>[1-9][0-9]{2})(?![0-9]).*")
_LENGTH = re.compile(r"[0-9]{1,18}")
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;.*)?")
_BODYLESS = (204, 304)


class UnclearError(http.client.HTTPException):
    """The head of an answer that is HTTP, and cannot be acted upon; its text goes on behind "the answer"."""


class Incoming:
    """The bytes that come over one socket; what was read too far waits for the next reader."""

    def __init__(self, source: socket.socket, held: bytes = b"") -> None:
        self.source = source
        self._held = held
        self._at = 0
        self.begin(time.monotonic())

    def begin(self, now: float) -> None:
        """Have the head, or the lines, that are read from `now` on come within the socket's timeout.

        That is for one call; a peer that drips would be waited for as often as it has bytes.
        """
        self._until = now + (self.source.gettimeout() or math.inf)

    @property
    def waiting(self) -> int:
        """How many bytes were read already."""
        return len(self._held) - self._at

    def head(self, limit: int) -> str:
        """Everything up to an empty line. LineTooLong beyond `limit` bytes, BadStatusLine if it is no head.

        RemoteDisconnected if the peer stops in the middle.
        """
        held, seen = self._held[self._at :], 0
        while not (end := _END.search(held, max(0, seen - 2))):
            seen = len(held)
            if not b"HTTP/".startswith(held[:5]):
                raise http.client.BadStatusLine(held.partition(b"\n")[0].decode("latin-1"))
            if seen > limit:
                raise http.client.LineTooLong("answer's head")
            held += self._receive()
        if end.start() > limit:
            raise http.client.LineTooLong("answer's head")
        self._held, self._at = held, end.end()
        return held[: end.start()].removesuffix(b"\r").decode("latin-1")

    def line(self) -> bytes:
        """The next line, without its end. LineTooLong, RemoteDisconnected."""
        while (end := self._held.find(b"\n", self._at)) < 0:
            if self.waiting > _LINE_BYTES:
                raise http.client.LineTooLong("chunk size")
            self._held, self._at = self._held[self._at :] + self._receive(), 0
        line = self._held[self._at : end]
        self._at = end + 1
        return line.removesuffix(b"\r")

    def into(self, view: memoryview) -> int:
        """Fill the front of `view` with what waits here, else with what one read brings; 0 at the end."""
        if not self.waiting:
            return self.source.recv_into(view)
        found = self._held[self._at : self._at + len(view)]
        view[: len(found)] = found
        self._at += len(found)
        return len(found)

    def _receive(self) -> bytes:
        if time.monotonic() > self._until:
            raise TimeoutError("the peer sends no whole line")
        more = self.source.recv(_RECEIVE_BYTES)
        if not more:
            raise http.client.RemoteDisconnected("in the middle of the head")
        return more


class Answer:
    """Status, headers and framing of one answer, and its body as it is read. One thread has it.

    `length` is the body's length as stated, None for a chunked one or one that ends with the connection.
    """

    def __init__(self, incoming: Incoming, method: str, *, last: bool = False) -> None:
        """Read the head, passing over interim answers (1xx); after the `last` one its connection ends."""
        self._incoming = incoming
        left = HEAD_BYTES
        while True:
            text = incoming.head(left)
            left -= len(text)
            status, fields = _parsed(text)
            if not status["code"].startswith("1"):
                break
        self.status = int(status["code"])
        try:
            self.headers = Headers.parse(fields)
        except InvalidError as error:
            raise UnclearError(f"cannot be read: {error.message}") from None
        self._chunked, self.length = _framing(self.headers)
        self.headed = method == "HEAD"
        self.bodiless = self.headed or self.status in _BODYLESS or self.length == 0
        self._left = 0 if self.bodiless else self.length
        self._chunk_left = 0
        self._failure: Exception | None = None
        self._again = not last and _goes_on(self.headers, status["minor"], chunked=self._chunked)

    @property
    def left(self) -> int | None:
        """How many bytes of the body were not read; None while nobody knows."""
        return self._left

    def fill(self, view: memoryview) -> int:
        """Fill the front of `view` with the body: all of it, or what came within FILL_SECONDS; of a body of
        unstated length, what one read brought. 0 at the end.

        Every record of TLS costs one turn of this loop, and nothing else. What breaks it is raised, but not
        before what came until then was given out.
        """
        if self._failure is not None:
            raise self._failure
        if self._left is not None:
            view = view[: self._left]
        read: Callable[[memoryview], int] = self._into_chunk if self._chunked else self._incoming.into
        filled, wanted, began = 0, len(view), time.monotonic()
        if self._chunked:
            self._incoming.begin(began)
        try:
            while filled < wanted:
                count = read(view[filled:])
                filled += count
                if not count:
                    self._end(filled)
                    break
                if not self._incoming.waiting:
                    if self.length is None:  # perhaps written word by word: nobody waits for the next
                        break
                    read = self._incoming.source.recv_into
                if time.monotonic() > began + FILL_SECONDS:
                    break
        except Exception as error:
            if not filled:
                raise
            self._failure = error
        if self._left is not None and not self._chunked:
            self._left -= filled
        return filled

    @property
    def reusable(self) -> bool:
        """Whether another request may follow: the body was read to its end, and not a byte more."""
        return self._again and self._left == 0 and not self._incoming.waiting

    def silence(self, seconds: float) -> None:
        """Wait no longer than so many seconds for more."""
        self._incoming.source.settimeout(seconds)

    def _end(self, filled: int) -> None:
        """No more bytes came: fine where that is how the body ends."""
        if self._chunked or self.length is None:
            self._left = 0
        else:
            raise http.client.IncompleteRead(b"", (self._left or 0) - filled)

    def _into_chunk(self, view: memoryview) -> int:
        """As `Incoming.into`, within one chunk; 0 behind the last one (RFC 9112 section 7.1)."""
        if not self._chunk_left:
            size = _CHUNK.fullmatch(self._incoming.line())
            if size is None:
                raise http.client.IncompleteRead(b"")
            self._chunk_left = int(size[1], 16)
            if not self._chunk_left:
                self._trailer()
                return 0
        count = self._incoming.into(view[: self._chunk_left])
        if not count:
            raise http.client.IncompleteRead(b"", self._chunk_left)
        self._chunk_left -= count
        if not self._chunk_left and self._incoming.line():
            raise http.client.IncompleteRead(b"")
        return count

    def _trailer(self) -> None:
        """The fields behind the last chunk say nothing here; they have bounds like any."""
        left = HEAD_BYTES
        try:
            while line := self._incoming.line():
                left -= len(line) + 1
                if left < 0:
                    raise http.client.LineTooLong("trailer")
        except http.client.RemoteDisconnected:  # all that counts is here
            self._again = False


def _parsed(text: str) -> tuple[re.Match[str], str]:
    """Status line and field lines of a head (RFC 9112 sections 4 and 5). BadStatusLine for what is none."""
    first, _, fields = text.replace("\r\n", "\n").partition("\n")
    status = _STATUS.fullmatch(first)
    if status is None:
        raise http.client.BadStatusLine(first)
    for line in fields.split("\n") if fields else ():
        if ":" not in line:
            raise http.client.BadStatusLine(line)
    return status, fields


def _framing(headers: Headers) -> tuple[bool, int | None]:
    """Whether the body is chunked, and its length if that is stated (RFC 9112 section 6.3).

    The same length twice is that length; two different ones are an answer with somebody else's inside.
    """
    codings = _listed(headers, "Transfer-Encoding")
    if codings == ["chunked"]:
        return True, None
    stated = set(_listed(headers, "Content-Length"))
    if codings or len(stated) > 1 or not all(_LENGTH.fullmatch(value) for value in stated):
        raise UnclearError("does not say clearly where it ends")
    return False, int(stated.pop()) if stated else None


def _goes_on(headers: Headers, minor: str, *, chunked: bool) -> bool:
    """Whether the connection is kept behind this answer (RFC 9112 sections 6.3 and 9.3)."""
    if chunked and "Content-Length" in headers:
        return False
    tokens = _listed(headers, "Connection")
    return "close" not in tokens and (minor == "1" or "keep-alive" in tokens)


def _listed(headers: Headers, name: str) -> list[str]:
    """The words of a field that is a list, in lower case (RFC 9110 section 5.6.1)."""
    return [word.strip().lower() for line in headers.all(name) for word in line.split(",")]
