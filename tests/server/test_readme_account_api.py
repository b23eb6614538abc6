"""The README's table of the account API is true: each row is called, by who may and by who may not."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from guarded import key, text
from identity_provider import Provider
from pages_kit import HERE, PASSWORD, PagesDoor

from registry.model.digests import Digest
from registry.model.manifests import DOCKER_CONFIG, DOCKER_MANIFEST, Descriptor, Manifest
from registry.server.depot import DiskDepot
from registry.server.key_scopes import parse_scopes
from registry.server.principal import Right
from registry.wire.routes import match

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
ADA, LAPTOP = key(1), key(2)
CONFIG = b"{}"


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    method: str
    path: str
    who: str
    body: str
    status: int
    answer: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def rows() -> Iterator[Row]:
    section = README.partition("\n## The account API\n")[2].partition("\n## ")[0]
    for line in section.splitlines():
        found = re.fullmatch(r"\| `(\w+) (\S+)` \| (.*?) \| (?:`(.*)` )?\| (\d+)(?: `(.*)`)? \|", line)
        if found:
            method, path, who, body, status, answer = found.groups()
            yield Row(method, path, who, body or "", int(status), answer or "")


ROWS = [*rows()]


@pytest.fixture
def door(tmp_path: Path) -> PagesDoor:
    """`ada`, an administrator with a password, two machines and a published model; `bob`, who is invited."""

    ids = (f"id-{number}" for number in itertools.count())
    door = PagesDoor(lambda engine, clock: DiskDepot(tmp_path, engine, clock, lambda: next(ids)))
    door.person("ada", admin=True)
    for machine in (ADA, LAPTOP):
        door.credentials.add_key("ada", machine.public)
    door.join("bob", key(3))
    door.invitations.invite("bob")
    door.rights.grant("bob", "ada/tiny", Right.READ)
    door.organisations.add("guild", "ada")
    door.organisations.set_role("guild", "bob", Right.READ)
    door.services.add("ada/ci", Right.READ)
    door.immutable.add("ada/tiny", "old*")
    upload = door.depot.begin("ada/tiny")
    upload.write(CONFIG)
    upload.commit(Digest.of(CONFIG))
    upload.close()
    config = Descriptor(DOCKER_CONFIG, Digest.of(CONFIG), len(CONFIG)).as_json()
    document = {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": config, "layers": []}
    door.depot.publish("ada/tiny", Manifest.parse(json.dumps(document).encode()), "v1")
    return door


def identified(door: PagesDoor, row: Row, session: str, key: str) -> str:
    """Which identifier stands in a row's path."""
    if "publishers" in row.path:
        return door.trust(Provider("https://ci.example"), "ada/tiny", repository_id="74")
    return session if "sessions" in row.path else key


def meant(door: PagesDoor, row: Row) -> tuple[str, bytes, str]:
    """The path and body of a row with something in the place of each name, and the secret of an API key."""
    made = door.api_keys.create(door.accounts.user("ada"), parse_scopes(["ada/*:pull", "guild:pull"]))
    [session] = door.sessions.of(door.accounts.user("ada"))
    waiting = key(9)
    door.connecting.note(waiting.public, HERE, shows_code=True)
    places = {
        "NAME": "ada/tiny",
        "USER": "bob",
        "ORG": "guild",
        "OWNER": "ada",
        "SERVICE": "ci",
        "ID": identified(door, row, session.id, made.id),
        "KEY": (waiting if "connections" in row.path else ADA).public.connect,
    }
    told = {
        "fry_": made.secret,
        "OLD": PASSWORD,
        "NEW": f"{PASSWORD}!",
        "CODE": door.connecting.code(waiting.public),
    }
    path, body = row.path, row.body
    for name, value in places.items():
        path = path.replace(name, value)
    for name, value in told.items():
        body = body.replace(name, value)
    return path, body.encode(), made.secret


def named(answer: str) -> tuple[str, list[str]]:
    """The kind of document that a row promises, and the names of its fields."""
    return answer[:1], re.findall(r'"(\w+)"', answer)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_row_of_the_table(door: PagesDoor, row: Row) -> None:
    path, body, secret = meant(door, row)
    if row.who == "a signed call":
        assert door.ask(row.method, path).status == 401
        answer = door.call(ADA, row.method, path)
    elif row.who == "anybody":
        answer = door.ask(row.method, path, body=body)
    else:
        assert door.ask(row.method, path, body=body).status == 401
        by_program = door.ask(row.method, path, token=secret, body=body)
        assert by_program.status == (row.status if "program" in row.who else 403)
        if row.method == "DELETE" and "program" in row.who:  # it ended itself
            path, body, _ = meant(door, row)
        if row.who == "administrator":
            token = door.token(key(3), "registry:account:*")
            assert door.ask(row.method, path, token=token, body=body).status == 403
        answer = door.ask(row.method, path, token=door.token(ADA, "registry:account:*"), body=body)
    assert answer.status == row.status
    said = json.loads(text(answer)) if text(answer) else ""
    kind, fields = named(row.answer)
    assert isinstance(said, {"{": dict, "[": list, "": str}[kind])
    assert sorted(said[0] if isinstance(said, list) else said) == sorted(fields)


def test_every_route_of_it_is_in_the_table() -> None:
    written = [re.sub("USER|SERVICE", "c", row.path.replace("NAME", "a/b")) for row in ROWS]
    places = [match(path.partition("?")[0]) for path in written]
    table = {
        (route, method)
        for route, methods in PagesDoor().guard.table.items()
        for method in methods
        if route.value.startswith("/api/")
    }
    assert {(place.route, row.method) for place, row in zip(places, ROWS, strict=True) if place} == table
