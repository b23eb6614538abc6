"""Forged tokens and links, crooked paths and mounts: every row one lie, and nothing passed the guard."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import jwt
import pytest
from guarded import HOST, NOW, ORIGIN, SECRET, Door, key, text

from registry.model.digests import Digest
from registry.server.guard import Guard
from registry.server.principal import Credential, Principal, Right
from registry.server.tables import METADATA
from registry.wire.headers import Headers
from registry.wire.messages import Request

ALICE, MALLORY = key(1), key(2)
BLOB, OTHER = Digest.of(b"blob"), Digest.of(b"other")
SCOPE = "repository:alice/tiny:pull,push"
TAGS = "/v2/alice/tiny/tags/list"


@pytest.fixture
def door() -> Door:
    door = Door()
    door.join("alice", ALICE)
    door.join("mallory", MALLORY)
    return door


# --- tokens --------------------------------------------------------------------------------------------

CLAIMS = {"iss": ORIGIN, "aud": ORIGIN, "nbf": int(NOW), "exp": int(NOW) + 99, "jti": "1"}
ACCESS = [{"type": "repository", "name": "alice/tiny", "actions": ["pull", "push", "delete"]}]
MINE = {**CLAIMS, "credential": "00000000-0000-0000-0000-000000000002", "access": ACCESS}


def unsigned() -> str:
    head, body = ({"alg": "none", "typ": "JWT"}, MINE)
    encoded = [base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in (head, body)]
    return ".".join((*encoded, ""))


def other_body(door: Door) -> str:
    head, _, signature = door.token(MALLORY, "repository:mallory/x:pull").split(".")
    body = base64.urlsafe_b64encode(json.dumps(MINE).encode()).decode().rstrip("=")
    return f"{head}.{body}.{signature}"


TOKENS: dict[str, Callable[[Door], str]] = {
    "alg none": lambda _: unsigned(),
    "another secret": lambda _: jwt.encode(MINE, bytes(32)),
    "tampered access": other_body,
    "another audience": lambda _: jwt.encode({**MINE, "aud": "http://evil.example"}, SECRET),
    "another of our names": lambda d: d.tokens.issue("http://localhost:5050", Principal(), []),
    "over": lambda _: jwt.encode({**MINE, "exp": int(NOW)}, SECRET),
    "not yet": lambda _: jwt.encode({**MINE, "nbf": int(NOW) + 9}, SECRET),
    "for a credential that is none": lambda _: jwt.encode({**MINE, "credential": "x"}, SECRET),
    "a link": lambda d: d.links.download(ORIGIN, Principal(), "alice/tiny", BLOB),
    "nothing": lambda _: " ",
    "endless": lambda _: "A" * 1_000_000,
}


@pytest.mark.parametrize("make", TOKENS.values(), ids=TOKENS)
@pytest.mark.parametrize("public", [False, True], ids=["private", "public"])
def test_a_forged_token_opens_nothing(door: Door, make: Callable[[Door], str], public: bool) -> None:
    door.rights.set_public("alice/tiny", public)
    response = door.ask("GET", TAGS, Authorization=f"Bearer {make(door)}")
    assert response.status == 401
    assert response.headers.get("WWW-Authenticate").startswith("Bearer realm=")
    assert door.passed.requests == []


@pytest.mark.parametrize("value", ["Basic YWxpY2U6eA==", "Negotiate x", "Bearer", "", "x", "bearer\tx"])
def test_other_credentials_open_nothing(door: Door, value: str) -> None:
    assert door.ask("GET", TAGS, Authorization=value).status == 401
    assert door.passed.requests == []


def test_two_authorizations_are_none(door: Door) -> None:
    good = f"Bearer {door.token(ALICE, SCOPE)}"
    headers = Headers([("Host", HOST), ("Authorization", good), ("Authorization", "Bearer x")])
    assert door.send(Request("GET", ORIGIN + TAGS, headers)).status == 401


# --- links ---------------------------------------------------------------------------------------------

LINKS: dict[str, Callable[[Door], str]] = {
    "garbage": lambda _: "x",
    "a token": lambda d: d.token(ALICE, SCOPE),
    "another secret": lambda _: jwt.encode({**MINE, "aud": f"{ORIGIN}/v2/_capability"}, bytes(32)),
    "given under another name": lambda d: d.links.download("http://x", Principal(), "alice/tiny", BLOB),
    "given to nobody": lambda d: d.links.download(ORIGIN, Principal(), "alice/tiny", BLOB),
    "given to one without the right": lambda d: d.links.download(
        ORIGIN, d.principal(MALLORY), "alice/tiny", BLOB
    ),
    "given to a credential nobody has": lambda d: d.links.download(
        ORIGIN, Principal(credential=Credential("key", "none")), "alice/tiny", BLOB
    ),
    "no digest": lambda _: jwt.encode(
        {**MINE, "aud": f"{ORIGIN}/v2/_capability", "repository": "alice/tiny", "digest": "../x"}, SECRET
    ),
}


@pytest.mark.parametrize("make", LINKS.values(), ids=LINKS)
def test_a_link_that_is_not_good_never_was(door: Door, make: Callable[[Door], str]) -> None:
    response = door.ask("GET", f"/v2/_capability/{make(door)}")
    never = door.ask("GET", "/v2/_capability/never")
    assert (response.status, response.body) == (never.status, never.body) == (404, never.body)
    assert door.passed.requests == []


def test_a_link_is_good_for_its_own_blob_whatever_is_added(door: Door) -> None:
    path = door.download_link(door.principal(ALICE), "alice/tiny", BLOB)
    for more in (f"?digest={OTHER}", f"?repository=alice/gold&digest={OTHER}"):
        door.ask("GET", path + more)
        place = door.passed.visitor.place
        assert (place.repository, place.reference) == ("alice/tiny", str(BLOB))
    assert door.ask("GET", f"{path}/{OTHER}").status == 404
    refused = [door.ask(method, path) for method in ("PUT", "POST", "DELETE", "PATCH")]
    assert {(answer.status, answer.headers.get("Allow")) for answer in refused} == {(405, "GET, HEAD")}


# --- paths, mounts, queries ----------------------------------------------------------------------------

PATHS = [
    "/v2/../etc/passwd",
    "/v2/alice/../mallory/tags/list",
    "/v2/mallory/..%2falice/tiny/tags/list",
    "/v2/mallory%2f..%2falice/tiny/tags/list",
    "/v2/%2e%2e/tags/list",
    "/v2/alice//tiny/tags/list",
    "/v2//alice/tiny/tags/list",
    "/v2/alice/tiny/tags/list/",
    "/v2/alice/tiny/blobs/../../mallory/x/tags/list",
    "/v2/alice/tiny%00/tags/list",
    "/v2/alice/tiny%ff/tags/list",
    "/V2/alice/tiny/tags/list",
    "/healthz/../v2/alice/tiny/tags/list",
    f"/v2/{'a' * 256}/tags/list",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_climbs_or_hides_leads_nowhere(door: Door, path: str) -> None:
    token = door.token(MALLORY, "repository:mallory/x:pull")
    assert door.ask("GET", path, token=token).status in (400, 401, 404)
    assert door.passed.requests == []


@pytest.mark.parametrize("name", ["ALICE/Tiny", "alice%2Ftiny", "%61lice/tiny"])
def test_another_spelling_of_a_repository_is_the_same_repository(door: Door, name: str) -> None:
    path = f"/v2/{name}/tags/list"
    mallory, alice = door.token(MALLORY, SCOPE), door.token(ALICE, SCOPE)
    assert [door.ask("GET", path, token=token).status for token in (mallory, alice)] == [404, 299]


def test_the_catalogue_shows_nobody_what_they_may_not_read(door: Door) -> None:
    door.rights.set_public("alice/open", True)
    door.rights.grant("mallory", "acme", Right.READ)
    door.ask("GET", "/v2/_catalog", token=door.token(MALLORY, "registry:catalog:*"))
    names = ("alice/tiny", "alice/open", "mallory/x", "acme/x", "zorro/absent")
    assert list(filter(door.readable, names)) == ["alice/open", "mallory/x", "acme/x"]
    door.ask("GET", "/v2/_catalog", token=door.token(None, "registry:catalog:*"))
    assert list(filter(door.readable, names)) == ["alice/open"]


def test_a_broken_database_lets_nobody_through_and_tells_nothing(door: Door) -> None:
    token = door.token(ALICE, SCOPE)
    METADATA.drop_all(door.engine)
    response = door.ask("GET", TAGS, token=token)
    assert response.status == 503
    assert "users" not in text(response)


def test_nothing_of_the_guard_shows_a_secret(door: Door) -> None:
    token = door.token(ALICE, SCOPE)
    shown = repr(door.guard) + repr(door.ask("GET", TAGS, token=token + "x"))
    assert isinstance(door.guard, Guard)
    assert repr(SECRET)[2:-1] not in shown
    assert token not in shown
