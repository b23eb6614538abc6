"""Accounts: who may do what where, as of this moment."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from guarded import NOW, Door, key
from sqlalchemy import Engine

from registry.errors import InvalidError, NotFoundError, RegistryError, StorageError
from registry.server.accounts import ANYBODY, Accounts, Grant, Principal, Right
from registry.server.database import METADATA, open_database

ALICE, BOB, EVE = key(1), key(2), key(3)


@pytest.fixture
def accounts() -> Accounts:
    door = Door()
    door.join("alice", ALICE)
    door.join("bob", BOB)
    return door.accounts


def principal(accounts: Accounts, who: object = BOB) -> Principal:
    found = accounts.principal(who.public.fingerprint)  # type: ignore[attr-defined]
    assert found is not None
    return found


def test_an_owner_may_everything_below_their_name_and_nothing_beside_it(accounts: Accounts) -> None:
    alice = principal(accounts, ALICE)
    assert [accounts.right(alice, name) for name in ("alice/tiny", "alice", "alice/a/b", "ALICE/Tiny")] == [
        Right.WRITE
    ] * 4
    assert [accounts.right(alice, name) for name in ("bob/tiny", "alice2/tiny", "x/alice", "alic")] == [
        Right.NONE
    ] * 4


def test_an_administrator_may_everything(accounts: Accounts) -> None:
    accounts.add_user("root", admin=True)
    accounts.add_key("root", EVE.public)
    assert accounts.right(principal(accounts, EVE), "alice/tiny") is Right.WRITE
    assert accounts.reader(principal(accounts, EVE))("anything/at-all")


@pytest.mark.parametrize(
    "grants, right",
    [
        ([], Right.NONE),
        ([("alice", Right.READ)], Right.READ),
        ([("alice/tiny", Right.WRITE)], Right.WRITE),
        ([("Alice/TINY", Right.WRITE)], Right.WRITE),
        ([("alice/tin", Right.WRITE)], Right.NONE),
        ([("alice/tiny2", Right.WRITE)], Right.NONE),
        ([("alice/tiny/deep", Right.WRITE)], Right.NONE),
        ([("alice", Right.WRITE), ("alice/tiny", Right.READ)], Right.READ),
        ([("alice", Right.WRITE), ("alice/tiny", Right.NONE)], Right.NONE),
        ([("alice", Right.NONE), ("alice/tiny", Right.READ)], Right.READ),
        ([("alice", Right.WRITE), ("alice", Right.NONE)], Right.NONE),
        ([("alice", Right.WRITE), ("alice", Right.READ)], Right.READ),
    ],
)
def test_the_nearest_grant_holds(accounts: Accounts, grants: list[tuple[str, Right]], right: Right) -> None:
    for scope, granted in grants:
        accounts.grant("bob", scope, granted)
    bob = principal(accounts)
    assert accounts.right(bob, "alice/tiny") is right
    assert accounts.reader(bob)("alice/tiny") is (right >= Right.READ)


def test_a_grant_is_for_one_account_only(accounts: Accounts) -> None:
    accounts.grant("bob", "acme", Right.WRITE)
    assert accounts.right(principal(accounts, ALICE), "acme/tiny") is Right.NONE
    assert accounts.right(ANYBODY, "acme/tiny") is Right.NONE


def test_private_unless_made_public_and_again_when_closed(accounts: Accounts) -> None:
    before = accounts.right(ANYBODY, "alice/tiny")
    accounts.set_public("alice/tiny", True)
    accounts.set_public("alice/tiny", True)
    during = accounts.right(ANYBODY, "Alice/Tiny"), accounts.reader(ANYBODY)("ALICE/tiny")
    beside = accounts.right(ANYBODY, "alice/tiny2")
    accounts.set_public("Alice/tiny", False)
    after = accounts.right(ANYBODY, "alice/tiny")
    assert (before, during, beside, after) == (Right.NONE, (Right.READ, True), Right.NONE, Right.NONE)


def test_a_lower_grant_takes_nothing_from_what_is_public(accounts: Accounts) -> None:
    accounts.set_public("alice/tiny", True)
    accounts.grant("bob", "alice/tiny", Right.NONE)
    assert accounts.right(principal(accounts), "alice/tiny") is Right.READ


def test_a_revoked_key_is_nobody_and_stays_so(accounts: Accounts) -> None:
    accounts.revoke(BOB.public.fingerprint)
    assert accounts.principal(BOB.public.fingerprint) is None
    with pytest.raises(InvalidError, match="was revoked"):
        accounts.add_key("bob", BOB.public)
    with pytest.raises(NotFoundError):
        accounts.revoke(BOB.public.fingerprint)
    listed = accounts.keys()
    assert [one.revoked is None for one in listed] == [True, False]


def test_a_key_belongs_to_one_account(accounts: Accounts) -> None:
    with pytest.raises(InvalidError, match="belongs to an account already"):
        accounts.add_key("bob", ALICE.public)
    assert principal(accounts, ALICE).user == accounts.user("alice")


def test_a_disabled_account_is_nobody_until_enabled(accounts: Accounts) -> None:
    accounts.disable("bob")
    assert accounts.principal(BOB.public.fingerprint) is None
    accounts.enable("bob")
    assert accounts.principal(BOB.public.fingerprint) is not None


def test_what_another_process_changes_holds_at_once(tmp_path: Path) -> None:
    server = Accounts(open_database(tmp_path), lambda: NOW, lambda: "id of alice")
    admin = Accounts(open_database(tmp_path), lambda: NOW, lambda: "id of bob")
    server.add_user("alice")
    admin.add_user("bob")
    admin.add_key("bob", BOB.public)
    bob = principal(server)
    rights = [server.right(bob, "alice/tiny")]
    for granted in (Right.READ, Right.NONE, Right.WRITE):
        admin.grant("bob", "alice", granted)
        rights.append(server.right(bob, "alice/tiny"))
    admin.revoke(BOB.public.fingerprint)
    assert rights == [Right.NONE, Right.READ, Right.NONE, Right.WRITE]
    assert server.principal(BOB.public.fingerprint) is None
    server.engine.dispose()
    admin.engine.dispose()


def test_many_administrators_at_once_lose_nothing(tmp_path: Path) -> None:
    numbers = itertools.count()
    databases = [open_database(tmp_path) for _ in range(4)]

    def work(engine: Engine) -> None:
        accounts = Accounts(engine, lambda: NOW, lambda: str(next(numbers)))
        for number in range(10):
            accounts.add_user(f"u{id(engine)}-{number}")
            accounts.set_public("acme/tiny", number % 2 == 0)

    threads = [threading.Thread(target=work, args=(engine,)) for engine in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Accounts(databases[0], lambda: NOW, str).users()) == 40
    for engine in databases:
        engine.dispose()


def test_what_was_set_can_be_listed(accounts: Accounts) -> None:
    accounts.grant("bob", "acme/b", Right.WRITE)
    accounts.grant("bob", "acme/a", Right.READ)
    assert accounts.grants("bob") == [
        Grant("bob", "acme/a", Right.READ),
        Grant("bob", "acme/b", Right.WRITE),
    ]
    assert accounts.grants("alice") == []
    assert [user.name for user in accounts.users()] == ["alice", "bob"]
    assert [(one.user, one.fingerprint) for one in accounts.keys("bob")] == [("bob", BOB.public.fingerprint)]
    assert accounts.any()
    assert not Door().accounts.any()


@pytest.mark.parametrize("name", ["", "A", "a b", "a/b", "a.b", "ä", "a" * 81, "a\n", "../x"])
def test_an_account_name_that_is_none_is_refused(accounts: Accounts, name: str) -> None:
    with pytest.raises(InvalidError, match="cannot be an account's name"):
        accounts.add_user(name)


@pytest.mark.parametrize("scope", ["", "/", "a/", "/a", "a//b", "..", "a/../b", "-a", "a b", "é", "x" * 256])
def test_a_scope_that_is_none_is_refused(accounts: Accounts, scope: str) -> None:
    with pytest.raises(InvalidError, match="is not NAMESPACE"):
        accounts.grant("bob", scope, Right.READ)


def test_mistakes_of_an_administrator_are_told(accounts: Accounts) -> None:
    mistakes: dict[str, Callable[[], object]] = {
        "there is an account bob": lambda: accounts.add_user("bob"),
        "no account 'eve'": lambda: accounts.add_key("eve", EVE.public),
        "no account 'carol'": lambda: accounts.disable("carol"),
        "no account 'dave'": lambda: accounts.grant("dave", "acme", Right.READ),
        "no account 'erin'": lambda: accounts.keys("erin"),
        "alice's own": lambda: accounts.grant("alice", "Alice/tiny", Right.NONE),
        "is a namespace": lambda: accounts.set_public("alice", True),
        "is not a right": lambda: Right.parse("own"),
    }
    for sentence, mistake in mistakes.items():
        with pytest.raises(RegistryError, match=sentence):
            mistake()


def test_an_endless_name_costs_no_question(accounts: Accounts) -> None:
    assert accounts.right(principal(accounts, ALICE), "alice/" + "a/" * 2000) is Right.NONE


def test_a_broken_database_is_a_storage_error(accounts: Accounts) -> None:
    METADATA.drop_all(accounts.engine)
    with pytest.raises(StorageError, match="database failed"):
        accounts.users()
    with pytest.raises(StorageError, match="database failed"):
        accounts.add_user("carol")
