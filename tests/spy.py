"""A raw-socket HTTP server that does as it is told, however rude, and remembers every byte it was sent."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from registry.wire.bodies import read_body
from registry.wire.messages import Response

HEAD_END = b"\r\n\r\n"


@dataclass
class Seen:
    """One request as it came: `line` and `head` are exact bytes."""

    line: bytes
    head: bytes
    body: bytes = b""
    host: str = ""

    @property
    def target(self) -> str:
        return self.line.split(b" ")[1].decode("latin-1")

    @property
    def method(self) -> str:
        return self.line.split(b" ")[0].decode("latin-1")

    def header(self, name: str) -> str | None:
        for row in self.head.split(b"\r\n")[1:]:
            key, _, value = row.decode("latin-1").partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None


@dataclass
class Talk:
    """One connection, from the server's side."""

    spy: Spy
    socket: socket.socket
    held: bytes = b""

    def head(self) -> Seen | None:
        """The next request's head, or None when the client has gone."""
        while HEAD_END not in self.held:
            more = self._receive()
            if not more:
                return None
            self.held += more
        head, _, self.held = self.held.partition(HEAD_END)
        seen = Seen(head.split(b"\r\n")[0], head)
        self.spy.seen.append(seen)
        return seen

    def body(self, seen: Seen) -> None:
        """Read the body that `seen` announced, as far as it comes."""
        missing = int(seen.header("Content-Length") or 0) - len(self.held)
        taken = [self.held]
        while missing > 0:
            more = self._receive()
            if not more:
                break
            taken.append(more)
            missing -= len(more)
        seen.body, self.held = b"".join(taken), b""

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.socket.sendall(data)

    def wait(self, seconds: float) -> None:
        """Say nothing for a while, or until the spy is closed."""
        self.spy.closing.wait(seconds)

    def hang_up(self) -> None:
        """Close as one does (FIN)."""
        self.socket.close()

    def finish(self) -> None:
        """Say that no more will come, and go on listening."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_WR)

    def reset(self) -> None:
        """Break the connection off (RST)."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Begin TLS here, as behind a proxy's CONNECT."""
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.spy.talks.append(self.socket)

    def _receive(self) -> bytes:
        try:
            return self.socket.recv(65536)
        except OSError:
            return b""


Script = bytes | Callable[[Talk, Seen], None]
"""Bytes: read the whole request, then answer so. A function: it was given the head, and does the rest."""


@dataclass
class Spy:
    """Answers the n-th request with the n-th script, and every further one with the last."""

    scripts: tuple[Script, ...]
    tls: ssl.SSLContext | None = None
    greeting: bytes = b""  # said at once, whatever the client says
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    closing: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.talks: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def netloc(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.netloc}"

    @property
    def everything(self) -> bytes:
        """All that was ever sent here."""
        return b"\n".join(seen.head + HEAD_END + seen.body for seen in self.seen)

    def __enter__(self) -> Spy:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        for one in (self._listener, *self.talks):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            # Two small writes in a row (a proxy's 200, a handshake) wait for nothing.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self.talks.append(connection)
            thread = threading.Thread(target=self._talk, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _talk(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
                self.talks.append(connection)
            talk = Talk(self, connection)
            talk.send(self.greeting)
            while (seen := talk.head()) is not None:
                script = self.scripts[min(len(self.seen), len(self.scripts)) - 1]
                if isinstance(script, bytes):
                    talk.body(seen)
                    talk.send(script)
                    if b"\r\nConnection: close" in script:
                        break
                else:
                    script(talk, seen)
                    if talk.socket.fileno() < 0:
                        break
            talk.socket.close()


def reply(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A well-formed answer; underscores in header names become dashes."""
    rows = [f"HTTP/1.1 {status} x", *(f"{key.replace('_', '-')}: {value}" for key, value in headers.items())]
    if not any(key.lower() in ("content_length", "transfer_encoding") for key in headers):
        rows.append(f"Content-Length: {len(body)}")
    return "\r\n".join(rows).encode("latin-1") + HEAD_END + body


def whole(response: Response) -> bytes:
    """All that a client was answered, at most a mebibyte."""
    return read_body(response, 1024 * 1024, "reading an answer", "spy")
