"""What is kept of heads that are not whole is bounded, for each connection and for all of them together.

And what a head asks for before its body is sent.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from certificates import write_certificate
from raw_sockets import Kept, Serve, answer_of, head, rest, status
from waiting import until

from registry.net.listener.address import tls_from
from registry.net.listener.connections import FIRST_PIECE, MOST_HEAD
from registry.wire.messages import Accept, Response, accept_small

BEGUN = "GET / HTTP/1.1\r\nHost: a\r\n"
LINE = "X-Long: " + "a" * 9_990 + "\r\n"


@pytest.mark.parametrize("before", ["", head("GET", "/")])
def test_a_head_of_very_many_lines_is_refused(serve: Serve, before: str) -> None:
    """Also one behind a whole request, in the same piece."""
    served = serve(lambda _: Response(200))
    opened = served.connect(before + BEGUN + LINE)
    if before:
        assert status(opened) == 200
    until(lambda: served.listener.connections.held >= 10_000)
    for _ in range(MOST_HEAD // len(LINE)):
        opened.sendall(LINE.encode())
    assert served.record(1 if before else 0).status == 431
    rest(opened)  # closed
    until(lambda: served.listener.connections.held == 0)


def test_heads_that_are_begun_share_memory_and_the_first_makes_room(serve: Serve) -> None:
    served = serve(lambda _: Response(200), memory=100_000)
    first = served.connect(BEGUN + LINE)
    until(lambda: served.listener.connections.held > 30_000)
    others = [served.connect(BEGUN + LINE) for _ in range(3)]
    assert rest(first) == b""
    assert served.listener.connections.held < 100_000
    for each in others:
        each.sendall(b"\r\n")
        assert status(each) == 200
    for each in others:
        each.sendall(head("GET", "/").encode())
        assert status(each) == 200
    until(lambda: served.listener.connections.held == 0)


def test_where_there_is_no_room_a_head_that_is_begun_may_come_later_and_a_whole_one_needs_none(
    serve: Serve,
) -> None:
    served = serve(lambda _: Response(200), memory=1000)
    whole = served.connect(head("GET", "/", LINE.strip()))
    assert status(whole) == 200
    refused = rest(served.connect(BEGUN + LINE))
    assert refused.startswith(b"HTTP/1.1 503 ") and b"\r\nRetry-After: 2\r\n" in refused
    assert served.record(1).status == 503
    whole.sendall(head("GET", "/").encode())
    assert status(whole) == 200


@pytest.mark.parametrize("encrypted", [False, True])
def test_what_nobody_asked_for_is_received_in_small_pieces_and_an_upload_in_large_ones(
    serve: Serve, tmp_path: Path, encrypted: bool
) -> None:
    write_certificate(tmp_path)
    tls = tls_from(tmp_path / "cert.pem", tmp_path / "key.pem") if encrypted else None
    pieces: list[int] = []

    class Seen(Kept):
        def write(self, data: bytes) -> None:
            super().write(data)
            pieces.extend(sizes())

    def sizes() -> list[int]:
        there = served.listener.connections._open.values()
        return [each.transport.max_size for each in there]  # type: ignore[attr-defined]

    kept = Seen()
    served = serve(lambda _: Accept(kept, lambda: Response(201), 2_000_000), tls=tls)
    opened = served.connect(head("PUT", "/x", "Content-Length: 1000000"))
    until(lambda: sizes() == [256 * 1024])
    opened.sendall(b"x" * 1_000_000)
    assert b" 201 " in answer_of(opened)
    assert len(kept.data) == 1_000_000
    assert set(pieces) == {256 * 1024}
    until(lambda: sizes() == [FIRST_PIECE])
    assert served.listener.connections.held == 0


def test_the_log_keeps_the_beginning_of_a_path(serve: Serve) -> None:
    """Ten thousand lines may wait for a log that nobody reads."""
    served = serve(lambda _: Response(404))
    assert status(served.connect(head("GET", "/v2/" + "a" * 15_000))) == 404
    assert served.record().path == "/v2/" + "a" * 1020


@pytest.mark.parametrize(("version", "told"), [("1.1", True), ("1.0", False)])
def test_only_who_knows_of_it_is_told_to_go_on(serve: Serve, version: str, told: bool) -> None:
    served = serve(lambda _: accept_small(lambda _: Response(200), seconds=5))
    asked = head("PUT", "/x", "Expect: 100-continue", "Content-Length: 3", "Connection: close")
    answered = rest(served.connect(asked.replace("HTTP/1.1", f"HTTP/{version}") + "abc"))
    assert (b" 100 Continue" in answered) == told
    assert b" 200 OK" in answered
