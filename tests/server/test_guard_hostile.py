"""A client that lies: every row is one lie, what it is answered, and that nothing passed the guard."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from guarded import HOST, NOW, ORIGIN, Door, document, key, text

from registry.auth import signing
from registry.auth.keys import PrivateKey
from registry.model.digests import Digest
from registry.server.tokens import MOST_SCOPES
from registry.wire.headers import Headers
from registry.wire.messages import Request, Response

ALICE, MALLORY, STRANGER = key(1), key(2), key(3)
BLOB, OTHER = Digest.of(b"blob"), Digest.of(b"other")
SCOPE = "repository:alice/tiny:pull,push"
TAGS = "/v2/alice/tiny/tags/list"
NONCE = "n" * 22


@pytest.fixture
def door() -> Door:
    door = Door()
    door.join("alice", ALICE)
    door.join("mallory", MALLORY)
    return door


def signed(door: Door, who: PrivateKey = ALICE, text_: Callable[[str], str] = signing.token_text) -> Request:
    """Alice's token request, whose signature is over `text_` of its URL."""
    request = door.token_request(who, SCOPE)
    return request.with_header("Authorization", signing.authorization(who, text_(request.url)))


def authorized(door: Door, change: Callable[[str], str]) -> Request:
    """Alice's token request with another Authorization value."""
    request = signed(door)
    return request.with_header("Authorization", change(request.headers.get("Authorization")))


def retargeted(request: Request, old: str, new: str) -> Request:
    """The request with a part of its URL exchanged after it was signed."""
    assert old in request.url
    return replace(request, url=request.url.replace(old, new))


def relayed(door: Door) -> Request:
    """Alice was asked for a token by evil.example, which passes her signature on to us."""
    return door.token_request(ALICE, SCOPE, origin="http://evil.example").with_header("Host", HOST)


def relayed_as_ours(door: Door) -> Request:
    """The same, with the URL it says it was for in place of ours."""
    evil = door.token_request(ALICE, SCOPE, origin="http://evil.example")
    return replace(evil, url=evil.url.replace("http://evil.example", ORIGIN)).with_header("Host", HOST)


def wire(raw: bytes, kind: bytes = b"ssh-ed25519") -> str:
    """A key's bytes as its text, whatever they are."""
    parts = (len(kind).to_bytes(4, "big"), kind, len(raw).to_bytes(4, "big"), raw)
    return base64.b64encode(b"".join(parts)).decode()


def rekeyed(door: Door, spelling: str) -> Request:
    """Alice's request, her key spelled in another way."""
    return authorized(door, lambda value: f"{spelling}:{value.partition(':')[2]}")


def url_safe(text_: str) -> str:
    return text_.replace("+", "-").replace("/", "_")


def with_query(door: Door, more: str) -> Request:
    """A token request with `more` in its query, properly signed."""
    request = signed(door)
    changed = replace(request, url=request.url + more)
    return changed.with_header("Authorization", signing.authorization(ALICE, signing.token_text(changed.url)))


def twice(door: Door, change: Callable[[str], str]) -> Request:
    """A signed request with a second Authorization."""
    request = signed(door)
    value = request.headers.get("Authorization")
    return replace(request, headers=Headers((*request.headers, ("Authorization", change(value)))))


# name: (request, status, a word of the answer)
TOKEN_REQUESTS: dict[str, tuple[Callable[[Door], Request], int, str]] = {
    "stale": (lambda d: d.token_request(ALICE, SCOPE, ts=NOW - 301), 403, "differ by 301 s"),
    "from the future": (lambda d: d.token_request(ALICE, SCOPE, ts=NOW + 301), 403, "differ by 301 s"),
    "an hour off": (lambda d: d.token_request(ALICE, SCOPE, ts=NOW - 3600), 403, "differ by 3600 s"),
    "relayed by another host": (relayed, 400, "service"),
    "relayed, its URL made ours": (relayed_as_ours, 400, "service"),
    "a key nobody has": (lambda d: d.token_request(STRANGER, SCOPE), 403, "not one this registry knows"),
    "another method signed": (lambda d: signed(d, text_=lambda u: f"POST,{u},"), 403, "does not match"),
    "only the path signed": (lambda d: signed(d, text_=lambda u: u.replace(ORIGIN, "")), 403, "not match"),
    "https signed": (lambda d: signed(d, text_=lambda u: u.replace("http", "https")), 403, "not match"),
    "scope widened afterwards": (lambda d: retargeted(signed(d), "tiny", "gold"), 403, "not match"),
    "time moved afterwards": (lambda d: retargeted(signed(d), "ts=18", "ts=018"), 403, "not match"),
    "nonce changed afterwards": (lambda d: retargeted(signed(d), "nonce=A", "nonce=B"), 403, "not match"),
    "another's signature": (lambda d: rekeyed(d, MALLORY.public.text), 403, "does not match"),
    "key in URL-safe letters": (lambda d: rekeyed(d, url_safe(wire(b"\xfb" * 32))), 403, "ed25519"),
    "key without padding": (lambda d: rekeyed(d, ALICE.public.text + "="), 403, "ed25519"),
    "key with bytes behind it": (lambda d: rekeyed(d, wire(bytes(33))), 403, "ed25519"),
    "key of another type": (lambda d: rekeyed(d, wire(bytes(32), b"ssh-rsa")), 403, "ed25519"),
    "key in the connect form": (lambda d: rekeyed(d, ALICE.public.connect), 403, "ed25519"),
    "a key of small order": (lambda d: rekeyed(d, wire(bytes(32))), 403, ""),
    "no signature": (lambda d: authorized(d, lambda v: v.partition(":")[0] + ":"), 403, "signature"),
    "half a signature": (lambda d: authorized(d, lambda v: v[:-44]), 403, "signature"),
    "signature all zero": (
        lambda d: authorized(d, lambda v: v.partition(":")[0] + ":" + base64.b64encode(bytes(64)).decode()),
        403,
        "does not match",
    ),
    "a scheme word in front": (lambda d: authorized(d, lambda v: "Signature " + v), 403, "Authorization"),
    "Basic": (lambda d: authorized(d, lambda _: "Basic YTpi"), 401, "password"),
    "a Bearer token": (lambda d: authorized(d, lambda _: "Bearer x:y"), 403, "Authorization"),
    "two of them": (lambda d: twice(d, lambda v: v), 403, "only one Authorization"),
    "an API key behind it": (lambda d: twice(d, lambda _: "Bearer fry_x"), 403, "only one Authorization"),
    "an endless header": (lambda d: authorized(d, lambda v: v + "A" * 100_000), 403, "Authorization"),
    "no nonce": (lambda d: d.token_request(ALICE, SCOPE, nonce="x"), 403, "nonce"),
    "an endless nonce": (lambda d: d.token_request(ALICE, SCOPE, nonce="n" * 2000), 403, "nonce"),
    "two times": (lambda d: with_query(d, "&ts=1"), 400, "ts is there 2 times"),
    "two nonces": (lambda d: with_query(d, "&nonce=x"), 400, "nonce is there 2 times"),
    "no time": (lambda d: retargeted(signed(d), "ts=", "xs="), 403, "does not say when"),
    "too many scopes": (
        lambda d: d.token_request(ALICE, *(f"repository:a/{n}:pull" for n in range(MOST_SCOPES + 1))),
        400,
        "at most 16 scopes",
    ),
    "many scopes in one": (
        lambda d: d.token_request(ALICE, " ".join(f"repository:a/{n}:pull" for n in range(999))),
        400,
        "at most 16 scopes",
    ),
    "too many parameters": (lambda d: with_query(d, "&a=1" * 100), 400, "query"),
    "an endless scope": (lambda d: d.token_request(ALICE, f"repository:{'a' * 600}:pull"), 400, "scope"),
    "a scope that is none": (lambda d: d.token_request(ALICE, "everything"), 400, "scope"),
    "another service": (lambda d: with_query(d, "&x=1&service=evil"), 400, "service"),
}


@pytest.mark.parametrize("make, status, words", TOKEN_REQUESTS.values(), ids=TOKEN_REQUESTS)
def test_a_lie_at_the_token_endpoint_gets_no_token(
    door: Door, make: Callable[[Door], Request], status: int, words: str
) -> None:
    response = door.send(make(door))
    said = text(response)
    assert response.status == status
    assert words in said
    assert "token" not in json.loads(said)
    assert response.headers.get("WWW-Authenticate") == (
        'Bearer error="invalid_token"' if status == 401 else ""
    )


def test_a_relayed_signature_fails_also_when_it_names_our_service(door: Door) -> None:
    """What a client signs that was challenged with our service but the realm of evil.example."""
    url = signing.token_url("http://evil.example/v2/token", HOST, [SCOPE], now=NOW, nonce=NONCE)
    value = signing.authorization(ALICE, signing.token_text(url))
    for claimed in (url, url.replace("http://evil.example", ORIGIN)):
        request = Request("GET", claimed, Headers({"Host": HOST, "Authorization": value}))
        assert "does not match" in text(door.send(request))
        assert door.send(request).status == 403


def test_a_token_request_is_accepted_once(door: Door) -> None:
    request = door.token_request(ALICE, SCOPE)
    answers = [door.send(request).status]
    door.now += 299
    answers.append(door.send(request).status)
    again = door.send(door.token_request(ALICE, SCOPE, nonce=NONCE)).status
    other_time = door.send(door.token_request(ALICE, SCOPE, nonce=NONCE, ts=door.now + 1)).status
    assert [*answers, again, other_time] == [200, 403, 200, 403]


def test_a_nonce_from_the_future_is_remembered_as_long_as_it_is_fresh(door: Door) -> None:
    request = door.token_request(ALICE, SCOPE, ts=NOW + 300)
    first = door.send(request).status
    door.now += 600
    assert (first, door.send(request).status) == (200, 403)
    assert "used before" in text(door.send(request))


def test_a_refused_request_does_not_spend_the_nonce_of_its_owner(door: Door) -> None:
    good = door.token_request(ALICE, SCOPE, nonce=NONCE)
    forged = good.with_header("Authorization", f"{ALICE.public.text}:{base64.b64encode(bytes(64)).decode()}")
    assert [door.send(forged).status, door.send(good).status] == [403, 200]


# --- bare signed calls ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method, path",
    [("GET", TAGS), ("GET", "/v2/"), ("GET", "/v2/_catalog"), ("DELETE", "/v2/alice/tiny/manifests/latest")],
)
def test_a_bare_signed_call_opens_nothing_of_the_registry(door: Door, method: str, path: str) -> None:
    assert door.call(ALICE, method, path).status == 401
    assert door.passed.requests == []


def test_a_bare_signed_call_gets_no_token(door: Door) -> None:
    assert door.call(ALICE, "GET", "/v2/token").status == 403


CALLS: dict[str, Callable[[Door], Response]] = {
    "stale": lambda d: d.call(ALICE, "POST", "/api/me", ts=NOW - 301),
    "from the future": lambda d: d.call(ALICE, "POST", "/api/me", ts=NOW + 301),
    "signed for another path": lambda d: d.call(ALICE, "POST", "/api/x", url=f"{ORIGIN}/api/me?ts={NOW:.0f}"),
    "signed for another method": lambda d: d.call(ALICE, "GET", "/api/me", method="POST"),
    "moved in time": lambda d: d.call(ALICE, "POST", "/api/me", url=f"{ORIGIN}/api/me?ts={NOW + 1:.0f}"),
    "unsigned": lambda d: d.ask("POST", f"/api/me?ts={NOW:.0f}"),
    "with a token": lambda d: d.ask("POST", f"/api/me?ts={NOW:.0f}", token=d.token(ALICE, SCOPE)),
    "two times": lambda d: d.call(ALICE, "POST", "/api/me?ts=1"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_lie_about_who_one_is_is_not_believed(door: Door, call: Callable[[Door], Response]) -> None:
    response = call(door)
    assert response.status in (400, 401)
    assert "name" not in document(response)
