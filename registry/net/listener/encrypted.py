"""TLS connections of one event loop: little memory for each, and few that have not said who they are.

asyncio keeps 256 KiB for each connection to receive into, though it receives for one at a time; and a peer
that begins a handshake and never ends it counts nowhere. A thousand idle strangers held 360 MB.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from asyncio import sslproto
from collections.abc import Callable

from registry.net.listener.connections import FIRST_PIECE
from registry.net.listener.limits import Limits

_LOG = logging.getLogger(__name__)
_LAST_SECONDS = 1.0  # for those to go that are not done, at the end
_MOST_PIECE = 256 * 1024  # bytes that are received at once


class _Encrypted(sslproto.SSLProtocol):
    """One connection, which receives where all others of its loop do: into `received`. Each piece is taken
    out before the next one comes.

    asyncio's private parts for it are those of Python 3.11 to 3.13. Where another has no such buffer or
    limit, a connection costs more memory.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        inside: asyncio.Protocol,
        tls: ssl.SSLContext,
        done: asyncio.Future[None],
        seconds: int,
        received: bytearray,
    ) -> None:
        super().__init__(loop, inside, tls, done, server_side=True, ssl_handshake_timeout=seconds)
        self._ssl_buffer = received
        self._ssl_buffer_view = memoryview(received)
        if (limit := getattr(self, "_set_read_buffer_limits", None)) is not None:
            limit(FIRST_PIECE)

    def get_buffer(self, n: int) -> memoryview:
        """As much of it as the connection may receive."""
        return super().get_buffer(n)[: getattr(self._app_transport, "max_size", FIRST_PIECE)]


class Handshakes:
    """Makes TLS connections of those that arrive. Used from one event loop.

    `inside` makes what speaks on one. Of too many that are not done, the one that began first is closed.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        inside: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext,
        limits: Limits,
    ) -> None:
        self._loop = loop
        self._inside = inside
        self._tls = tls
        self._seconds = limits.handshake
        self._most = limits.most_handshakes()
        self._begun: dict[asyncio.Transport, asyncio.Future[None]] = {}  # in their order
        self._received = bytearray(_MOST_PIECE)

    def __len__(self) -> int:
        """How many are not done."""
        return len(self._begun)

    async def close(self) -> None:
        """Let those go that are not done."""
        for each in self._begun:
            each.abort()
        if self._begun:
            await asyncio.wait(list(self._begun.values()), timeout=_LAST_SECONDS)

    async def let_in(self, arrived: socket.socket) -> None:
        """Make it a connection, unless it goes, or speaks no TLS in time. OSError if it was gone before."""
        done: asyncio.Future[None] = self._loop.create_future()
        inside = self._inside()
        protocol = _Encrypted(self._loop, inside, self._tls, done, self._seconds, self._received)
        transport, _ = await self._loop.connect_accepted_socket(lambda: protocol, arrived)
        transport.set_write_buffer_limits(0)
        self._begun[transport] = done
        if len(self._begun) > self._most:
            oldest = next(iter(self._begun))
            del self._begun[oldest]
            oldest.abort()
        await asyncio.wait([done])
        self._begun.pop(transport, None)
        error = done.exception()
        if error is not None:
            _LOG.debug("a connection that was none: %s", error)
            error.__traceback__ = None  # cycles are seldom looked for, and it is in one with the connection
        if error is not None or transport.is_closing():
            inside.connection_lost(None)  # so is this one
