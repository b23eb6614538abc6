"""Sends one answer: small ones from memory, files without passing through it where the line is plain.

A peer that takes less than a trickle is let go, and what it took until then is counted.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, TypeVar

from aiohttp import ClientError, web

from registry.disk import files
from registry.errors import NotFoundError, RegistryError, StorageError
from registry.model.spans import FileSpan
from registry.net.listener.connections import Connection, Connections
from registry.net.listener.limits import Limits
from registry.net.listener.queues import Queues, Work
from registry.wire.faults import answer_to, fault
from registry.wire.messages import Response

T = TypeVar("T")
_LOG = logging.getLogger(__name__)

_SMALL = 64 * 1024  # bytes of an answer in memory that go out in one piece
_UNCOUNTED = 4 * 1024  # and that are not counted as memory
_MOST_SLICE = 4 * 1024 * 1024  # what the kernel is given to send at once,
_FIRST_SLICE = 256 * 1024
_MOST_PIECE = 512 * 1024  # what is read and encrypted at once; of twice as much, each byte takes longer
_MOST_ENCRYPTED = 256 * 1024  # of it at once: OpenSSL keeps as much more for as long as the connection lasts
_LEAST_ENCRYPTED = 64 * 1024  # where there are many: of half as much, each byte takes half as long again
_ALL_ENCRYPTED = 32 * 1024 * 1024  # of all connections
_RECORD = 16 * 1024  # of TLS, at most
_LEAST_SLICE = 16 * 1024  # the less, the slower the peer: each must be gone within the time limit
_QUICK, _SLOW = 0.1, 1.0  # seconds for one slice, under and over which the next is larger or smaller
_GONE = (ClientError, ConnectionError, TimeoutError)


@dataclass(slots=True)
class Answerer:
    """Sends the answer to one request; `sent` bytes of its body, `whole` when that was all of it."""

    incoming: web.BaseRequest
    connection: Connection
    connections: Connections
    queues: Queues
    limits: Limits
    status: int = 0
    whole: bool = False
    sent: int = 0

    async def send(self, response: Response, identifier: str) -> web.StreamResponse:
        """Send it under the request's identifier; a peer that is gone, or takes nothing, ends it early."""
        file: BinaryIO | None = None
        held = 0
        try:
            if not self._bodiless(response) and isinstance(response.body, FileSpan):
                file = await self.queues.run(Work.READING, partial(_opened, response.body))
            elif isinstance(response.body, bytes) and len(response.body) > _UNCOUNTED:
                held = len(response.body)
                if not self.connections.take(self.connection, held):
                    held = 0
                    why, later = "too much is being read at once", {"Retry-After": "2"}
                    response = fault("UNAVAILABLE", why, headers=later)
        except RegistryError as error:
            _LOG.error("%s", error.message)
            response = unreadable(error)
        try:
            return await self._send(response, file, identifier)
        except asyncio.CancelledError as error:
            forget_frames(error)
            raise
        finally:
            if file is not None:
                file.close()
            response.close()
            self.connections.give(self.connection, held)

    def _bodiless(self, response: Response) -> bool:
        return self.incoming.method == "HEAD" or response.status in (204, 304)

    async def _send(self, response: Response, file: BinaryIO | None, identifier: str) -> web.StreamResponse:
        small = self._small_body(response)
        outgoing: web.StreamResponse
        if small is None:
            outgoing = web.StreamResponse(status=response.status, headers={"Server": "ferry"})
        else:  # its head and its body are one write
            outgoing = web.Response(status=response.status, headers={"Server": "ferry"}, body=small)
        for name, value in response.headers:
            outgoing.headers.add(name, value)
        if identifier:
            outgoing.headers["X-Request-ID"] = identifier
        if small is None and response.status != 204 and response.length is not None:
            outgoing.content_length = response.length
        if self.connections.draining:
            outgoing.force_close()
        self.status = response.status
        try:
            if small is not None or self._bodiless(response) or response.length == 0:
                await self._taken(self._send_at_once(outgoing))
            else:
                await self._taken(outgoing.prepare(self.incoming))
                await self._send_body(outgoing, response.body, file)
                await self._taken(outgoing.write_eof())
            self.sent += len(small or b"")
            self.whole = True
        except _GONE as error:
            forget_frames(error)
            self._abort()
        except RegistryError as error:
            _LOG.error("%s", error.message)
            self._abort()  # the head is out: a broken connection is the one honest answer left
        return outgoing

    async def _send_at_once(self, outgoing: web.StreamResponse) -> None:
        """All of an answer that has no more body than it holds."""
        await outgoing.prepare(self.incoming)
        await outgoing.write_eof()

    def _small_body(self, response: Response) -> bytes | None:
        """A body that goes out in one piece, or None for one that does not, or is not there."""
        body = response.body
        if not isinstance(body, bytes) or not 0 < len(body) <= _SMALL or self._bodiless(response):
            return None
        return body if response.length == len(body) else None

    async def _send_body(
        self,
        outgoing: web.StreamResponse,
        body: bytes | Iterable[bytes] | AsyncIterable[bytes] | FileSpan,
        file: BinaryIO | None,
    ) -> None:
        if isinstance(body, bytes):
            for start in range(0, len(body), _SMALL):
                await self._write(outgoing, body[start : start + _SMALL])
        elif isinstance(body, AsyncIterable):
            async for piece in body:  # the next one is asked for when the peer has taken this one
                await self._write(outgoing, piece)
        elif not isinstance(body, FileSpan):
            await self._send_pieces(outgoing, body)
        elif file is not None and self._encrypted():
            await self._send_encrypted(outgoing, file, body)
        elif file is not None:
            await self._send_file(file, body)

    def _encrypted(self) -> bool:
        transport = self.incoming.transport
        return transport is not None and transport.get_extra_info("sslcontext") is not None

    async def _send_encrypted(self, outgoing: web.StreamResponse, file: BinaryIO, span: FileSpan) -> None:
        """Through memory, in pieces that are the smaller the more memory others hold.

        Three are there at a time: what the peer has not taken of one, the next one, and one that is read.
        """
        at, end, held = span.offset, span.offset + span.length, deque[int]()
        ahead: asyncio.Task[bytes] | None = self._reading(file, at, end, held)
        try:
            while ahead is not None:
                piece = await ahead
                if not piece:
                    raise ConnectionResetError("the file is shorter than it was")
                at += len(piece)
                ahead = self._reading(file, at, end, held) if at < end else None
                at_once = self._at_once()
                for start in range(0, len(piece), at_once):
                    await self._write(outgoing, memoryview(piece)[start : start + at_once])
                    await self._taken(self.incoming.writer.drain())
                while len(held) > 2:
                    self.connections.give(self.connection, held.popleft())
        finally:
            self.connections.give(self.connection, sum(held))
            if ahead is not None:
                await asyncio.wait([ahead])  # it uses the file

    def _reading(self, file: BinaryIO, at: int, end: int, held: deque[int]) -> asyncio.Task[bytes]:
        """A piece that is being read; `held` has what is counted for it, as it is and encrypted."""
        length = min(self._piece(), end - at)
        held.append(2 * length if self.connections.take(self.connection, 2 * length) else 0)
        call = partial(os.pread, file.fileno(), length, at)
        return asyncio.ensure_future(self.queues.run(Work.READING, call))

    def _at_once(self) -> int:
        """What is encrypted at once: the less, the more connections may keep as much."""
        fair = _ALL_ENCRYPTED // max(1, len(self.connections))
        return max(_LEAST_ENCRYPTED, min(_MOST_ENCRYPTED, fair // _RECORD * _RECORD))

    def _piece(self) -> int:
        """A fair part of what is left of two thirds of the memory: many slow peers share the rest of it."""
        left = 2 * self.limits.memory // 3 - self.connections.held
        return max(_LEAST_SLICE, min(_MOST_PIECE, left // 32 // 4096 * 4096))

    async def _send_file(self, file: BinaryIO, span: FileSpan) -> None:
        """From the disk to the socket without passing through memory."""
        loop = asyncio.get_running_loop()
        done, size = 0, _FIRST_SLICE
        while done < span.length:
            length = min(size, span.length - done)
            began = loop.time()
            await self._send_slice(file, span.offset + done, length)
            done += length
            took = loop.time() - began
            if took < _QUICK:
                size = min(2 * size, _MOST_SLICE)
            elif took > _SLOW:
                size = max(size // 2, _LEAST_SLICE)

    async def _send_slice(self, file: BinaryIO, offset: int, length: int) -> None:
        transport = self.incoming.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        loop = asyncio.get_running_loop()
        os.lseek(file.fileno(), offset, os.SEEK_SET)
        try:
            sent = await self._taken(loop.sendfile(transport, file, offset, length))
        except BaseException:
            # The loop leaves the file where it stopped.
            self.sent += max(0, min(os.lseek(file.fileno(), 0, os.SEEK_CUR) - offset, length))
            raise
        self.sent += sent
        if sent < length:
            raise ConnectionResetError("the file is shorter than it was")

    async def _send_pieces(self, outgoing: web.StreamResponse, body: Iterable[bytes]) -> None:
        pieces = iter(body)
        while piece := await self.queues.run(Work.READING, lambda: next(pieces, b"")):
            await self._write(outgoing, piece)

    async def _write(self, outgoing: web.StreamResponse, piece: bytes | memoryview) -> None:
        await self._taken(outgoing.write(piece))
        self.sent += len(piece)

    async def _taken(self, sending: Awaitable[T]) -> T:
        """Wait for the peer to take it, no longer than the limit."""
        self.connection.waits = True
        try:
            async with asyncio.timeout(self.limits.send):
                result = await sending
        finally:
            self.connection.waits = False
        self.connections.moved(self.connection)
        return result

    def _abort(self) -> None:
        if self.incoming.transport is not None:
            self.incoming.transport.abort()


def forget_frames(error: BaseException | None) -> None:
    """The frames of an error that comes from the engine, or that a future brought, are in a cycle with it,
    and so are the bytes that were on their way. Cycles are seldom looked for.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _opened(span: FileSpan) -> BinaryIO:
    """The file of a span, if it is long enough: once the head is out, it is too late to say so."""
    file = files.open_for_reading(span.path)
    size = os.fstat(file.fileno()).st_size
    if size < span.offset + span.length:
        file.close()
        raise StorageError(f"reading {span.path}: it has {size} bytes, fewer than it should")
    return file


def unreadable(error: RegistryError) -> Response:
    """The answer where a blob's file is missing, short or on a disk that fails."""
    if isinstance(error, NotFoundError):
        return fault("BLOB_UNKNOWN", "this blob is lost; push it again")
    return answer_to(error)
