"""A service account's key opens no model that is closed to an account that was shown its secret."""

from __future__ import annotations

import pytest
from guarded import Door, key

from registry.contracts import Actor
from registry.errors import DeniedError
from registry.server import audit
from registry.server.key_scopes import KeyScope
from registry.server.principal import Right

EVERYTHING = (KeyScope.parse("*:*"),)
ADA, BOB, EVE = Actor("ada"), Actor("bob"), Actor("eve")


@pytest.fixture
def door() -> Door:
    """An organisation of two owners, one of whom one model is closed to, and an administrator likewise."""
    door = Door()
    door.organisations.add("acme")
    for number, name in enumerate(("ada", "bob", "eve")):
        door.join(name, key(number), admin=name == "eve")
        door.organisations.set_role("acme", name, Right.OWNER)
    for name in ("bob", "eve"):
        door.rights.grant(name, "acme/closed", Right.NONE)
    door.rights.grant("bob", "acme/read", Right.READ)
    door.services.add("acme/ci", Right.WRITE)
    return door


def rights(door: Door, secret: str) -> dict[str, Right]:
    """What a key opens: looked up for one repository, and for many."""
    principal = door.by_secret(secret)
    judge = door.rights.judge(principal)
    names = ("acme/open", "acme/read", "acme/closed", "acme/closed/below")
    assert {name: judge(name) for name in names} == {
        name: door.rights.right(principal, name) for name in names
    }
    return {name.removeprefix("acme/"): judge(name) for name in names}


ALL = dict.fromkeys(("open", "read", "closed", "closed/below"), Right.WRITE)
BOBS = {"open": Right.WRITE, "read": Right.READ, "closed": Right.NONE, "closed/below": Right.NONE}


@pytest.mark.parametrize(("maker", "opened"), [(ADA, ALL), (BOB, BOBS), (EVE, ALL), (Actor(), ALL)])
def test_a_key_opens_what_its_maker_may_open(maker: Actor, opened: dict[str, Right], door: Door) -> None:
    made = door.api_keys.create(door.services.one("acme/ci"), EVERYTHING, actor=maker)
    assert rights(door, made.secret) == opened


def test_what_is_closed_or_opened_later_holds_at_once(door: Door) -> None:
    made = door.api_keys.create(door.services.one("acme/ci"), EVERYTHING, actor=BOB)
    door.rights.ungrant("bob", "acme/closed")
    assert rights(door, made.secret)["closed"] is Right.WRITE
    door.rights.grant("bob", "acme/open", Right.NONE)
    assert rights(door, made.secret)["open"] is Right.NONE


def test_the_role_is_its_own_and_of_two_makers_the_one_who_may_less_decides(door: Door) -> None:
    made = door.api_keys.create(door.services.one("acme/ci"), EVERYTHING, actor=BOB)
    door.organisations.set_role("acme", "bob", Right.READ)  # a grant on the namespace closes no model
    assert rights(door, made.secret) == BOBS
    door.rights.grant("ada", "acme/read", Right.NONE)
    again = door.api_keys.rotate("acme/ci", made.id, 3600, ADA)
    assert rights(door, again.secret) == {**BOBS, "read": Right.NONE}


def test_who_leaves_another_namespace_ends_nothing_here(door: Door) -> None:
    made = door.api_keys.create(door.services.one("acme/ci"), EVERYTHING, actor=BOB)
    door.organisations.add("other")
    door.organisations.set_role("other", "bob", Right.OWNER)
    door.organisations.set_role("other", "bob", Right.NONE)
    assert rights(door, made.secret) == BOBS


@pytest.mark.parametrize("removed", [False, True])
def test_who_leaves_finds_nothing_open_that_was_closed(removed: bool, door: Door) -> None:
    """A key that the grants of who leaves do not limit stays: a team's builds go on."""
    service = door.services.one("acme/ci")
    door.organisations.add("other")
    door.services.add("other/ci", Right.WRITE)
    made = {by.user: door.api_keys.create(service, EVERYTHING, actor=by) for by in (ADA, BOB, EVE)}
    known_to_both = door.api_keys.rotate("acme/ci", made["ada"].id, 3600, BOB)
    others = door.api_keys.create(door.services.one("other/ci"), EVERYTHING, actor=BOB)
    reading = door.services.add("acme/reader", Right.READ)
    door.rights.grant("bob", "acme/closed", Right.READ)
    readers = door.api_keys.create(reading, EVERYTHING, actor=BOB)
    for name in ("bob", "eve"):
        if removed:
            door.accounts.remove(name, ADA)
        else:
            door.organisations.set_role("acme", name, Right.NONE, ADA)
    for secret in (made["bob"].secret, known_to_both.secret, made["ada"].secret):
        with pytest.raises(DeniedError):
            door.by_secret(secret)
    assert rights(door, made["eve"].secret) == ALL
    assert door.by_secret(readers.secret) and door.by_secret(others.secret)
    ended = [each.subject for each in audit.entries(door.engine) if each.action == "apikey.revoke"]
    assert sorted(ended) == sorted([made["ada"].id, made["bob"].id])


@pytest.mark.parametrize("overlap", [0, 3600])
def test_a_rotated_key_is_good_for_what_both_may_open_while_both_know_a_secret(
    overlap: int, door: Door
) -> None:
    made = door.api_keys.create(door.services.one("acme/ci"), EVERYTHING, actor=BOB)
    again = door.api_keys.rotate("acme/ci", made.id, overlap, ADA)
    assert rights(door, again.secret) == (BOBS if overlap else ALL)
    last = door.api_keys.rotate("acme/ci", made.id, overlap, ADA)
    assert rights(door, last.secret) == ALL
    worse = door.api_keys.rotate("acme/ci", made.id, overlap, BOB)
    assert rights(door, worse.secret) == BOBS


def test_what_is_public_stays_so(door: Door) -> None:
    door.rights.set_public("acme/closed", True)
    made = door.api_keys.create(door.services.one("acme/ci"), EVERYTHING, actor=BOB)
    assert rights(door, made.secret)["closed"] is Right.READ
