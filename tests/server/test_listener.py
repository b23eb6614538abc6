"""The listener over real sockets: what is read before a yes, what is let go, what is counted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest
from raw_sockets import Answer, Kept, Serve, Served, answer_of, head, rest, status
from waiting import until

from registry.errors import TransientError
from registry.model.spans import FileSpan
from registry.net.listener import driver
from registry.net.listener.queues import Work
from registry.wire.messages import Accept, Request, Response, accept_small


def ok(_request: Request) -> Answer:
    return Response(200, body=b"ok")


# --- nothing before the guard (rule 15) ----------------------------------------------------------------


def test_a_refusal_is_answered_from_the_head_while_the_body_is_still_to_come(serve: Serve) -> None:
    served = serve(lambda _: Response(401))
    opened = served.connect(head("PUT", "/x", "Content-Length: 4000000") + "half")
    assert status(opened) == 401
    assert served.record().received == 0


def test_a_small_body_is_read_after_the_yes_and_handed_over_whole(serve: Serve) -> None:
    served = serve(lambda _: accept_small(lambda body: Response(200, body=body[::-1])))
    opened = served.connect(head("PUT", "/x", "Content-Length: 6", "Connection: close") + "abc")
    opened.sendall(b"def")
    assert rest(opened).endswith(b"fedcba")
    assert served.record().received == 6


@pytest.mark.parametrize(
    "words", ["Content-Length: 11", "Transfer-Encoding: chunked"], ids=["stated", "chunked"]
)
def test_a_small_body_that_is_too_large_is_refused_also_when_it_comes_in_chunks(
    serve: Serve, words: str
) -> None:
    served = serve(lambda _: accept_small(lambda _: Response(200), limit=10))
    body = "b\r\nhello world\r\n" if "chunked" in words else "hello world"
    opened = served.connect(head("PUT", "/x", words) + body)
    assert status(opened) == 413


def test_a_small_body_that_does_not_arrive_in_time_is_given_up(serve: Serve) -> None:
    served = serve(lambda _: accept_small(lambda _: Response(200), seconds=0.1))
    opened = served.connect(head("PUT", "/x", "Content-Length: 6") + "abc")
    assert status(opened) == 408


def test_a_body_that_stands_still_is_given_up_and_what_arrived_is_kept(serve: Serve) -> None:
    kept = Kept()
    served = serve(lambda _: Accept(kept, lambda: Response(200), 100), body=0.1)
    opened = served.connect(head("PATCH", "/x", "Content-Length: 6") + "abc")
    assert status(opened) == 400
    assert kept.closed.wait(10)
    assert kept.data == b"abc"


def test_a_body_that_trickles_is_given_up_too(serve: Serve) -> None:
    kept = Kept()
    served = serve(lambda _: Accept(kept, lambda: Response(200), 10_000), body=0.3, trickle=1000)
    opened = served.connect(head("PATCH", "/x", "Content-Length: 9000"))
    with contextlib.suppress(ConnectionError):
        for _ in range(200):
            opened.sendall(b"x")
            if served.records:
                break
            time.sleep(0.02)
    assert served.record().status == 400


def test_what_came_before_a_break_is_fed(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "PIECE", 1000)

    class Slow(Kept):
        writing, may_write = threading.Event(), threading.Event()

        def write(self, data: bytes) -> None:
            self.writing.set()
            assert self.may_write.wait(20)
            super().write(data)

    slow = Slow()
    served = serve(lambda _: Accept(slow, lambda: Response(200), 10**7))
    opened = served.connect(head("PATCH", "/x", "Content-Length: 9000000") + "first")
    assert slow.writing.wait(20)
    until(lambda: served.listener.connections.waiting() == 1)
    opened.sendall(b"m" * 2000)  # as much as is held while a write runs:
    until(lambda: served.listener.connections.waiting() == 0)
    opened.sendall(b"rest")  # this stays in the engine's own buffer
    opened.close()
    until(lambda: len(served.listener.connections) == 0)
    slow.may_write.set()
    assert slow.closed.wait(20)
    assert slow.data == b"first" + b"m" * 2000 + b"rest"
    assert served.record().status == 400


def test_an_intake_that_lost_its_upload_ends_the_request(serve: Serve) -> None:
    class Lost(Kept):
        def write(self, data: bytes) -> None:
            raise TransientError("a newer request has taken this upload over", retry_after=1)

    lost = Lost()
    served = serve(lambda _: Accept(lost, lambda: Response(200), 100))
    opened = served.connect(head("PATCH", "/x", "Content-Length: 3") + "abc")
    assert status(opened) == 429
    assert lost.closed.wait(10)


def test_the_connection_that_was_idle_longest_makes_room_for_a_new_one(serve: Serve) -> None:
    served = serve(ok, connections=3)
    first, second = served.connect(), served.connect()
    until(lambda: len(served.listener.connections) == 2)
    third = served.connect(head("GET", "/"))
    assert status(third) == 200
    assert status(served.connect(head("GET", "/"))) == 200
    assert rest(first) == b""
    second.sendall(head("GET", "/").encode())
    assert status(second) == 200, "only as many were closed as had to be"


def test_connections_that_are_at_work_are_not_closed_for_a_new_one(serve: Serve) -> None:
    may_end, begun = threading.Event(), threading.Semaphore(0)

    def answer(_request: Request) -> Answer:
        begun.release()
        assert may_end.wait(20)
        return Response(200)

    served = serve(answer, connections=2)
    at_work = [served.connect(head("GET", "/")) for _ in range(2)]
    for _ in at_work:
        assert begun.acquire(timeout=20)
    assert rest(served.connect(head("GET", "/"))) == b""
    may_end.set()
    assert [status(each) for each in at_work] == [200, 200]


def test_a_connection_without_a_request_is_closed_after_a_while(serve: Serve) -> None:
    served = serve(ok, keepalive=0.1)
    assert rest(served.connect()) == b""
    assert rest(served.connect("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ")) == b""


# --- the queues (rule 16) ------------------------------------------------------------------------------


def test_writers_that_are_stuck_hold_up_neither_readers_nor_health(serve: Serve) -> None:
    may_end = threading.Event()

    def answer(request: Request) -> Answer:
        if request.method == "POST":
            assert may_end.wait(20)
        return Response(200)

    served = serve(answer)
    stuck = [served.connect(head("POST", "/x", "Content-Length: 0")) for _ in range(20)]
    for path in ("/healthz", "/v2/"):
        assert status(served.connect(head("GET", path))) == 200
    may_end.set()
    assert {status(each) for each in stuck} == {200}


def test_health_is_answered_in_time_also_when_it_cannot_be_found_out(serve: Serve) -> None:
    may_end = threading.Event()

    def answer(_request: Request) -> Answer:
        assert may_end.wait(20)
        return Response(200)

    served = serve(answer, health=0.05)
    for _ in range(3):
        assert status(served.connect(head("GET", "/healthz"))) == 503
    may_end.set()


def test_a_queue_that_is_full_answers_at_once_and_says_when_to_come_again(serve: Serve) -> None:
    may_end = threading.Event()

    def answer(_request: Request) -> Answer:
        assert may_end.wait(20)
        return Response(200)

    served = serve(answer)
    waiting = [served.connect(head("POST", "/x", "Content-Length: 0")) for _ in range(300)]
    too_many = 300 - 8 - 256  # threads, and places to wait in
    assert [served.record(number).status for number in range(too_many)] == [503] * too_many
    may_end.set()
    answers = [answer_of(each) for each in waiting]
    busy = [each for each in answers if each.startswith(b"HTTP/1.1 503 ")]
    assert len(busy) == too_many
    assert all(b"\r\nRetry-After: 2\r\n" in each for each in busy)


def test_a_body_that_was_let_in_at_once_finds_the_same_full_queue() -> None:
    may_end = threading.Event()
    kept: list[Kept] = []

    def answer(_request: Request) -> Answer:
        assert may_end.wait(20)
        return Response(200)

    def at_once(request: Request) -> Accept | None:
        if request.method != "PUT":
            return None
        kept.append(Kept())
        return Accept(kept[-1], lambda: Response(201), 10)

    with contextlib.closing(Served(answer, prompt=at_once)) as served:
        put = head("PUT", "/x", "Content-Length: 1") + "x"
        assert status(served.connect(put)) == 201
        waiting = [served.connect(head("POST", "/x", "Content-Length: 0")) for _ in range(8 + 256)]
        until(lambda: served.listener.queues.inside()[Work.WRITING] == 8 + 256)

        refused = answer_of(served.connect(put))

        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 2\r\n" in refused
        assert [each.closed.is_set() for each in kept] == [True, True]
        may_end.set()
        assert {status(each) for each in waiting} == {200}


def test_many_that_hash_take_turns_and_are_answered_when_nothing_is_left(serve: Serve) -> None:
    order: list[str] = []
    both = threading.Event()
    threads = threading.Barrier(2)  # neither gets ahead of the other, however busy the machine is

    def closing(request: Request) -> Answer:
        steps = iter(range(3))

        def step() -> bool:
            assert both.wait(20)
            threads.wait(20)
            order.append(request.path)
            return next(steps, None) is not None

        return Accept(Kept(), lambda: Response(200 + order.count(request.path)), 10, hash_more=step)

    served = serve(closing)
    hashing = [served.connect(head("PUT", f"/{each}", "Content-Length: 0")) for each in range(6)]
    until(lambda: served.listener.queues.inside()[Work.HASHING] == 6)
    both.set()
    assert {status(each) for each in hashing} == {204}
    assert set(order[:6]) == {f"/{each}" for each in range(6)}, "one of them was hashed to its end first"


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not let a program say where it runs")
@pytest.mark.skipif(os.cpu_count() == 1, reason="there is but one processor")
def test_a_small_blob_is_written_on_the_loops_processor_and_what_may_be_long_is_done_on_any(
    serve: Serve,
) -> None:
    every = os.sched_getaffinity(0)

    def loop() -> int:
        return served.listener._thread.native_id or 0

    def ran_on() -> Response:
        assert os.sched_getaffinity(loop()) == os.sched_getaffinity(0)
        return Response(201, body=repr(sorted(os.sched_getaffinity(0))).encode())

    def answer(request: Request) -> Answer:
        if request.path == "/form":
            return accept_small(lambda _: ran_on())
        return Accept(Kept(), ran_on, 1_000_000)

    served = serve(answer)
    for path, size, many in (
        ("/blob", 1000, 1),
        ("/blob", 64 * 1024 + 1, len(every)),
        ("/blob", 0, len(every)),
        ("/form", 1000, len(every)),
    ):
        put = head("PUT", path, f"Content-Length: {size}", "Connection: close") + "x" * size
        processors = json.loads(rest(served.connect(put)).partition(b"\r\n\r\n")[2])
        assert len(processors) == many and every.issuperset(processors)
    until(lambda: os.sched_getaffinity(loop()) == every)


# --- the end -------------------------------------------------------------------------------------------


def test_at_the_end_a_body_that_comes_may_come_and_an_old_connection_asks_nothing_more(serve: Serve) -> None:
    kept = Kept()
    served = serve(lambda _: Accept(kept, lambda: Response(201), 100))
    idle = served.connect()
    coming = served.connect(head("PATCH", "/x", "Content-Length: 6") + "abc")
    until(lambda: served.listener.connections.busy())
    ending = threading.Thread(target=served.stop, args=(20,))

    ending.start()
    assert rest(idle) == b""
    coming.sendall(b"def" + head("PATCH", "/x", "Content-Length: 0").encode())

    assert status(coming) == 201
    assert b"HTTP/1.1" not in rest(coming), "another request was answered"
    ending.join(20)
    assert not ending.is_alive()
    assert kept.data == b"abcdef"


def test_at_the_end_nobody_waits_long_for_a_peer_that_takes_nothing(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "blob"
    file.write_bytes(b"\0" * 50_000_000)
    served = serve(lambda _: Response(200, body=FileSpan(file, 0, 50_000_000)), stalled=0.1)
    served.connect(head("GET", "/x"), receive=4096)
    until(lambda: served.listener.connections.busy())
    began = time.monotonic()
    served.stop(60)
    assert time.monotonic() - began < 30
    assert served.record().whole is False


# --- the log tells the truth ---------------------------------------------------------------------------


def test_a_crash_is_a_500_for_the_client_and_in_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(_request: Request) -> Answer:
        raise ZeroDivisionError("a bug")

    served = serve(answer)
    assert status(served.connect(head("GET", "/x"))) == 500
    assert served.record().status == 500
    assert "a request crashed" in caplog.text


def test_a_request_that_comes_as_its_connection_is_closed_is_no_crash(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    served = serve(ok)
    idle = served.connect()
    until(lambda: len(served.listener.connections) == 1)

    async def arrive_and_drain() -> None:
        [handler] = served.listener.connections._open
        handler.data_received(head("GET", "/x").encode())
        served.listener.connections.drain()

    asyncio.run_coroutine_threadsafe(arrive_and_drain(), served.listener._loop).result(20)
    assert rest(idle) == b""
    served.stop()
    assert caplog.text == ""


def test_what_is_no_request_is_answered_and_told(serve: Serve) -> None:
    served = serve(ok)
    assert status(served.connect("NONSENSE\r\n\r\n")) == 400
    assert (served.record().status, served.record().route) == (400, "none")
    assert status(served.connect("GET /x HTTP/1.1\r\n\r\n")) == 400
    assert served.record(1).status == 400
