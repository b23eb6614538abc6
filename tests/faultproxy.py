"""A seeded proxy between a client and a registry: it delays, limits and breaks what passes.

Every fault of the "Faults" line in BAR.md; which one, when and where comes from one seed.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import halfhttp
from halfhttp import CHUNK, Broken

# An answer instead of the registry's own, before the request's body was read.
REFUSALS = {
    "401": b"401 Unauthorized",  # a token that was good until now has expired; the registry's own challenge
    "403": b"403 Forbidden",
    "416": b"416 Range Not Satisfiable",
    "429": b"429 Too Many Requests\r\nRetry-After: 0",
    "500": b"500 Internal Server Error",
    "503": b"503 Service Unavailable",
}
# What may befall a request that brings a body, one whose answer brings one, and one with neither.
UPLOAD_FAULTS = (
    *("refuse", "reset", "close", "stall", "drip", "flip", "lost", "restart"),
    *("401", "416", "429", "500", "503"),
)
DOWNLOAD_FAULTS = (
    *("refuse", "reset", "close", "stall", "drip", "truncate", "flip", "lie", "whole", "restart"),
    *("401", "416", "429", "500", "503"),
)
SMALL_FAULTS = ("refuse", "lost", "401", "429", "500", "503")
MiB = 1024 * 1024
SOCKET_BUFFER = 128 * 1024  # what is in it when a line breaks has crossed the line for nothing
BODY = 64 * 1024  # a message with less is a small one


@dataclass
class Plan:
    """What goes wrong: `faults` in all; `odds` is the chance that one befalls a small message, or a
    mebibyte of a larger one."""

    seed: int = 0
    faults: int = 0
    up: tuple[str, ...] = UPLOAD_FAULTS
    down: tuple[str, ...] = DOWNLOAD_FAULTS
    small: tuple[str, ...] = SMALL_FAULTS
    odds: float = 0.5
    spare: int = 4  # so many requests pass unharmed: the registry has answered once
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


class FaultProxy:
    """Listens on a loopback port until closed; `port` is what a client is given.

    `upstream` may be said later, and anew: a registry that comes back at another port.
    """

    def __init__(self, plan: Plan | None = None, link: Link | None = None) -> None:
        self.upstream = ("127.0.0.1", 0)
        self.plan = plan or Plan()
        self.link = link or Link()
        self.stats = Stats()
        self.challenge = b""
        self._good: set[bytes] = set()  # tokens the registry has taken
        self._expired: set[bytes] = set()
        self._chance = random.Random(self.plan.seed)
        self._lock = threading.Lock()
        self._total = Meter(self.link.total)
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            self._listener.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening and cut every line."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """End every open connection: the server restarts, the cable is pulled."""
        with self._lock:
            for each in self._open:
                reset(each)

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
            with self._lock:
                self.stats.connections += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError, Broken), contextlib.ExitStack() as undo:
            self._watched(client, undo)
            time.sleep(self.link.latency)
            server = socket.create_connection(self.upstream, timeout=60)
            self._watched(server, undo)
            exchange = Exchange(self, client, server)
            undo.callback(exchange.close)
            while exchange.one():
                pass

    def _watched(self, each: socket.socket, undo: contextlib.ExitStack) -> None:
        undo.callback(each.close)
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._open.add(each)
        undo.callback(self._forget, each)

    def _forget(self, each: socket.socket) -> None:
        with self._lock:
            self._open.discard(each)

    # --- chance ------------------------------------------------------------------------------------

    def choose(
        self, kinds: tuple[str, ...], length: int = 0, *, ranged: bool = False, token: bytes = b""
    ) -> str:
        """The fault that befalls a message with a body of `length` bytes, or ""."""
        plan = self.plan
        with self._lock:
            done = self.stats.faults
            spared = self.stats.requests <= plan.spare or done.total() >= plan.faults
            unharmed = (1 - plan.odds) ** max(1.0, length / MiB)
            if spared or self._chance.random() < unharmed:
                return ""
            never = {
                "flip": done["flip"] >= plan.flips,
                "lie": not ranged,
                "whole": not ranged,
                "401": token not in self._good or not self.challenge,
            }
            possible = [kind for kind in kinds if not never.get(kind)]
            if not possible:
                return ""
            kind = self._chance.choice(possible)
            if kind == "401":
                self._good.discard(token)
                self._expired.add(token)
            done[kind] += 1
            return kind

    def place(self, length: int) -> int:
        """Where in a body of that length a fault strikes."""
        with self._lock:
            return int(self._chance.expovariate(1 / MiB)) % max(length, 1)

    def passed(self, meter: Meter, amount: int, up: bool) -> None:
        """Count, and make it take its time."""
        with self._lock:
            if up:
                self.stats.up += amount
            else:
                self.stats.down += amount
        meter.take(amount)
        self._total.take(amount)

    def asked(self) -> None:
        """Count a request."""
        with self._lock:
            self.stats.requests += 1

    def answered(self, token: bytes, status: int, challenge: bytes | None) -> None:
        """Learn from an answer of the registry's own: which tokens it takes, and how it asks for one."""
        with self._lock:
            self.challenge = challenge or self.challenge
            if token.startswith(b"Bearer ") and status != 401 and token not in self._expired:
                self._good.add(token)


class Exchange:
    """One connection: request after request, until one ends it."""

    def __init__(self, proxy: FaultProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._from_client = client.makefile("rb")
        self._from_server = server.makefile("rb")
        self._meter = Meter(proxy.link.per_connection)

    def close(self) -> None:
        """Let go of both sockets' files, or they would stay open."""
        self._from_client.close()
        self._from_server.close()

    def one(self) -> bool:
        """One request and its answer; False when the connection ended in peace."""
        request = halfhttp.head(self._from_client)
        if not request:
            return False
        proxy = self._proxy
        proxy.asked()
        length = halfhttp.length(request)
        token = halfhttp.field(request, b"authorization") or b""
        fault = ""
        if length >= BODY:
            fault = proxy.choose(proxy.plan.up, length, token=token)
        elif halfhttp.field(request, b"range") is None:
            fault = proxy.choose(proxy.plan.small, token=token)
        time.sleep(proxy.link.latency)
        self._before(fault)
        self._up(request, length, fault)
        return self._down(request, fault)

    def _before(self, fault: str) -> None:
        """Faults that let nothing pass."""
        if fault == "refuse":
            reset(self._client)
            raise Broken
        if fault in REFUSALS:
            self._refuse(fault)

    def _refuse(self, fault: str) -> None:
        """An early answer while the body is still going out, then the end of the connection."""
        challenge = b"\r\nWWW-Authenticate: " + self._proxy.challenge if fault == "401" else b""
        rest = b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        self._client.sendall(b"HTTP/1.1 " + REFUSALS[fault] + challenge + rest)
        self._client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            self._client.settimeout(1)
            self._client.recv(CHUNK)
        raise Broken

    # --- upwards -----------------------------------------------------------------------------------

    def _up(self, request: bytes, length: int, fault: str) -> None:
        self._server.sendall(request)
        if fault == "lost":
            fault = ""  # it befalls the answer
        strike = self._proxy.place(length) if fault else -1
        sent = 0
        for chunk in halfhttp.body(self._from_client, length):
            if fault and sent <= strike < sent + len(chunk):
                chunk = self._strike(fault, chunk, strike - sent, self._server)
            self._server.sendall(chunk)
            sent += len(chunk)
            self._proxy.passed(self._meter, len(chunk), up=True)

    # --- downwards ---------------------------------------------------------------------------------

    def _down(self, request: bytes, fault: str) -> bool:
        head = halfhttp.final_head(self._from_server)
        if not head or fault == "lost":
            raise Broken
        status = halfhttp.status(head)
        bodiless = request.startswith(b"HEAD ") or status in (204, 304)
        length = 0 if bodiless else halfhttp.length(head)
        fault = self._down_fault(request, status, length)
        self._before(fault)
        if fault == "close":
            raise Broken
        if fault == "lie":
            told = halfhttp.field(head, b"content-range") or b""
            head = halfhttp.replaced(head, b"content-range", halfhttp.lied(told))
        if fault == "whole":
            self._whole(request)
        self._client.sendall(head)
        token = halfhttp.field(request, b"authorization") or b""
        self._proxy.answered(token, status, halfhttp.field(head, b"www-authenticate"))
        if not bodiless and halfhttp.is_chunked(head):
            for piece in halfhttp.chunks(self._from_server):
                self._client.sendall(piece)
        else:
            self._down_body(length, fault)
        return True

    def _down_fault(self, request: bytes, status: int, length: int) -> str:
        """What befalls an answer: only blobs are worth it."""
        if not request.startswith(b"GET ") or status not in (200, 206) or length < BODY:
            return ""
        ranged = halfhttp.field(request, b"range") is not None
        token = halfhttp.field(request, b"authorization") or b""
        return self._proxy.choose(self._proxy.plan.down, length, ranged=ranged, token=token)

    def _down_body(self, length: int, fault: str) -> None:
        strike = self._proxy.place(length) if fault else -1
        sent = 0
        for chunk in halfhttp.body(self._from_server, length):
            if fault and sent <= strike < sent + len(chunk):
                chunk = self._strike(fault, chunk, strike - sent, self._client)
            self._client.sendall(chunk)
            sent += len(chunk)
            self._proxy.passed(self._meter, len(chunk), up=False)

    def _whole(self, request: bytes) -> None:
        """Answer a range with everything: ask again on a line of its own, without the range."""
        with contextlib.ExitStack() as undo:
            server = undo.enter_context(socket.create_connection(self._proxy.upstream, timeout=60))
            server.sendall(halfhttp.without(request, b"range"))
            answer = undo.enter_context(server.makefile("rb"))
            head = halfhttp.head(answer)
            self._client.sendall(head)
            for chunk in halfhttp.body(answer, halfhttp.length(head)):
                self._client.sendall(chunk)
                self._proxy.passed(self._meter, len(chunk), up=False)
        raise Broken

    # --- in the middle -----------------------------------------------------------------------------

    def _strike(self, fault: str, chunk: bytes, at: int, towards: socket.socket) -> bytes:
        """What becomes of the chunk a fault strikes."""
        if fault == "flip":
            spoiled = bytearray(chunk)
            spoiled[at] ^= 1
            return bytes(spoiled)
        if fault == "drip":
            for start in range(64):
                towards.sendall(chunk[start : start + 1])
                time.sleep(0.01)
            return chunk[64:]
        towards.sendall(chunk[:at])  # what came before arrives
        if fault == "stall":
            time.sleep(self._proxy.plan.stall)
            raise Broken
        if fault == "restart":
            self._proxy.cut()
            raise Broken
        if fault == "reset":
            reset(self._client)
            reset(self._server)
            raise Broken
        if fault in ("close", "truncate"):
            raise Broken
        return chunk[at:]


def reset(each: socket.socket) -> None:
    """End a connection with RST rather than FIN, as soon as it is closed; wake whoever uses it."""
    with contextlib.suppress(OSError):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        each.shutdown(socket.SHUT_RD)
