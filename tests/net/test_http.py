"""What goes out is what was given; what comes in has bounds; nothing is done unasked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from network_kit import Certificate
from spy import Seen, Spy, Talk, reply, whole

from registry.errors import DeniedError, InvalidError, ProtocolError, Reason, TransientError
from registry.net.http import Http
from registry.net.network import Network
from registry.wire.headers import Headers
from registry.wire.messages import Origin, Request

Client = Callable[..., Http]
OK = reply(200, b"hello")


TARGETS = [
    "/v2/a/blobs/sha256:00",
    "/v2/a%2fb/manifests/%7Elatest",
    "/v2/../a/./b//c",
    "/up?z=1&a=2&Z=%2F%2f&sig=a%2Bb+c%20d/e==",
    "/?",
    "/x?digest=sha256:00&etag=d41d8cd98f00b204e9800998ecf8427e-0",
    "/x?a=[1]&b={2}|^`\"<>'",
    "/x%",
    "/x;p=1?;",
    "//double",
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("way", ["plain", "tls", "proxy", "tunnel"])
def test_the_target_goes_out_byte_for_byte(
    target: str, way: str, client: Client, certificate: Certificate
) -> None:
    def tunnel(talk: Talk, seen: Seen) -> None:
        assert seen.line == b"CONNECT models.example:443 HTTP/1.0"
        talk.send(b"HTTP/1.0 200 connected\r\n\r\n")
        talk.encrypt(certificate.server)

    scripts = (tunnel, OK) if way == "tunnel" else (OK,)
    with Spy(scripts, tls=certificate.server if way == "tls" else None) as spy:
        http = client(ca=certificate.pem, proxies={"http": spy.url, "https": spy.url})
        base = {"plain": spy.url, "tls": spy.url, "proxy": "http://models.example"}.get(
            way, "https://models.example"
        )

        answer = http(Request("GET", base + target))

        assert (answer.status, whole(answer)) == (200, b"hello")
        expected = base + target if way == "proxy" else target
        assert spy.seen[-1].line == f"GET {expected} HTTP/1.1".encode()


@pytest.mark.parametrize(
    ("behind", "target", "path", "query"),
    [
        ("", "/", "/", []),
        ("?service=a&scope=b%2Fc", "/?service=a&scope=b%2Fc", "/", [("service", "a"), ("scope", "b/c")]),
        ("?next=/x/y", "/?next=/x/y", "/", [("next", "/x/y")]),
        ("#part/of", "/", "/", []),
        ("?a=1#part?b=2", "/?a=1", "/", [("a", "1")]),
        ("/x#y?z=1", "/x", "/x", []),
    ],
)
@pytest.mark.parametrize("way", ["plain", "proxy"])
def test_a_url_without_a_path_is_sent_as_it_is_meant(
    way: str, behind: str, target: str, path: str, query: list[tuple[str, str]], client: Client
) -> None:
    with Spy((OK,)) as spy:
        base = spy.url if way == "plain" else "http://auth.example"
        request = Request("GET", base + behind)

        client(proxies={"http": spy.url})(request)

        expected = base + target if way == "proxy" else target
        assert spy.seen[0].line == f"GET {expected} HTTP/1.1".encode()
        assert (request.path, request.query) == (path, query)


def test_only_the_headers_that_were_asked_for_go_out(client: Client) -> None:
    with Spy((OK,)) as spy:
        client(agent="ferry/9")(Request("GET", spy.url + "/x", Headers([("Accept", "a"), ("Accept", "b")])))

        assert spy.seen[0].head.split(b"\r\n")[1:] == [
            f"Host: {spy.netloc}".encode(),
            b"User-Agent: ferry/9",
            b"Accept-Encoding: identity",
            b"Accept: a",
            b"Accept: b",
        ]


def test_framing_is_never_taken_from_the_given_headers(client: Client) -> None:
    given = Headers(
        {"Host": "evil.example", "content-length": "1", "Transfer-Encoding": "chunked", "Connection": "x"}
    )
    with Spy((OK,)) as spy:
        client()(Request("PUT", spy.url + "/x", given, b"abc"))

        (seen,) = spy.seen
        assert (seen.header("Host"), seen.header("Content-Length"), seen.body) == (spy.netloc, "3", b"abc")
        assert seen.header("Transfer-Encoding") is seen.header("Connection") is None


def test_netrc_proxies_and_cas_of_the_environment_are_ignored(
    client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password NETRC\n")
    (tmp_path / ".netrc").chmod(0o600)
    for name, value in {
        "HOME": str(tmp_path),
        "NETRC": str(tmp_path / ".netrc"),
        "http_proxy": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "ALL_PROXY": "http://127.0.0.1:9",
        "REQUESTS_CA_BUNDLE": "/nowhere",
        "CURL_CA_BUNDLE": "/nowhere",
    }.items():
        monkeypatch.setenv(name, value)
    with Spy((OK,)) as spy:
        answer = client()(Request("GET", spy.url + "/x", Headers({"Authorization": "Bearer ours"})))

        assert answer.status == 200
        assert spy.seen[0].header("Authorization") == "Bearer ours"
        assert b"NETRC" not in spy.everything


def test_cookies_are_neither_kept_nor_sent(client: Client) -> None:
    with Spy((reply(200, Set_Cookie="a=1; Path=/"), OK)) as spy:
        http = client()
        http(Request("GET", spy.url + "/x"))
        http(Request("GET", spy.url + "/x"))

        assert b"ookie" not in spy.everything


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 429, 503])
def test_redirects_and_waiting_are_left_to_the_caller(status: int, client: Client) -> None:
    with Spy((reply(status, Location="/elsewhere", Retry_After="0"),)) as spy:
        assert client()(Request("GET", spy.url + "/x")).status == status
        assert len(spy.seen) == 1


def test_a_proxy_that_passes_requests_on_is_told_its_password_with_each(client: Client) -> None:
    with Spy((OK,)) as spy:
        http = client(proxies={"http": f"http://me:pass@{spy.netloc}"})
        for _ in range(2):
            whole(http(Request("GET", "http://models.example/v2/")))

        assert spy.connections == 1
        assert [seen.header("Proxy-Authorization") for seen in spy.seen] == ["Basic bWU6cGFzcw=="] * 2


def test_a_password_for_the_proxy_goes_to_the_proxy_only(client: Client, certificate: Certificate) -> None:
    def tunnel(talk: Talk, _seen: Seen) -> None:
        talk.send(b"HTTP/1.0 200 connected\r\n\r\n")
        talk.encrypt(certificate.server)

    with Spy((tunnel, OK)) as spy:
        proxy = spy.url.replace("://", "://me:pass@")
        client(ca=certificate.pem, proxies={"https": proxy})(Request("GET", "https://models.example/x"))

        assert spy.seen[0].header("Proxy-Authorization") == "Basic bWU6cGFzcw=="
        assert spy.seen[1].header("Proxy-Authorization") is None


@pytest.mark.parametrize(
    ("method", "script", "status", "length", "body"),
    [
        ("HEAD", reply(200, Content_Length="123"), 200, 123, b""),
        ("GET", b"HTTP/1.1 204 x\r\n\r\n", 204, 0, b""),
        ("GET", b"HTTP/1.1 304 x\r\nContent-Length: 77\r\n\r\n", 304, 0, b""),
        ("GET", reply(200), 200, 0, b""),
        ("GET", reply(200, b"5\r\nhello\r\n0\r\n\r\n", Transfer_Encoding="chunked"), 200, None, b"hello"),
        ("GET", b"HTTP/1.1 200 x\r\nConnection: close\r\n\r\nhello", 200, None, b"hello"),
        ("GET", b"HTTP/1.0 200 x\r\nContent-Length: 5\r\n\r\nhello", 200, 5, b"hello"),
        ("GET", b"HTTP/1.1 200 x\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\nhello", 200, 5, b"hello"),
        ("GET", reply(200, b"hello", Content_Length="5, 5"), 200, 5, b"hello"),
        ("GET", b"HTTP/1.1 100 x\r\n\r\n" + OK, 200, 5, b"hello"),
        ("GET", b"HTTP/1.1 103 x\r\nLink: </a>\r\n\r\nHTTP/1.1 102 x\r\n\r\n" + OK, 200, 5, b"hello"),
        ("GET", reply(404, b"\x1f\x8b", Content_Encoding="gzip"), 404, 0, b""),
        ("GET", reply(200, b"hello", Content_Encoding="Identity"), 200, 5, b"hello"),
    ],
)
def test_an_answer_is_as_long_as_it_says(
    method: str, script: bytes, status: int, length: int | None, body: bytes, client: Client
) -> None:
    with Spy((script,)) as spy:
        answer = client()(Request(method, spy.url + "/x"))

        assert (answer.status, answer.length, whole(answer)) == (status, length, body)


def test_a_trace_line_tells_no_secret(client: Client) -> None:
    lines: list[str] = []
    with Spy((OK,)) as spy:
        http = client(trace=lines.append)
        http(Request("GET", spy.url + "/x?sig=SECRET", Headers({"Authorization": "SECRET"})))
        http(Request("GET", spy.url + "/v2/_capability/SECRET"))
        with pytest.raises(TransientError):
            http(Request("GET", "http://127.0.0.1:1/?SECRET"))

        assert lines[:2] == [f"> GET {spy.url}/x?…", f"< 200 {spy.url}/x?…"]
        assert len(lines) == 6
        assert "SECRET" not in "".join(lines)


@pytest.mark.parametrize(
    ("entry", "direct"),
    [
        ("*", True),
        ("models.example", True),
        ("MODELS.example", True),
        (".example", True),
        ("*.example", True),
        ("example", True),
        ("models.example:443", True),
        ("models.example:80", False),
        ("odels.example", False),
        ("other.example", False),
        ("", False),
        (".", False),
        ("10.0.0.0/8", False),
    ],
)
def test_no_proxy_means_hosts_and_their_domains(entry: str, direct: bool) -> None:
    network = Network(proxies={"https": "http://proxy:1"}, no_proxy=("nothing", entry))

    assert (network.proxy_for(Origin.of("https://models.example")) == "") is direct


@pytest.mark.parametrize(
    ("url", "entry", "direct"),
    [
        ("https://10.1.2.3", "10.0.0.0/8", True),
        ("https://11.1.2.3", "10.0.0.0/8", False),
        ("https://[fd00::1]", "[fd00::1]", True),
        ("https://[fd00::1]:5000", "[fd00::1]:5000", True),
        ("https://[fd00::1]", "fd00::/8", True),
        ("https://127.0.0.1:5000", "", True),
        ("https://localhost", "", True),
        ("http://models.example", "", True),
    ],
)
def test_addresses_go_around_the_proxy_by_network(url: str, entry: str, direct: bool) -> None:
    network = Network(proxies={"https": "http://proxy:1"}, no_proxy=(entry,))

    assert (network.proxy_for(Origin.of(url)) == "") is direct


@pytest.mark.parametrize(
    "settings",
    [
        {"proxies": {"https": "socks5://proxy:1"}},
        {"proxies": {"https": "proxy"}},
        {"proxies": {"ftp": "http://proxy:1"}},
        {"stall": 0},
        {"pool": 0},
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(InvalidError):
        Network(**settings)  # type: ignore[arg-type]


# --- TLS: a private CA, no questions asked, and plain HTTP are three different things ---------------------


def test_the_extra_ca_is_trusted_and_nothing_else(client: Client, certificate: Certificate) -> None:
    with Spy((OK,), tls=certificate.server) as spy:
        assert client(ca=certificate.pem)(Request("GET", spy.url + "/x")).status == 200
        assert client(insecure=True)(Request("GET", spy.url + "/x")).status == 200
        with pytest.raises(DeniedError, match="certificate") as caught:
            client()(Request("GET", spy.url + "/x"))
        assert caught.value.reason is Reason.CERTIFICATE


def test_a_certificate_for_another_name_is_refused(client: Client, certificate: Certificate) -> None:
    with Spy((OK,), tls=certificate.server) as spy, pytest.raises(DeniedError, match="certificate"):
        client(ca=certificate.pem)(Request("GET", f"https://localhost:{spy.port}/x"))


def test_an_expired_certificate_makes_one_think_of_the_clock(client: Client, expired: Certificate) -> None:
    with Spy((OK,), tls=expired.server) as spy:
        with pytest.raises(DeniedError, match="expired") as caught:
            client(ca=expired.pem)(Request("GET", spy.url + "/x"))
        assert caught.value.reason is Reason.CERTIFICATE_DATES


def test_an_unreadable_ca_is_said_at_the_first_request(client: Client) -> None:
    with pytest.raises(InvalidError, match="CA"):
        client(ca="not a certificate")(Request("GET", "https://127.0.0.1:1/"))


def test_plain_http_where_tls_was_expected_is_told_apart(client: Client) -> None:
    with Spy((), greeting=reply(400)) as spy:
        with pytest.raises(ProtocolError, match="does not speak HTTPS") as caught:
            client()(Request("GET", spy.url.replace("http:", "https:") + "/x"))
        assert caught.value.reason is Reason.NO_HTTPS_THERE


@pytest.mark.parametrize(
    "said",
    [
        reply(400, b"Client sent an HTTP request to an HTTPS server.\n"),
        reply(400, b"<html>The plain HTTP request was sent to HTTPS port</html>"),
        b"\x15\x03\x03\x00\x02\x02\x46\r\nConnection: close",
    ],
)
def test_tls_where_plain_http_was_expected_is_told_apart(said: bytes, client: Client) -> None:
    with Spy((said,)) as spy:
        with pytest.raises(ProtocolError, match="speaks HTTPS") as caught:
            client()(Request("GET", spy.url + "/x"))
        assert caught.value.reason is Reason.HTTPS_THERE


def test_stopping_is_not_the_end_of_the_connections(client: Client) -> None:
    """An engine that was stopped leaves the sockets' owner as good as before: the next round uses it."""
    with Spy((OK, OK)) as spy:
        http = client()
        assert whole(http(Request("GET", spy.url + "/x"))) == b"hello"

        http.abort()

        assert whole(http(Request("GET", spy.url + "/x"))) == b"hello"
