"""A push says whether anybody may read what it brings: in the manifest's transaction, by its owner only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from depots import on_disk
from guarded import Door, key
from sqlalchemy import event, select

from registry.model.digests import Digest
from registry.model.manifests import DOCKER_CONFIG, DOCKER_MANIFEST, Descriptor
from registry.server.database import reading
from registry.server.depot import DiskDepot
from registry.server.depot_memory import MemoryDepot
from registry.server.key_scopes import parse_scopes
from registry.server.principal import Right
from registry.server.tables import AUDIT, MANIFESTS, PUBLIC
from registry.wire.messages import Response

ADA, BOB, ROOT = key(1), key(2), key(3)
CONFIG = b"{}"
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": Descriptor(DOCKER_CONFIG, Digest.of(CONFIG), len(CONFIG)).as_json(),
        "layers": [],
    }
).encode()
MODEL = "/v2/ada/tiny/manifests/v1"


@pytest.fixture
def door(tmp_path: Path) -> Door:
    """`ada` owns the namespace, `bob` may write in it, `root` is an administrator."""

    def depot(door: Door) -> DiskDepot:
        made = on_disk(tmp_path)
        made.engine.dispose()
        return DiskDepot(tmp_path, door.engine, made.clock, made.new_id)

    door = Door(depot=depot)
    door.join("ada", ADA)
    door.join("bob", BOB)
    door.join("root", ROOT, admin=True)
    door.rights.grant("bob", "ada", Right.WRITE)
    token = door.token(ADA, "repository:ada/tiny:pull,push")
    upload = door.ask(
        "POST", f"/v2/ada/tiny/blobs/uploads/?digest={Digest.of(CONFIG)}", token=token, body=CONFIG
    )
    assert upload.status == 201
    return door


def push(door: Door, token: str, visibility: str, path: str = MODEL) -> Response:
    return door.ask("PUT", path, token=token, body=MANIFEST, X_Ferry_Visibility=visibility)


def by(door: Door, who: str) -> str:
    if who == "key":
        return door.api_keys.create(door.accounts.user("ada"), parse_scopes(["ada/*:push"])).secret
    return door.token({"ada": ADA, "bob": BOB, "root": ROOT}[who], "repository:ada/tiny:pull,push")


@pytest.mark.parametrize("who", ["ada", "root", "key"])
def test_the_owner_says_with_the_push_who_may_read(door: Door, who: str) -> None:
    token = by(door, who)
    for visibility, status in (("public", 200), ("private", 401), ("public", 200)):
        answer = push(door, token, visibility)
        assert (answer.status, answer.headers.get("X-Ferry-Visibility")) == (201, visibility)
        assert door.ask("GET", MODEL).status == status
    with reading(door.engine) as database:
        told = database.execute(select(AUDIT.c.subject).where(AUDIT.c.action == "visibility")).scalars()
        assert list(told) == ["public", "private", "public"]


def test_who_may_write_only_says_nothing_and_nothing_is_published(door: Door) -> None:
    for visibility in ("public", "private"):
        assert push(door, by(door, "bob"), visibility).status == 403
    assert door.ask("GET", MODEL, token=by(door, "bob")).status == 404
    assert door.ask("PUT", MODEL, token=by(door, "bob"), body=MANIFEST).status == 201


@pytest.mark.parametrize("word", ["", "Public", "secret", "public, private"])
def test_a_word_it_does_not_know_is_refused_before_anything_is_seen(door: Door, word: str) -> None:
    assert push(door, by(door, "ada"), word).status == 400
    assert door.ask("GET", MODEL).status == 401


def test_a_push_that_says_nothing_changes_nothing(door: Door) -> None:
    token = by(door, "ada")
    push(door, token, "public")
    answer = door.ask("PUT", "/v2/ada/tiny/manifests/v2", token=token, body=MANIFEST)
    assert (answer.status, answer.headers.get("X-Ferry-Visibility")) == (201, "")
    assert door.ask("GET", MODEL).status == 200


def test_it_is_private_before_the_manifest_is_there(door: Door) -> None:
    """Both are written in one transaction: whoever looks from outside never sees only one of them."""
    door.rights.set_public("ada/tiny", True)
    seen: list[tuple[bool, bool]] = []

    def look(_connection: object) -> None:
        with reading(door.engine) as database:
            public = database.execute(select(PUBLIC)).first() is not None
            there = database.execute(select(MANIFESTS.c.digest)).first() is not None
        seen.append((public, there))

    token = by(door, "ada")
    event.listen(door.engine, "commit", look)
    try:
        assert push(door, token, "private").status == 201
    finally:
        event.remove(door.engine, "commit", look)
    look(None)
    assert set(seen) == {(True, False), (False, True)}


def test_a_manifest_that_is_refused_changes_no_visibility(door: Door) -> None:
    bad = MANIFEST.replace(b"sha256:4", b"sha256:5")
    answer = door.ask("PUT", MODEL, token=by(door, "ada"), body=bad, X_Ferry_Visibility="public")
    assert answer.status == 404
    assert door.rights.public() == []


def test_a_push_is_told_from_its_first_answer_on_that_it_may_say_so(door: Door) -> None:
    token = door.token(ADA, "repository:ada/new:pull,push", "repository:ada/tiny:pull,push")
    mounted = f"/v2/ada/new/blobs/uploads/?mount={Digest.of(CONFIG)}&from=ada/tiny"
    told = [
        door.ask("HEAD", "/v2/ada/new/manifests/v1", token=token),
        door.ask("POST", "/v2/ada/new/blobs/uploads/", token=token),
        door.ask("POST", mounted, token=token),
        door.ask("HEAD", "/v2/ada/new/manifests/v1", token=token),
    ]
    push(door, token, "private")
    told.append(door.ask("HEAD", MODEL, token=token))
    assert [answer.status for answer in told] == [404, 202, 201, 404, 200]
    assert {answer.headers.get("X-Ferry-Visibility") for answer in told} == {"supported"}
    offers = [answer.headers.get("X-Ferry-Single-Post") for answer in told]
    assert offers == ["262144; empty", "262144", "", "262144", "262144"]
    door.join("cid", key(4))
    door.rights.grant("cid", "ada", Right.READ)
    reader = door.token(key(4), "repository:ada/tiny:pull")
    for path in (MODEL, "/v2/ada/tiny/manifests/none"):
        assert "X-Ferry-Single-Post" not in door.ask("HEAD", path, token=reader).headers


def test_who_may_not_say_so_hears_it_before_the_first_byte_too(door: Door) -> None:
    token = by(door, "bob")
    for status in (404, 200):
        answer = door.ask("HEAD", MODEL, token=token)
        assert (answer.status, answer.headers.get("X-Ferry-Visibility")) == (status, "denied")
        assert door.ask("PUT", MODEL, token=token, body=MANIFEST).status == 201


def test_in_a_registry_of_anybodys_nobody_is_its_owner() -> None:
    lab = Door(anonymous=Right.WRITE, depot=lambda _: MemoryDepot())
    assert push(lab, "", "private").status == 403
