"""Organisations: one space of names with accounts, roles, and what ends with what."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from guarded import PASSED, Door, key
from identity_provider import Provider
from races import refused_at_once
from test_depot_contract import published

from registry.auth import api_keys
from registry.errors import DeniedError, InvalidError, NotFoundError
from registry.model.digests import Digest
from registry.server.accounts import Accounts
from registry.server.audit import entries
from registry.server.database import create_database
from registry.server.depot import DiskDepot
from registry.server.organisations import Organisations
from registry.server.principal import Principal, Right

ADA, BOB = key(1), key(2)
BLOB = Digest.of(b"x")
SCOPE = "repository:acme/tiny:pull,push"


@pytest.fixture
def door() -> Door:
    """`ada` owns the organisation acme, in which `bob` is nothing yet."""
    door = Door()
    door.join("ada", ADA)
    door.join("bob", BOB)
    door.organisations.add("acme", "ada")
    return door


def right(door: Door, name: str, where: str) -> Right:
    return door.rights.right(Principal(door.accounts.user(name)), where)


# --- one space of names ----------------------------------------------------------------------------------


def test_an_account_and_an_organisation_never_have_one_name(door: Door) -> None:
    with pytest.raises(InvalidError, match="there is an organisation acme"):
        door.accounts.add_user("acme")
    with pytest.raises(InvalidError, match="there is an organisation acme already"):
        door.organisations.add("acme")
    with pytest.raises(InvalidError, match="ada is an account's name"):
        door.organisations.add("ada")
    for name in ("", "Acme", "a/b", "a.b", "x" * 81):
        with pytest.raises(InvalidError, match="cannot be an organisation's name"):
            door.organisations.add(name)
    with pytest.raises(NotFoundError, match="no account 'nobody'"):
        door.organisations.add("new", "nobody")
    assert [each.name for each in door.organisations.all()] == ["acme"]


def test_of_two_that_take_a_name_at_once_exactly_one_has_it(tmp_path: Path) -> None:
    numbers = iter(range(10_000))
    engines = [create_database(tmp_path) for _ in range(2)]
    organisations = Organisations(engines[0], lambda: 0.0)
    accounts = Accounts(engines[1], lambda: 0.0, lambda: f"id-{next(numbers)}")
    for number in range(15):
        name = f"n{number}"
        adding: list[Callable[[str], object]] = [organisations.add, accounts.add_user]
        refused = refused_at_once([partial(add, name) for add in adding], InvalidError)
        had = [what for what, error in zip(("org", "user"), refused, strict=True) if error is None]
        assert len(had) == 1
        users = [each.name for each in accounts.users()]
        assert (name in users) is (had == ["user"])
        assert (name in [each.name for each in organisations.all()]) is (had == ["org"])
    for engine in engines:
        engine.dispose()


def test_a_namespace_of_nobodys_becomes_the_organisations(door: Door, tmp_path: Path) -> None:
    depot = DiskDepot(tmp_path, door.engine, lambda: door.now, iter("abc").__next__)
    published(depot, repository="team/tiny")
    assert door.organisations.add("team", "ada")
    assert right(door, "ada", "team/tiny") is Right.OWNER
    assert not door.organisations.add("other")


# --- roles -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Right.READ, Right.WRITE, Right.OWNER])
def test_a_role_holds_in_the_whole_namespace_and_the_nearest_grant_before_it(door: Door, role: Right) -> None:
    door.organisations.set_role("acme", "bob", role)
    assert right(door, "bob", "acme/tiny") is role
    assert right(door, "bob", "acme/deep/er") is role
    assert right(door, "bob", "ada/tiny") is Right.NONE
    assert door.organisations.one("acme").members == {"ada": Right.OWNER, "bob": role}
    bob = door.principal(BOB)
    assert door.rights.owns(bob, "acme") is door.rights.owns(bob, "acme/tiny") is (role is Right.OWNER)
    for nearer in (Right.NONE, Right.READ, Right.WRITE, Right.OWNER):
        door.rights.grant("bob", "acme/tiny", nearer)
        assert right(door, "bob", "acme/tiny") is nearer
        assert door.rights.judge(Principal(door.accounts.user("bob")))("acme/tiny") is nearer
        assert door.rights.owns(bob, "acme/tiny") is (nearer is Right.OWNER)
        assert right(door, "bob", "acme/other") is role


def test_an_owners_credential_gives_no_more_than_to_write(door: Door) -> None:
    assert door.rights.right(door.principal(ADA), "acme/tiny") is Right.WRITE
    assert door.ask("PUT", "/v2/acme/tiny/manifests/v1", token=door.token(ADA, SCOPE)).status == PASSED


def leave(door: Door) -> None:
    door.organisations.set_role("acme", "bob", Right.NONE)


ENDS: dict[str, Callable[[Door], object]] = {
    "he leaves": leave,
    "he is disabled": lambda door: door.accounts.disable("bob"),
    "he is removed": lambda door: door.accounts.remove("bob"),
    "the organisation is removed": lambda door: door.organisations.remove("acme"),
    "and made anew": lambda door: (door.organisations.remove("acme"), door.organisations.add("acme", "ada")),
}


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("models", [False, True])
def test_a_role_ends_on_the_next_request(door: Door, tmp_path: Path, how: str, models: bool) -> None:
    if models:
        published(DiskDepot(tmp_path, door.engine, lambda: door.now, iter("abc").__next__))
    door.organisations.set_role("acme", "bob", Right.WRITE)
    door.rights.grant("bob", "acme/tiny", Right.WRITE)
    token, link = door.token(BOB, SCOPE), door.download_link(door.principal(BOB), "acme/tiny", BLOB)
    assert door.ask("PUT", "/v2/acme/tiny/manifests/v1", token=token).status == PASSED
    assert door.ask("GET", link).status == PASSED
    ENDS[how](door)
    assert door.ask("GET", "/v2/acme/tiny/manifests/v1", token=token).status in (401, 404)
    assert door.ask("PUT", "/v2/acme/tiny/manifests/v1", token=token).status in (401, 403)
    assert door.ask("GET", link).status == 404


@pytest.mark.parametrize("models", [False, True])
def test_what_was_made_for_an_organisation_before_opens_nothing_of_the_new_one(
    door: Door, tmp_path: Path, models: bool
) -> None:
    if models:
        published(DiskDepot(tmp_path, door.engine, lambda: door.now, iter("abc").__next__))
    secret = door.service_key("acme/ci", Right.WRITE)
    token = door.token_of(secret, SCOPE)
    for each in (secret, token):
        assert door.ask("PUT", "/v2/acme/tiny/manifests/v1", token=each).status == PASSED
    assert door.organisations.remove("acme") is models
    for each in (secret, token):
        assert door.ask("GET", "/v2/acme/tiny/manifests/v1", token=each).status == 401
    door.organisations.add("acme", "bob")
    another = door.service_key("acme/ci", Right.WRITE)
    for each in (secret, token):
        assert door.ask("GET", "/v2/acme/tiny/manifests/v1", token=each).status == 401
    assert door.ask("GET", "/v2/acme/tiny/manifests/v1", token=another).status == PASSED
    assert door.organisations.one("acme").members == {"bob": Right.OWNER}
    assert right(door, "ada", "acme/tiny") is Right.NONE


def test_a_removed_organisations_publishers_end_though_its_models_stay(door: Door, tmp_path: Path) -> None:
    published(DiskDepot(tmp_path, door.engine, lambda: door.now, iter("abc").__next__))
    door.trust(Provider("https://ci.example"), "acme/tiny", repository_id="74")
    assert door.organisations.remove("acme")
    assert door.publishers.listed() == []


def test_a_removed_persons_service_accounts_end_though_the_models_stay(door: Door, tmp_path: Path) -> None:
    published(DiskDepot(tmp_path, door.engine, lambda: door.now, iter("abc").__next__), repository="bob/tiny")
    secret = door.service_key("bob/ci", Right.WRITE)
    assert door.ask("GET", "/v2/bob/tiny/manifests/v1", token=secret).status == PASSED
    door.accounts.disable("bob")
    assert door.ask("GET", "/v2/bob/tiny/manifests/v1", token=secret).status == 401
    door.accounts.enable("bob")
    assert door.ask("GET", "/v2/bob/tiny/manifests/v1", token=secret).status == PASSED
    assert door.accounts.remove("bob")
    assert door.ask("GET", "/v2/bob/tiny/manifests/v1", token=secret).status == 401
    assert door.services.listed() == []


# --- the last owner --------------------------------------------------------------------------------------

TAKES: dict[str, Callable[[Door], object]] = {
    "by role": lambda door: door.organisations.set_role("acme", "ada", Right.READ, ownerless=False),
    "by leaving": lambda door: door.organisations.set_role("acme", "ada", Right.NONE, ownerless=False),
    "by a share": lambda door: door.rights.grant("ada", "acme", Right.WRITE, ownerless=False),
    "by taking it back": lambda door: door.rights.ungrant("ada", "acme", ownerless=False),
}


@pytest.mark.parametrize("how", TAKES)
def test_the_last_owner_stays_but_for_an_administrator(door: Door, how: str) -> None:
    with pytest.raises(DeniedError, match="acme would have no owner any more"):
        TAKES[how](door)
    assert right(door, "ada", "acme") is Right.OWNER
    door.organisations.set_role("acme", "bob", Right.OWNER)
    door.accounts.disable("bob")
    with pytest.raises(DeniedError, match="no owner"):  # one who cannot sign in is none
        TAKES[how](door)
    door.accounts.enable("bob")
    TAKES[how](door)
    assert right(door, "ada", "acme") < Right.OWNER
    door.organisations.set_role("acme", "bob", Right.NONE)
    assert Right.OWNER not in door.organisations.one("acme").members.values()


def test_of_two_owners_who_take_each_others_role_one_stays(tmp_path: Path) -> None:
    numbers = iter(range(1000))
    engines = [create_database(tmp_path) for _ in range(2)]
    accounts = Accounts(engines[0], lambda: 0.0, lambda: f"id-{next(numbers)}")
    for name in ("ada", "bob"):
        accounts.add_user(name)
    sides = [Organisations(engine, lambda: 0.0) for engine in engines]
    sides[0].add("acme")
    for _ in range(10):
        for name in ("ada", "bob"):
            sides[0].set_role("acme", name, Right.OWNER)
        takes = [
            partial(side.set_role, "acme", name, Right.NONE, ownerless=False)
            for side, name in zip(sides, ("ada", "bob"), strict=True)
        ]
        errors = refused_at_once(takes, DeniedError)
        refused = [name for name, error in zip(("ada", "bob"), errors, strict=True) if error is not None]
        assert [*sides[0].one("acme").members] == refused
    for engine in engines:
        engine.dispose()


def test_what_was_done_is_in_the_audit_table(door: Door) -> None:
    door.organisations.set_role("acme", "bob", Right.READ)
    door.rights.grant("bob", "acme/tiny", Right.WRITE)
    leave(door)
    with pytest.raises(NotFoundError, match="bob has no role there"):
        leave(door)
    door.organisations.remove("acme")
    for gone in (lambda: door.organisations.remove("acme"), lambda: door.organisations.one("acme")):
        with pytest.raises(NotFoundError, match="no organisation 'acme'"):
            gone()
    said = [(each.action, each.subject) for each in entries(door.engine)]
    assert [each for each in said if not each[0].startswith(("user", "key"))] == [
        ("org.add", "acme"),
        ("grant", "ada owner acme"),
        ("grant", "bob read acme"),
        ("grant", "bob write acme/tiny"),
        ("grant", "bob none acme"),
        ("grant", "bob none acme/tiny"),
        ("org.remove", "acme"),
    ]


# --- service accounts ------------------------------------------------------------------------------------


def test_a_service_accounts_key_is_known_by_its_beginning_and_its_check_sum(door: Door) -> None:
    secret = door.service_key("acme/ci", Right.READ)
    assert secret.startswith("fry_sa_")
    assert api_keys.is_api_key(secret)
    assert not api_keys.is_api_key(secret[:-1] + ("0" if secret[-1] != "0" else "1"))
    assert door.ask("GET", "/v2/acme/tiny/manifests/v1", token=secret).status == PASSED
    assert door.ask("PUT", "/v2/acme/tiny/manifests/v1", token=secret).status == 403


def test_a_service_account_is_listed_with_its_keys_and_their_last_use(door: Door) -> None:
    secret = door.service_key("acme/ci", Right.READ)
    door.service_key("acme/ci", Right.READ)
    door.by_secret(secret)
    door.last_use.write()
    (found,) = door.services.listed("acme")
    assert (found.name, found.right, found.keys, found.last_used) == ("acme/ci", Right.READ, 2, door.now)
    (listed, other) = door.credentials.of_services(["acme"])
    assert (listed.user, listed.kind, listed.last_used, other.last_used) == (
        "acme/ci",
        "service",
        door.now,
        None,
    )
    assert door.services.listed("ada") == []


@pytest.mark.parametrize(
    ("name", "role", "why"),
    [
        ("acme", Right.READ, "not a service account's name"),
        ("acme/", Right.READ, "not a service account's name"),
        ("acme/a/b", Right.READ, "not a service account's name"),
        (f"acme/{'x' * 41}", Right.READ, "not a service account's name"),
        ("acme/ci", Right.OWNER, "a reader or a writer"),
        ("acme/ci", Right.NONE, "a reader or a writer"),
        ("acme/there", Right.READ, "there is a service account acme/there already"),
    ],
)
def test_what_cannot_be_a_service_account_is_refused(door: Door, name: str, role: Right, why: str) -> None:
    door.services.add("acme/there", Right.READ)
    with pytest.raises(InvalidError, match=why):
        door.services.add(name, role)


def test_a_service_account_that_is_revoked_is_gone_with_its_keys(door: Door) -> None:
    secret = door.service_key("acme/ci", Right.WRITE)
    found = door.services.one("acme/ci")
    door.services.revoke("acme/ci")
    assert door.ask("GET", "/v2/acme/tiny/manifests/v1", token=secret).status == 401
    with pytest.raises(NotFoundError, match="no service account 'acme/ci'"):
        door.services.revoke("acme/ci")
    with pytest.raises(NotFoundError, match="acme/ci any more"):
        door.api_keys.create(found, ())
    door.service_key("acme/ci", Right.WRITE)
    assert door.ask("GET", "/v2/acme/tiny/manifests/v1", token=secret).status == 401
