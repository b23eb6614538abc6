"""A peer that drips is given up as one that fell silent is; one that we hold back ourselves is not."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from network_kit import streamed
from spy import Seen, Spy, Talk

from registry.errors import TransientError
from registry.net.http import Http
from registry.net.pace import Pace, TooSlowError
from registry.wire.headers import Headers
from registry.wire.messages import Request

Client = Callable[..., Http]
MIB = 1024 * 1024


def test_each_window_of_waiting_must_move_its_bytes() -> None:
    pace = Pace(floor=1000, window=60)
    for _ in range(120):
        pace.took(1, 1000)

    with pytest.raises(TooSlowError, match="in 60 s"):
        for _ in range(60):
            pace.took(1, 10)


def test_a_floor_of_nothing_lets_everything_pass() -> None:
    pace = Pace(floor=0, window=1)
    for _ in range(100):
        pace.took(100, 0)


def test_an_answer_that_drips_is_given_up_and_what_came_is_kept(client: Client) -> None:
    def drip(talk: Talk, _: Seen) -> None:
        talk.send(b"HTTP/1.1 200 x\r\nContent-Length: 1000000\r\n\r\n" + bytes(5000))
        while not talk.spy.closing.wait(0.02):
            talk.send(b"x")

    with Spy((drip,)) as spy:
        answer = client(floor=5000, floor_window=0.5)(Request("GET", spy.url + "/slow"))
        got = 0
        began = time.monotonic()
        with pytest.raises(TransientError, match="became too slow") as caught:
            for piece in streamed(answer):
                got += len(piece)

    assert caught.value.answered
    assert got > 5000, "progress was not told while it dripped"
    assert time.monotonic() - began < 10


def test_a_peer_that_takes_a_body_by_sips_is_given_up(client: Client) -> None:
    def sip(talk: Talk, _: Seen) -> None:
        while not talk.spy.closing.wait(0.1):
            talk.socket.recv(300_000)

    with Spy((sip,)) as spy, pytest.raises(TransientError, match="became too slow"):
        body = (bytes(MIB) for _ in range(64))
        client(floor=1e9, floor_window=0.5, stall=60)(
            Request("PATCH", spy.url + "/slow", Headers(), body, 64 * MIB)
        )


def test_who_is_slow_itself_blames_nobody(client: Client) -> None:
    def fast(talk: Talk, _: Seen) -> None:
        talk.send(b"HTTP/1.1 200 x\r\nContent-Length: 400000\r\n\r\n" + bytes(400_000))

    with Spy((fast,)) as spy:
        answer = client(floor=1e6, floor_window=0.3)(Request("GET", spy.url + "/fast"))
        got = 0
        for piece in streamed(answer):
            got += len(piece)
            time.sleep(0.2)

    assert got == 400_000
