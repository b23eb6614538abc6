"""A service account's key opens no model that is closed to an account that was shown its secret."""

from __future__ import annotations

import pytest
from guarded import Door, key

from registry.contracts import Actor
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
    door.organisations.set_role("acme", "bob", Right.NONE)  # who leaves takes the grants along, not the key
    assert rights(door, made.secret) == ALL


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
