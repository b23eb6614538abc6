"""The door over real sockets: what goes through unchanged, what does not go through, and when it comes."""

from __future__ import annotations

import json
import socket
import threading

import pytest
from door_kit import ASKED, House, until
from pretend_cloud import Cloud
from spy import reply

ODD = b'{ "stream":false,\t"o" : {"s":1e3, "model":"inner-cloud"}, "model" : "gpt-oss:120b-cloud" ,"x":[]}\n'


def test_a_call_is_signed_and_only_the_model_changes(door: House, cloud: Cloud) -> None:
    cloud.answers["/api/generate"] = reply(200, b'{"model":"gpt-oss:120b" }', Content_Type="application/json")

    answer = door.ask("POST", "/api/generate?b=2&ts=5&a=1", ODD, Content_Type="application/json")

    assert (answer.status, answer.body) == (200, b'{"model":"gpt-oss:120b" }')
    (seen,) = cloud.asked
    assert seen.body == ODD.replace(b'"gpt-oss:120b-cloud"', b'"gpt-oss:120b"')
    assert seen.target.startswith("/api/generate?a=1&b=2&ts=")
    assert cloud.forged == []


def test_the_first_line_is_there_before_the_last_is_sent(door: House, cloud: Cloud) -> None:
    last = threading.Event()
    cloud.answers["/api/chat"] = [b'{"first":1}\n', last, b'{"last":1}\n']

    with door.opened("/api/chat", ASKED) as opened:
        assert b'{"first":1}\n' in until(opened, b'{"first":1}\n')
        assert cloud.waits.wait(20)
        last.set()
        assert until(opened, b"0\r\n\r\n").count(b'{"last":1}\n') == 1


@pytest.mark.parametrize("before", [b"", b'{"first":1}\n'], ids=["before the answer", "in the middle of it"])
def test_a_caller_who_goes_ends_the_call_at_the_other_end(door: House, cloud: Cloud, before: bytes) -> None:
    never = threading.Event()
    cloud.answers["/v1/chat/completions"] = [before, never] if before else never
    with door.opened("/v1/chat/completions", ASKED) as opened:
        if before:
            until(opened, before)
        assert cloud.waits.wait(20)

    assert cloud.gone.wait(20)
    record = door.record()
    assert (record.status, record.whole) == (200 if before else 499, False)


def test_a_question_that_breaks_off_is_not_asked(door: House, cloud: Cloud) -> None:
    with socket.create_connection(("127.0.0.1", door.port), timeout=20) as opened:
        opened.sendall(b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n" + ODD[:50])

    assert (door.record().status, door.record().received) == (408, 50)
    assert cloud.spy.seen == []


def test_a_question_without_a_stated_length_has_the_same_limit(door: House, cloud: Cloud) -> None:
    def chunked(pieces: list[bytes]) -> bytes:
        body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        head = b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        return head + body + b"0\r\n\r\n"

    with socket.create_connection(("127.0.0.1", door.port), timeout=20) as opened:
        opened.sendall(chunked([ODD[:20], ODD[20:]]))
        assert b" 200 " in until(opened, b"\r\n\r\n")
    assert json.loads(cloud.asked[0].body)["model"] == "gpt-oss:120b"
    assert cloud.asked[0].header("Content-Length") == str(len(ODD) - len("-cloud"))
    with socket.create_connection(("127.0.0.1", door.port), timeout=20) as opened:
        opened.sendall(chunked([b" " * (1 << 20)] * 21))
        assert b" 413 " in until(opened, b"request_too_large")
    assert len(cloud.asked) == 1


def test_an_answer_that_breaks_off_breaks_off_here_too(door: House, cloud: Cloud) -> None:
    cloud.answers["/api/chat"] = reply(200, b'{"half', Content_Length="1000", Connection="close")

    with door.opened("/api/chat", ASKED) as opened:
        until(opened, b'{"half')
        assert opened.recv(100) == b""


def test_no_thread_holds_a_stream(door: House, cloud: Cloud) -> None:
    last = threading.Event()
    cloud.answers["/api/chat"] = [b'{"first":1}\n', last]
    streams = [door.opened("/api/chat", ASKED) for _ in range(40)]
    for opened in streams:
        until(opened, b'{"first":1}\n')

    assert door.ask("GET", "/api/version").status == 200
    pools = [thread.name for thread in threading.enumerate() if thread.name.startswith("ferry-")]
    assert len([name for name in pools if name != "ferry-listener"]) == 0
    last.set()
    for opened in streams:
        until(opened, b"0\r\n\r\n")
        opened.close()


def test_stopping_lets_streams_end(door: House, cloud: Cloud) -> None:
    last = threading.Event()
    cloud.answers["/api/chat"] = [b'{"first":1}\n', last, b'{"last":1}\n']
    with door.opened("/api/chat", ASKED) as opened:
        until(opened, b'{"first":1}\n')
        stopping = threading.Thread(target=door.stop, args=(20.0,))
        stopping.start()
        last.set()
        until(opened, b'{"last":1}\n')
        stopping.join(20)
        assert not stopping.is_alive()


def test_stopping_waits_no_longer_than_it_says(door: House, cloud: Cloud) -> None:
    cloud.answers["/api/chat"] = [b'{"first":1}\n', threading.Event()]
    with door.opened("/api/chat", ASKED) as opened:
        until(opened, b'{"first":1}\n')
        door.stop(0.1)
        assert cloud.gone.wait(20)
