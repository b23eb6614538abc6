"""What is left of an API key: a row of the record for each change, and its secret nowhere."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import pytest
from guarded import Door, key
from peers import http_call
from sqlalchemy import select
from test_account_api import ACCOUNT, call

from registry.net.listener.record import AccessRecord
from registry.server.api_keys import Made
from registry.server.audit import entries
from registry.server.backup import backup
from registry.server.database import reading
from registry.server.depot_memory import MemoryDepot
from registry.server.key_scopes import parse_scopes
from registry.server.principal import Right
from registry.server.service import Plan, Service
from registry.server.tables import AUDIT

ADA, LAPTOP = key(1), key(2)


@pytest.fixture
def door() -> Door:
    door = Door(depot=lambda _: MemoryDepot())
    door.join("ada", ADA)
    door.join("bob", key(3))
    door.credentials.add_key("ada", LAPTOP.public)
    return door


def made(door: Door) -> Made:
    return door.api_keys.create(door.accounts.user("ada"), parse_scopes(["ada/*:pull"]))


# A change, and what the record says of it: the action, and how the subject begins.
CHANGES: dict[tuple[str, str, str], tuple[str, str]] = {
    ("POST", "/api/credentials", '{"scopes":["ada/*:pull"]}'): ("apikey.create", ""),
    ("POST", "/api/credentials/ID/rotate", "{}"): ("apikey.rotate", "ID"),
    ("DELETE", "/api/credentials/ID", ""): ("apikey.revoke", "ID"),
    ("DELETE", "/api/credentials/LAPTOP", ""): ("key.revoke", LAPTOP.public.fingerprint),
    ("DELETE", f"/api/user/keys/{ADA.public.connect}", ""): ("key.disconnect", ADA.public.fingerprint),
    ("PATCH", "/api/repositories/ada/tiny", '{"visibility":"public"}'): ("visibility", "public"),
    ("PUT", "/api/repositories/ada/tiny/shares/bob", '{"right":"read"}'): ("grant", "bob read ada/tiny"),
    ("DELETE", "/api/repositories/ada/tiny/shares/bob", ""): ("grant", "bob none ada/tiny"),
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: f"{change[0]} {change[1][:40]}")
def test_every_change_has_a_row_that_says_who_and_by_what(door: Door, change: tuple[str, str, str]) -> None:
    (method, path, body), (action, subject) = change, CHANGES[change]
    id, machine = made(door).id, door.principal(ADA).credential_id
    path = path.replace("ID", id).replace("LAPTOP", door.principal(LAPTOP).credential_id)
    door.rights.grant("bob", "ada/tiny", Right.READ)
    status, _ = call(door, door.token(ADA, ACCOUNT), method, path, json.loads(body) if body else None)
    assert status < 300
    with reading(door.engine) as database:
        last = database.execute(select(AUDIT).order_by(AUDIT.c.id.desc())).first()
    assert last is not None
    assert (last.action, last.user, last.credential) == (action, "ada", machine)
    assert last.subject.startswith(subject.replace("ID", id))


# --- where a secret must not be -----------------------------------------------------------------------------


PATHS = ("/v2/", "/v2/ada/tiny/manifests/v1", "/v2/token", "/api/account", "/api/credentials", "/none")


@dataclass
class Watched:
    """A running registry whose log is kept."""

    service: Service
    url: str
    records: list[AccessRecord] = field(default_factory=list)
    told: list[str] = field(default_factory=list)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    records: list[AccessRecord] = []
    told: list[str] = []
    service = Service(Plan(tmp_path / "data", record=records.append, told=told.append))
    service.registry.accounts.add_user("ada", key=ADA.public)
    yield Watched(service, service.start(), records, told)
    service.stop()


def test_a_secret_is_in_no_answer_log_metric_record_file_or_backup(watched: Watched, tmp_path: Path) -> None:
    registry, url = watched.service.registry, watched.url
    old = registry.api_keys.create(registry.accounts.user("ada"), parse_scopes(["ada/*:push"]))
    new = registry.api_keys.rotate("ada", old.id)
    bot = registry.api_keys.create(registry.services.add("ada/ci", Right.READ), parse_scopes(["*:pull"]))
    wrong = old.secret[:-1] + ("A" if old.secret[-1] != "A" else "B")
    secrets = (old.secret, new.secret, wrong, bot.secret)
    answers = []
    for secret in secrets:
        basic = base64.b64encode(f"x:{secret}".encode()).decode()
        shown = (f"Bearer {secret}", f"Basic {basic}", secret, f"Token {secret}")
        for path, value in itertools.product(PATHS, shown):
            answers.append(http_call("GET", url + path, headers={"Authorization": value}))
        for grant in ("password", "refresh_token", secret):
            form = urlencode({"grant_type": grant, "password": secret, "refresh_token": secret})
            answers.append(http_call("POST", f"{url}/v2/token", form.encode()))
        answers.append(http_call("POST", f"{url}/api/credentials", f'{{"{secret}":1}}'.encode()))
    told = json.dumps({"secret": old.secret}).encode()
    answers.append(http_call("POST", f"{url}/api/credentials/revoke", told))
    answers.append(http_call("GET", f"{url}/metrics"))
    backup(registry.depot.engine, tmp_path / "backup.db")

    assert {answer.status for answer in answers} == {200, 202, 400, 401, 403, 404}
    for secret in secrets:
        unique = secret[-36:-6].encode()
        assert [
            answer for answer in answers if unique in answer.body or unique in repr(answer.headers).encode()
        ] == []
        assert unique not in repr((watched.records, watched.told, entries(registry.depot.engine))).encode()
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert len(files) > 2
        assert [path for path in files if unique in path.read_bytes()] == []
