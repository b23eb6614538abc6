"""A listener over real sockets, spoken to byte by byte."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from registry.net.listener.address import Address
from registry.net.listener.driver import Prompt
from registry.net.listener.limits import Limits
from registry.net.listener.listener import Listener
from registry.net.listener.record import AccessRecord
from registry.wire.messages import Accept, Exchange, Request, Response

Answer = Response | Accept

_TRUSTING = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_TRUSTING.check_hostname = False
_TRUSTING.verify_mode = ssl.CERT_NONE


def _nothing(_request: Request) -> None:
    """For answers that are all found by threads."""


@dataclass
class Served:
    """A listener in front of `answer`, and sockets to it."""

    answer: Exchange
    limits: Limits = field(default_factory=Limits)
    tls: ssl.SSLContext | None = None
    records: list[AccessRecord] = field(default_factory=list)
    sockets: list[socket.socket] = field(default_factory=list)
    prompt: Prompt = _nothing

    def __post_init__(self) -> None:
        self.stopped = False
        self.told = threading.Condition()
        bound = Address(tls=self.tls).bind()
        self.listener = Listener(
            self.answer, bound, prompt=self.prompt, record=self._record, limits=self.limits
        )
        self.port = self.listener.start()

    def _record(self, record: AccessRecord) -> None:
        with self.told:
            self.records.append(record)
            self.told.notify_all()

    def record(self, number: int = 0) -> AccessRecord:
        """A record, once it is there."""
        with self.told:
            assert self.told.wait_for(lambda: len(self.records) > number, 20)
            return self.records[number]

    def connect(self, words: str | bytes = b"", *, receive: int = 0) -> socket.socket:
        """A connection that has said this; `receive`: as small a buffer as the system gives."""
        opened = socket.socket()
        opened.settimeout(20)
        if receive:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        opened.connect(("127.0.0.1", self.port))
        if self.tls is not None:
            opened = _TRUSTING.wrap_socket(opened)
        self.sockets.append(opened)
        opened.sendall(words.encode() if isinstance(words, str) else words)
        return opened

    def stop(self, patience: float = 0.5) -> None:
        """As SIGTERM does; once."""
        if not self.stopped:
            self.stopped = True
            self.listener.stop(patience)

    def close(self) -> None:
        for opened in self.sockets:
            opened.close()
        self.stop()


Serve = Callable[..., Served]


def head(method: str, path: str, *fields: str) -> str:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: a", *fields, "", ""])


def answer_of(opened: socket.socket) -> bytes:
    """The head of the next answer."""
    read = b""
    while b"\r\n\r\n" not in read:
        more = opened.recv(1)
        assert more, f"closed after {read!r}"
        read += more
    return read


def status(opened: socket.socket) -> int:
    """The status of the next answer, whose head is read."""
    return int(answer_of(opened).split()[1])


def rest(opened: socket.socket) -> bytes:
    """What comes until the connection is closed or broken."""
    read = bytearray()
    with contextlib.suppress(ConnectionError):
        while data := opened.recv(65536):
            read += data
    return bytes(read)


class Kept:
    """An intake that remembers what it was fed."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.closed = threading.Event()

    def write(self, data: bytes) -> None:
        self.data += data

    def close(self) -> None:
        self.closed.set()
