"""The sockets that others come to, from `start` to `stop`. aiohttp is the HTTP engine."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiohttp import StreamReader, web

from registry.net.listener.address import Address, Bound
from registry.net.listener.answers import forget_frames
from registry.net.listener.arrivals import Arrivals
from registry.net.listener.connections import FIRST_PIECE, MOST_HEAD, Connection, Connections
from registry.net.listener.driver import Driver, Identify, Prompt
from registry.net.listener.encrypted import Handshakes
from registry.net.listener.limits import Limits
from registry.net.listener.proxies import new_identifier
from registry.net.listener.queues import Queues
from registry.net.listener.record import AccessRecord, Record
from registry.wire.faults import fault
from registry.wire.headers import Headers
from registry.wire.messages import Context, Exchange, Request

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_BUFFER = 32 * 1024  # what the engine may hold of a body: it is lost when the line breaks
_HEAD_BYTES = 16 * 1024  # of one line of a head
_HEAD_LINES = 64
_END = b"\r\n\r\n"  # of a head
_CLOSES = b"\r\nContent-Length: 0\r\nConnection: close" + _END
_REFUSALS = {
    431: b"HTTP/1.1 431 Request Header Fields Too Large" + _CLOSES,
    503: b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2" + _CLOSES,
}
_LOOK_AGAIN = 0.2  # seconds, while it stops
_DEAD_AFTER = (30, 10, 3)  # a line that is silent for 30 s is asked three times, every 10 s, whether it lives


def identify(peer: str, _headers: Headers) -> Context:
    """A request by the connection it came on."""
    return Context(id=new_identifier(), address=peer)


def _untold(_record: AccessRecord) -> None:
    """Keeps no log."""


def _nothing(_request: Request) -> None:
    """For an exchange of which every answer is found by a thread."""


async def _closed() -> None:
    """Has nothing of its own to close."""


class Listener:
    """Serves `exchange` at an address, from `start` to `stop`, in a thread of its own."""

    def __init__(
        self,
        exchange: Exchange,
        bound: Bound | None = None,
        *,
        prompt: Prompt = _nothing,
        record: Record = _untold,
        identify: Identify = identify,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
        closing: Callable[[], Awaitable[None]] = _closed,
    ) -> None:
        """At `bound`, else a free port of the loopback.

        `prompt` is asked first, on the event loop. `record` is told of each request, `identify` makes its
        context; `clock` is for the log. `closing` is awaited on the loop, as the last thing there.
        """
        self._bound = bound or Address().bind()
        self._limits = limits or Limits()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="ferry-listener")
        self.queues = Queues(shared=secrets.randbits(16))
        encrypted = self._bound.address.tls is not None
        self.connections = Connections(self._limits, self._loop.time, encrypted=encrypted)
        self._driver = Driver(
            exchange,
            prompt,
            self.queues,
            self.connections,
            self._limits,
            self._bound.address.scheme,
            identify,
            record,
            clock,
        )
        self._closing = closing
        self._engine: _Engine | None = None
        self._arrivals: Arrivals | None = None
        self._handshakes: Handshakes | None = None

    def start(self) -> int:
        """Begin to answer; the port."""
        self._thread.start()
        self._call(self._listen())
        return self._bound.port

    def stop(self, patience: float = 25.0) -> None:
        """Take no new request, let those that move end for `patience` seconds, then close. Once."""
        self._call(self._drain(patience))
        self._call(self._closing())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.queues.close()

    def _call(self, work: Awaitable[T]) -> T:
        async def run() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    async def _listen(self) -> None:
        self._engine = engine = _Engine(self._driver, self._limits)
        tls = self._bound.address.tls

        def let_in(arrived: socket.socket) -> Awaitable[object]:
            return self._loop.connect_accepted_socket(engine, arrived)

        if tls is not None:
            self._handshakes = Handshakes(self._loop, engine, tls, self._limits)
        entrance = self._handshakes.let_in if self._handshakes is not None else let_in
        self._arrivals = Arrivals(self._loop, self._bound.socket, entrance)
        self._arrivals.start(self._limits.most_waiting())

    async def _drain(self, patience: float) -> None:
        if self._arrivals is not None:
            self._arrivals.close()
        if self._handshakes is not None:
            await self._handshakes.close()
        if self._engine is None:
            return
        self.connections.drain()
        end = self._loop.time() + patience
        while self.connections.busy() and self._loop.time() < end:
            self.connections.close_stalled()
            await asyncio.sleep(_LOOK_AGAIN)
        self.connections.close_all()
        await self._engine.shutdown(timeout=1.0)


class _Engine(web.Server):
    """aiohttp's server, whose connections and complaints are ours."""

    def __init__(self, driver: Driver, limits: Limits) -> None:
        super().__init__(driver.handle)
        self._driver = driver
        self._limits = limits

    def __call__(self) -> web.RequestHandler:
        return _Connected(
            self,
            self._driver,
            loop=asyncio.get_running_loop(),
            access_log=None,
            keepalive_timeout=self._limits.keepalive,
            lingering_time=self._limits.linger,
            max_line_size=_HEAD_BYTES,
            max_field_size=_HEAD_BYTES,
            max_headers=_HEAD_LINES,
            read_bufsize=_BUFFER,
            auto_decompress=False,
            logger=_LOG,
        )

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        _notice_death(transport)
        if self._driver.scheme == "https":
            transport.set_write_buffer_limits(1, 0)  # a write ends when the peer has taken it
        self._driver.connections.opened(handler, transport)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._driver.connections.closed(handler)


class _Connected(web.RequestHandler):
    """One connection of the engine: what it cannot read, and what crashed, is answered and told as ours."""

    __slots__ = ("_body", "_driver", "_unread")

    def __init__(self, engine: _Engine, driver: Driver, **options: object) -> None:
        super().__init__(engine, **options)  # type: ignore[arg-type]  # passed on as they came
        self._driver = driver
        self._body: StreamReader | None = None  # of the last request whose head is whole
        self._unread = 0  # bytes that may be of a head that is not

    def data_received(self, data: bytes) -> None:
        """See to it that a head that is not whole, which the engine keeps, does not grow without end."""
        heads, in_body = self._request_count, self._is_in_body()
        super().data_received(data)
        if self._request_count > heads and self._messages:
            self._body = self._messages[-1][1]
        connection = self._driver.connections.of(self)
        if connection is None:
            return
        if self._is_in_body() or connection.piece > FIRST_PIECE:
            self._unread = 0
        elif in_body or self._request_count > heads:
            self._unread = 0 if data.endswith(_END) else len(data)  # some may be of the next head
        else:
            self._unread += len(data)
        if not self._driver.connections.hold_head(connection, self._unread):
            self._refuse(connection, 431 if self._unread > MOST_HEAD else 503)

    def _refuse(self, connection: Connection, status: int) -> None:
        if connection.task is None:
            connection.transport.write(_REFUSALS[status])
        self._driver.record_unread(str(self.peername[0]) if self.peername else "", status)
        self._driver.connections.refuse(connection)

    def _is_in_body(self) -> bool:
        return self._body is not None and not self._body.is_eof()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The standard error document; a crash goes to the log, a head that cannot be read to its record."""
        if request.writer.output_size > 0:
            raise ConnectionResetError("the answer had begun")
        if status < 500:
            answer = fault("UNSUPPORTED", "this is not an HTTP request that can be answered", status=status)
            self._driver.record_unread(str(request.remote or ""), status)
        else:
            _LOG.error("a request crashed", exc_info=exc)
            forget_frames(exc)
            answer = fault("UNKNOWN", "the server failed; its log says how", status=status)
        assert isinstance(answer.body, bytes)
        outgoing = web.Response(status=status, body=answer.body, headers=dict(answer.headers))
        outgoing.force_close()
        return outgoing


def _notice_death(transport: asyncio.Transport) -> None:
    """Have the system notice within a minute that the other end is gone, where it can."""
    connected = transport.get_extra_info("socket")
    names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
    for name, seconds in zip(names, _DEAD_AFTER, strict=True):
        if connected is not None and hasattr(socket, name):
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)
