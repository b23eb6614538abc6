"""Where a redirect may lead: decided from two spellings, without asking anybody."""

from __future__ import annotations

import pytest

from registry.errors import ProtocolError, TransientError
from registry.wire.headers import Headers
from registry.wire.messages import Request, Response
from registry.wire.redirects import MAX_REDIRECTS, follow, next_hop, shown

BLOB = "https://models.example/v2/a/b?x=1"


def hop(location: str, base: str = BLOB) -> Request:
    return next_hop(
        Request("GET", base, Headers({"Accept": "a", "Authorization": "SECRET"})),
        Response(307, Headers({"Location": location})),
    )


@pytest.mark.parametrize(
    ("base", "location", "url"),
    [
        (BLOB, "https://storage.example/%2f/../x?b=2&a=%2B", "https://storage.example/%2f/../x?b=2&a=%2B"),
        (BLOB, "https://models.example:8443/x", "https://models.example:8443/x"),
        (BLOB, "/other/%2F?sig=%2b", "https://models.example/other/%2F?sig=%2b"),
        (BLOB, "c", "https://models.example/v2/a/c"),
        (BLOB, "?y=2", "https://models.example/v2/a/b?y=2"),
        (BLOB, "//storage.example/x", "https://storage.example/x"),
        (BLOB, "/x#fragment", "https://models.example/x"),
        ("http://models.example/", "https://models.example/", "https://models.example/"),
        ("http://127.0.0.1:5000/", "http://127.0.0.1:9000/", "http://127.0.0.1:9000/"),
        ("http://127.0.0.1:5000/", "https://storage.example/", "https://storage.example/"),
        ("https://10.0.0.1/", "https://10.0.0.2/", "https://10.0.0.2/"),
        ("https://10.0.0.1/", "https://storage.example/", "https://storage.example/"),
        ("https://10.0.0.1/", "https://10.0.0.1:9000/", "https://10.0.0.1:9000/"),
        (BLOB, "https://8.8.8.8/", "https://8.8.8.8/"),
    ],
)
def test_a_redirect_is_followed_byte_for_byte(base: str, location: str, url: str) -> None:
    assert hop(location, base).url == url


@pytest.mark.parametrize(
    ("base", "location"),
    [
        (BLOB, ""),
        (BLOB, "#x"),
        (BLOB, "http://models.example/"),
        (BLOB, "http://storage.example/"),
        (BLOB, "file:///etc/passwd"),
        (BLOB, "ftp://storage.example/"),
        (BLOB, "https:///x"),
        (BLOB, "https://a:b@storage.example/"),
        (BLOB, "https://storage.example:0/"),
        (BLOB, "https://storage.example:99999/"),
        (BLOB, "https://[/"),
        (BLOB, "https://storage.example/a b"),
        (BLOB, "https://storage.example/" + "a" * 20_000),
        (BLOB, "https://127.0.0.1/"),
        (BLOB, "https://127.1/"),
        (BLOB, "https://2130706433/"),
        (BLOB, "https://0x7f000001/"),
        (BLOB, "https://0.0.0.0/"),
        (BLOB, "https://localhost/"),
        (BLOB, "https://LOCALHOST/"),
        (BLOB, "https://x.localhost/"),
        (BLOB, "https://[::1]/"),
        (BLOB, "https://[::]/"),
        (BLOB, "https://[::ffff:127.0.0.1]/"),
        (BLOB, "https://[::ffff:10.0.0.1]/"),
        (BLOB, "https://10.0.0.1/"),
        (BLOB, "https://192.168.1.1/"),
        (BLOB, "https://172.16.0.1/"),
        (BLOB, "https://169.254.169.254/latest/meta-data"),
        (BLOB, "https://100.64.0.1/"),
        (BLOB, "https://[fe80::1]/"),
        (BLOB, "https://[fd00::1]/"),
        ("https://8.8.8.8/", "https://10.0.0.1/"),
        ("https://10.0.0.1/", "https://127.0.0.1/"),
        ("https://10.0.0.1/", "https://[::ffff:127.0.0.1]/"),
        ("https://10.0.0.1/", "https://localhost/"),
        ("https://10.0.0.1/", "https://0.0.0.0/"),
    ],
)
def test_a_redirect_that_may_not_be_followed_is_refused(base: str, location: str) -> None:
    with pytest.raises(ProtocolError, match="redirects"):
        hop(location, base)


@pytest.mark.parametrize(
    ("location", "kept"),
    [
        ("/x", True),
        ("https://models.example:443/x", True),
        ("https://models.example:8443/x", False),
        ("https://storage.example/x", False),
        ("https://models.example.evil.example/x", False),
    ],
)
def test_only_the_same_origin_keeps_what_may_be_secret(location: str, kept: bool) -> None:
    request = hop(location)

    assert ("Authorization" in request.headers) is kept
    assert request.headers.get("Accept") == "a"


def test_a_chain_ends_after_five() -> None:
    asked: list[str] = []

    def endless(request: Request) -> Response:
        asked.append(request.url)
        return Response(302, Headers({"Location": f"/{len(asked)}"}))

    with pytest.raises(ProtocolError, match="more than 5"):
        follow(endless, endless, Request("GET", BLOB))
    assert len(asked) == MAX_REDIRECTS + 1


def test_the_method_stays_what_it_was() -> None:
    assert next_hop(Request("HEAD", BLOB), Response(303, Headers({"Location": "/x"}))).method == "HEAD"


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("https://a.example/x", "https://a.example/x"),
        ("https://h.example/v2/a?sig=SECRET", "https://h.example/v2/a?…"),
        ("https://h.example?sig=SECRET/x", "https://h.example?…"),
        ("https://me:SECRET@h.example:81/a@b", "https://…@h.example:81/a@b"),
        ("https://SECRET@h.example", "https://…@h.example"),
        ("https://a@SECRET@h.example/x", "https://…@h.example/x"),
        ("//me:SECRET@h.example/x", "//…@h.example/x"),
        ("https://h.example/x#access_token=SECRET", "https://h.example/x"),
        ("https://h.example/v2/_storage/SECRET/b?c=SECRET", "https://h.example/v2/_storage/…"),
        ("https://h.example/v2/_capability/SECRET", "https://h.example/v2/_capability/…"),
        ("https://h.example/a@b", "https://h.example/a@b"),
    ],
)
def test_a_log_shows_no_permission(url: str, line: str) -> None:
    assert shown(url) == line


@pytest.mark.parametrize("status", [400, 401, 403, 410])
def test_a_link_that_expired_is_asked_for_again(status: int) -> None:
    sent_on = Response(307, Headers({"Location": "https://storage.example/old"}))

    with pytest.raises(ProtocolError, match=r"storage\.example refused .* link that models") as caught:
        follow(lambda _: sent_on, lambda _: Response(status), Request("GET", BLOB))
    assert caught.value.garbled


def test_what_the_registry_itself_refuses_is_handed_on() -> None:
    refused = Response(403)

    assert follow(lambda _: refused, lambda _: refused, Request("GET", BLOB)) is refused


def test_a_place_that_nobody_wrote_is_told_with_who_redirects_there() -> None:
    def outside(_request: Request) -> Response:
        raise TransientError("storage.example cannot be found", host="storage.example")

    def inside(_request: Request) -> Response:
        return Response(307, Headers({"Location": "https://storage.example/x?sig=s3cret"}))

    with pytest.raises(
        TransientError, match=r"^storage\.example cannot be found; models\.example redirects there$"
    ):
        follow(inside, outside, Request("GET", BLOB))


def test_a_registry_that_cannot_be_asked_redirects_nowhere() -> None:
    def inside(_request: Request) -> Response:
        raise TransientError("models.example refused the connection")

    with pytest.raises(TransientError, match=r"^models\.example refused the connection$"):
        follow(inside, lambda _: Response(200), Request("GET", BLOB))
