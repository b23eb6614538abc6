"""Connections as they arrive: all are taken at once, a few at a time are let in, and health checks go first.

The system keeps only so many that nobody takes, and lets those that come then wait for seconds. To read what
thousands have sent takes long too, and nothing else is done meanwhile. A connection that waits here costs a
descriptor: what it has sent stays with the system.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Awaitable, Callable
from itertools import islice

_LOG = logging.getLogger(__name__)
_A_TURN = 8  # connections that are let in between two looks at all of them
_AT_ONCE = 512  # that are taken between two looks
_HEALTH = (b"GET /healthz ", b"HEAD /healthz ")
_LONGEST = max(map(len, _HEALTH))
_OUT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_LATER = 0.5  # seconds until the system is asked again that had nothing left

LetIn = Callable[[socket.socket], Awaitable[object]]


class Arrivals:
    """What comes to one listening socket. Used from one event loop; `let_in` makes it a connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop, listening: socket.socket, let_in: LetIn) -> None:
        self._loop = loop
        self._listening = listening
        self._let_in = let_in
        self._most = 0
        self._waiting: dict[socket.socket, None] = {}  # in their order
        self._silent: set[socket.socket] = set()  # of them, those that are listened to
        self._entering: set[asyncio.Task[None]] = set()
        self._turn: asyncio.Handle | None = None
        self._taking = False

    def start(self, most: int) -> None:
        """Take what comes; at most `most` connections wait here, and more with the system."""
        self._most = most
        self._listening.setblocking(False)
        self._take_more()

    def close(self) -> None:
        """Take nothing more. Those that wait have not been heard: they are closed."""
        self._take_no_more()
        self._listening.close()
        if self._turn is not None:
            self._turn.cancel()
        for each in list(self._waiting):
            self._leave(each)
            each.close()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def _take_more(self) -> None:
        if not self._taking and self._listening.fileno() >= 0:
            self._taking = True
            self._loop.add_reader(self._listening, self._take)

    def _take_no_more(self) -> None:
        if self._taking:
            self._taking = False
            self._loop.remove_reader(self._listening)

    def _take(self) -> None:
        """All that has come, as far as there is room."""
        silent = []
        for _ in range(_AT_ONCE):
            if len(self._waiting) >= self._most:
                self._take_no_more()
                break
            try:
                arrived, _ = self._listening.accept()
            except OSError as error:
                self._not_taken(error)
                break
            arrived.setblocking(False)
            said = _said(arrived)
            if said.startswith(_HEALTH):
                self._enter(arrived)
                continue
            self._waiting[arrived] = None
            if not said:
                silent.append(arrived)
        if self._turn is None:
            self._next_turn()
        for each in silent:
            if each in self._waiting:
                self._silent.add(each)
                self._loop.add_reader(each, self._heard, each)

    def _heard(self, waiting: socket.socket) -> None:
        """One that had said nothing has said something."""
        self._silent.discard(waiting)
        self._loop.remove_reader(waiting)
        if _said(waiting).startswith(_HEALTH):
            self._leave(waiting)
            self._enter(waiting)

    def _leave(self, waiting: socket.socket) -> None:
        del self._waiting[waiting]
        if waiting in self._silent:
            self._silent.discard(waiting)
            self._loop.remove_reader(waiting)

    def _not_taken(self, error: OSError) -> None:
        if error.errno in _OUT_OF:
            _LOG.error("connections wait: %s", error.strerror)
            self._take_no_more()
            self._loop.call_later(_LATER, self._take_more)

    def _next_turn(self) -> None:
        """Let a few in; others when everything that happened meanwhile has been looked at."""
        self._turn = None
        for each in list(islice(self._waiting, _A_TURN)):
            self._leave(each)
            self._enter(each)
        if self._waiting:
            self._turn = self._loop.call_soon(self._next_turn)
        if len(self._waiting) < self._most:
            self._take_more()

    def _enter(self, arrived: socket.socket) -> None:
        task = self._loop.create_task(self._entered(arrived))
        self._entering.add(task)
        task.add_done_callback(self._entering.discard)

    async def _entered(self, arrived: socket.socket) -> None:
        try:
            await self._let_in(arrived)
        except (OSError, TimeoutError) as error:  # it is gone, or speaks no TLS
            _LOG.debug("a connection that was none: %s", error)
            arrived.close()


def _said(arrived: socket.socket) -> bytes:
    """How a connection has begun, which is still there to be read; b"" if it has not, or is gone."""
    try:
        return arrived.recv(_LONGEST, socket.MSG_PEEK)
    except OSError:
        return b""
