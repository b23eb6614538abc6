"""Every open connection, and which of them goes when descriptors or memory run short.

The one that has not moved for longest goes first: idle ones at once, those with a request when they
stalled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from registry.net.listener.limits import Limits

FIRST_PIECE = 16 * 1024  # bytes that are received at once of a peer whose body is not wanted
MOST_HEAD = 64 * 1024  # bytes of a head: its lines have limits of their own, but there may be many
_FREE_HEAD = 2 * 1024  # and that are not counted as memory; more are there
_COPIES = 3  # times, as they came and as text


@dataclass(slots=True, eq=False)
class Connection:
    """One connection. `moved`: when a byte last went either way, in the loop's seconds."""

    transport: asyncio.Transport
    moved: float
    task: asyncio.Task[object] | None = None  # the request on it, or None while it has none
    waits: bool = False  # whether that request waits for the peer
    held: int = 0  # bytes in memory for it
    of_head: int = 0  # of them, for a head that may not be whole
    piece: int = 0  # bytes that are received at once
    relays: bool = False  # whether that request waits for a peer of ours, in vain once the client is gone

    def idle_since(self, stalled: float) -> bool:
        """Whether nothing is lost by closing it; `stalled`: when somebody has moved too long ago."""
        return self.task is None or (self.waits and self.moved < stalled)

    def receive(self, size: int) -> None:
        """At most `size` bytes at once from now on: asyncio's transports have that name for it."""
        self.piece = size
        self.transport.max_size = size  # type: ignore[attr-defined]  # but no type of theirs says so

    def close(self) -> None:
        """At once: what is under way on it ends too."""
        if self.task is not None:
            self.task.cancel()
        self.transport.abort()


class Connections:
    """The connections of one listener. Used from its event loop only."""

    def __init__(self, limits: Limits, clock: Callable[[], float], *, encrypted: bool = False) -> None:
        self._limits = limits
        self._clock = clock
        self._most = limits.most_connections(encrypted=encrypted)
        self._open: dict[web.RequestHandler, Connection] = {}
        self._held = 0
        self.draining = False
        self.closed_early = 0  # to make room

    def __len__(self) -> int:
        return len(self._open)

    @property
    def held(self) -> int:
        """Bytes in memory for all of them."""
        return self._held

    def opened(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """A new one, for which another goes when there are too many; itself, if all others move."""
        connection = self._open[handler] = Connection(transport, self._clock())
        connection.receive(FIRST_PIECE)
        if len(self._open) > self._most:
            self._make_room([each for each in self._open.values() if each is not connection])
        if len(self._open) > self._most or self.draining:
            self._drop(connection)

    def closed(self, handler: web.RequestHandler) -> None:
        """One that is gone."""
        connection = self._open.pop(handler, None)
        if connection is not None:
            self.give(connection, connection.held)
            if connection.relays and connection.task is not None:
                connection.task.cancel()

    def of(self, handler: web.RequestHandler) -> Connection | None:
        """The connection of a request; None if it is gone."""
        return self._open.get(handler)

    def moved(self, connection: Connection) -> None:
        """A byte went either way."""
        connection.moved = self._clock()

    def take(self, connection: Connection, size: int) -> bool:
        """`size` bytes of memory for a connection, if there are so many, or somebody can be made to give."""
        while self._held + size > self._limits.memory:
            holders = [each for each in self._open.values() if each.held and each is not connection]
            if not self._make_room(holders):
                return False
        self._held += size
        connection.held += size
        return True

    def give(self, connection: Connection, size: int) -> None:
        """Memory that is needed no more."""
        size = min(size, connection.held)
        connection.held -= size
        self._held -= size

    def hold_head(self, connection: Connection, size: int) -> bool:
        """Whether there is room for `size` bytes, all there is now of a head that is not whole."""
        wanted = _COPIES * size if size > _FREE_HEAD else 0
        if wanted < connection.of_head:
            self.give(connection, connection.of_head - wanted)
        elif size > MOST_HEAD or not self.take(connection, wanted - connection.of_head):
            return False
        connection.of_head = wanted
        return True

    def refuse(self, connection: Connection) -> None:
        """Let go of one that sends too much."""
        self._drop(connection)

    def drain(self) -> None:
        """No request more: idle connections are closed at once, others after their answer."""
        self.draining = True
        for connection in list(self._open.values()):
            if connection.task is None:
                self._drop(connection)

    def busy(self) -> bool:
        """Whether any has a request that is not answered yet."""
        return any(each.task is not None for each in self._open.values())

    def waiting(self) -> int:
        """How many requests wait for their peer to send or take something."""
        return sum(each.waits for each in list(self._open.values()))

    def close_all(self) -> None:
        """Let everybody go."""
        for connection in list(self._open.values()):
            self._drop(connection)

    def close_stalled(self) -> None:
        """Let everybody go who does not move, to end sooner."""
        for connection in list(self._open.values()):
            if connection.idle_since(self._clock() - self._limits.stalled):
                self._drop(connection)

    def _make_room(self, among: list[Connection]) -> bool:
        """Close the one of them that has not moved for longest, if it may be; whether one was."""
        stalled = self._clock() - self._limits.stalled
        idle = [each for each in among if each.idle_since(stalled)]
        if not idle:
            return False
        self._drop(min(idle, key=lambda each: (each.task is not None, each.moved)))
        return True

    def _drop(self, connection: Connection) -> None:
        handler = next(key for key, each in self._open.items() if each is connection)
        self.closed(handler)
        self.closed_early += 1
        connection.close()
