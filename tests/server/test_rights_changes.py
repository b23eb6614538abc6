"""What is remembered of rights: never past a change, whoever makes it; nothing else has it forgotten."""

from __future__ import annotations

import json
import secrets
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from guarded import HOST, PASSED, Door, key
from peers import Answer, ferry_command, http_call
from sqlalchemy import Engine, select, text

from registry.auth import signing
from registry.server.database import connect_at_once, reading
from registry.server.guard import Guard
from registry.server.principal import Right
from registry.server.prompt import Prompt
from registry.server.service import Plan, Service
from registry.server.tables import RIGHTS_CHANGES, TRIGGERS
from registry.wire.messages import Request, Response

ADA, BOB = key(1), key(2)
MODEL = "/v2/acme/tiny/manifests/v1"
SCOPE = "repository:acme/tiny:pull"


@pytest.fixture
def door() -> Door:
    """`bob` may read `acme`, by a grant."""
    door = Door()
    door.join("ada", ADA)
    door.join("bob", BOB)
    door.rights.grant("bob", "acme", Right.READ)
    return door


def changes(engine: Engine) -> int:
    with reading(engine) as database:
        return int(database.execute(select(RIGHTS_CHANGES.c.count)).scalar_one())


def elsewhere(door: Door, statement: str) -> None:
    """Change the database as another process does, by a connection of its own."""
    other = sqlite3.connect(str(door.engine.url.database))
    other.execute("PRAGMA foreign_keys = ON")
    other.execute(statement)
    other.commit()
    other.close()


WITHDRAWN: dict[str, Callable[[Door], object]] = {
    "grant": lambda door: door.rights.grant("bob", "acme", Right.NONE),
    "nearer grant": lambda door: door.rights.grant("bob", "acme/tiny", Right.NONE),
    "key": lambda door: door.credentials.revoke_key(BOB.public.fingerprint),
    "account": lambda door: door.accounts.disable("bob"),
    "removed": lambda door: door.accounts.remove("bob"),
    "cap": lambda door: elsewhere(door, "UPDATE credentials SET cap = 'none'"),
    "expired": lambda door: elsewhere(door, "UPDATE credentials SET expires = 1"),
    "namespace": lambda door: elsewhere(door, "DELETE FROM namespaces WHERE name = 'acme'"),
}


@pytest.mark.parametrize("what", WITHDRAWN)
def test_the_very_next_request_hears_of_what_was_withdrawn(door: Door, what: str) -> None:
    token = door.token(BOB, SCOPE)
    for _ in range(2):  # the second is answered by what the first found out
        assert door.ask("GET", MODEL, token=token).status == PASSED
    WITHDRAWN[what](door)
    assert door.ask("GET", MODEL, token=token).status in (401, 404)


GIVEN: dict[str, Callable[[Door], object]] = {
    "grant": lambda door: door.rights.grant("ada", "acme", Right.READ),
    "public": lambda door: door.rights.set_public("acme/tiny", True),
    "administrator": lambda door: elsewhere(door, "UPDATE users SET admin = 1 WHERE name = 'ada'"),
    "owner": lambda door: elsewhere(
        door, "UPDATE namespaces SET owner = (SELECT id FROM users WHERE name = 'ada') WHERE name = 'acme'"
    ),
}


@pytest.mark.parametrize("what", GIVEN)
def test_the_very_next_request_hears_of_what_was_given(door: Door, what: str) -> None:
    token = door.token(ADA, SCOPE)
    assert door.ask("GET", MODEL, token=token).status == 404
    GIVEN[what](door)
    assert door.ask("GET", MODEL, token=token).status in (PASSED, 401)  # the token may be for nothing
    assert door.ask("GET", MODEL, token=door.token(ADA, SCOPE)).status == PASSED


def test_what_was_public_is_private_for_the_next_request(door: Door) -> None:
    door.rights.set_public("acme/tiny", True)
    token = door.token(ADA, SCOPE)
    assert door.ask("GET", MODEL, token=token).status == PASSED
    door.rights.set_public("acme/tiny", False)
    assert door.ask("GET", MODEL, token=token).status == 404


def test_a_credential_that_ends_is_over_though_nothing_changes(door: Door) -> None:
    elsewhere(door, f"UPDATE credentials SET expires = {door.now + 60}")
    token = door.token(BOB, SCOPE)
    assert door.ask("GET", MODEL, token=token).status == PASSED
    before = changes(door.engine)
    door.now += 60
    assert door.ask("GET", MODEL, token=token).status == 401
    assert changes(door.engine) == before


def test_signing_in_and_publishing_forget_nothing(door: Door) -> None:
    door.token(BOB, SCOPE)
    before = changes(door.engine)
    door.token(BOB, SCOPE)  # spends a nonce
    elsewhere(
        door,
        "INSERT INTO audit (time, user, credential, address, action, repository, subject, digest)"
        " VALUES (1, '', '', '', 'publish', '', '', '')",
    )
    assert changes(door.engine) == before


def test_what_is_remembered_is_not_looked_up_again(door: Door) -> None:
    """The other way round: without a change the answer is what was found out, whatever the tables say."""
    token = door.token(BOB, SCOPE)
    assert door.ask("GET", MODEL, token=token).status == PASSED
    with door.engine.begin() as database:
        for trigger in TRIGGERS:
            database.execute(text(f"DROP TRIGGER {trigger.split()[2]}"))
        database.execute(text("DELETE FROM grants"))
    assert door.ask("GET", MODEL, token=token).status == PASSED


def test_there_is_an_end_to_what_is_remembered(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.server.rights._MOST_REMEMBERED", 3)
    who = door.principal(BOB).credential_id
    for number in range(10):
        door.rights.standing(who, f"acme/{number}")
    assert len(door.rights.standings) <= 3


# --- the event loop ---------------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Service, str]]:
    """A registry where `bob` may read `acme/tiny`, which holds nothing; and its URL."""
    service = Service(Plan(tmp_path / "data"))
    service.registry.accounts.add_user("bob", key=BOB.public)
    service.registry.rights.grant("bob", "acme", Right.READ)
    yield service, service.start()
    service.stop()


def token_of(url: str) -> dict[str, str]:
    """The header with a token for `bob`."""
    host = url.partition("://")[2]
    asked = signing.token_url(
        f"{url}/v2/token", host, [SCOPE], now=time.time(), nonce=secrets.token_urlsafe(16)
    )
    fields = {"Authorization": signing.authorization(BOB, signing.token_text(asked))}
    answer = http_call("GET", asked, headers=fields)
    return {"Authorization": f"Bearer {json.loads(answer.body)['token']}"}


def code(answer: Answer) -> str:
    return str(json.loads(answer.body)["errors"][0]["code"])


def test_a_revocation_by_another_process_bites_on_the_very_next_request(
    served: tuple[Service, str], tmp_path: Path
) -> None:
    _, url = served
    token = token_of(url)
    for _ in range(2):
        assert code(http_call("GET", url + MODEL, headers=token)) == "NAME_UNKNOWN"  # it may be asked for
    revoke = [*ferry_command(), "admin", "key", "revoke", BOB.public.fingerprint, "--data", tmp_path / "data"]
    subprocess.run([*map(str, revoke)], check=True, capture_output=True)
    refused = http_call("GET", url + MODEL, headers=token)
    assert (refused.status, code(refused)) == (401, "UNAUTHORIZED")


def test_pulls_and_health_do_not_wait_for_whoever_holds_the_database(served: tuple[Service, str]) -> None:
    service, url = served
    token = token_of(url)
    holder = sqlite3.connect(str(service.registry.depot.engine.url.database), isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        assert http_call("GET", url + MODEL, headers=token).status == 404
        assert http_call("GET", f"{url}/healthz").status == 200
    finally:
        holder.close()


class Held(Guard):
    """Stands in for the guard: answers `status` after `seconds`."""

    status, seconds, now = 200, 0.0, 0.0

    def has(self, request: Request) -> bool:
        return request.method == "GET"

    def __call__(self, _request: Request) -> Response:
        Held.now += Held.seconds
        return Response(Held.status)


@pytest.fixture
def held(door: Door, monkeypatch: pytest.MonkeyPatch) -> Prompt:
    for name, value in {"status": 200, "seconds": 0.0, "now": 0.0}.items():
        monkeypatch.setattr(Held, name, value)
    return Prompt(Held(door.guard.table, door.guard.names, door.identity, door.guard.links), lambda: Held.now)


ASKED = Request("GET", f"http://{HOST}{MODEL}")


def test_the_loop_leaves_to_threads_what_it_has_no_answer_to(held: Prompt) -> None:
    assert held(ASKED) is not None
    assert held(replace(ASKED, method="PUT")) is None
    Held.status = 503  # the database is held
    assert held(ASKED) is None


def test_after_an_answer_that_took_long_the_loop_leaves_all_to_threads_for_a_while(held: Prompt) -> None:
    Held.seconds = 0.3
    assert held(ASKED) is not None
    Held.seconds = 0.0
    assert held(ASKED) is None
    Held.now += 5.1
    assert held(ASKED) is not None


def test_the_loops_own_connection_waits_for_nobody(door: Door) -> None:
    engine = connect_at_once(Path(str(door.engine.url.database)))
    with reading(engine) as database:
        assert database.execute(text("PRAGMA busy_timeout")).scalar_one() == 0
    engine.dispose()
