"""TLS connections that strangers leave idle, or never quite begin, cost little and close nobody out."""

from __future__ import annotations

import contextlib
import gc
import socket
import tracemalloc
from asyncio import sslproto
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from certificates import write_certificate
from raw_sockets import Served, head, rest, status
from waiting import until

from registry.model.spans import FileSpan
from registry.net.listener import answers, limits
from registry.net.listener.address import tls_from
from registry.net.listener.answers import _MOST_PIECE
from registry.net.listener.connections import FIRST_PIECE, Connections
from registry.wire.messages import Response

HELLO = bytes.fromhex("16030100c8010000")  # how one begins that never ends
FEW = 5


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    write_certificate(tmp_path)
    monkeypatch.setattr(limits, "_MOST_HANDSHAKES", FEW)
    opened = Served(lambda _: Response(200), tls=tls_from(tmp_path / "cert.pem", tmp_path / "key.pem"))
    yield opened
    opened.close()


def begun(served: Served, words: bytes = HELLO) -> socket.socket:
    opened = socket.create_connection(("127.0.0.1", served.port))
    opened.settimeout(20)
    served.sockets.append(opened)
    opened.sendall(words)
    return opened


def kept() -> int:
    """How many connections there are in memory: of each one half that speaks TLS, and one that HTTP."""
    return sum(isinstance(each, (sslproto.SSLProtocol, web.RequestHandler)) for each in gc.get_objects())


def test_of_those_who_never_say_who_they_are_the_first_go_and_all_others_are_served(served: Served) -> None:
    gc.collect()
    before = kept()
    strangers = [begun(served) for _ in range(3 * FEW)]
    assert [rest(each) for each in strangers[: 2 * FEW]] == [b""] * 2 * FEW
    for _ in range(2):
        assert status(served.connect(head("GET", "/"))) == 200
    until(lambda: kept() == before + 2 * (FEW - 1 + 2))


def test_a_handshake_has_a_time_limit(tmp_path: Path) -> None:
    write_certificate(tmp_path)
    tls = tls_from(tmp_path / "cert.pem", tmp_path / "key.pem")
    served = Served(lambda _: Response(200), limits.Limits(handshake=1), tls)
    assert rest(begun(served)) == b""
    served.close()


def test_at_the_end_those_go_whose_handshake_is_not_done_and_nothing_is_told_of_them(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = begun(served)
    until(lambda: len(served.listener._handshakes or ()) == 1)
    served.stop()
    assert rest(stranger) == b""
    gc.collect()
    assert not caplog.records  # as "Task was destroyed but it is pending!"


def test_one_that_speaks_no_tls_leaves_nothing_in_memory(served: Served) -> None:
    gc.collect()
    before = kept()
    gc.disable()
    try:
        for _ in range(3):
            rest(begun(served, b"GET / HTTP/1.1\r\n\r\n"))
        begun(served).close()
        until(lambda: kept() == before)
    finally:
        gc.enable()


def download(served: Served, file: Path) -> socket.socket:
    """One that its peer does not read on; it has begun, and stands still."""
    with file.open("wb") as sparse:
        sparse.truncate(40_000_000)
    served.listener._driver.exchange = lambda _: Response(200, body=FileSpan(file, 0, 40_000_000))
    opened = served.connect(head("GET", "/x"), receive=4096)
    until(lambda: served.listener.connections.waiting() > 0)
    return opened


@pytest.mark.parametrize("by_us", [False, True])
def test_a_download_that_is_broken_off_leaves_nothing_in_memory(
    served: Served, tmp_path: Path, by_us: bool
) -> None:
    gc.collect()
    before = kept()
    gc.disable()
    try:
        opened = download(served, tmp_path / "blob")
        if by_us:
            served.listener._loop.call_soon_threadsafe(served.listener.connections.close_all)
        else:
            opened.close()
        until(lambda: kept() == before)
    finally:
        gc.enable()


def test_what_a_peer_has_not_taken_is_counted(served: Served, tmp_path: Path) -> None:
    download(served, tmp_path / "blob")
    (connection,) = served.listener.connections._open.values()
    transport: Any = connection.transport
    until(lambda: transport._ssl_protocol._transport.get_write_buffer_size() > 0)
    held = (transport.get_write_buffer_size(), transport._ssl_protocol._transport.get_write_buffer_size())
    assert sum(held) <= connection.held
    assert transport.get_write_buffer_limits() == (0, 1)
    served.listener._loop.call_soon_threadsafe(served.listener.connections.close_all)
    until(lambda: served.listener.connections.held == 0)


def test_what_a_peer_has_taken_is_counted_no_more(served: Served, tmp_path: Path) -> None:
    half = 10_000_000
    with (tmp_path / "blob").open("wb") as sparse:
        sparse.truncate(2 * half)
    served.listener._driver.exchange = lambda _: Response(200, body=FileSpan(tmp_path / "blob", 0, 2 * half))
    opened = served.connect(head("GET", "/x"))

    assert len(some(opened, half)) == half
    (connection,) = served.listener.connections._open.values()
    until(lambda: connection.held <= 6 * _MOST_PIECE)
    assert len(some(opened, half)) == half
    until(lambda: connection.held == 0)


def some(opened: socket.socket, length: int) -> bytes:
    """The next bytes that come, so many."""
    read = bytearray()
    while len(read) < length and (data := opened.recv(length - len(read))):
        read += data
    return bytes(read)


def there_are(served: Served, number: int) -> bool:
    return len(served.listener.connections) == number


def test_the_more_connections_there_are_the_less_is_encrypted_at_once(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces: list[int] = []
    write = answers.Answerer._write

    async def noted(self: Any, outgoing: web.StreamResponse, piece: bytes | memoryview) -> None:
        pieces.append(len(piece))
        await write(self, outgoing, piece)

    monkeypatch.setattr(answers.Answerer, "_write", noted)
    monkeypatch.setattr(answers, "_ALL_ENCRYPTED", 512 * 1024)
    for number, most in ((1, 256), (4, 128), (20, 64)):
        others = [served.connect() for _ in range(number - 1)]
        until(partial(there_are, served, number - 1))
        pieces.clear()
        others.append(download(served, tmp_path / "blob"))
        until(lambda: bool(pieces))
        assert pieces[0] == most * 1024
        for each in others:
            each.close()
        until(partial(there_are, served, 0))


def test_the_more_memory_is_held_the_less_is_read_at_once() -> None:
    allowed = limits.Limits()
    connections = Connections(allowed, lambda: 0.0)
    unused: Any = None
    answerer = answers.Answerer(unused, unused, connections, unused, allowed)
    assert answerer._piece() == 512 * 1024
    connections._held = 24 * 1024 * 1024
    assert answerer._piece() == 256 * 1024
    connections._held = 32 * 1024 * 1024
    assert answerer._piece() == 16 * 1024


def test_they_receive_into_one_buffer(served: Served) -> None:
    assert status(served.connect(head("GET", "/"))) == 200
    tracemalloc.start()
    for _ in range(10):
        assert status(served.connect(head("GET", "/"))) == 200
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 10 * 64 * 1024


def of(served: Served) -> sslproto.SSLProtocol:
    """What speaks TLS on its only connection."""
    (connection,) = served.listener.connections._open.values()
    (protocol,) = (
        each
        for each in gc.get_objects()
        if isinstance(each, sslproto.SSLProtocol) and each._app_transport is connection.transport
    )
    return protocol


def test_two_listeners_whose_loops_run_side_by_side_receive_into_two_buffers(served: Served) -> None:
    with contextlib.closing(Served(lambda _: Response(200), tls=served.tls)) as other:
        for each in (served, other):
            assert status(each.connect(head("GET", "/"))) == 200
        assert of(served).get_buffer(-1).obj is not of(other).get_buffer(-1).obj


def test_of_it_a_stranger_fills_as_little_as_of_a_plain_line(served: Served) -> None:
    assert status(served.connect(head("GET", "/"))) == 200
    protocol = of(served)
    (connection,) = served.listener.connections._open.values()
    assert len(protocol.get_buffer(-1)) == FIRST_PIECE
    connection.receive(100_000)
    assert len(protocol.get_buffer(-1)) == 100_000


def test_there_are_not_more_than_memory_allows() -> None:
    many = limits.Limits(connections=100_000)
    assert many.most_connections() == 100_000
    assert many.most_connections(encrypted=True) == 1536
