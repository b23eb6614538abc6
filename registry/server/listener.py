"""The sockets of the embedded registry: drives an exchange for every request, and never lets a peer hold
a thread. aiohttp is the HTTP engine; nothing here knows what a registry is, but for where blobs come in.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from aiohttp import ClientError, web
from aiohttp.http import HttpProcessingError

from registry.contracts import Clock
from registry.disk import files
from registry.errors import InvalidError, RegistryError, StorageError
from registry.model.spans import FileSpan
from registry.wire import routes
from registry.wire.faults import answer_to, fault
from registry.wire.headers import Headers
from registry.wire.messages import BODY_BYTES, Accept, Exchange, Request, Response
from registry.wire.redirects import shown
from registry.wire.routes import Route

T = TypeVar("T")

PIECE = 1024 * 1024  # what a thread writes or reads at once
_THREADS = 16
_BUFFER = 64 * 1024  # what the engine may hold of a body: it is lost when the line breaks
_HEAD_BYTES = 16 * 1024
_KEEPALIVE = 75.0
_IDLE = 120.0  # seconds without a byte after which a body is given up
_LINGER = 10.0  # seconds that what is left of a refused body is read, so that the refusal is seen
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,512}")
_GONE = (ClientError, ConnectionError, HttpProcessingError, TimeoutError, web.RequestPayloadError)


@dataclass(frozen=True, slots=True)
class Served:
    """One request that was answered: sizes of the bodies in bytes, time in seconds; no secrets."""

    peer: str
    method: str
    path: str
    status: int
    received: int
    sent: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; port 0 takes a free one. `tls` for HTTPS."""

    host: str = "127.0.0.1"
    port: int = 0
    tls: ssl.SSLContext | None = None

    @property
    def scheme(self) -> str:
        """What clients speak."""
        return "https" if self.tls else "http"


def tls_from(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer with the certificate chain and unencrypted key in two PEM files. InvalidError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2

    def no_password() -> str:
        raise InvalidError(f"{key} is encrypted", hint="give a key without a password: openssl pkey")

    try:
        context.load_cert_chain(certificate, key, no_password)
    except (ssl.SSLError, OSError) as error:
        why = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        raise InvalidError(
            f"reading the certificate {certificate} and its key {key}: {why or error}",
            hint="both are PEM files, and the key is the certificate's own",
        ) from None
    return context


class Listener:
    """Serves `exchange` at an address, from `start` to `stop`, in a thread of its own."""

    def __init__(
        self,
        exchange: Exchange,
        address: Address | None = None,
        *,
        served: Callable[[Served], None] = lambda _: None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._exchange = exchange
        self._address = address or Address()
        self._served = served
        self._clock = clock
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="ferry-serve")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: web.Server | None = None
        self._sockets: asyncio.Server | None = None
        self._running: set[asyncio.Task[object]] = set()

    def start(self) -> int:
        """Begin to listen; the port. InvalidError if the address is taken or not ours."""
        self._thread.start()
        try:
            return self._call(self._listen())
        except OSError as error:
            self.stop(0)
            where = f"{self._address.host}:{self._address.port}"
            raise InvalidError(
                f"listening on {where}: {error.strerror or error}",
                hint="another program may use that port: choose one with --listen HOST:PORT",
            ) from None

    def stop(self, patience: float = 30.0) -> None:
        """Take no new connection, let running requests end for `patience` seconds, then close. Once."""
        self._call(self._drain(patience))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._pool.shutdown()

    def _call(self, work: Awaitable[T]) -> T:
        async def run() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    async def _listen(self) -> int:
        self._server = web.Server(
            self._handle,
            access_log=None,
            keepalive_timeout=_KEEPALIVE,
            lingering_time=_LINGER,
            max_line_size=_HEAD_BYTES,
            max_field_size=_HEAD_BYTES,
            read_bufsize=_BUFFER,
            auto_decompress=False,
        )
        self._sockets = await self._loop.create_server(
            self._server, self._address.host, self._address.port, ssl=self._address.tls, backlog=1024
        )
        port: int = self._sockets.sockets[0].getsockname()[1]
        return port

    async def _drain(self, patience: float) -> None:
        if self._sockets is not None:
            self._sockets.close()
        if self._running:
            await asyncio.wait(self._running, timeout=patience)
        if self._server is not None:
            await self._server.shutdown(timeout=1.0)

    # --- one request -------------------------------------------------------------------------------

    async def _handle(self, incoming: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        if task is not None:
            self._running.add(task)
        try:
            return await _Visit(self, incoming).serve()
        finally:
            if task is not None:
                self._running.discard(task)

    def in_pool(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """`call()` in a thread, for as long as the disk takes and no longer."""
        return self._loop.run_in_executor(self._pool, call)

    def read(self, incoming: web.BaseRequest) -> Request:
        """What was asked, without its body. InvalidError for what cannot be a request to us."""
        hosts = incoming.headers.getall("Host", [])
        if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
            raise InvalidError("a request must say one host")
        target = incoming.raw_path
        if not target.startswith("/"):
            raise InvalidError("a request must ask for a path")
        headers = Headers(
            (name.decode("ascii", "replace"), value.decode("latin-1")) for name, value in incoming.raw_headers
        )
        url = f"{self._address.scheme}://{hosts[0]}{target}"
        length = incoming.content_length
        if length is None and not incoming.body_exists:
            length = 0
        return Request(incoming.method, url, headers, length=length)

    def ask(self, request: Request) -> Response | Accept:
        """The exchange's answer; one that fails has a bug, and says only that."""
        try:
            return self._exchange(request)
        except RegistryError as error:
            return answer_to(error)

    def done(
        self, incoming: web.BaseRequest, response: Response, received: int, sent: int, began: float
    ) -> None:
        """Tell whoever keeps the log."""
        path = shown(incoming.raw_path[:_HEAD_BYTES])
        seconds = self._clock() - began
        peer = str(incoming.remote or "")
        self._served(Served(peer, incoming.method, path, response.status, received, sent, seconds))

    def now(self) -> float:
        """Seconds, for the log."""
        return self._clock()


@dataclass(slots=True)
class _Visit:
    """One request on its way through."""

    listener: Listener
    incoming: web.BaseRequest
    received: int = 0
    sent: int = 0
    began: float = field(default=0.0)

    async def serve(self) -> web.StreamResponse:
        """Answer it, and tell the log."""
        self.began = self.listener.now()
        response = Response(400)
        try:
            response = await self._response()
            return await self._send(response)
        finally:
            self.listener.done(self.incoming, response, self.received, self.sent, self.began)

    async def _response(self) -> Response:
        try:
            request = self.listener.read(self.incoming)
        except InvalidError as error:
            return answer_to(error)
        if not _brings_a_blob(request):
            try:
                body = await self._small_body()
            except _GONE:
                return fault("UNKNOWN", "the request broke off", status=400)
            if body is None:
                return fault("SIZE_INVALID", f"more than {BODY_BYTES} bytes", status=413)
            request = replace(request, body=body)
        answer = await self.listener.in_pool(lambda: self.listener.ask(request))
        if isinstance(answer, Response):
            return answer
        try:
            return await self._take(answer, request)
        finally:
            await self.listener.in_pool(answer.intake.close)

    # --- what comes in -----------------------------------------------------------------------------

    async def _small_body(self) -> bytes | None:
        """The body, or None if it has more than BODY_BYTES."""
        if (self.incoming.content_length or 0) > BODY_BYTES:
            return None
        self._go_on()
        body = bytearray()
        while data := await self._arriving():
            body += data
            if len(body) > BODY_BYTES:
                return None
        return bytes(body)

    async def _take(self, accept: Accept, request: Request) -> Response:
        """Feed what arrives to the intake, then ask for the answer. What came before a break is fed too."""
        if (request.length or 0) > accept.limit:
            return fault("SIZE_INVALID", f"a blob has at most {accept.limit} bytes", status=413)
        self._go_on()
        try:
            if not await self._feed(accept):
                return fault("BLOB_UPLOAD_INVALID", "the request broke off; what arrived is kept", status=400)
            if self.received > accept.limit:
                return fault("SIZE_INVALID", f"a blob has at most {accept.limit} bytes", status=413)
            return await self.listener.in_pool(accept.then)
        except RegistryError as error:
            return answer_to(error)

    async def _feed(self, accept: Accept) -> bool:
        """Write what arrives, about PIECE at a time, while more arrives. False if the request broke off."""
        held: list[bytes] = []
        writing: asyncio.Future[None] | None = None
        whole = True
        try:
            while self.received <= accept.limit and (data := await self._arriving()):
                held.append(data)
                if writing is None or writing.done() or sum(map(len, held)) >= PIECE:
                    if writing is not None:
                        await writing
                    writing, held = self.listener.in_pool(partial(_write, accept, held)), []
        except _GONE:
            whole = False
            # What came before the break is still in the engine's buffer, but its readers only raise.
            held.append(self.incoming.content._read_nowait(-1))
        finally:
            if writing is not None:
                await writing
        await self.listener.in_pool(partial(_write, accept, held))
        return whole

    async def _arriving(self) -> bytes:
        async with asyncio.timeout(_IDLE):
            data = await self.incoming.content.readany()
        self.received += len(data)
        return data

    def _go_on(self) -> None:
        """Tell a client that waits before it sends (RFC 9110 section 10.1.1)."""
        expects = self.incoming.headers.get("Expect", "").lower() == "100-continue"
        if expects and self.incoming.transport is not None:
            self.incoming.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # --- what goes out -----------------------------------------------------------------------------

    async def _send(self, response: Response) -> web.StreamResponse:
        outgoing = web.StreamResponse(status=response.status)
        for name, value in response.headers:
            outgoing.headers.add(name, value)
        bodiless = self.incoming.method == "HEAD" or response.status in (204, 304)
        if response.status != 204 and response.length is not None:
            outgoing.content_length = response.length
        with contextlib.suppress(*_GONE):
            await outgoing.prepare(self.incoming)
            if not bodiless:
                await self._send_body(outgoing, response)
            await outgoing.write_eof()
        return outgoing

    async def _send_body(self, outgoing: web.StreamResponse, response: Response) -> None:
        body = response.body
        if isinstance(body, bytes):
            await outgoing.write(body)
            self.sent += len(body)
        elif isinstance(body, FileSpan):
            await self._send_file(outgoing, body)
        else:
            await self._send_pieces(outgoing, body)

    async def _send_file(self, outgoing: web.StreamResponse, span: FileSpan) -> None:
        """From the disk to the socket without passing through memory, where the line is not encrypted."""
        transport = self.incoming.transport
        if transport is None or not span.length:
            return
        try:
            if transport.get_extra_info("sslcontext") is not None:
                await self._send_pieces(outgoing, files.read_span(span))
                return
            file = await self.listener.in_pool(lambda: files.open_for_reading(span.path))
        except (StorageError, RegistryError):
            transport.abort()  # the headers are out: a broken connection is the one honest answer left
            return
        try:
            loop = asyncio.get_running_loop()
            self.sent += await loop.sendfile(transport, file, span.offset, span.length)
        finally:
            file.close()

    async def _send_pieces(self, outgoing: web.StreamResponse, body: Iterable[bytes]) -> None:
        pieces = iter(body)
        while piece := await self.listener.in_pool(lambda: next(pieces, b"")):
            await outgoing.write(piece)
            self.sent += len(piece)


def _brings_a_blob(request: Request) -> bool:
    """Whether its body may be larger than memory: then the exchange is asked before it is read."""
    if request.method not in ("POST", "PATCH", "PUT"):
        return False
    place = routes.match(request.path)
    return place is not None and place.route in (Route.UPLOADS, Route.UPLOAD, Route.STORAGE)


def _write(accept: Accept, pieces: list[bytes]) -> None:
    if pieces:
        accept.intake.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
