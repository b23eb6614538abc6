"""A mirror's page of numbers: one reader cannot take it from the others."""

from __future__ import annotations

import errno
import itertools
import socket
import threading
from collections.abc import Iterator

import pytest

from registry.errors import InvalidError
from registry.net.metrics import MetricsPage


@pytest.fixture
def page() -> Iterator[MetricsPage]:
    opened = MetricsPage("127.0.0.1", 0, lambda: "rounds 7\n", patience=0.2, pause=0.01)
    yield opened
    opened.close()


def read(port: int, host: str = "127.0.0.1") -> bytes:
    with socket.create_connection((host, port), timeout=10) as reader:
        reader.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        return b"".join(iter(lambda: reader.recv(4096), b""))


def test_a_port_that_is_taken_is_a_mistake_of_who_chose_it(page: MetricsPage) -> None:
    with pytest.raises(InvalidError, match=rf"^metrics on 127\.0\.0\.1:{page.port}: Address already in use$"):
        MetricsPage("127.0.0.1", page.port, str)


def test_a_host_that_nobody_knows_is_told_in_the_systems_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_where: object, **_how: object) -> socket.socket:
        raise OSError(socket.EAI_NONAME, "so it is (while attempting to bind on address ('nosuch', 1))")

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(InvalidError, match=r"^metrics on nosuch:1: so it is$"):
        MetricsPage("nosuch", 1, str)


def test_it_may_be_at_an_address_of_the_sixth_version() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no ::1 here")
    page = MetricsPage("::1", 0, lambda: "rounds 7\n")
    try:
        assert read(page.port, "::1").endswith(b"rounds 7\n")
    finally:
        page.close()


def test_a_reader_that_asks_byte_by_byte_keeps_others_waiting_for_a_moment_only(page: MetricsPage) -> None:
    """Each byte earned it as much time again: one reader had the page for hours."""
    over = threading.Event()

    def drip() -> None:
        with socket.create_connection(("127.0.0.1", page.port)) as slow:
            for byte in itertools.cycle(b"GET /metrics "):
                try:
                    slow.sendall(bytes([byte]))
                except OSError:
                    break
                if over.wait(0.05):
                    break

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        assert read(page.port).endswith(b"rounds 7\n")
    finally:
        over.set()
        thread.join()


def test_readers_that_ask_nothing_keep_nobody_waiting() -> None:
    """Each had the page for two seconds: five of them, and Prometheus gave up."""
    page = MetricsPage("127.0.0.1", 0, lambda: "rounds 7\n", patience=3600)
    silent = [socket.create_connection(("127.0.0.1", page.port)) for _ in range(5)]
    try:
        assert read(page.port).endswith(b"rounds 7\n")
    finally:
        for each in silent:
            each.close()
        page.close()


def test_where_the_system_gives_no_thread_it_is_read_all_the_same(
    page: MetricsPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)

    assert read(page.port).endswith(b"rounds 7\n")


def test_it_outlives_a_moment_without_descriptors(page: MetricsPage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ended for good, and the service went on without it."""
    failed: list[int] = []
    accept = socket.socket.accept

    def full(server: socket.socket) -> tuple[socket.socket, object]:
        if len(failed) < 2:
            failed.append(1)
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(server)

    monkeypatch.setattr(socket.socket, "accept", full)
    read(page.port)  # the one that was waited for

    assert [read(page.port).endswith(b"rounds 7\n") for _ in range(2)] == [True, True]
    assert len(failed) == 2
