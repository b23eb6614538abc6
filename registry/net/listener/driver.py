"""Drives one request through the exchange: its head first, its body only after a yes, then the answer.

Nothing here knows what a registry is; no peer ever holds a thread (DESIGN, rules 15 and 16).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from aiohttp import ClientError, web
from aiohttp.http import HttpProcessingError, HttpVersion11

from registry.errors import InvalidError, RegistryError
from registry.net.listener.answers import Answerer, forget_frames
from registry.net.listener.connections import FIRST_PIECE, Connection, Connections
from registry.net.listener.limits import Limits
from registry.net.listener.queues import QueueFullError, Queues, Work, work_of
from registry.net.listener.record import AccessRecord, Record
from registry.wire.faults import answer_to, fault
from registry.wire.headers import Headers
from registry.wire.messages import Accept, Context, Exchange, Later, Request, Response
from registry.wire.redirects import shown

PIECE = 1024 * 1024  # what a thread writes at once
_LARGE = 256 * 1024  # bytes of a body from which on they are parsed one at a time: that multiplies them
_NO_MORE = 0.05  # seconds after a write in which nothing came: what came while it ran is written then
_WANTED = 256 * 1024  # bytes that are received at once of a body that is taken
_PATH_BYTES = 1024  # of each in the log, of which thousands may wait in memory
_SHORT = 64 * 1024  # bytes of a blob up to which it is soon written
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,512}")
_NOT_WAITED = 499  # nginx's number for a client that was gone before the answer
GONE = (ClientError, ConnectionError, HttpProcessingError, TimeoutError, web.RequestPayloadError)

Prompt = Callable[[Request], Response | Accept | Later | None]
"""Answers what takes no time, or waits for others, on the event loop; None for everything else."""

Identify = Callable[[str, Headers], Context]
"""The context of a request, from the address of the connection's other end and the request's headers."""


@dataclass(slots=True)
class Driver:
    """What all requests of a listener share."""

    exchange: Exchange
    prompt: Prompt
    queues: Queues
    connections: Connections
    limits: Limits
    scheme: str
    identify: Identify
    record: Record
    clock: Callable[[], float]
    one_large: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))

    async def handle(self, incoming: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        connection = self.connections.of(incoming.protocol)
        if connection is None:
            raise asyncio.CancelledError  # closed before its request began, as others are in the middle of it
        connection.task = asyncio.current_task()
        try:
            return await _Driven(self, incoming, connection).answered()
        finally:
            connection.task, connection.relays = None, False
            self.connections.moved(connection)

    def record_unread(self, peer: str, status: int) -> None:
        """Tell the log of what was no request that can be read."""
        context = self.identify(peer, Headers())
        record = AccessRecord(id=context.id, peer=peer, address=context.address, status=status)
        self.record(record)

    def read(self, incoming: web.BaseRequest) -> Request:
        """What was asked, without its body. InvalidError for what cannot be a request to us."""
        headers = Headers(
            (name.decode("ascii", "replace"), value.decode("latin-1")) for name, value in incoming.raw_headers
        )
        hosts = headers.all("Host")
        if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
            raise InvalidError("a request must say one host")
        target = incoming.raw_path
        if not target.startswith("/"):
            raise InvalidError("a request must ask for a path")
        length = incoming.content_length
        if length is None and not incoming.body_exists:
            length = 0
        url = f"{self.scheme}://{hosts[0]}{target}"
        context = self.identify(str(incoming.remote or ""), headers)
        return Request(incoming.method, url, headers, length=length, context=context)


@dataclass(slots=True)
class _Driven:
    """One request on its way through."""

    driver: Driver
    incoming: web.BaseRequest
    connection: Connection
    received: int = 0
    is_short: bool = False  # its body is only written, and small
    closed: bool = False  # the intake of its body, or it is about to be

    async def answered(self) -> web.StreamResponse:
        """Ask the exchange, send what it says, and tell the log: also of a crash, which is a 500."""
        driver = self.driver
        began, status, context = driver.clock(), 500, Context()
        answerer = Answerer(self.incoming, self.connection, driver.connections, driver.queues, driver.limits)
        try:
            try:
                request = driver.read(self.incoming)
                context = request.context
                response = await self._response(request)
            except InvalidError as error:
                context = driver.identify(str(self.incoming.remote or ""), Headers())
                response = answer_to(error)
            return await answerer.send(response, context.id)
        except asyncio.CancelledError:
            status = _NOT_WAITED if self.connection.relays else 503
            raise
        finally:
            self._tell(context, answerer.status or status, answerer, driver.clock() - began)

    def _tell(self, context: Context, status: int, answerer: Answerer, seconds: float) -> None:
        record = AccessRecord(
            id=context.id,
            peer=str(self.incoming.remote or ""),
            address=context.address,
            method=self.incoming.method,
            path=shown(self.incoming.raw_path[:_PATH_BYTES]),
            route=context.route,
            repository=context.repository,
            user=context.user,
            credential=context.credential,
            status=status,
            received=self.received,
            sent=answerer.sent,
            seconds=seconds,
            whole=answerer.whole,
        )
        self.driver.record(record)

    async def _response(self, request: Request) -> Response:
        try:
            answer = await self._asked(request)
        except QueueFullError:
            return busy()
        if isinstance(answer, Response):
            return answer
        if isinstance(answer, Later):
            return await self._relayed(answer, request)
        try:
            return await self._take(answer, request)
        finally:
            if not self.closed:
                await self.driver.queues.run(Work.WRITING, answer.intake.close)

    async def _asked(self, request: Request) -> Response | Accept | Later:
        """The exchange's answer to the head."""
        queues, work = self.driver.queues, work_of(request)
        at_once = self.driver.prompt(request)
        if isinstance(at_once, Accept) and queues.full(work):
            at_once.intake.close()
            raise QueueFullError(work.value)
        if at_once is not None:
            return at_once
        ask = partial(self._ask, request)
        if work is not Work.HEALTH:
            return await queues.enter(work, ask)
        try:
            return await queues.within(self.driver.limits.health, work, ask)
        except TimeoutError:
            return busy("the registry's database does not answer")

    def _ask(self, request: Request) -> Response | Accept:
        try:
            return self.driver.exchange(request)
        except RegistryError as error:
            return answer_to(error)

    # --- what comes in -----------------------------------------------------------------------------

    async def _relayed(self, later: Later, request: Request) -> Response:
        """Take the body into memory, and wait for the answer of another until the client goes."""
        held = later.limit if request.length is None else request.length
        if held > later.limit:
            return later.told(_too_much(later.limit))
        if not self.driver.connections.take(self.connection, held):
            return later.told(busy("too much is being sent at once"))
        try:
            body = await self._gathered(later) if held else b""
            if body is None:
                return later.told(fault("UNKNOWN", "the request's body did not arrive in time", status=408))
            if len(body) > later.limit:
                return later.told(_too_much(later.limit))
            self.connection.relays = True
            return await later.answer(body)
        finally:
            self.driver.connections.give(self.connection, held)

    async def _gathered(self, later: Later) -> bytes | None:
        """The body, or its beginning where it is larger than it may be; None if it did not arrive."""
        self._go_on()
        arriving, pieces = _Arriving(self), []
        try:
            async with asyncio.timeout(later.seconds):
                while self.received <= later.limit and (data := await arriving.next()):
                    pieces.append(data)
        except GONE:
            return None
        return b"".join(pieces)

    async def _take(self, accept: Accept, request: Request) -> Response:
        """Feed what arrives to the intake, then ask for the answer. What came before a break is fed too."""
        if (request.length or 0) > accept.limit:
            return accept.told(_too_much(accept.limit))
        self.is_short = not accept.in_memory and 0 < (request.length or 0) <= _SHORT
        held = 0
        if accept.in_memory:
            held = accept.limit if request.length is None else request.length
            if not self.driver.connections.take(self.connection, held):
                return busy("too much is being sent at once")
        self._go_on()
        if not accept.in_memory:
            self.connection.receive(_WANTED)
        try:
            async with asyncio.timeout(accept.seconds):
                unwritten = await self._feed(accept)
            if unwritten is None:
                return fault("BLOB_UPLOAD_INVALID", "the request broke off; what arrived is kept", status=400)
            if self.received > accept.limit:
                return accept.told(_too_much(accept.limit))
            return await self._then(accept, unwritten)
        except TimeoutError:
            late = fault("UNKNOWN", f"the body did not arrive within {accept.seconds:.0f} s", status=408)
            return accept.told(late)
        except RegistryError as error:
            forget_frames(error)
            return answer_to(error)
        finally:
            self.connection.receive(FIRST_PIECE)
            self.driver.connections.give(self.connection, held)

    async def _then(self, accept: Accept, unwritten: list[bytes]) -> Response:
        """Hash what is left in steps, so that many who wait get their turns, then ask for the answer."""
        queues = self.driver.queues
        if accept.hash_more is not None:
            await queues.run(Work.WRITING, partial(_write, accept, unwritten))
            unwritten = []
            while await queues.run(Work.HASHING, accept.hash_more):
                pass
        self.closed = True
        end = partial(_end, accept, unwritten)
        if not accept.in_memory or self.received <= _LARGE:
            return await queues.run(Work.WRITING, end, short=self.is_short)
        async with self.driver.one_large:
            return await queues.run(Work.WRITING, end)

    async def _feed(self, accept: Accept) -> list[bytes] | None:
        """Write what arrives, about PIECE at a time, while more arrives; the end of it, not yet written.

        None if the request broke off: then all that came is written, as where no more comes for a while.
        """
        writer = _Writer(self.driver.queues, accept, self.is_short)
        broken = False
        try:
            arriving = _Arriving(self)
            while self.received <= accept.limit and (data := await arriving.next()):
                if self.incoming.content.at_eof():
                    writer.keep(data)  # the end of it is written by who answers
                    break
                await writer.take(data)
        except GONE:
            # What came before the break is still in the engine's buffer, but its readers only raise.
            writer.keep(self.incoming.content._read_nowait(-1))
            broken = True
        finally:
            end = await writer.end()
        if not broken:
            return end
        await self.driver.queues.run(Work.WRITING, partial(_write, accept, end))
        return None

    def _go_on(self) -> None:
        """Tell a client that waits before it sends (RFC 9110 section 10.1.1), and speaks HTTP/1.1."""
        expects = self.incoming.headers.get("Expect", "").lower() == "100-continue"
        knows = self.incoming.version >= HttpVersion11
        if expects and knows and self.incoming.transport is not None:
            self.incoming.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


class _Arriving:
    """The bytes of a body; TimeoutError when fewer than a trickle come."""

    def __init__(self, driven: _Driven) -> None:
        self._driven = driven
        self._limits = driven.driver.limits
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + self._limits.body
        self._since = 0

    async def next(self) -> bytes:
        """What has come, at least one byte; b"" at the end."""
        driven = self._driven
        data = driven.incoming.content.read_nowait()
        if not data:
            driven.connection.waits = True
            try:
                async with asyncio.timeout_at(self._deadline):
                    data = await driven.incoming.content.readany()
            finally:
                driven.connection.waits = False
        driven.driver.connections.moved(driven.connection)
        driven.received += len(data)
        self._since += len(data)
        if self._since >= self._limits.trickle:
            self._since, self._deadline = 0, self._loop.time() + self._limits.body
        return data


class _Writer:
    """Has the pieces of a body written, one call at a time: what comes meanwhile is written by the next."""

    def __init__(self, queues: Queues, accept: Accept, is_short: bool) -> None:
        self._queues = queues
        self._accept = accept
        self._is_short = is_short
        self._held: list[bytes] = []
        self._writing: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None

    def keep(self, data: bytes) -> None:
        """Write it with what comes next, or in the end."""
        self._held.append(data)

    async def take(self, data: bytes) -> None:
        """Write it soon; while much waits, this does. What the intake raises."""
        self._held.append(data)
        if self._writing is None or self._writing.done() or sum(map(len, self._held)) >= PIECE:
            if self._writing is not None:
                await self._writing
            self._write()

    async def end(self) -> list[bytes]:
        """What is not written, once nothing is being written any more. What the intake raises."""
        if self._later is not None:
            self._later.cancel()
        left, self._held = self._held, []
        if self._writing is not None:
            await self._writing
        return left

    def _write(self) -> None:
        if self._later is not None:
            self._later.cancel()
        call = partial(_write, self._accept, self._held)
        self._held = []
        self._writing = asyncio.ensure_future(self._queues.run(Work.WRITING, call, short=self._is_short))
        self._writing.add_done_callback(self._written)

    def _written(self, writing: asyncio.Task[None]) -> None:
        """What came meanwhile, and waits for nothing else, is written after a while."""
        if writing is self._writing and self._held and not writing.cancelled() and not writing.exception():
            self._later = asyncio.get_running_loop().call_later(_NO_MORE, self._write)


def busy(why: str = "the registry is busy") -> Response:
    """503, and when to ask again."""
    return fault("UNAVAILABLE", why, headers={"Retry-After": "2"})


def _too_much(limit: int) -> Response:
    return fault("SIZE_INVALID", f"this body may have at most {limit} bytes", status=413)


def _write(accept: Accept, pieces: list[bytes]) -> None:
    if pieces:
        accept.intake.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))


def _end(accept: Accept, pieces: list[bytes]) -> Response:
    """The answer, once the last bytes are written; nothing more will come."""
    try:
        _write(accept, pieces)
        return accept.then()
    finally:
        accept.intake.close()
