"""Programs that belong to a namespace instead of an account: what they may, and what ends with what."""

from __future__ import annotations

import pytest
from guarded import PASSED, Door, document, key
from sqlalchemy import Engine

from registry.model.digests import Digest
from registry.server.bearers import hashed
from registry.server.database import writing
from registry.server.depot_memory import MemoryDepot
from registry.server.principal import Right

SECRET = "fry_0123456789ABCDEFGHIJKLMNOPQRST3pY0uZ"
BLOB = Digest.of(b"x")


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("registry.server.identity.is_api_key", lambda _: True)
    return SECRET


@pytest.fixture
def door() -> Door:
    """`acme` is somebody's namespace, and `acme/ci` a service account in it that may write."""
    door = Door()
    door.join("acme", key(1))
    put_service(door.engine)
    return door


def put_service(engine: Engine, id: str = "s") -> None:
    of = "(SELECT id FROM namespaces WHERE name = 'acme')"
    with writing(engine) as database:
        for statement in (
            f"INSERT INTO services VALUES ('{id}', {of}, 'ci', 'write', 0, '')",
            "INSERT INTO credentials (id, kind, cap, added, namespace, service)"
            f" VALUES ('c-{id}', 'service', 'write', 0, {of}, '{id}')",
            "INSERT INTO api_keys (credential, secret_hash, last_four, scopes, issued)"
            f" VALUES ('c-{id}', '{hashed(SECRET)}', 'Y0uZ', '*:pull,push,delete', 0)",
        ):
            database.exec_driver_sql(statement)


def test_it_may_what_its_role_says_in_its_namespace_and_nothing_elsewhere(door: Door, secret: str) -> None:
    door.join("ben", key(2))
    who = door.by_secret(secret)
    assert (who.user, who.name, who.credential_id) == (None, "acme/ci", "c-s")
    rights = [door.rights.right(who, name) for name in ("acme/tiny", "Acme/a/b", "acmee/tiny", "ben/tiny")]
    assert rights == [Right.WRITE, Right.WRITE, Right.NONE, Right.NONE]
    judge = door.rights.judge(who)
    assert [judge(name) for name in ("acme/tiny", "acmee/tiny")] == [Right.WRITE, Right.NONE]
    assert not door.rights.owns(who, "acme")
    assert door.ask("PUT", "/v2/acme/tiny/manifests/v1", token=secret).status == PASSED
    assert door.ask("PUT", "/v2/ben/tiny/manifests/v1", token=secret).status == 403
    assert door.ask("GET", "/v2/ben/tiny/manifests/v1", token=secret).status == 404


def test_it_hears_who_it_is_and_has_no_account(door: Door, secret: str) -> None:
    door.serve(MemoryDepot())
    said = document(door.ask("GET", "/api/account", token=secret))
    assert (said["id"], said["name"], said["admin"]) == ("s", "acme/ci", False)
    assert said["credential"] == {
        "id": "c-s",
        "kind": "service",
        "note": "",
        "shown": "Y0uZ",
        "expires": None,
        "scopes": ["*:pull,push,delete"],
    }
    for path in ("/api/credentials", "/api/repositories", "/api/repositories/acme/tiny"):
        assert door.ask("GET", path, token=secret).status == 403


ENDS = {
    "its namespace's account is disabled": "UPDATE users SET disabled = 1 WHERE name = 'acme'",
    "its namespace is removed": "DELETE FROM namespaces WHERE name = 'acme'",
    "the service account is removed": "DELETE FROM services",
    "the key is revoked": "UPDATE credentials SET revoked = 1 WHERE id = 'c-s'",
    "the role is none": "UPDATE services SET role = 'none'",
}


@pytest.mark.parametrize("how", ENDS)
def test_it_ends_on_the_next_request(door: Door, secret: str, how: str) -> None:
    bearer = document(door.ask("GET", "/v2/token?scope=repository:acme/tiny:pull,push", token=secret))
    link = door.download_link(door.by_secret(secret), "acme/tiny", BLOB)
    ways = {"secret": secret, "token": str(bearer["token"])}
    for each in ways.values():
        assert door.ask("GET", "/v2/acme/tiny/tags/list", token=each).status == PASSED
    assert door.ask("GET", link).status == PASSED
    with writing(door.engine) as database:
        database.exec_driver_sql(ENDS[how])
    for each in ways.values():
        assert door.ask("GET", "/v2/acme/tiny/tags/list", token=each).status in (401, 404)
    assert door.ask("GET", link).status == 404


def test_a_namespace_that_is_made_anew_opens_to_no_service_account_of_before(door: Door, secret: str) -> None:
    bearer = str(document(door.ask("GET", "/v2/token", token=secret))["token"])
    door.accounts.remove("acme")
    door.join("acme", key(3))
    for each in (secret, bearer):
        assert door.ask("GET", "/v2/acme/tiny/tags/list", token=each).status == 401
    put_service(door.engine, "t")
    assert door.ask("GET", "/v2/acme/tiny/tags/list", token=bearer).status == 401
