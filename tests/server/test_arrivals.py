"""Connections on their way in, over real sockets: in their order, a few at a time, health checks first."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator

import pytest

from registry.net.listener import arrivals
from registry.net.listener.arrivals import Arrivals

HEALTH = b"GET /healthz HTTP/1.1\r\n"
OTHER = b"GET /healthy HTTP/1.1\r\n"


class Porch:
    """A listening socket, what comes to it, and who was let in: by what they had said."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.arrivals = Arrivals(self.loop, self.listening, self._let_in)
        self.entered: list[bytes] = []
        self.sockets: list[socket.socket] = []

    async def _let_in(self, arrived: socket.socket) -> None:
        try:
            self.entered.append(arrived.recv(100))
        except BlockingIOError:
            self.entered.append(b"")
        self.sockets.append(arrived)

    def come(self, *said: bytes) -> None:
        for each in said:
            opened = socket.create_connection(self.listening.getsockname())
            opened.sendall(each)
            self.sockets.append(opened)

    def turns(self, count: int) -> None:
        """Let the loop look at everything so often."""
        for _ in range(count):
            self.loop.run_until_complete(asyncio.sleep(0))

    def until(self, count: int) -> None:
        for _ in range(10_000):
            if len(self.entered) >= count:
                return
            self.turns(1)
        raise AssertionError(f"{len(self.entered)} of {count} were let in")


@pytest.fixture
def porch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Porch]:
    monkeypatch.setattr(arrivals, "_A_TURN", 1)
    made = Porch()
    yield made
    made.arrivals.close()
    made.turns(3)
    for each in made.sockets:
        each.close()
    made.loop.close()


def test_all_are_let_in_in_their_order_but_a_health_check_before_all(porch: Porch) -> None:
    porch.come(*(b"%d" % number for number in range(20)), OTHER, HEALTH)
    porch.arrivals.start(100)
    porch.until(22)
    assert porch.entered == [HEALTH, *(b"%d" % number for number in range(20)), OTHER]


def test_a_health_check_that_is_said_late_still_goes_first(porch: Porch) -> None:
    porch.come(*(b"%d" % number for number in range(90)), b"", b"")
    late = porch.sockets[90]
    porch.arrivals.start(100)
    porch.turns(2)
    assert len(porch.entered) < 20
    late.sendall(HEALTH)

    porch.until(92)

    assert porch.entered.index(HEALTH) < 60
    assert porch.entered[-1] == b"", "who says nothing is let in too, when it is its turn"


def test_no_more_than_so_many_wait_and_the_others_come_later(porch: Porch) -> None:
    porch.come(*(b"%d" % number for number in range(30)))
    porch.arrivals.start(10)
    most = 0
    while len(porch.entered) < 30:
        porch.turns(1)
        most = max(most, len(porch.arrivals))
    assert 0 < most <= 10
    assert porch.entered == [b"%d" % number for number in range(30)]


def test_where_the_system_has_no_descriptor_left_it_is_asked_again(
    porch: Porch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(arrivals, "_LATER", 0.01)
    real, refused = porch.listening, [True, True]

    class Short:
        """The listening socket of a process that has too many files open."""

        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

        def accept(self) -> object:
            if refused:
                refused.pop()
                raise OSError(errno.EMFILE, "Too many open files")
            return real.accept()

    porch.arrivals._listening = Short()  # type: ignore[assignment]  # all that is used of a socket
    porch.come(b"1")
    porch.arrivals.start(10)
    porch.loop.run_until_complete(asyncio.sleep(0.05))
    porch.until(1)
    assert [each.getMessage() for each in caplog.records] == ["connections wait: Too many open files"] * 2


def test_at_the_end_those_that_wait_are_closed(porch: Porch) -> None:
    porch.come(*(b"%d" % number for number in range(30)), b"")
    porch.arrivals.start(100)
    porch.turns(2)
    porch.arrivals.close()
    porch.turns(3)
    assert len(porch.entered) < 10
    last = porch.sockets[29]
    last.settimeout(10)
    with contextlib.suppress(ConnectionResetError):
        assert last.recv(10) == b""
