"""The account API's repositories: which one may see, what is in them, and who may see them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from guarded import Door, key, text
from test_account_api import ACCOUNT, call

from registry.contracts import Actor
from registry.model.digests import Digest
from registry.model.manifests import DOCKER_CONFIG, DOCKER_MANIFEST, OCI_INDEX, Descriptor, Manifest
from registry.server.depot import DiskDepot
from registry.server.key_scopes import parse_scopes
from registry.server.principal import Right
from registry.server.revocations import changes

ADA, BOB, EVE, ROOT = key(1), key(2), key(3), key(4)
SMALL, LARGE = b"{}", bytes(1000)


def manifest(*layers: bytes) -> Manifest:
    described = [Descriptor("application/x-layer", Digest.of(data), len(data)).as_json() for data in layers]
    config = Descriptor(DOCKER_CONFIG, Digest.of(SMALL), len(SMALL)).as_json()
    document = {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": config, "layers": described}
    return Manifest.parse(json.dumps(document).encode())


def index(*children: Manifest) -> Manifest:
    described = [Descriptor(each.media_type, each.digest, len(each.raw)).as_json() for each in children]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": described}
    return Manifest.parse(json.dumps(document).encode())


@pytest.fixture
def door(tmp_path: Path) -> Door:
    """ada/tiny with three tags, ada/secret; `bob` may read the former, `eve` nothing, `root` all."""
    numbers = iter(range(1000))
    door = Door(
        depot=lambda door: DiskDepot(tmp_path, door.engine, lambda: door.now, lambda: f"s{next(numbers)}")
    )
    for name, who in (("ada", ADA), ("bob", BOB), ("eve", EVE), ("root", ROOT)):
        door.join(name, who, admin=name == "root")
    depot = DiskDepot(tmp_path, door.engine, lambda: door.now, lambda: f"t{next(numbers)}")
    for repository in ("ada/tiny", "ada/secret"):
        for data in (SMALL, LARGE):
            upload = depot.begin(repository)
            upload.write(data)
            upload.commit(Digest.of(data))
            upload.close()
    by = Actor("ada")
    depot.publish("ada/tiny", manifest(), "small", by)
    depot.publish("ada/tiny", manifest(LARGE), "large", by)
    door.now += 60
    depot.publish("ada/tiny", index(manifest(), manifest(LARGE)), "both", Actor("bob"))
    door.rights.grant("bob", "ada/tiny", Right.READ)
    return door


def token(door: Door, name: str) -> str:
    return door.token({"ada": ADA, "bob": BOB, "eve": EVE, "root": ROOT}[name], ACCOUNT)


TINY = {
    "name": "ada/tiny",
    "visibility": "private",
    "right": "owner",
    "modified": "2027-01-15T08:01:00Z",
    "by": "bob",
    "tags": 3,
    "size": 1002,
}
SECRET = {
    "name": "ada/secret",
    "visibility": "private",
    "right": "owner",
    "modified": None,
    "by": "",
    "tags": 0,
    "size": 0,
}


@pytest.mark.parametrize(
    "who, seen",
    [
        ("ada", [SECRET, TINY]),
        ("root", [SECRET, TINY]),
        ("bob", [{**TINY, "right": "read"}]),
        ("eve", []),
    ],
)
def test_one_sees_what_one_may_read(door: Door, who: str, seen: list[object]) -> None:
    assert call(door, token(door, who), "GET", "/api/repositories") == (200, seen)


def test_a_program_sees_what_its_scopes_and_its_account_both_allow(door: Door) -> None:
    def listed(*scopes: str) -> object:
        made = door.api_keys.create(door.accounts.user("ada"), parse_scopes(scopes))
        return call(door, made.secret, "GET", "/api/repositories")[1]

    assert listed("ada/tiny:pull,push") == [{**TINY, "right": "write"}]
    assert listed("ada/t*:pull") == [{**TINY, "right": "read"}]
    assert listed("bob/*:pull") == []


def test_a_list_has_pages(door: Door) -> None:
    first = door.ask("GET", "/api/repositories?n=1", token=token(door, "ada"))
    assert [each["name"] for each in json.loads(text(first))] == ["ada/secret"]
    assert first.headers.get("Link") == '</api/repositories?n=1&last=ada%2Fsecret>; rel="next"'
    second = door.ask("GET", "/api/repositories?n=1&last=ada%2Fsecret", token=token(door, "ada"))
    assert [each["name"] for each in json.loads(text(second))] == ["ada/tiny"]
    assert "Link" not in second.headers
    assert call(door, token(door, "ada"), "GET", "/api/repositories?n=0") == (200, [])
    assert call(door, token(door, "ada"), "GET", "/api/repositories?n=x")[0] == 400


def test_a_repository_has_its_tags_with_their_sizes(door: Door) -> None:
    status, said = call(door, token(door, "bob"), "GET", "/api/repositories/Ada/Tiny")
    assert status == 200
    assert isinstance(said, dict)
    assert "shares" not in said
    assert [(each["tag"], each["size"], each["by"], each["modified"]) for each in said["tags"]] == [
        ("both", 1002, "bob", "2027-01-15T08:01:00Z"),
        ("large", 1002, "ada", "2027-01-15T08:00:00Z"),
        ("small", 2, "ada", "2027-01-15T08:00:00Z"),
    ]
    assert said["tags"][2]["digest"] == str(manifest().digest)
    page = door.ask("GET", "/api/repositories/ada/tiny?n=2", token=token(door, "bob"))
    assert page.headers.get("Link") == '</api/repositories/ada/tiny?n=2&last=large>; rel="next"'


def test_its_owner_sees_with_whom_it_is_shared(door: Door) -> None:
    door.rights.grant("eve", "ada", Right.WRITE)
    door.rights.grant("eve", "ada/tiny", Right.NONE)
    door.rights.grant("eve", "ada/other", Right.READ)
    said = call(door, token(door, "ada"), "GET", "/api/repositories/ada/tiny")[1]
    assert isinstance(said, dict)
    assert said["shares"] == [
        {"user": "bob", "right": "read", "scope": "ada/tiny"},
        {"user": "eve", "right": "write", "scope": "ada"},
        {"user": "eve", "right": "none", "scope": "ada/tiny"},
    ]


@pytest.mark.parametrize("path", ["/api/repositories/ada/secret", "/api/repositories/ada/none"])
def test_private_is_as_missing(door: Door, path: str) -> None:
    name = path.removeprefix("/api/repositories/")
    said = {"error": f"{name} is not here, or not for you to see"}
    for method, body in (("GET", None), ("PATCH", {"visibility": "public"})):
        assert call(door, token(door, "eve"), method, path, body) == (404, said)
    assert call(door, token(door, "eve"), "PUT", f"{path}/shares/bob", {"right": "read"}) == (404, said)
    assert call(door, token(door, "eve"), "DELETE", f"{path}/shares/bob") == (404, said)


# --- who may see ------------------------------------------------------------------------------------------


def test_its_owner_makes_it_public_and_private(door: Door) -> None:
    path = "/api/repositories/ada/tiny"
    for visibility, status in (("public", 200), ("private", 404)):
        answer = call(door, token(door, "ada"), "PATCH", path, {"visibility": visibility})
        assert answer == (200, {"name": "ada/tiny", "visibility": visibility, "there": True})
        eve = door.token(EVE, "repository:ada/tiny:pull")
        assert door.ask("GET", "/v2/ada/tiny/tags/list", token=eve).status == status


@pytest.mark.parametrize("body", [None, {}, {"visibility": "secret"}, {"visibility": 1}, {"right": "read"}])
def test_another_visibility_there_is_not(door: Door, body: object) -> None:
    assert call(door, token(door, "ada"), "PATCH", "/api/repositories/ada/tiny", body)[0] == 400


def test_who_may_read_or_write_does_not_say_who_else_may(door: Door) -> None:
    door.rights.grant("bob", "ada/tiny", Right.WRITE)
    for method, path, body in (
        ("PATCH", "/api/repositories/ada/tiny", {"visibility": "public"}),
        ("PUT", "/api/repositories/ada/tiny/shares/eve", {"right": "read"}),
        ("DELETE", "/api/repositories/ada/tiny/shares/eve", None),
    ):
        status, said = call(door, token(door, "bob"), method, path, body)
        assert (status, said) == (403, {"error": "ada/tiny is not yours to share"})
    assert door.rights.public() == []


@pytest.mark.parametrize("where", ["ada/tiny", "ada"])
def test_a_share_is_given_and_taken_back(door: Door, where: str) -> None:
    path, tags = f"/api/repositories/{where}/shares/eve", "/v2/ada/tiny/tags/list"

    def status() -> int:
        return door.ask("GET", tags, token=door.token(EVE, "repository:ada/tiny:pull")).status

    for owner in ("ada", "root"):
        assert call(door, token(door, owner), "PUT", path, {"right": "read"}) == (204, None)
        assert status() == 200
        assert call(door, token(door, owner), "DELETE", path) == (204, None)
        assert status() == 404
        assert call(door, token(door, owner), "DELETE", path)[0] == 404


def test_a_share_that_is_forgotten_leaves_what_the_namespace_gives(door: Door) -> None:
    door.rights.grant("eve", "ada", Right.READ)
    door.rights.grant("eve", "ada/tiny", Right.NONE)
    assert call(door, token(door, "ada"), "DELETE", "/api/repositories/ada/tiny/shares/eve")[0] == 204
    eve = door.token(EVE, "repository:ada/tiny:pull")
    assert door.ask("GET", "/v2/ada/tiny/tags/list", token=eve).status == 200
    assert changes(door.engine)[-1].subject == "eve read ada/tiny"


@pytest.mark.parametrize(
    "path, body, status",
    [
        ("ada/tiny/shares/nobody", {"right": "read"}, 404),
        ("ada/tiny/shares/ada", {"right": "read"}, 400),
        ("ada/tiny/shares/bob", {"right": "own"}, 400),
        ("ada/tiny/shares/bob", {}, 400),
        ("ada/tiny/shares/bob", {"visibility": "public"}, 400),
    ],
)
def test_a_share_that_cannot_be(door: Door, path: str, body: object, status: int) -> None:
    assert call(door, token(door, "ada"), "PUT", f"/api/repositories/{path}", body)[0] == status
