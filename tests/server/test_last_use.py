"""When a credential was last used is noted beside the requests, and written down once in a while."""

from __future__ import annotations

import json

import pytest
from guarded import Door, key, text
from sqlalchemy import event, select

from registry.server.database import reading
from registry.server.depot_memory import MemoryDepot
from registry.server.key_scopes import parse_scopes
from registry.server.tables import RIGHTS_CHANGES

ADA = key(1)
TAGS = "/v2/ada/tiny/tags/list"


@pytest.fixture
def door() -> Door:
    door = Door(depot=lambda _: MemoryDepot())
    door.join("ada", ADA)
    return door


def changes(door: Door) -> int:
    with reading(door.engine) as database:
        return int(database.execute(select(RIGHTS_CHANGES.c.count)).scalar_one())


def used(door: Door) -> list[float | None]:
    return [each.last_used for each in door.credentials.listed("ada")]


def test_every_way_in_is_noted_and_written_down_without_forgetting_any_right(door: Door) -> None:
    made = door.api_keys.create(door.accounts.user("ada"), parse_scopes(["*:pull"]))
    before = changes(door)
    door.ask("GET", TAGS, token=made.secret)
    door.token(ADA, "registry:account:*")
    assert used(door) == [None, None]
    door.last_use.write()
    assert used(door) == [door.now, door.now]
    assert changes(door) == before


@pytest.mark.parametrize("way", ["signed call", "token"])
def test_a_machines_key_is_noted(door: Door, way: str) -> None:
    if way == "signed call":
        assert door.call(ADA, "POST", "/api/me").status == 200
    else:
        token = door.token(ADA, "repository:ada/tiny:pull")
        door.last_use.write()
        door.now += 61
        door.ask("GET", TAGS, token=token)
    door.last_use.write()
    assert used(door) == [door.now]


def test_it_is_written_once_a_minute_however_often_a_key_is_used(door: Door) -> None:
    written: list[str] = []
    event.listen(
        door.engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, *_: written.append(statement) if "last_used=" in statement else None,
    )
    made = door.api_keys.create(door.accounts.user("ada"), parse_scopes(["*:pull"]))
    began = door.now
    for _ in range(3):
        for _ in range(20):
            door.ask("GET", TAGS, token=made.secret)
            door.last_use.write()
            door.now += 1
        door.now += 40
    assert len(written) == 3
    assert used(door)[1] == began + 120


def test_a_bad_secret_uses_nothing(door: Door) -> None:
    made = door.api_keys.create(door.accounts.user("ada"), parse_scopes(["*:pull"]))
    door.credentials.revoke("ada", made.id)
    door.ask("GET", TAGS, token=made.secret)
    assert door.last_use.waiting == {}


def test_another_process_that_knows_it_newer_is_not_overwritten(door: Door) -> None:
    door.call(ADA, "POST", "/api/me")
    with door.engine.begin() as database:
        database.exec_driver_sql(f"UPDATE credentials SET last_used = {door.now + 5}")
    door.last_use.write()
    assert used(door) == [door.now + 5]


def test_a_credential_that_is_gone_meanwhile_is_no_error(door: Door) -> None:
    door.call(ADA, "POST", "/api/me")
    door.accounts.remove("ada")
    door.last_use.write()
    assert door.last_use.waiting == {}


def test_its_owner_sees_it_before_it_is_written_down(door: Door) -> None:
    answer = door.ask("GET", "/api/credentials", token=door.token(ADA, "registry:account:*"))
    assert [each["last_used"] for each in json.loads(text(answer))] == ["2027-01-15T08:00:00Z"]
