"""A peer that lies, breaks off, or never ends: one clear error each, and no connection used again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from network_kit import PATIENT, STALL, Certificate, silent_address, streamed
from spy import Script, Seen, Spy, Talk, reply
from waiting import until

from registry.errors import DeniedError, ProtocolError, Reason, RegistryError, TransientError
from registry.net.answers import HEAD_BYTES
from registry.net.http import Http
from registry.wire.headers import Headers
from registry.wire.messages import Request

Client = Callable[..., Http]


def then(*parts: bytes, pause: float = 0.0, reset: bool = False) -> Callable[[Talk, Seen], None]:
    """Say the parts, with a pause between them, and hang up."""

    def script(talk: Talk, _seen: Seen) -> None:
        for part in parts:
            talk.send(part)
            talk.wait(pause)
        if reset:
            talk.reset()
        else:
            talk.hang_up()

    return script


def endless(first: bytes, more: bytes) -> Callable[[Talk, Seen], None]:
    """Say `first` and then `more` for ever."""

    def script(talk: Talk, _seen: Seen) -> None:
        talk.socket.sendall(first)
        while not talk.spy.closing.is_set():
            talk.socket.sendall(more)  # raises when the client hangs up

    return script


def dripping(first: bytes, drop: bytes) -> Callable[[Talk, Seen], None]:
    """Say `first` and then `drop` again and again, each in less time than a line may be silent."""

    def script(talk: Talk, _seen: Seen) -> None:
        talk.send(first)
        while not talk.spy.closing.is_set():
            talk.socket.sendall(drop)  # raises when the client hangs up
            talk.wait(DRIP / 4)

    return script


def silent(talk: Talk, _seen: Seen) -> None:
    talk.wait(10)


DRIP = 0.2  # seconds of patience with a peer that drips
START = b"HTTP/1.1 200 x\r\n"
HALF = START + b"Content-Length: 10\r\n\r\nhello"
CHUNKED = START + b"Transfer-Encoding: chunked\r\n\r\n"

# what the peer does | the error | a word of its sentence
ANSWERS: dict[str, tuple[Script, type[RegistryError], str | None]] = {
    "not HTTP": (b"SSH-2.0-OpenSSH_9\r\n\r\n", ProtocolError, "did not answer in HTTP"),
    "a page and no head": (then(b"<html></html>"), ProtocolError, "did not answer in HTTP"),
    "another protocol": (b"HTTP/2 200\r\n\r\n", ProtocolError, "did not answer in HTTP"),
    "no status": (b"HTTP/1.1 abc x\r\n\r\n", ProtocolError, "did not answer in HTTP"),
    "a status of four digits": (b"HTTP/1.1 2000 x\r\n\r\n", ProtocolError, "did not answer in HTTP"),
    "a status of two digits": (b"HTTP/1.1 20 x\r\n\r\n", ProtocolError, "did not answer in HTTP"),
    "zero bytes": (then(b"\0" * 4096), ProtocolError, "did not answer in HTTP"),
    "switching protocols": (
        b"HTTP/1.1 101 x\r\nUpgrade: h2c\r\n\r\nPRI *\r\n\r\n",
        ProtocolError,
        "did not answer in HTTP",
    ),
    "a status line without end": (endless(b"HTTP/1.1 200 ", b"x" * 9999), ProtocolError, "HTTP"),
    "a header without end": (endless(START + b"X: ", b"x" * 9999), ProtocolError, "HTTP"),
    "headers without end": (endless(START, b"X: y\r\n"), ProtocolError, "HTTP"),
    "interim answers without end": (endless(b"", b"HTTP/1.1 102 x\r\n\r\n"), ProtocolError, "HTTP"),
    "a head that is too big": (START + b"X: y\r\n" * 90 + b"Y: " + b"y" * HEAD_BYTES, ProtocolError, "HTTP"),
    "a line that is no header": (START + b"nonsense\r\nContent-Length: 0\r\n\r\n", ProtocolError, "HTTP"),
    "a control character in a header": (START + b"X: a\x1b[31m\r\n\r\n", ProtocolError, "cannot be read"),
    "a space in a header's name": (
        START + b"Content-Length : 5\r\n\r\nhello",
        ProtocolError,
        None,
    ),
    "two lengths": (START + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", ProtocolError, "ends"),
    "a negative length": (START + b"Content-Length: -5\r\n\r\n", ProtocolError, "ends"),
    "a length in words": (START + b"Content-Length: five\r\n\r\n", ProtocolError, "ends"),
    "a length with a sign": (START + b"Content-Length: +5\r\n\r\nhello", ProtocolError, "ends"),
    "a list of lengths": (START + b"Content-Length: 5, 6\r\n\r\nhello", ProtocolError, "ends"),
    "an absurd length": (START + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n", ProtocolError, "ends"),
    "a length of too many digits": (
        START + b"Content-Length: " + b"9" * 9000 + b"\r\n\r\n",
        ProtocolError,
        "ends",
    ),
    "a header over two lines": (
        START + b"Content-Length: 0\r\n 5\r\n\r\nhello",
        ProtocolError,
        "did not answer in HTTP",
    ),
    "another coding": (START + b"Transfer-Encoding: gzip, chunked\r\n\r\n", ProtocolError, "ends"),
    "nothing": (then(), TransientError, "closed the connection"),
    "a reset": (then(reset=True), TransientError, "closed the connection"),
    "half a status line": (then(START[:11]), TransientError, "closed"),
    "half a word": (then(START[:3]), TransientError, "closed"),
    "half a head": (then(START), TransientError, "closed"),
    "half a header": (then(HALF[:30]), TransientError, "closed"),
    "a head without its end": (then(START + b"Content-Length: 0\r\n"), TransientError, "closed"),
    "silence": (silent, TransientError, "fell silent"),
    "silence in the head": (then(START, b"", pause=STALL * 3), TransientError, "fell silent"),
}

BODIES: dict[str, tuple[Script, type[RegistryError], str | None]] = {
    "a short body": (then(HALF), TransientError, "early"),
    "a short body and a reset": (then(HALF, pause=0.2, reset=True), TransientError, "closed"),
    "a body that stalls": (then(HALF, b"world", pause=STALL * 3), TransientError, "fell silent"),
    "a chunk that is cut": (then(CHUNKED + b"9\r\nhello"), TransientError, None),
    "chunks without an end": (then(CHUNKED + b"5\r\nhello\r\n"), TransientError, None),
    "a chunk of garbage": (then(CHUNKED + b"zz\r\nhello\r\n"), TransientError, None),
    "a chunk of negative size": (then(CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n"), TransientError, None),
    "a chunk of more than its size": (then(CHUNKED + b"5\r\nhello!\r\n0\r\n\r\n"), TransientError, None),
    "trailers without end": (endless(CHUNKED + b"0\r\n", b"X: y\r\n"), ProtocolError, None),
}


WITHOUT_BYTES = (
    "a chunk of garbage",
    "a chunk of negative size",
    "a chunk of more than its size",
    "trailers without end",
)


@pytest.mark.parametrize("case", ANSWERS)
def test_an_answer_that_cannot_be_used_is_one_error(case: str, client: Client) -> None:
    script, error, word = ANSWERS[case]
    with Spy((script, reply(200, b"fine"))) as spy:
        http = client(stall=STALL if "silence" in case else PATIENT)
        began = time.monotonic()
        with pytest.raises(error, match=word) as caught:
            http(Request("GET", spy.url + "/x"))

        assert type(caught.value) is error
        assert spy.netloc in caught.value.message and caught.value.host == spy.netloc
        assert caught.value.message.isprintable()
        assert time.monotonic() - began < PATIENT
        assert http(Request("GET", spy.url + "/next")).status == 200
        assert spy.connections == 2, "a connection in an unknown state was used again"


@pytest.mark.parametrize("case", BODIES)
def test_a_body_that_does_not_end_as_it_should_is_one_error(case: str, client: Client) -> None:
    script, error, word = BODIES[case]
    with Spy((script, reply(200, b"fine"))) as spy:
        http = client(stall=STALL if "stalls" in case else PATIENT)
        answer = http(Request("GET", spy.url + "/x"))
        got = b""
        with pytest.raises(error, match=word) as caught:
            for piece in streamed(answer):
                got += piece

        assert type(caught.value) is error
        assert got == (b"" if case in WITHOUT_BYTES else b"hello"), "what came before the end was lost"
        assert getattr(caught.value, "answered", True)
        assert http(Request("GET", spy.url + "/next")).status == 200
        assert spy.connections == 2


def test_a_peer_that_sends_everything_back_gets_no_secret_printed(client: Client) -> None:
    def echo(talk: Talk, seen: Seen) -> None:
        talk.send(seen.head)
        talk.hang_up()

    lines: list[str] = []
    with Spy((echo,)) as spy:
        request = Request("GET", spy.url + "/x?sig=SECRET", Headers({"Authorization": "Bearer SECRET"}))
        with pytest.raises(ProtocolError, match=r"GET /x\?…") as caught:
            client(trace=lines.append)(request)

    assert "SECRET" not in f"{caught.value}{caught.value.hint}{lines}"


def test_more_than_was_stated_is_no_answer_where_tls_holds_it_back(
    client: Client, certificate: Certificate
) -> None:
    body = b"x" * 20_000  # the first record of TLS takes 16 KiB of it, and the second what is too much
    answer = START + b"Content-Length: 20000\r\n\r\n" + body + reply(200, b"smuggled")
    with Spy((answer, reply(200, b"true")), tls=certificate.server) as spy:
        http = client(ca=certificate.pem)
        assert b"".join(streamed(http(Request("GET", spy.url + "/x")))) == body

        assert b"".join(streamed(http(Request("GET", spy.url + "/next")))) == b"true"
        assert spy.connections == 2


def test_a_body_that_comes_late_behind_a_head_breaks_a_connection_and_says_nothing_of_the_registry(
    client: Client,
) -> None:
    refusal = b"HTTP/1.1 404 x\r\nContent-Length: 5\r\n\r\n"
    with Spy((refusal, b"hello" + reply(200, b"late"), reply(200, b"true"))) as spy:
        http = client()
        assert http(Request("HEAD", spy.url + "/x")).status == 404
        with pytest.raises(TransientError, match="closed the connection"):
            http(Request("GET", spy.url + "/y"))

        assert b"".join(streamed(http(Request("GET", spy.url + "/y")))) == b"true"


def test_more_than_was_stated_is_never_read(client: Client) -> None:
    with Spy(
        (START + b"Content-Length: 5\r\n\r\nhello" + reply(200, b"smuggled"), reply(200, b"true"))
    ) as spy:
        http = client()
        assert b"".join(http(Request("GET", spy.url + "/x")).body) == b"hello"  # type: ignore[arg-type]
        time.sleep(0.05)
        assert b"".join(http(Request("GET", spy.url + "/y")).body) == b"true"  # type: ignore[arg-type]
        assert spy.connections == 2


def test_an_answer_that_says_twice_where_it_ends_comes_in_chunks_and_is_the_last_of_its_connection(
    client: Client,
) -> None:
    both = START + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    with Spy((both, reply(200, b"true"))) as spy:
        http = client()
        for body in (b"hello", b"true"):
            assert b"".join(http(Request("GET", spy.url + "/x")).body) == body  # type: ignore[arg-type]
        assert spy.connections == 2


@pytest.mark.parametrize(
    ("first", "drop"),
    [
        (START, b"X"),
        (START, b"X: y\r\n"),
        (b"", b"HTTP/1.1 102 x\r\n\r\n"),
        (CHUNKED + b"5;", b"a"),
        (CHUNKED + b"5\r\nhello", b"\r"),
        (CHUNKED + b"0\r\n", b"X: y\r\n"),
    ],
    ids=["a header", "headers", "interim answers", "a chunk's size", "a chunk's end", "trailers"],
)
def test_what_frames_a_body_is_not_waited_for_as_often_as_it_drips(
    first: bytes, drop: bytes, client: Client
) -> None:
    with Spy((dripping(first, drop),)) as spy, pytest.raises(TransientError, match="fell silent"):
        for _ in streamed(client(stall=DRIP, answer=DRIP)(Request("GET", spy.url + "/x"))):
            pass


def test_a_slow_body_is_read_as_long_as_it_moves(client: Client) -> None:
    with Spy((then(HALF, *(b"world"[at : at + 1] for at in range(5)), pause=STALL / 4),)) as spy:
        answer = client(stall=STALL)(Request("GET", spy.url + "/x"))

        assert b"".join(answer.body) == b"helloworld"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "error", "word"),
    [
        ("http://127.0.0.1:1/", TransientError, "refused the connection"),
        ("https://127.0.0.1:1/", TransientError, "refused the connection"),
        ("http://models.invalid/", TransientError, "cannot be found"),
        ("https://models.invalid/", TransientError, "cannot be found"),
    ],
)
def test_a_place_that_is_not_there_is_told_plainly(
    url: str, error: type[RegistryError], word: str, client: Client
) -> None:
    with pytest.raises(error, match=word) as caught:
        client()(Request("GET", url))

    assert isinstance(caught.value, TransientError) and not caught.value.answered


@pytest.mark.parametrize(
    ("script", "error", "word"),
    [
        (b"HTTP/1.1 407 auth\r\n\r\n", DeniedError, "refused to connect to models.example"),
        (b"HTTP/1.1 403 no\r\n\r\n", DeniedError, "refused to connect"),
        (b"HTTP/1.1 502 no\r\n\r\n", TransientError, "502"),
        (then(), TransientError, r"through the proxy 127\.0\.0\.1:\d+\)"),
        (then(b"HTTP/1.1 200 ok\r\n\r\n"), TransientError, r"through the proxy 127\.0\.0\.1:\d+\)"),
        (silent, TransientError, r"through the proxy 127\.0\.0\.1:\d+\)"),
    ],
)
def test_a_proxy_that_fails_is_named(
    script: Script, error: type[RegistryError], word: str, client: Client
) -> None:
    with Spy((script,)) as spy, pytest.raises(error, match=word):
        client(proxies={"https": spy.url}, stall=STALL, connect=STALL)(
            Request("GET", "https://models.example/")
        )


def test_a_proxy_that_passes_requests_on_and_wants_a_password_is_no_registry_that_refuses(
    client: Client,
) -> None:
    asks = reply(407, b"who are you?", Proxy_Authenticate="Basic")
    with Spy((asks,)) as spy:
        http = client(proxies={"http": spy.url.replace("://", "://ada:s3cret@")})
        for _ in range(2):
            with pytest.raises(
                DeniedError, match=rf"proxy {spy.netloc} refused .* models.example \(407\)"
            ) as no:
                http(Request("GET", "http://models.example/v2/"))
            assert no.value.reason is Reason.PROXY


def test_a_proxy_that_is_not_there_is_named(client: Client) -> None:
    for scheme in ("http", "https"):
        with pytest.raises(TransientError, match=r"proxy localhost:1 .* refused"):
            client(proxies={scheme: "http://localhost:1"})(Request("GET", f"{scheme}://models.example/"))


# --- Ctrl-C: abort from another thread ------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["head", "body", "sending", "tls", "handshake", "connecting"])
def test_abort_ends_every_wait(moment: str, client: Client, certificate: Certificate) -> None:
    http = client(stall=20, answer=20, connect=20, ca=certificate.pem)
    ended = threading.Event()
    script = then(HALF, pause=20) if moment == "body" else silent
    with (
        silent_address() as nowhere,
        Spy((script,), tls=certificate.server if moment == "tls" else None) as spy,
    ):
        url = {
            "handshake": spy.url.replace("http:", "https:"),
            "connecting": f"http://127.0.0.1:{nowhere[1]}",
        }.get(moment, spy.url)

        def work() -> None:
            endless_body = (bytes(1 << 20) for _ in range(1 << 20))
            request = Request("GET", url + "/x")
            if moment == "sending":
                request = Request("PATCH", url + "/x", Headers(), endless_body, 1 << 40)
            with pytest.raises(TransientError):
                b"".join(http(request).body)  # type: ignore[arg-type]
            ended.set()

        thread = threading.Thread(target=work)
        thread.start()
        until(lambda: bool(spy.seen if moment in ("head", "body", "tls") else http._sockets.count))
        time.sleep(0.1)  # then it waits, if the machine is not very busy
        assert not ended.is_set()
        http.abort()

        assert ended.wait(5)  # the peer ends it after 10
        thread.join()
