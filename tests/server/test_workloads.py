"""Programs that belong to a namespace instead of an account: what they may, and what ends with what."""

from __future__ import annotations

import pytest
from guarded import PASSED, Door, document, key

from registry.model.digests import Digest
from registry.server.database import writing
from registry.server.depot_memory import MemoryDepot
from registry.server.principal import Right

BLOB = Digest.of(b"x")


@pytest.fixture
def door() -> Door:
    """`acme` is somebody's namespace."""
    door = Door()
    door.join("acme", key(1))
    return door


@pytest.fixture
def secret(door: Door) -> str:
    """A key of the service account `acme/ci`, which may write."""
    return door.service_key("acme/ci", Right.WRITE)


def test_it_may_what_its_role_says_in_its_namespace_and_nothing_elsewhere(door: Door, secret: str) -> None:
    door.join("ben", key(2))
    who = door.by_secret(secret)
    assert (who.user, who.name) == (None, "acme/ci")
    rights = [door.rights.right(who, name) for name in ("acme/tiny", "Acme/a/b", "acmee/tiny", "ben/tiny")]
    assert rights == [Right.WRITE, Right.WRITE, Right.NONE, Right.NONE]
    judge = door.rights.judge(who)
    assert [judge(name) for name in ("acme/tiny", "acmee/tiny")] == [Right.WRITE, Right.NONE]
    assert not door.rights.owns(who, "acme")
    assert door.ask("PUT", "/v2/acme/tiny/manifests/v1", token=secret).status == PASSED
    assert door.passed.visitor.actor.user == "acme/ci"
    assert door.ask("PUT", "/v2/ben/tiny/manifests/v1", token=secret).status == 403
    assert door.ask("GET", "/v2/ben/tiny/manifests/v1", token=secret).status == 404


def test_it_hears_who_it_is_and_has_no_account(door: Door, secret: str) -> None:
    door.serve(MemoryDepot())
    for each in (secret, door.token_of(secret, "registry:account:*")):
        said = document(door.ask("GET", "/api/account", token=each))
        assert (said["id"], said["name"], said["admin"]) == (
            door.services.one("acme/ci").id,
            "acme/ci",
            False,
        )
        assert said["credential"] == {
            "id": door.by_secret(secret).credential_id,
            "kind": "service",
            "note": "",
            "shown": secret[-4:],
            "expires": "2027-04-15T08:00:00Z",
            "scopes": ["*:pull,push,delete"],
        }
        for path in ("/api/credentials", "/api/repositories", "/api/repositories/acme/tiny"):
            assert door.ask("GET", path, token=each).status == 403


ENDS = {
    "its namespace's account is disabled": "UPDATE users SET disabled = 1 WHERE name = 'acme'",
    "its namespace is removed": "DELETE FROM namespaces WHERE name = 'acme'",
    "the service account is removed": "DELETE FROM services",
    "the key is revoked": "UPDATE credentials SET revoked = 1 WHERE kind = 'service'",
    "the role is none": "UPDATE services SET role = 'none'",
}


@pytest.mark.parametrize("how", ENDS)
def test_it_ends_on_the_next_request(door: Door, secret: str, how: str) -> None:
    link = door.download_link(door.by_secret(secret), "acme/tiny", BLOB)
    ways = (secret, door.token_of(secret, "repository:acme/tiny:pull,push"))
    for each in ways:
        assert door.ask("GET", "/v2/acme/tiny/tags/list", token=each).status == PASSED
    assert door.ask("GET", link).status == PASSED
    with writing(door.engine) as database:
        database.exec_driver_sql(ENDS[how])
    for each in ways:
        assert door.ask("GET", "/v2/acme/tiny/tags/list", token=each).status in (401, 404)
    assert door.ask("GET", link).status == 404


def test_a_namespace_that_is_made_anew_opens_to_no_service_account_of_before(door: Door, secret: str) -> None:
    token = door.token_of(secret, "repository:acme/tiny:pull")
    door.accounts.remove("acme")
    door.join("acme", key(3))
    door.service_key("acme/ci", Right.WRITE)
    for each in (secret, token):
        assert door.ask("GET", "/v2/acme/tiny/tags/list", token=each).status == 401
