"""The account API's part for administrators: people, what was changed, how the registry is."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from guarded import ORIGIN, document, key, text
from pages_kit import PASSWORD, Browser, PagesDoor

from registry.model.digests import Digest
from registry.model.manifests import DOCKER_CONFIG, DOCKER_MANIFEST, Descriptor, Manifest
from registry.server.depot import DiskDepot
from registry.server.health import Health
from registry.server.key_scopes import parse_scopes
from registry.server.room import Room
from registry.wire.messages import Response

ROOT = key(1)


@pytest.fixture
def door() -> PagesDoor:
    """`root`, an administrator, and `ben`."""
    door = PagesDoor()
    door.join("root", ROOT, admin=True)
    door.person("ben")
    return door


def call(door: PagesDoor, method: str, path: str, body: object = None) -> Response:
    """What an administrator's machine is answered."""
    sent = b"" if body is None else json.dumps(body).encode()
    return door.ask(method, path, token=door.token(ROOT, "registry:account:*"), body=sent)


def test_somebody_is_invited_and_chooses_a_password(door: PagesDoor) -> None:
    answer = call(door, "POST", "/api/users", {"name": "cleo", "admin": True})
    told = document(answer)
    assert answer.status == 201 and told["name"] == "cleo" and told["expires"] == "2027-01-16T08:00:00Z"
    asked = document(call(door, "GET", "/api/users/cleo"))
    assert (asked["admin"], asked["password"], asked["invited_until"]) == (True, False, told["expires"])
    cleo, code = Browser(door), str(told["url"]).partition("#")[2]
    cleo.get("/invitation").form().send(code=code, password=PASSWORD, again=PASSWORD)
    assert cleo.page.path == "/models"
    assert document(call(door, "GET", "/api/users/cleo"))["invited_until"] is None


def test_a_link_is_taken_back_and_another_takes_its_place(door: PagesDoor) -> None:
    first = str(document(call(door, "POST", "/api/users/ben/link"))["url"])
    second = str(document(call(door, "POST", "/api/users/ben/link"))["url"])
    assert first.startswith(f"{ORIGIN}/invitation#") and second != first
    assert call(door, "DELETE", "/api/users/ben/link").status == 204
    assert call(door, "DELETE", "/api/users/ben/link").status == 404
    for url in (first, second):
        page = (
            Browser(door)
            .get("/invitation")
            .form()
            .send(code=url.partition("#")[2], password="another one, longer", again="another one, longer")
        )
        assert page.status == 403


def test_an_account_is_shut_out_let_in_and_removed(door: PagesDoor) -> None:
    made = door.api_keys.create(door.accounts.user("ben"), parse_scopes(["*:pull"]))
    assert document(call(door, "PATCH", "/api/users/ben", {"disabled": True}))["disabled"] is True
    assert door.ask("GET", "/api/account", token=made.secret).status == 401
    assert document(call(door, "PATCH", "/api/users/ben", {"disabled": False}))["disabled"] is False
    assert door.ask("GET", "/api/account", token=made.secret).status == 200
    assert document(call(door, "DELETE", "/api/users/ben")) == {"models_stay": False}
    assert door.ask("GET", "/api/account", token=made.secret).status == 401


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("POST", "/api/users", {"name": "Ben Smith"}, "cannot be an account's name"),
        ("POST", "/api/users", {"name": "ben"}, "has a password already"),
        ("POST", "/api/users", {"name": "cleo", "admin": "yes"}, "admin is neither true nor false"),
        ("POST", "/api/users", {"name": "cleo", "password": "x"}, "there is no field 'password'"),
        ("PATCH", "/api/users/ben", {}, "disabled is missing"),
        ("PATCH", "/api/users/root", {"disabled": True}, "your own account"),
        ("DELETE", "/api/users/root", None, "your own account"),
        ("GET", "/api/audit?before=x", None, "not the id of a change"),
        ("GET", "/api/audit?after=yesterday", None, "not a time"),
        ("GET", "/api/audit?n=many", None, "not a number of entries"),
    ],
)
def test_what_is_refused_in_a_sentence(
    door: PagesDoor, method: str, path: str, body: object, said: str
) -> None:
    answer = call(door, method, path, body)
    assert answer.status == 400 and said in str(document(answer)["error"])


def test_the_audit_is_read_in_pages_of_a_repository_of_somebody_after_a_time(door: PagesDoor) -> None:
    for number in range(5):
        door.now += 1
        door.rights.set_public("ben/tiny", bool(number % 2))
    path, seen = "/api/audit?n=2&repository=Ben/tiny&after=2027-01-15T08:00:01Z", []
    while path:
        answer = call(door, "GET", path)
        seen += json.loads(text(answer))
        link = answer.headers.get("Link")
        path = link[1 : link.index(">")] if link else ""
        assert len(seen) <= 4 and (not link or dict(parse_qsl(urlsplit(path).query))["n"] == "2")
    assert [each["time"][-3:-1] for each in seen] == ["05", "04", "03", "02"]
    assert {each["repository"] for each in seen} == {"ben/tiny"}
    [begun, *_] = json.loads(text(call(door, "GET", "/api/audit?user=ben")))
    assert (begun["action"], begun["user"]) == ("session.begin", "ben")


def test_how_the_registry_is(door: PagesDoor, tmp_path: Path) -> None:
    door.numbers |= {"ferry_scrub_damaged": ("Damaged.", 2.0), "ferry_blobs": ("Blobs.", 7.0)}
    door.health = Health(Room(tmp_path, 10**18), lambda: door.numbers)
    door.serve(door.depot)
    told = document(call(door, "GET", "/api/system"))
    assert told["numbers"] == {"ferry_scrub_damaged": 2.0, "ferry_blobs": 7.0} and told["min_free"] == 10**18
    assert isinstance(told["problems"], list)
    full, damaged = told["problems"]
    assert "nearly full" in full and damaged.startswith("2 blobs are missing or damaged")


def test_an_administrators_program_and_other_people_do_none_of_it(door: PagesDoor) -> None:
    made = door.api_keys.create(door.accounts.user("root"), parse_scopes(["*:*"]))
    door.credentials.add_key("ben", key(2).public)
    for token in (made.secret, door.token(key(2), "registry:account:*")):
        for path in ("/api/users", "/api/audit", "/api/system"):
            assert door.ask("GET", path, token=token).status == 403
        assert door.ask("POST", "/api/users", token=token, body=b'{"name":"eve"}').status == 403
    assert [each.name for each in door.accounts.users()] == ["ben", "root"]


def published(door: PagesDoor, config: bytes) -> str:
    """Publish a model of `config` alone as the latest; its digest."""
    upload = door.depot.begin("ada/tiny")
    upload.write(config)
    upload.commit(Digest.of(config))
    upload.close()
    kept = Descriptor(DOCKER_CONFIG, Digest.of(config), len(config)).as_json()
    document = {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": kept, "layers": []}
    manifest = Manifest.parse(json.dumps(document).encode())
    door.depot.publish("ada/tiny", manifest, "latest")
    return str(manifest.digest)


def test_what_has_no_tag_is_listed_and_goes_with_the_model(tmp_path: Path) -> None:
    ids = map(str, itertools.count())
    door = PagesDoor(lambda engine, clock: DiskDepot(tmp_path, engine, clock, lambda: next(ids)))
    door.join("root", ROOT, admin=True)
    digests = [published(door, config) for config in (b"{}", b'{"a":1}', b'{"b":2}')]
    listed, path = [], "/api/manifests/ada/tiny?n=2"
    while path:
        answer = call(door, "GET", path)
        listed += json.loads(text(answer))
        link = answer.headers.get("Link")
        path = link[1 : link.index(">")] if link else ""
    assert {each["digest"]: each["tags"] for each in listed} == {
        digests[0]: [],
        digests[1]: [],
        digests[2]: ["latest"],
    }
    assert [each["digest"] for each in listed] == sorted(digests)
    assert call(door, "DELETE", "/api/repositories/ada/tiny").status == 204
    assert json.loads(text(call(door, "GET", "/api/manifests/ada/tiny"))) == []
