"""A seeded proxy between a client and a registry: it delays, limits and breaks what passes.

Every fault of the "Faults" line in BAR.md; which one, when and where comes from one seed. Understands just
enough HTTP/1.1 to break it on purpose.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedReader

CHUNK = 256 * 1024
HEAD = 64 * 1024

REFUSALS = {
    "416": b"416 Range Not Satisfiable",
    "429": b"429 Too Many Requests\r\nRetry-After: 0",
    "500": b"500 Internal Server Error",
    "503": b"503 Service Unavailable",
    "401": b'401 Unauthorized\r\nWWW-Authenticate: Basic realm="again"',
}
# What may befall a request whose body goes up, and one whose answer's body comes down.
UPLOAD_FAULTS = ("reset", "close", "stall", "drip", "lost", "429", "500", "503", "416", "refuse", "flip")
DOWNLOAD_FAULTS = (
    "reset",
    "close",
    "stall",
    "drip",
    "truncate",
    "flip",
    "lie",
    "whole",
    "429",
    "500",
    "503",
    "refuse",
)


@dataclass
class Plan:
    """What goes wrong: `faults` of `kinds` in all, each befalling a request with chance `odds`."""

    seed: int = 0
    faults: int = 0
    kinds: tuple[str, ...] = DOWNLOAD_FAULTS
    odds: float = 0.5
    least_body: int = 64 * 1024  # smaller messages pass unharmed
    stall: float = 3.0  # seconds
    flips: int = 1  # a flipped bit costs a whole blob: no more than so many


@dataclass
class Link:
    """What the line is like: bytes a second (0: no limit), seconds."""

    per_connection: float = 0
    total: float = 0
    latency: float = 0.0  # a round trip


@dataclass
class Stats:
    """What passed, in bytes, and what was broken."""

    up: int = 0
    down: int = 0
    connections: int = 0
    requests: int = 0
    faults: Counter[str] = field(default_factory=Counter)


class Meter:
    """Lets `rate` bytes a second pass."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._until = 0.0
        self._lock = threading.Lock()

    def take(self, amount: int) -> None:
        if not self._rate:
            return
        with self._lock:
            now = time.monotonic()
            self._until = max(self._until, now - 0.02) + amount / self._rate
            pause = self._until - now
        if pause > 0:
            time.sleep(pause)


class Broken(Exception):
    """This connection ends here."""


class FaultProxy:
    """Listens on a loopback port until closed; `port` is what a client is given."""

    def __init__(self, upstream: tuple[str, int], plan: Plan | None = None, link: Link | None = None) -> None:
        self.upstream = upstream
        self.plan = plan or Plan()
        self.link = link or Link()
        self.stats = Stats()
        self._left = self.plan.faults
        self._flips = self.plan.flips
        self._chance = random.Random(self.plan.seed)
        self._lock = threading.Lock()
        self._total = Meter(self.link.total)
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening and cut every line."""
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Reset every open connection: the server restarts, the cable is pulled."""
        with self._lock:
            sockets = list(self._open)
        for each in sockets:
            _reset(each)

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- connections -------------------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.stats.connections += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = None
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            time.sleep(self.link.latency)
            server = socket.create_connection(self.upstream, timeout=60)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open |= {client, server}
            exchange = _Exchange(self, client, server)
            while exchange.one():
                pass
        except (OSError, Broken):
            pass
        finally:
            with self._lock:
                self._open -= {client, server}
            for each in (client, server):
                if each is not None:
                    with contextlib.suppress(OSError):
                        each.close()

    def choose(self, body: int, ranged: bool) -> str:
        """The fault that befalls a message with so many bytes of body, or ""."""
        with self._lock:
            if not self._left or body < self.plan.least_body or self._chance.random() > self.plan.odds:
                return ""
            kind = self._chance.choice(self.plan.kinds)
            if kind == "flip":
                if not self._flips:
                    return ""
                self._flips -= 1
            if kind in ("lie", "whole") and not ranged:
                return ""
            self._left -= 1
            self.stats.faults[kind] += 1
            return kind

    def place(self, body: int) -> int:
        """Where in a body of that size a fault strikes."""
        with self._lock:
            return self._chance.randrange(max(body, 1))

    def passed(self, meter: Meter, amount: int, up: bool) -> None:
        """Count, and make it take its time."""
        if up:
            self.stats.up += amount
        else:
            self.stats.down += amount
        meter.take(amount)
        self._total.take(amount)


class _Exchange:
    """One connection: request after request, until one ends it."""

    def __init__(self, proxy: FaultProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._from_client = client.makefile("rb")
        self._from_server = server.makefile("rb")
        self._meter = Meter(proxy.link.per_connection)

    def one(self) -> bool:
        """One request and its answer; False when the connection ended in peace."""
        head = _head(self._from_client)
        if not head:
            return False
        self._proxy.stats.requests += 1
        method = head.split(b" ", 1)[0]
        length = _length(head)
        ranged = _field(head, b"range") is not None
        fault = self._proxy.choose(length, ranged) if length else ""
        time.sleep(self._proxy.link.latency)
        if fault in REFUSALS:
            self._refuse(fault)
        if fault == "refuse":
            _reset(self._client)
            raise Broken
        self._up(head, length, fault)
        return self._down(method, head, ranged, fault)

    # --- upwards -----------------------------------------------------------------------------------

    def _up(self, head: bytes, length: int, fault: str) -> None:
        self._server.sendall(head)
        strike = self._proxy.place(length) if fault else -1
        sent = 0
        for chunk in _body(self._from_client, length):
            if fault and sent <= strike < sent + len(chunk):
                chunk = self._strike(fault, chunk, strike - sent, self._client, self._server)
            self._server.sendall(chunk)
            sent += len(chunk)
            self._proxy.passed(self._meter, len(chunk), up=True)

    def _refuse(self, fault: str) -> None:
        """An early answer while the body is still going out, then the end of the connection."""
        self._client.sendall(
            b"HTTP/1.1 " + REFUSALS[fault] + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        self._client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            self._client.settimeout(1)
            self._client.recv(CHUNK)
        raise Broken

    # --- downwards ---------------------------------------------------------------------------------

    def _down(self, method: bytes, request: bytes, ranged: bool, fault: str) -> bool:
        head = _head(self._from_server)
        if not head:
            raise Broken
        if fault == "lost":
            raise Broken
        status = int(head.split(b" ", 2)[1])
        bodiless = method == b"HEAD" or status in (204, 304)
        length = 0 if bodiless else _length(head)
        if method in (b"GET",) and status in (200, 206):
            fault = self._proxy.choose(length, ranged)
            if fault in REFUSALS:
                self._refuse(fault)
            if fault == "refuse":
                _reset(self._client)
                raise Broken
            if fault == "lie":
                head = _replace(head, b"content-range", _lied(_field(head, b"content-range") or b""))
            if fault == "whole":
                return self._whole(request)
        self._client.sendall(head)
        if not bodiless and b"chunked" in (_field(head, b"transfer-encoding") or b"").lower():
            for piece in _chunked(self._from_server):
                self._client.sendall(piece)
            return True
        strike = self._proxy.place(length) if fault else -1
        sent = 0
        for chunk in _body(self._from_server, length):
            if fault and sent <= strike < sent + len(chunk):
                chunk = self._strike(fault, chunk, strike - sent, self._client, self._server)
            self._client.sendall(chunk)
            sent += len(chunk)
            self._proxy.passed(self._meter, len(chunk), up=False)
        return True

    def _whole(self, request: bytes) -> bool:
        """Answer a range with everything: ask again on a line of its own, without the range."""
        lines = [line for line in request.split(b"\r\n") if not line.lower().startswith(b"range:")]
        server = socket.create_connection(self._proxy.upstream, timeout=60)
        server.sendall(b"\r\n".join(lines))
        answer = server.makefile("rb")
        head = _head(answer)
        self._client.sendall(head)
        for chunk in _body(answer, _length(head)):
            self._client.sendall(chunk)
            self._proxy.passed(self._meter, len(chunk), up=False)
        server.close()
        raise Broken

    def _strike(
        self, fault: str, chunk: bytes, at: int, client: socket.socket, server: socket.socket
    ) -> bytes:
        """What becomes of the chunk a fault strikes."""
        if fault == "flip":
            spoiled = bytearray(chunk)
            spoiled[at] ^= 1 << self._proxy.place(8)
            return bytes(spoiled)
        if fault == "stall":
            time.sleep(self._proxy.plan.stall)
            raise Broken
        if fault == "drip":
            time.sleep(0.2)
            return chunk
        if fault == "reset":
            _reset(client)
            raise Broken
        if fault in ("close", "truncate"):
            raise Broken
        return chunk


# --- just enough HTTP ----------------------------------------------------------------------------------


def _head(stream: BufferedReader) -> bytes:
    """Start line and fields, up to and with the empty line; b"" at the end of the connection."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline(HEAD)
        if not line:
            return b""
        head += line
        if len(head) > HEAD:
            raise Broken
    return head


def _field(head: bytes, name: bytes) -> bytes | None:
    for line in head.split(b"\r\n")[1:]:
        key, colon, value = line.partition(b":")
        if colon and key.strip().lower() == name:
            return value.strip()
    return None


def _replace(head: bytes, name: bytes, value: bytes) -> bytes:
    lines = head.split(b"\r\n")
    kept = [line for line in lines[:-2] if not line.lower().startswith(name + b":")]
    return b"\r\n".join([*kept, name + b": " + value, b"", b""])


def _length(head: bytes) -> int:
    return int(_field(head, b"content-length") or 0)


def _lied(content_range: bytes) -> bytes:
    """The same range, one byte further on."""
    unit, _, rest = content_range.partition(b" ")
    span, _, whole = rest.partition(b"/")
    first, _, last = span.partition(b"-")
    return b"%s %d-%d/%s" % (unit, int(first) + 1, int(last) + 1, whole)


def _body(stream: BufferedReader, length: int) -> Iterator[bytes]:
    while length:
        chunk = stream.read1(min(CHUNK, length))
        if not chunk:
            raise Broken
        length -= len(chunk)
        yield chunk


def _chunked(stream: BufferedReader) -> Iterator[bytes]:
    while True:
        line = stream.readline(HEAD)
        size = int(line.split(b";")[0], 16)
        data = stream.read(size + 2)
        yield line + data
        if not size:
            return


def _reset(each: socket.socket) -> None:
    """End a connection with RST rather than FIN."""
    with contextlib.suppress(OSError):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        each.shutdown(socket.SHUT_RD)
        each.close()
