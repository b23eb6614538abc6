"""The guard: the server's names, who one is, lab registries, and what may not be read."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
from guarded import HOST, NOW, ORIGIN, PASSED, Door, document, key, text

from registry.auth.keys import PrivateKey
from registry.errors import InvalidError
from registry.model.digests import Digest
from registry.server.guard import check_anonymous
from registry.server.names import Names
from registry.server.principal import Right
from registry.server.tables import METADATA
from registry.wire.headers import Headers
from registry.wire.messages import Request, Response

ALICE, BOB, EVE = key(1), key(2), key(9)
BLOB = Digest.of(b"blob")
PULL = "repository:alice/tiny:pull"
PUSH = "repository:alice/tiny:pull,push"
TAGS = "/v2/alice/tiny/tags/list"
UPLOADS = "/v2/alice/tiny/blobs/uploads/"


@pytest.fixture
def door() -> Door:
    door = Door()
    door.join("alice", ALICE)
    door.join("bob", BOB)
    return door


# --- the server's names --------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [HOST, "localhost:5050", "LOCALHOST:5050", "[::1]:5050"])
def test_the_server_answers_to_each_of_its_names(door: Door, host: str) -> None:
    assert door.ask("HEAD", "/", Host=host).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1", "127.0.0.1:5051", "localhost", f"x@{HOST}", f"{HOST}.", "", "a" * 9999],
)
@pytest.mark.parametrize("target", ["/", TAGS, "/v2/token", "/metrics", "/nowhere", "/v2/_capability/x"])
def test_another_host_is_told_so_before_anything_is_looked_at(door: Door, host: str, target: str) -> None:
    METADATA.drop_all(door.engine)
    assert door.ask("GET", target, Host=host).status == 421
    assert door.ask("GET", "/healthz", Host=host).status == PASSED


def test_two_hosts_are_none(door: Door) -> None:
    headers = Headers([("Host", HOST), ("Host", "evil.example")])
    assert door.send(Request("GET", ORIGIN + TAGS, headers)).status == 421


@pytest.mark.parametrize(
    "url, status", [(ORIGIN + "/", 200), ("http://evil.example/", 421), ("http://a b/", 421)]
)
def test_without_a_host_header_the_url_says_which_name_is_meant(door: Door, url: str, status: int) -> None:
    assert door.send(Request("HEAD", url)).status == status


def test_a_request_reaches_the_application_under_the_public_name() -> None:
    door = Door(names=Names.public(["https://models.acme.example"]))
    door.join("alice", ALICE)
    request = door.token_request(ALICE, PULL, origin="https://models.acme.example")
    # A proxy ends TLS in front of the server, which so hears plain HTTP.
    heard = replace(request, url=request.url.replace("https://", "http://"))
    token = str(document(door.send(heard))["token"])
    door.ask("GET", TAGS, token=token, Host="models.acme.example")
    assert door.passed.requests[-1].url == f"https://models.acme.example{TAGS}"


@pytest.mark.parametrize(
    "urls",
    [
        [],
        ["models.acme.example"],
        ["ftp://models.acme.example"],
        ["https://models.acme.example/path"],
        ["https://models.acme.example?x"],
        ["https://me@models.acme.example"],
        ["http://models.acme.example", "https://models.acme.example"],
        [f"https://h{number}.example" for number in range(65)],
    ],
)
def test_public_urls_that_name_no_server_are_refused(urls: list[str]) -> None:
    with pytest.raises(InvalidError):
        Names.public(urls)


def test_an_address_that_is_not_loopback_needs_a_public_name() -> None:
    with pytest.raises(InvalidError, match="cannot know its own name") as refused:
        Names.loopback("0.0.0.0", 5050)
    assert "--public-url" in refused.value.hint


# --- who am I ------------------------------------------------------------------------------------------


def test_me_tells_a_known_key_who_it_is(door: Door) -> None:
    answer = document(door.call(ALICE, "POST", "/api/me"))
    assert answer["name"] == "alice"
    assert answer["email"] == "alice@127.0.0.1"
    assert str(uuid.UUID(str(answer["id"]))) == answer["id"]


def test_me_tells_an_unknown_key_where_to_connect_it(door: Door) -> None:
    who = EVE
    response = door.call(who, "POST", "/api/me")
    assert response.status == 401
    assert document(response) == {
        "error": "unauthorized",
        "signin_url": f"{ORIGIN}/connect?name=a%20machine&key={who.public.connect}",
    }


@pytest.mark.parametrize("path", ["/api/me", "/api/signout"])
def test_a_clock_that_is_off_is_told_by_how_much(door: Door, path: str) -> None:
    response = door.call(ALICE, "POST", path, ts=NOW - 3600)
    assert response.status == 401
    assert "the clocks differ by 3600 s" in str(document(response)["error"])


def test_signing_out_changes_nothing(door: Door) -> None:
    assert door.call(ALICE, "POST", "/api/signout").status == 200
    assert door.call(ALICE, "POST", "/api/me").status == 200


@pytest.mark.parametrize("signed", [True, False])
def test_the_root_says_that_somebody_is_here(door: Door, signed: bool) -> None:
    response = door.call(ALICE, "HEAD", "/") if signed else door.ask("HEAD", "/")
    assert (response.status, response.body) == (200, b"")


# --- a lab registry ------------------------------------------------------------------------------------


@pytest.mark.parametrize("floor, write", [(Right.READ, 403), (Right.WRITE, PASSED)])
def test_a_lab_registry_asks_nobody_who_they_are(floor: Right, write: int) -> None:
    door = Door(anonymous=floor)
    assert door.ask("GET", "/v2/").status == PASSED
    assert door.ask("GET", "/v2/_catalog").status == PASSED
    assert door.readable("any/thing")
    assert door.ask("GET", TAGS).status == PASSED
    assert door.ask("GET", TAGS, token="left over").status == PASSED
    assert door.ask("POST", UPLOADS).status == write
    assert door.ask("DELETE", "/v2/alice/tiny/manifests/latest").status == write
    assert door.ask("GET", TAGS, Host="evil.example").status == 421
    assert door.ask("GET", "/v2/token").status == 200


def test_a_link_of_a_lab_registry_opens() -> None:
    door = Door(anonymous=Right.READ)
    door.ask("GET", f"/v2/alice/tiny/blobs/{BLOB}")
    assert door.ask("GET", door.link(BLOB)).status == PASSED


def test_a_lab_registry_closes_with_its_first_account() -> None:
    door = Door(anonymous=Right.WRITE)
    door.ask("GET", f"/v2/alice/tiny/blobs/{BLOB}")
    path = door.link(BLOB)
    door.join("alice", ALICE)
    assert [door.ask("GET", TAGS).status, door.ask("GET", path).status] == [401, 404]


@pytest.mark.parametrize(
    "floor, accounts, loopback, refused",
    [
        (Right.NONE, True, False, ""),
        (Right.READ, False, False, ""),
        (Right.WRITE, False, True, ""),
        (Right.READ, True, True, "without accounts"),
        (Right.WRITE, True, True, "without accounts"),
        (Right.WRITE, False, False, "anybody on the network"),
    ],
)
def test_a_lab_registry_lays_nothing_open_by_mistake(
    floor: Right, accounts: bool, loopback: bool, refused: str
) -> None:
    if not refused:
        check_anonymous(floor, accounts=accounts, loopback=loopback)
        return
    with pytest.raises(InvalidError, match=refused):
        check_anonymous(floor, accounts=accounts, loopback=loopback)


# --- what may not be read looks as what is not there ---------------------------------------------------


def seen(response: Response, repository: str) -> tuple[object, ...]:
    """All of an answer, but for the name that was asked for (the names here are equally long)."""
    headers = [(name, value.replace(repository, "…")) for name, value in response.headers]
    return response.status, headers, text(response).replace(repository, "…"), response.length


@pytest.mark.parametrize(
    "method, rest",
    [
        ("GET", "tags/list"),
        ("GET", "manifests/latest"),
        ("GET", f"manifests/{BLOB}"),
        ("HEAD", "manifests/latest"),
        ("PUT", "manifests/latest"),
        ("DELETE", "manifests/latest"),
        ("GET", f"blobs/{BLOB}"),
        ("HEAD", f"blobs/{BLOB}"),
        ("DELETE", f"blobs/{BLOB}"),
        ("POST", "blobs/uploads/"),
        ("PATCH", "blobs/uploads/1"),
        ("GET", f"referrers/{BLOB}"),
    ],
)
@pytest.mark.parametrize("who", [None, BOB], ids=["anybody", "bob"])
def test_private_is_indistinguishable_from_missing(
    door: Door, who: PrivateKey | None, method: str, rest: str
) -> None:
    for signed in (True, False):
        answers = set()
        for name in ("alice/secret", "zorro/absent"):
            token = door.token(who, f"repository:{name}:pull,push,delete") if signed else ""
            answers.add(str(seen(door.ask(method, f"/v2/{name}/{rest}", token=token), name)))
        assert len(answers) == 1
    assert door.passed.requests == []
