"""The account API of organisations, service accounts and immutable tags: who may, and what is answered."""

from __future__ import annotations

import json

import pytest
from guarded import Door, document, key, text

from registry.auth.api_keys import is_api_key
from registry.server.depot_memory import MemoryDepot
from registry.server.immutable import TagPattern
from registry.server.key_scopes import parse_scopes
from registry.server.principal import Right

ADA, BOB, ROOT = key(1), key(2), key(3)
ACCOUNT = "registry:account:*"


@pytest.fixture
def door() -> Door:
    """`ada` owns the organisation acme, `bob` reads there; `root` is an administrator."""
    door = Door()
    for name, who in (("ada", ADA), ("bob", BOB), ("root", ROOT)):
        door.join(name, who, admin=name == "root")
    door.organisations.add("acme", "ada")
    door.organisations.set_role("acme", "bob", Right.READ)
    door.serve(MemoryDepot())
    return door


def call(door: Door, token: str, method: str, path: str, body: object = None) -> tuple[int, object]:
    sent = b"" if body is None else json.dumps(body).encode()
    answer = door.ask(method, path, token=token, body=sent)
    return answer.status, json.loads(text(answer)) if text(answer) else None


def test_one_sees_the_organisations_one_is_in(door: Door) -> None:
    door.organisations.add("other")
    ada, bob, root = (door.token(each, ACCOUNT) for each in (ADA, BOB, ROOT))
    created = "2027-01-15T08:00:00Z"
    mine = {"name": "acme", "role": "owner", "created": created}
    assert call(door, ada, "GET", "/api/organisations") == (200, [mine])
    assert call(door, bob, "GET", "/api/organisations") == (200, [{**mine, "role": "reader"}])
    assert call(door, root, "GET", "/api/organisations") == (
        200,
        [{**mine, "role": None}, {"name": "other", "role": None, "created": created}],
    )
    members = [{"user": "ada", "role": "owner", "disabled": False}]
    members += [{"user": "bob", "role": "reader", "disabled": False}]
    assert call(door, bob, "GET", "/api/organisations/acme") == (
        200,
        {**mine, "role": "reader", "members": members},
    )
    assert call(door, bob, "GET", "/api/organisations/other")[0] == 404
    assert call(door, bob, "GET", "/api/organisations/bob")[0] == 404  # his own namespace is none


def test_an_owner_says_who_is_in_it_and_anybody_leaves(door: Door) -> None:
    ada, bob = door.token(ADA, ACCOUNT), door.token(BOB, ACCOUNT)
    there = "/api/organisations/acme/members"
    assert call(door, bob, "PUT", f"{there}/bob", {"role": "owner"})[0] == 403
    assert call(door, bob, "DELETE", f"{there}/ada")[0] == 403
    assert call(door, ada, "PUT", f"{there}/bob", {"role": "writer"}) == (204, None)
    assert door.organisations.one("acme").members["bob"] is Right.WRITE
    for body in ({"role": "none"}, {"role": "read"}, {}, {"role": "owner", "more": 1}, {"role": 1}):
        assert call(door, ada, "PUT", f"{there}/bob", body)[0] == 400
    assert call(door, ada, "PUT", f"{there}/nobody", {"role": "reader"})[0] == 404
    assert call(door, bob, "DELETE", f"{there}/bob") == (204, None)
    assert call(door, bob, "GET", "/api/organisations/acme")[0] == 404
    status, said = call(door, ada, "DELETE", f"{there}/ada")
    assert (status, said) == (
        403,
        {"error": "acme would have no owner any more: make somebody else its owner first"},
    )
    for path in ("/api/repositories/acme/shares/ada",):
        assert call(door, ada, "DELETE", path)[0] == 403
        assert call(door, ada, "PUT", path, {"right": "read"})[0] == 403
    assert call(door, door.token(ROOT, ACCOUNT), "DELETE", f"{there}/ada") == (204, None)


def test_a_member_with_a_nearer_and_smaller_right_cannot_widen_it(door: Door) -> None:
    door.organisations.set_role("acme", "bob", Right.WRITE)
    door.rights.grant("bob", "acme/tiny", Right.READ)
    bob = door.token(BOB, ACCOUNT)
    assert call(door, bob, "DELETE", "/api/repositories/acme/tiny/shares/bob")[0] == 403
    assert door.rights.right(door.principal(BOB), "acme/tiny") is Right.READ


def test_an_owner_makes_lists_rotates_and_ends_keys_of_a_service_account(door: Door) -> None:
    ada = door.token(ADA, ACCOUNT)
    status, made = call(
        door, ada, "POST", "/api/services/acme", {"name": "ci", "role": "writer", "note": "n"}
    )
    assert (status, made) == (
        201,
        {
            "name": "acme/ci",
            "role": "writer",
            "note": "n",
            "created": "2027-01-15T08:00:00Z",
            "last_used": None,
            "keys": [],
        },
    )
    given = document(door.ask("POST", "/api/services/acme/ci/keys", token=ada, body=b'{"note":"runner"}'))
    secret, id = str(given["secret"]), str(given["id"])
    assert is_api_key(secret)
    assert (given["scopes"], given["expires"]) == (["*:pull,push,delete"], "2027-04-15T08:00:00Z")
    assert door.ask("POST", "/v2/acme/tiny/blobs/uploads/", token=secret).status == 202
    listed = json.loads(text(door.ask("GET", "/api/services/acme", token=ada)))
    assert (listed[0]["last_used"], listed[0]["keys"][0]["note"]) == ("2027-01-15T08:00:00Z", "runner")
    assert secret not in json.dumps(listed)
    mine = json.loads(text(door.ask("GET", "/api/credentials", token=ada)))
    assert [(each["kind"], each["service"]) for each in mine] == [("machine", None), ("service", "acme/ci")]
    assert len(json.loads(text(door.ask("GET", "/api/credentials", token=door.token(BOB, ACCOUNT))))) == 1
    rotated = document(door.ask("POST", f"/api/credentials/{id}/rotate", token=ada, body=b'{"overlap":0}'))
    assert [door.ask("GET", "/v2/", token=each).status for each in (secret, str(rotated["secret"]))] == [
        401,
        200,
    ]
    assert str(rotated["secret"]).startswith("fry_sa_")
    assert call(door, ada, "DELETE", f"/api/credentials/{id}") == (204, None)
    assert door.ask("GET", "/v2/", token=str(rotated["secret"])).status == 401
    assert call(door, ada, "DELETE", "/api/services/acme/ci") == (204, None)
    assert call(door, ada, "DELETE", "/api/services/acme/ci")[0] == 404


def test_nobody_but_an_owner_touches_a_service_account(door: Door) -> None:
    """Not by a share in a model of the same name either."""
    door.organisations.set_role("acme", "bob", Right.WRITE)
    door.rights.grant("bob", "acme/ci", Right.OWNER)
    secret = door.service_key("acme/ci", Right.WRITE)
    id = door.by_secret(secret).credential_id
    ada_key = door.api_keys.create(door.accounts.user("ada"), parse_scopes(["*:*"])).secret
    for token in (door.token(BOB, ACCOUNT), ada_key, secret):
        expected = 404 if token not in (ada_key, secret) else 403
        assert call(door, token, "POST", f"/api/credentials/{id}/rotate", {})[0] == expected
        assert call(door, token, "DELETE", f"/api/credentials/{id}")[0] == expected
        for method, path in (
            ("GET", "/api/services/acme"),
            ("POST", "/api/services/acme"),
            ("POST", "/api/services/acme/ci/keys"),
            ("DELETE", "/api/services/acme/ci"),
        ):
            assert call(door, token, method, path)[0] == 403
    assert door.ask("GET", "/v2/", token=secret).status == 200


def test_whoever_finds_a_service_accounts_secret_may_end_it(door: Door) -> None:
    secret = door.service_key("acme/ci", Right.WRITE)
    assert call(door, "", "POST", "/api/credentials/revoke", {"secret": secret})[0] == 202
    assert door.ask("GET", "/v2/", token=secret).status == 401


@pytest.mark.parametrize(
    "body",
    [{}, {"name": "a/b"}, {"name": "ci", "role": "owner"}, {"name": "ci", "role": "x"}, {"names": "ci"}],
)
def test_what_cannot_be_a_service_account_is_refused(door: Door, body: dict[str, str]) -> None:
    assert call(door, door.token(ADA, ACCOUNT), "POST", "/api/services/acme", body)[0] == 400
    assert door.services.listed() == []


def test_immutable_tags_are_said_listed_and_taken_back_by_the_owner(door: Door) -> None:
    ada, bob = door.token(ADA, ACCOUNT), door.token(BOB, ACCOUNT)
    assert call(door, bob, "POST", "/api/immutable/acme/tiny", {"pattern": "v*"})[0] == 403
    assert call(door, ada, "POST", "/api/immutable/acme/tiny", {"pattern": "v*"})[0] == 201
    assert call(door, ada, "POST", "/api/immutable/Acme", {"pattern": "r-?"})[0] == 201
    assert call(door, ada, "POST", "/api/immutable/acme", {"pattern": "a b"})[0] == 400
    both = [{"scope": "acme", "pattern": "r-?"}, {"scope": "acme/tiny", "pattern": "v*"}]
    assert call(door, bob, "GET", "/api/immutable/acme/tiny") == (200, both)
    assert call(door, bob, "DELETE", "/api/immutable/acme/tiny?pattern=v*")[0] == 403
    assert call(door, ada, "DELETE", "/api/immutable/acme/tiny")[0] == 400
    assert call(door, ada, "DELETE", "/api/immutable/acme/tiny?pattern=w*")[0] == 404
    assert call(door, ada, "DELETE", "/api/immutable/acme/tiny?pattern=v*") == (204, None)
    assert door.immutable.listed() == [TagPattern("acme", "r-?")]


def test_administrators_make_and_end_organisations(door: Door) -> None:
    ada, root = door.token(ADA, ACCOUNT), door.token(ROOT, ACCOUNT)
    assert call(door, ada, "POST", "/api/organisations", {"name": "lab"})[0] == 403
    assert call(door, root, "POST", "/api/organisations", {"name": "lab", "owner": "bob"}) == (
        201,
        {"name": "lab", "role": None, "created": "2027-01-15T08:00:00Z"},
    )
    assert call(door, root, "POST", "/api/organisations", {"name": "ada"})[0] == 400
    assert call(door, ada, "DELETE", "/api/organisations/acme")[0] == 403
    assert call(door, root, "DELETE", "/api/organisations/acme") == (204, None)
    assert call(door, root, "DELETE", "/api/organisations/acme")[0] == 404
