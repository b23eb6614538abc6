"""Asking one host on behalf of others: what it answers comes as it comes, and nothing is added."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import tracemalloc
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import TypeVar

import pytest
from network_kit import Certificate, silent_address
from spy import Seen, Spy, Talk, reply

from registry.errors import DeniedError, InvalidError, ProtocolError, Reason, RegistryError, TransientError
from registry.net.network import Network
from registry.net.upstream import Upstream
from registry.wire.headers import Headers
from registry.wire.messages import Origin, Request, Response

T = TypeVar("T")


def asked(
    url: str,
    work: Callable[[Upstream], Awaitable[T]],
    *,
    silence: float = 20.0,
    network: Network | None = None,
) -> T:
    """What `work` makes of an upstream at `url`, closed at the end."""

    async def run() -> T:
        upstream = Upstream(Origin.of(url), network or Network(), silence=silence)
        try:
            return await work(upstream)
        finally:
            await upstream.close()
            await asyncio.sleep(0)

    return asyncio.run(run())


async def body(response: Response) -> bytes:
    if isinstance(response.body, bytes):
        return response.body
    assert isinstance(response.body, AsyncIterable)
    return b"".join([piece async for piece in response.body])


def get(url: str, **settings: object) -> tuple[Response, bytes]:
    """The whole answer to a GET."""

    async def work(upstream: Upstream) -> tuple[Response, bytes]:
        response = await upstream(Request("GET", url))
        try:
            return response, await body(response)
        finally:
            response.close()

    return asked(url, work, **settings)  # type: ignore[arg-type]  # passed on as they came


def test_nothing_is_added_to_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # what `network` says holds
    with Spy((reply(200, b"x"),)) as spy:
        url = f"{spy.url}/a%2Fb/../c?q=%7e+%20&z"

        async def work(upstream: Upstream) -> int:
            return (await upstream(Request("POST", url, Headers({"X-One": "1"}), b"body"))).status

        assert asked(url, work) == 200
        assert spy.seen[0].line == b"POST /a%2Fb/../c?q=%7e+%20&z HTTP/1.1"
        rows = {row.decode().partition(":")[0].lower() for row in spy.seen[0].head.split(b"\r\n")[1:]}
        assert rows == {"host", "x-one", "content-length"}


@pytest.mark.parametrize("status", [200, 204, 302, 304, 401, 503])
def test_an_answer_is_passed_on_as_it_is(status: int) -> None:
    packed = b"" if status in (204, 304) else gzip.compress(b"text")
    answer = reply(status, packed, Content_Encoding="gzip", Location="/there")
    with Spy((answer,)) as spy:
        response, got = get(spy.url + "/x")
        assert (response.status, got, len(spy.seen)) == (status, packed, 1)
        assert response.headers.get("Content-Encoding") == "gzip"


def test_a_cookie_is_not_brought_back() -> None:
    with Spy((reply(200, b"", Set_Cookie="a=b; Path=/"),)) as spy:
        url = spy.url.replace("127.0.0.1", "localhost")

        async def work(upstream: Upstream) -> None:
            for _ in range(2):
                (await upstream(Request("GET", url + "/"))).close()

        asked(url, work)
        assert [seen.header("Cookie") for seen in spy.seen] == [None, None]


def test_a_head_has_the_length_of_what_is_not_sent() -> None:
    with Spy((b"HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n",)) as spy:

        async def work(upstream: Upstream) -> Response:
            return await upstream(Request("HEAD", spy.url + "/"))

        response = asked(spy.url, work)
        assert (response.length, response.body) == (77, b"")


def test_nothing_is_read_ahead_of_the_caller() -> None:
    sent = 0

    def flood(talk: Talk, _seen: Seen) -> None:
        nonlocal sent
        talk.send(b"HTTP/1.1 200 OK\r\n\r\n")
        talk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        talk.socket.settimeout(0.3)
        try:
            for _ in range(1024):
                talk.socket.sendall(bytes(65536))
                sent += 65536
        except TimeoutError:
            stuck.set()

    stuck = threading.Event()
    with Spy((flood,)) as spy:

        async def work(upstream: Upstream) -> None:
            response = await upstream(Request("GET", spy.url + "/"))
            assert await asyncio.to_thread(stuck.wait, 20)
            response.close()

        asked(spy.url, work)
    assert sent < 16 << 20  # the kernel's own buffers hold some


def test_over_tls_it_trusts_what_it_was_told_and_says_why_not(certificate: Certificate) -> None:
    with Spy((reply(200, b"x"),), tls=certificate.server) as spy:
        assert get(spy.url + "/", network=Network(ca=certificate.pem))[1] == b"x"
        assert get(spy.url + "/", network=Network(insecure=True))[1] == b"x"
        with pytest.raises(DeniedError, match="not to be trusted") as refused:
            get(spy.url + "/")
        assert refused.value.reason is Reason.CERTIFICATE
        with pytest.raises(InvalidError, match="cannot be read"):
            get(spy.url + "/", network=Network(ca="-----BEGIN nothing"))


def test_many_connections_over_tls_take_little_memory(certificate: Certificate) -> None:
    last = threading.Event()

    def hold(talk: Talk, _seen: Seen) -> None:
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n")
        last.wait(20)
        talk.send(b"x")

    with Spy((hold,), tls=certificate.server) as spy:

        async def work(upstream: Upstream) -> int:
            (await upstream(Request("GET", spy.url + "/"))).close()
            tracemalloc.start()
            try:
                answers = await asyncio.gather(*(upstream(Request("GET", spy.url + "/")) for _ in range(20)))
                held = tracemalloc.get_traced_memory()[0]
            finally:
                tracemalloc.stop()
            last.set()
            for answer in answers:  # to its end, so that its connection is waited for when all are closed
                await body(answer)
            return held

        assert asked(spy.url, work, network=Network(insecure=True)) < 20 * 128 * 1024


def test_through_a_proxy_and_what_a_proxy_refuses(certificate: Certificate) -> None:
    def tunnel(talk: Talk, seen: Seen) -> None:
        if seen.method == "CONNECT":
            talk.send(b"HTTP/1.1 200 OK\r\n\r\n")
            talk.encrypt(certificate.server)
        else:
            talk.send(reply(200, b"through"))

    far = "https://models.example/x"
    with Spy((tunnel,)) as spy:
        proxies = {"https": f"http://user:word@{spy.netloc}"}
        assert get(far, network=Network(ca=certificate.pem, proxies=proxies))[1] == b"through"
        assert spy.seen[0].line == b"CONNECT models.example:443 HTTP/1.1"
        assert spy.seen[0].header("Proxy-Authorization") == "Basic dXNlcjp3b3Jk"
        assert spy.seen[1].header("Proxy-Authorization") is None
    with Spy((reply(407, b""),)) as spy, pytest.raises(DeniedError, match=r"127.0.0.1:\d+ refused .*407"):
        get(far, network=Network(proxies={"https": spy.url}))
    with pytest.raises(TransientError, match=r"the proxy 127.0.0.1:9 .* refused the connection") as refused:
        get(far, network=Network(proxies={"https": "http://127.0.0.1:9"}))
    assert refused.value.reason is Reason.PROXY
    with pytest.raises(TransientError, match=r"the proxy nobody.invalid:9 on the way"):
        get(far, network=Network(proxies={"https": "http://nobody.invalid:9"}))


@pytest.mark.parametrize(
    ("script", "kind", "said"),
    [
        (
            reply(200, b"half", Content_Length="9", Connection="close"),
            TransientError,
            "without a whole answer",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nab",
            TransientError,
            "whole",
        ),
        (b"SSH-2.0-x\r\n\r\n", ProtocolError, "did not answer in HTTP"),
        (lambda talk, _seen: talk.hang_up(), TransientError, "closed the connection"),
        (lambda talk, _seen: talk.reset(), TransientError, "closed the connection"),
    ],
)
def test_what_goes_wrong_is_said(
    script: bytes | Callable[[Talk, Seen], None], kind: type[RegistryError], said: str
) -> None:
    with Spy((script,)) as spy, pytest.raises(kind, match=said):
        get(spy.url + "/")


def test_nobody_there_and_nobody_who_answers() -> None:
    with pytest.raises(TransientError, match="refused the connection") as refused:
        get("http://127.0.0.1:9/")
    assert refused.value.reason is Reason.NOBODY_LISTENS
    with pytest.raises(TransientError, match="does not resolve"):
        get("http://nobody.invalid/")
    with (
        silent_address() as (host, port),
        pytest.raises(TransientError, match="could not be reached in time"),
    ):
        get(f"http://{host}:{port}/", network=Network(connect=0.2))


def test_a_head_that_comes_in_drops_is_not_waited_for_without_end() -> None:
    def drip(talk: Talk, _seen: Seen) -> None:
        talk.send(b"HTTP/1.1 200 OK\r\nX: ")
        while not talk.spy.closing.wait(0.02):
            talk.send(b"x")

    with Spy((drip,)) as spy, pytest.raises(TransientError, match="fell silent"):
        get(spy.url + "/", silence=0.3)


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"])
def test_silence_is_not_waited_for_without_end(begun: bytes) -> None:
    def quiet(talk: Talk, _seen: Seen) -> None:
        talk.send(begun)
        talk.wait(20)

    with Spy((quiet,)) as spy, pytest.raises(TransientError, match="fell silent"):
        get(spy.url + "/", silence=0.2)
