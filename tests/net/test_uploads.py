"""A body goes out once, as long as it says, and an answer that comes meanwhile is heard."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from network_kit import PATIENT, STALL, Certificate
from spy import Seen, Spy, Talk, reply, whole

from registry.errors import ProtocolError, RegistryError, StorageError, TransientError
from registry.net.http import Http
from registry.net.network import Network
from registry.wire.headers import Headers
from registry.wire.messages import Request

Client = Callable[..., Http]
MIB = 1024 * 1024
ENDLESS = 4096  # MiB: more than any socket buffer holds


class Bodies:
    """An endless body that knows how much of it was taken."""

    def __init__(self, size: int = ENDLESS * MIB) -> None:
        self.size = size
        self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        block = bytes(MIB)
        while self.taken < self.size:
            self.taken += len(block)
            yield block


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("piece", [bytes, bytearray, memoryview])
def test_a_streamed_body_arrives_whole(
    tls: bool, piece: Callable[[bytes], bytes], client: Client, certificate: Certificate
) -> None:
    data = bytes(range(256)) * 4096 * 5
    with Spy((reply(202),), tls=certificate.server if tls else None) as spy:
        body = (piece(data[at : at + 3_000_000]) for at in range(0, len(data), 3_000_000))
        answer = client(ca=certificate.pem)(Request("PATCH", spy.url + "/u", Headers(), body, len(data)))

        assert answer.status == 202
        (seen,) = spy.seen
        assert seen.body == data
        assert (seen.header("Content-Length"), seen.header("Transfer-Encoding")) == (str(len(data)), None)


@pytest.mark.parametrize(
    ("pieces", "stated"),
    [([b"abc"], 4), ([], 1), ([b"abc", b"de"], 4), ([b"abcd", b"e"], 4), ([b"x" * MIB] * 3, 3 * MIB - 1)],
)
def test_a_body_of_another_length_is_an_error_and_costs_the_connection(
    pieces: list[bytes], stated: int, client: Client
) -> None:
    with Spy((reply(200),)) as spy:
        http = client()
        http(Request("GET", spy.url + "/first"))
        with pytest.raises(ProtocolError, match="stated"):
            http(Request("PATCH", spy.url + "/u", Headers(), iter(pieces), stated))
        http(Request("GET", spy.url + "/next"))

        assert spy.connections == 2
        assert [seen.target for seen in spy.seen if seen.method == "GET"] == ["/first", "/next"]
        assert all(len(seen.body) <= stated for seen in spy.seen)


@pytest.mark.parametrize("error", [OSError("disk"), StorageError("disk"), ValueError("x"), TimeoutError()])
def test_an_error_of_the_body_passes_unchanged(error: Exception, client: Client) -> None:
    def body() -> Iterator[bytes]:
        yield b"abc"
        raise error

    with Spy((reply(200),)) as spy, pytest.raises(type(error)) as caught:
        client()(Request("PATCH", spy.url + "/u", Headers(), body(), 6))

    assert caught.value is error


def refuse_and_wait(talk: Talk, _seen: Seen) -> None:
    talk.send(reply(413, b"too much"))
    talk.wait(5)


def refuse_and_close(talk: Talk, _seen: Seen) -> None:
    talk.send(reply(413, b"too much"))
    talk.wait(0.1)  # a reset on the heels of an answer may overtake it; nobody can help that
    talk.hang_up()  # with unread bytes in its buffer: the client sees a reset


def refuse_and_reset(talk: Talk, _seen: Seen) -> None:
    talk.send(reply(413, b"too much"))
    talk.wait(0.2)
    talk.reset()


def refuse_in_drops(talk: Talk, _seen: Seen) -> None:
    for byte in reply(413, b"too much"):
        talk.send(bytes([byte]))
        talk.wait(0.001)
    talk.wait(5)


def refuse_after_interim_answers(talk: Talk, seen: Seen) -> None:
    for interim in (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 102 x\r\nX: y\r\n\r\n"):
        talk.send(interim)
        talk.wait(0.05)
    refuse_and_wait(talk, seen)


def refuse_late(talk: Talk, _seen: Seen) -> None:
    for _ in range(100):
        talk.socket.recv(65536)
    refuse_and_wait(talk, _seen)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    "script",
    [
        refuse_and_wait,
        refuse_and_close,
        refuse_and_reset,
        refuse_late,
        refuse_in_drops,
        refuse_after_interim_answers,
    ],
)
def test_an_answer_while_the_body_goes_out_is_heard(
    script: Callable[[Talk, Seen], None], tls: bool, client: Client, certificate: Certificate
) -> None:
    body = Bodies()
    with Spy((script, reply(200)), tls=certificate.server if tls else None) as spy:
        http = client(ca=certificate.pem)
        answer = http(Request("PATCH", spy.url + "/u", Headers(), body, body.size))

        assert answer.status == 413
        assert b"".join(answer.body) == b"too much"  # type: ignore[arg-type]
        assert body.taken < body.size / 2
        assert http(Request("GET", spy.url + "/next")).status == 200
        assert spy.connections == 2, "a connection in the middle of a body was used again"


def refuse_for_good(talk: Talk, _seen: Seen) -> None:
    """As Go's server does when nobody reads the rest of a body: an answer that says it closes, and a FIN."""
    talk.send(reply(401, b"token expired", Connection="close", WWW_Authenticate="Bearer"))
    talk.finish()
    talk.wait(0.2)
    talk.hang_up()


def refuse_at_length(talk: Talk, _seen: Seen) -> None:
    talk.send(reply(401, b"x" * 100_000, Connection="close"))
    talk.finish()
    talk.wait(0.2)
    talk.hang_up()


def refuse_endlessly(talk: Talk, _seen: Seen) -> None:
    talk.send(b"HTTP/1.0 401 x\r\n\r\ntoken expired")
    talk.finish()
    talk.wait(0.2)
    talk.hang_up()


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("read", [False, True])
@pytest.mark.parametrize("script", [refuse_for_good, refuse_at_length, refuse_endlessly])
def test_an_early_answer_that_closes_the_connection_is_that_answer(
    script: Callable[[Talk, Seen], None], read: bool, tls: bool, client: Client, certificate: Certificate
) -> None:
    body = Bodies()
    with Spy((script, reply(200)), tls=certificate.server if tls else None) as spy:
        http = client(ca=certificate.pem)
        answer = http(Request("PATCH", spy.url + "/u", Headers(), body, body.size))

        assert answer.status == 401
        if read:
            assert whole(answer) in (b"token expired", b"x" * 100_000)
        answer.close()
        assert http(Request("GET", spy.url + "/next")).status == 200
        assert spy.connections == 2


@pytest.mark.parametrize("tls", [False, True])
def test_an_answer_that_closes_is_given_up_unread(
    tls: bool, client: Client, certificate: Certificate
) -> None:
    refusal = reply(401, b"who are you?", Connection="close")
    with Spy((refusal, reply(200)), tls=certificate.server if tls else None) as spy:
        http = client(ca=certificate.pem)
        http(Request("PATCH", spy.url + "/u", Headers(), iter([b"abc"]), 3)).close()

        assert http(Request("GET", spy.url + "/next")).status == 200


def test_an_interim_answer_does_not_stop_a_body(client: Client) -> None:
    def patient(talk: Talk, seen: Seen) -> None:
        talk.send(b"HTTP/1.1 102 still here\r\n\r\n")
        talk.body(seen)
        talk.send(reply(202))

    body = Bodies(64 * MIB)
    with Spy((patient,)) as spy:
        assert client()(Request("PATCH", spy.url + "/u", Headers(), body, body.size)).status == 202
        assert len(spy.seen[0].body) == body.size


@pytest.mark.parametrize("tls", [False, True])
def test_a_peer_that_stops_reading_is_given_up(tls: bool, client: Client, certificate: Certificate) -> None:
    def deaf(talk: Talk, _seen: Seen) -> None:
        talk.wait(10)

    body = Bodies()
    with Spy((deaf,), tls=certificate.server if tls else None) as spy:
        began = time.monotonic()
        with pytest.raises(TransientError, match="silent"):
            client(ca=certificate.pem, stall=STALL)(
                Request("PATCH", spy.url + "/u", Headers(), body, body.size)
            )

        assert STALL <= time.monotonic() - began < PATIENT


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("end", [Talk.reset, Talk.hang_up])
def test_a_peer_that_goes_away_without_a_word_is_asked_again(
    end: Callable[[Talk], None], tls: bool, client: Client, certificate: Certificate
) -> None:
    body = Bodies()
    with (
        Spy((lambda talk, _seen: end(talk),), tls=certificate.server if tls else None) as spy,
        pytest.raises(TransientError, match="closed"),
    ):
        client(ca=certificate.pem)(Request("PATCH", spy.url + "/u", Headers(), body, body.size))


def test_a_put_may_be_thought_over_longer_than_a_line_may_be_silent(client: Client) -> None:
    def thinking(talk: Talk, seen: Seen) -> None:
        talk.body(seen)
        talk.wait(STALL * 2)
        talk.send(reply(201))

    with Spy((thinking,)) as spy:
        http = client(stall=STALL, answer=PATIENT)
        assert http(Request("PUT", spy.url + "/u?digest=x")).status == 201
        with pytest.raises(TransientError, match="silent"):
            http(Request("GET", spy.url + "/u"))


def test_a_large_patch_may_be_thought_over_too(client: Client) -> None:
    def thinking(talk: Talk, seen: Seen) -> None:
        talk.body(seen)
        talk.wait(STALL * 1.5)
        talk.send(reply(202))

    body = Bodies(64 * MIB)
    with Spy((thinking,)) as spy:
        http = client(stall=STALL, answer=300.0)
        assert http(Request("PATCH", spy.url + "/u", Headers(), body, body.size)).status == 202


@pytest.mark.parametrize(
    ("method", "length", "seconds"),
    [
        ("GET", 0, 30.0),
        ("PATCH", 0, 30.0),
        ("PATCH", 512 * MIB, 165.0),
        ("PATCH", 1024 * MIB, 300.0),
        ("POST", 4096 * MIB, 300.0),
        ("PUT", 0, 300.0),
    ],
)
def test_who_was_sent_more_may_think_longer(method: str, length: int, seconds: float) -> None:
    request = Request(method, "http://models.example/u", Headers(), iter(()), length)

    assert Network(stall=30.0, answer=300.0).time_to_answer(request) == seconds
    assert Network(stall=30.0, answer=10.0).time_to_answer(request) == 30.0


def test_a_body_is_never_sent_twice(client: Client) -> None:
    with Spy((lambda talk, _seen: talk.reset(), reply(200))) as spy:
        with pytest.raises(RegistryError):
            client()(Request("PATCH", spy.url + "/u", Headers(), iter([b"abc"]), 3))

        assert len(spy.seen) == 1
