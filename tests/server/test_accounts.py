"""Accounts: who may do what where, as of this moment."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from guarded import NOW, Door, key
from sqlalchemy import Engine

from registry.auth.keys import PrivateKey
from registry.contracts import Actor
from registry.errors import DeniedError, InvalidError, NotFoundError, RegistryError, StorageError
from registry.server.accounts import Accounts
from registry.server.audit import entries
from registry.server.credentials import CredentialStore
from registry.server.database import create_database
from registry.server.depot import DiskDepot
from registry.server.principal import ANYBODY, Principal, Right
from registry.server.rights import Grant, Rights
from registry.server.tables import METADATA

ALICE, BOB, EVE = key(1), key(2), key(3)
_numbers = itertools.count(100)


def fresh() -> str:
    return str(uuid.UUID(int=next(_numbers)))


def speaks(door: Door, who: PrivateKey = BOB) -> bool:
    """Whether the key speaks for anybody."""
    try:
        return principal(door, who).user is not None
    except DeniedError:
        return False


@pytest.fixture
def door() -> Door:
    door = Door()
    door.join("alice", ALICE)
    door.join("bob", BOB)
    return door


def principal(door: Door, who: PrivateKey = BOB) -> Principal:
    return door.credentials.speaker(who.public)


def test_an_owner_may_everything_below_their_name_and_nothing_beside_it(door: Door) -> None:
    alice = principal(door, ALICE)
    assert [
        door.rights.right(alice, name) for name in ("alice/tiny", "alice", "alice/a/b", "ALICE/Tiny")
    ] == [Right.WRITE] * 4
    assert [door.rights.right(alice, name) for name in ("bob/tiny", "alice2/tiny", "x/alice", "alic")] == [
        Right.NONE
    ] * 4


def test_an_administrator_may_everything(door: Door) -> None:
    door.accounts.add_user("root", admin=True)
    door.credentials.add_key("root", EVE.public)
    assert door.rights.right(principal(door, EVE), "alice/tiny") is Right.WRITE
    assert door.rights.reader(principal(door, EVE))("anything/at-all")


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
def test_the_nearest_grant_holds(door: Door, grants: list[tuple[str, Right]], right: Right) -> None:
    for scope, granted in grants:
        door.rights.grant("bob", scope, granted)
    bob = principal(door)
    assert door.rights.right(bob, "alice/tiny") is right
    assert door.rights.reader(bob)("alice/tiny") is (right >= Right.READ)


def test_a_grant_is_for_one_account_only(door: Door) -> None:
    door.rights.grant("bob", "acme", Right.WRITE)
    assert door.rights.right(principal(door, ALICE), "acme/tiny") is Right.NONE
    assert door.rights.right(ANYBODY, "acme/tiny") is Right.NONE


def test_private_unless_made_public_and_again_when_closed(door: Door) -> None:
    before = door.rights.right(ANYBODY, "alice/tiny")
    door.rights.set_public("alice/tiny", True)
    door.rights.set_public("alice/tiny", True)
    during = door.rights.right(ANYBODY, "Alice/Tiny"), door.rights.reader(ANYBODY)("ALICE/tiny")
    beside = door.rights.right(ANYBODY, "alice/tiny2")
    door.rights.set_public("Alice/tiny", False)
    after = door.rights.right(ANYBODY, "alice/tiny")
    assert (before, during, beside, after) == (Right.NONE, (Right.READ, True), Right.NONE, Right.NONE)


def test_a_lower_grant_takes_nothing_from_what_is_public(door: Door) -> None:
    door.rights.set_public("alice/tiny", True)
    door.rights.grant("bob", "alice/tiny", Right.NONE)
    assert door.rights.right(principal(door), "alice/tiny") is Right.READ


def test_a_revoked_key_is_nobody_and_stays_so(door: Door) -> None:
    door.credentials.revoke_key(BOB.public.fingerprint)
    assert not speaks(door)
    with pytest.raises(InvalidError, match="was revoked"):
        door.credentials.add_key("bob", BOB.public)
    door.now += 5
    assert not door.credentials.revoke_key(BOB.public.fingerprint)  # it was already, and stays so since then
    assert door.credentials.list_keys()[1].revoked == door.now - 5
    with pytest.raises(NotFoundError):
        door.credentials.revoke_key("SHA256:none")
    listed = door.credentials.list_keys()
    assert [one.revoked is None for one in listed] == [True, False]


def test_a_key_belongs_to_one_account(door: Door) -> None:
    with pytest.raises(InvalidError, match="belongs to an account already"):
        door.credentials.add_key("bob", ALICE.public)
    assert principal(door, ALICE).user == door.accounts.user("alice")


def test_a_disabled_account_is_nobody_until_enabled(door: Door) -> None:
    door.accounts.disable("bob")
    assert not speaks(door)
    door.accounts.enable("bob")
    assert speaks(door)


def test_what_another_process_changes_holds_at_once(tmp_path: Path) -> None:
    engines = [create_database(tmp_path) for _ in range(2)]
    serving = Rights(engines[0], lambda: NOW)
    accounts, keys = Accounts(engines[1], lambda: NOW, fresh), CredentialStore(engines[1], lambda: NOW, fresh)
    rights = Rights(engines[1], lambda: NOW)
    accounts.add_user("alice")
    accounts.add_user("bob", key=BOB.public)
    credential = keys.speaker(BOB.public).credential_id

    def standing() -> Right | None:
        found = serving.standing(credential, "alice/tiny")
        return found[1] if found else None

    seen = [standing()]
    for granted in (Right.READ, Right.NONE, Right.WRITE):
        rights.grant("bob", "alice", granted)
        seen.append(standing())
    keys.revoke_key(BOB.public.fingerprint)
    assert seen == [Right.NONE, Right.READ, Right.NONE, Right.WRITE]
    assert standing() is None
    for engine in engines:
        engine.dispose()


def test_many_administrators_at_once_lose_nothing(tmp_path: Path) -> None:
    databases = [create_database(tmp_path) for _ in range(4)]

    def work(engine: Engine) -> None:
        accounts, rights = Accounts(engine, lambda: NOW, fresh), Rights(engine, lambda: NOW)
        for number in range(10):
            accounts.add_user(f"u{id(engine)}-{number}")
            rights.set_public("acme/tiny", number % 2 == 0)

    threads = [threading.Thread(target=work, args=(engine,)) for engine in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Accounts(databases[0], lambda: NOW, str).users()) == 40
    for engine in databases:
        engine.dispose()


# --- accounts and their namespaces ------------------------------------------------------------------------


def test_an_account_and_its_first_key_are_made_together_or_not_at_all(door: Door) -> None:
    with pytest.raises(InvalidError, match="belongs to an account already"):
        door.accounts.add_user("carol", key=ALICE.public)
    assert [user.name for user in door.accounts.users()] == ["alice", "bob"]
    door.accounts.add_user("carol", key=EVE.public)
    assert principal(door, EVE).name == "carol"


def test_accounts_and_namespaces_share_their_names(door: Door) -> None:
    door.rights.grant("bob", "acme", Right.READ)
    with pytest.raises(InvalidError, match="is a namespace already"):
        door.accounts.add_user("acme")
    assert [user.name for user in door.accounts.users()] == ["alice", "bob"]


def test_what_was_given_in_a_namespace_ends_with_it(door: Door) -> None:
    door.rights.grant("bob", "alice", Right.WRITE)
    door.rights.set_public("alice/tiny", True)
    assert not door.accounts.remove("alice")
    door.accounts.add_user("alice")
    assert door.rights.right(principal(door), "alice/tiny") is Right.NONE
    assert door.rights.right(ANYBODY, "alice/tiny") is Right.NONE
    assert door.rights.grants() == []


def test_a_removed_account_is_nobody_and_so_is_what_was_issued_to_it(door: Door) -> None:
    before = principal(door)
    door.rights.grant("bob", "alice", Right.READ)
    door.accounts.remove("bob")
    assert not speaks(door)
    assert door.rights.standing(before.credential_id, "alice/tiny") is None
    door.accounts.add_user("bob", key=BOB.public)  # the same key, and another credential
    assert door.rights.standing(before.credential_id, "bob/tiny") is None
    assert principal(door).credential_id != before.credential_id
    with pytest.raises(NotFoundError):
        door.accounts.remove("carol")


def test_a_key_that_was_revoked_stays_so_when_its_account_is_gone(door: Door) -> None:
    door.credentials.revoke_key(BOB.public.fingerprint)
    door.accounts.remove("bob")
    with pytest.raises(InvalidError, match="was revoked"):
        door.credentials.add_key("alice", BOB.public)
    with pytest.raises(DeniedError, match="was revoked"):
        principal(door)


def begin_upload(door: Door, directory: Path, repository: str) -> None:
    """The repository is there from the first byte on."""
    upload = DiskDepot(directory, door.engine, lambda: NOW, fresh).begin(repository)
    upload.write(b"x")
    upload.close()


def test_the_models_of_a_removed_account_stay_and_belong_to_nobody(door: Door, tmp_path: Path) -> None:
    begin_upload(door, tmp_path, "bob/tiny")
    bob = principal(door)
    assert door.accounts.remove("bob")
    assert door.rights.standing(bob.credential_id, "bob/tiny") is None
    with pytest.raises(InvalidError, match="is a namespace already"):
        door.accounts.add_user("bob")
    door.rights.grant("alice", "bob", Right.READ)
    assert door.rights.right(principal(door, ALICE), "bob/tiny") is Right.READ


def test_a_right_says_whether_there_is_anything_to_have_it_in(door: Door, tmp_path: Path) -> None:
    assert door.rights.grant("bob", "alice", Right.READ)
    assert not door.rights.grant("bob", "alice/tiny", Right.READ)
    assert not door.rights.grant("bob", "acme", Right.READ)
    assert not door.rights.set_public("alice/tiny", True)
    begin_upload(door, tmp_path, "alice/tiny")
    assert door.rights.grant("bob", "alice/tiny", Right.READ)
    assert door.rights.set_public("alice/tiny", True)
    assert door.rights.public() == ["alice/tiny"]


def test_what_is_changed_is_written_down_with_who_did_it(door: Door) -> None:
    ada = Actor("ada", "her key", "192.0.2.7")
    door.now += 1
    door.accounts.add_user("carol", key=EVE.public, actor=ada)
    door.rights.grant("carol", "alice", Right.READ, ada)
    door.rights.set_public("alice/tiny", True, ada)
    door.credentials.revoke_key(EVE.public.fingerprint, ada)
    door.accounts.disable("carol", ada)
    with pytest.raises(InvalidError):
        door.accounts.add_user("carol", actor=ada)
    found = entries(door.engine, after=NOW)
    assert {(each.user, each.credential, each.address, each.time) for each in found} == {
        ("ada", "her key", "192.0.2.7", NOW + 1)
    }
    assert [(each.action, each.subject, each.repository) for each in found] == [
        ("user.add", "carol", ""),
        ("key.add", f"carol {EVE.public}", ""),
        ("grant", "carol read alice", ""),
        ("visibility", "public", "alice/tiny"),
        ("key.revoke", EVE.public.fingerprint, ""),
        ("user.disable", "carol", ""),
    ]
    assert [each.action for each in entries(door.engine, repository="ALICE/tiny")] == ["visibility"]


def test_what_was_set_can_be_listed(door: Door) -> None:
    door.rights.grant("bob", "acme/b", Right.WRITE)
    door.rights.grant("bob", "acme/a", Right.READ)
    assert door.rights.grants("bob") == [
        Grant("bob", "acme/a", Right.READ),
        Grant("bob", "acme/b", Right.WRITE),
    ]
    assert door.rights.grants("alice") == []
    assert [user.name for user in door.accounts.users()] == ["alice", "bob"]
    assert [(one.user, one.fingerprint) for one in door.credentials.list_keys("bob")] == [
        ("bob", BOB.public.fingerprint)
    ]
    assert door.accounts.any()
    assert not Door().accounts.any()


@pytest.mark.parametrize("name", ["", "A", "a b", "a/b", "a.b", "ä", "a" * 81, "a\n", "../x"])
def test_an_account_name_that_is_none_is_refused(door: Door, name: str) -> None:
    with pytest.raises(InvalidError, match="cannot be an account's name"):
        door.accounts.add_user(name)


@pytest.mark.parametrize("scope", ["", "/", "a/", "/a", "a//b", "..", "a/../b", "-a", "a b", "é", "x" * 256])
def test_a_scope_that_is_none_is_refused(door: Door, scope: str) -> None:
    with pytest.raises(InvalidError, match="is not NAMESPACE"):
        door.rights.grant("bob", scope, Right.READ)


def test_mistakes_of_an_administrator_are_told(door: Door) -> None:
    mistakes: dict[str, Callable[[], object]] = {
        "there is an account bob": lambda: door.accounts.add_user("bob"),
        "no account 'eve'": lambda: door.credentials.add_key("eve", EVE.public),
        "no account 'carol'": lambda: door.accounts.disable("carol"),
        "no account 'dave'": lambda: door.rights.grant("dave", "acme", Right.READ),
        "no account 'erin'": lambda: door.credentials.list_keys("erin"),
        "alice's own": lambda: door.rights.grant("alice", "Alice/tiny", Right.NONE),
        "is a namespace": lambda: door.rights.set_public("alice", True),
        "is not a right": lambda: Right.parse("own"),
    }
    for sentence, mistake in mistakes.items():
        with pytest.raises(RegistryError, match=sentence):
            mistake()


def test_an_endless_name_costs_no_question(door: Door) -> None:
    assert door.rights.right(principal(door, ALICE), "alice/" + "a/" * 2000) is Right.NONE


def test_a_broken_database_is_a_storage_error(door: Door) -> None:
    METADATA.drop_all(door.accounts.engine)
    with pytest.raises(StorageError, match="database failed"):
        door.accounts.users()
    with pytest.raises(StorageError, match="database failed"):
        door.accounts.add_user("carol")
