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
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader

import halfhttp
from faultplan import LATER_FAULTS, Link, Plan, Stats
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
MiB = 1024 * 1024
SOCKET_BUFFER = 128 * 1024  # what is in it when a line breaks has crossed the line for nothing
SMALL_BODY = 64 * 1024  # a message with less is a small one
LOST_BODY = 4 * MiB  # the answer to a longer one is never lost: nothing else would befall the body


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
        self._challenges: dict[bool, bytes] = {}  # the registry's own, to what only reads and to what writes
        self._good: dict[bytes, bytes] = {}  # tokens the client has seen taken, and the challenge to each
        self._expired: dict[bytes, bytes] = {}
        self._chance = random.Random(self.plan.seed)
        self._lock = threading.Lock()
        self._total = Meter(self.link.total)
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        if self.plan.faults:  # a line that only limits has the buffers of any line
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
                "lost": length > LOST_BODY,
                "lie": not ranged,
                "whole": not ranged,
                "401": token not in self._good,
            }
            possible = [kind for kind in kinds if not never.get(kind)]
            if not possible:
                return ""
            kind = self._chance.choice(possible)
            if kind == "401":
                self._expired[token] = self._good.pop(token)
            done[kind] += 1
            return kind

    def distance(self) -> int:
        """How many bytes pass until the next fault strikes."""
        with self._lock:
            return int(self._chance.expovariate(1 / MiB))

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

    def answered(self, writes: bool, token: bytes, status: int, challenge: bytes | None) -> None:
        """Learn from an answer of the registry's own: which tokens it takes, and how it asks for one."""
        with self._lock:
            if challenge:
                self._challenges[writes] = challenge
            good = token.startswith(b"Bearer ") and status != 401 and token not in self._expired
            if good and writes in self._challenges:
                self._good[token] = self._challenges[writes]

    def challenge(self, token: bytes) -> bytes:
        """What the registry asks whoever comes with a token that has expired."""
        with self._lock:
            return self._expired[token]


@dataclass
class Body:
    """So many bytes on their way from a stream to a socket, and what may befall them."""

    stream: BufferedReader
    towards: socket.socket
    length: int
    kinds: tuple[str, ...]

    @property
    def later(self) -> tuple[str, ...]:
        """What may befall it once it is under way: a small one nothing."""
        return tuple(kind for kind in self.kinds if kind in LATER_FAULTS and self.length >= SMALL_BODY)


class Exchange:
    """One connection: request after request, until one ends it."""

    def __init__(self, proxy: FaultProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._from_client = client.makefile("rb")
        self._from_server = server.makefile("rb")
        self._meter = Meter(proxy.link.per_connection)
        self._answer: tuple[bool, bytes, int, bytes | None] = False, b"", 0, None

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
        proxy.answered(*self._answer)  # who asks again on this line has read the last answer
        proxy.asked()
        length = halfhttp.length(request)
        token = halfhttp.field(request, b"authorization") or b""
        fault = ""
        if length >= SMALL_BODY:
            fault = proxy.choose(proxy.plan.up, length, token=token)
        elif halfhttp.field(request, b"range") is None:
            fault = proxy.choose(proxy.plan.small, token=token)
        time.sleep(proxy.link.latency)
        self._before(fault, token)
        self._up(request, length, fault)
        return self._down(request, fault)

    def _before(self, fault: str, token: bytes) -> None:
        """Faults that let nothing pass."""
        if fault == "refuse":
            reset(self._client)
            raise Broken
        if fault in REFUSALS:
            self._refuse(fault, token)

    def _refuse(self, fault: str, token: bytes) -> None:
        """An early answer while the body is still going out, then the end of the connection."""
        challenge = b"\r\nWWW-Authenticate: " + self._proxy.challenge(token) if fault == "401" else b""
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
        lost = fault == "lost"  # it befalls the answer
        body = Body(self._from_client, self._server, length, () if lost else self._proxy.plan.up)
        for chunk in self._struck(body, "" if lost else fault):
            self._send(chunk, self._server)

    # --- downwards ---------------------------------------------------------------------------------

    def _down(self, request: bytes, fault: str) -> bool:
        head = halfhttp.final_head(self._from_server)
        if not head or fault == "lost":
            raise Broken
        status = halfhttp.status(head)
        bodiless = request.startswith(b"HEAD ") or status in (204, 304)
        length = 0 if bodiless else halfhttp.length(head)
        fault = self._down_fault(request, status, length)
        token = halfhttp.field(request, b"authorization") or b""
        self._before(fault, token)
        if fault == "close":
            raise Broken
        if fault == "lie":
            told = halfhttp.field(head, b"content-range") or b""
            head = halfhttp.replaced(head, b"content-range", halfhttp.lied(told))
        if fault == "whole":
            self._whole(request)
        self._client.sendall(head)
        writes = not request.startswith((b"GET ", b"HEAD ")) or b"/uploads/" in request.partition(b"\r\n")[0]
        self._answer = writes, token, status, halfhttp.field(head, b"www-authenticate")
        if not bodiless and halfhttp.is_chunked(head):
            for piece in halfhttp.chunks(self._from_server):
                self._client.sendall(piece)
        else:
            self._down_body(self._from_server, length, fault)
        return True

    def _down_fault(self, request: bytes, status: int, length: int) -> str:
        """What befalls an answer: only blobs are worth it."""
        if not request.startswith(b"GET ") or status not in (200, 206) or length < SMALL_BODY:
            return ""
        ranged = halfhttp.field(request, b"range") is not None
        token = halfhttp.field(request, b"authorization") or b""
        return self._proxy.choose(self._proxy.plan.down, length, ranged=ranged, token=token)

    def _down_body(self, stream: BufferedReader, length: int, fault: str) -> None:
        body = Body(stream, self._client, length, self._proxy.plan.down)
        for chunk in self._struck(body, fault):
            self._send(chunk, self._client)

    def _whole(self, request: bytes) -> None:
        """Answer a range with everything: ask again on a line of its own, without the range."""
        with contextlib.ExitStack() as undo:
            server = undo.enter_context(socket.create_connection(self._proxy.upstream, timeout=60))
            server.sendall(halfhttp.without(request, b"range"))
            answer = undo.enter_context(server.makefile("rb"))
            head = halfhttp.head(answer)
            self._client.sendall(head)
            self._down_body(answer, halfhttp.length(head), "")
        raise Broken

    # --- in the middle -----------------------------------------------------------------------------

    def _send(self, chunk: bytes, towards: socket.socket) -> None:
        towards.sendall(chunk)
        self._proxy.passed(self._meter, len(chunk), up=towards is self._server)

    def _struck(self, body: Body, fault: str) -> Iterator[bytes]:
        """A body's chunks and what befalls them: `fault` first, and others while it goes on."""
        distance = self._proxy.distance()
        sent, strike = 0, distance % max(body.length, 1) if fault else distance
        for chunk in halfhttp.body(body.stream, body.length):
            end = sent + len(chunk)
            if strike < end:
                fault = fault or self._proxy.choose(body.later, body.length - sent)
                if fault:
                    chunk = self._strike(fault, chunk, strike - sent, body.towards)
                fault, strike = "", end + self._proxy.distance()
            yield chunk
            sent = end

    def _strike(self, fault: str, chunk: bytes, at: int, towards: socket.socket) -> bytes:
        """What becomes of the chunk a fault strikes."""
        if fault == "flip":
            spoiled = bytearray(chunk)
            spoiled[at] ^= 1
            return bytes(spoiled)
        if fault == "drip":
            for start in range(64):
                self._send(chunk[start : start + 1], towards)
                time.sleep(0.01)
            return chunk[64:]
        self._send(chunk[:at], towards)  # what came before arrives
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
