"""What was withdrawn outlives the database: it is kept in a file, told by a restore, and withdrawn again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from databases import begin_session
from guarded import NOW, key
from sqlalchemy import select
from test_backup import begun, restore

from registry.contracts import Actor
from registry.disk.data import lock_file
from registry.errors import DeniedError, InvalidError, StorageError
from registry.server import revocations
from registry.server.api_keys import ApiKeys, Made
from registry.server.audit import record
from registry.server.backup import backup
from registry.server.database import reading, writing
from registry.server.immutable import TagPattern
from registry.server.key_scopes import KeyScope
from registry.server.passwords import put_password
from registry.server.principal import Principal, Right
from registry.server.registry import Registry, new_id
from registry.server.revocations import FILE, Change, keep, read
from registry.server.sessions import Sessions
from registry.server.tables import PASSWORDS
from registry.server.upkeep import Upkeep


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """With ada, who has two keys, grace, who may write in ada/tiny, a public model, and a backup of that."""
    made = begun(tmp_path / "data")
    made.credentials.add_key("ada", key(2).public)
    made.accounts.add_user("grace", key=key(3).public)
    made.accounts.add_user("mary")
    made.rights.grant("grace", "ada", Right.WRITE)
    made.rights.grant("mary", "ada", Right.WRITE)
    made.rights.set_public("ada/tiny", True)
    backup(made.depot.engine, tmp_path / "backup.db")
    yield made
    made.close()


def withdraw(registry: Registry) -> None:
    registry.credentials.revoke_key(key(1).public.fingerprint)
    registry.rights.grant("grace", "ada", Right.NONE)
    registry.rights.grant("grace", "ada", Right.READ)
    registry.rights.set_public("ada/tiny", False)
    registry.accounts.disable("grace")
    registry.rights.grant("mary", "ada", Right.NONE)  # taken away,
    registry.rights.grant("mary", "ada", Right.WRITE)  # and given again
    registry.accounts.disable("ada")
    registry.accounts.enable("ada")


WITHDRAWN = [
    ("key.revoke", key(1).public.fingerprint),
    ("grant", "grace read ada"),
    ("visibility", "private"),
    ("user.disable", "grace"),
]


def test_what_else_people_sign_in_with_is_withdrawn_again(registry: Registry, tmp_path: Path) -> None:
    engine, clock = registry.depot.engine, registry.depot.clock
    (ada,) = (each for each in registry.accounts.users() if each.name == "ada")
    keys = ApiKeys(engine, clock, new_id)
    revoked, rotated, kept = (keys.create(ada, [KeyScope.parse("*:pull")]) for _ in range(3))
    registry.credentials.add_key("ada", key(4).public)
    with writing(engine) as database:
        put_password(database, ada.id, "argon2 of the old one", 1.0)
    sessions = Sessions(engine, clock, new_id, new_id)
    cookie = begin_session(sessions, ada, "127.0.0.1")
    backup(engine, tmp_path / "later.db")
    registry.credentials.revoke_api_key(revoked.id)
    keys.rotate("ada", rotated.id, 0)
    registry.credentials.disconnect_key(key(4).public.fingerprint)
    with writing(engine) as database:
        put_password(database, ada.id, "argon2 of the new one", 2.0)
        record(database, clock(), Actor("ada"), "password.set", "ada")
    keep(tmp_path / "data", engine, NOW)
    registry.close()
    lose_the_database(tmp_path / "data")

    done = restore(tmp_path / "later.db", tmp_path / "data", withdrawn=tmp_path / "data" / FILE)

    assert [(each.action, each.subject) for each in done.withdrawn] == [
        ("apikey.revoke", revoked.id),
        ("apikey.rotate", rotated.id),
        ("key.disconnect", key(4).public.fingerprint),
        ("password.set", "ada"),
    ]
    again = Registry.open(tmp_path / "data")
    standing = [again.rights.standing_by_secret(each.secret, "") for each in (kept, revoked, rotated)]
    assert [found[0].name if found else None for found in standing] == ["ada", None, None]
    with pytest.raises(DeniedError):
        again.credentials.speaker(key(4).public)
    with reading(again.depot.engine) as database:
        assert database.execute(select(PASSWORDS)).all() == []
    assert Sessions(again.depot.engine, again.depot.clock, new_id, new_id).find(cookie) is None
    again.close()


def test_what_was_withdrawn_in_a_team_is_withdrawn_again(registry: Registry, tmp_path: Path) -> None:
    def key_of(name: str) -> Made:
        return registry.api_keys.create(registry.services.one(name), [KeyScope.parse("*:*")])

    for name in ("acme", "kept"):
        registry.organisations.add(name, "grace")
    registry.organisations.set_role("kept", "mary", Right.OWNER)
    for name in ("kept/ci", "kept/old", "acme/ci"):
        registry.services.add(name, Right.WRITE)
    revoked, alive, ended, other = (key_of(name) for name in ("kept/ci", "kept/ci", "kept/old", "acme/ci"))
    registry.immutable.add("kept", "old*")
    backup(registry.depot.engine, tmp_path / "later.db")
    registry.organisations.remove("acme")
    registry.organisations.add("acme", "mary")  # anew: what was before it is over all the same
    registry.organisations.set_role("kept", "grace", Right.NONE)
    registry.services.revoke("kept/old")
    registry.credentials.revoke_api_key(revoked.id)
    registry.immutable.add("kept/tiny", "v*")
    registry.immutable.remove("kept", "old*")
    keep(tmp_path / "data", registry.depot.engine, NOW)
    registry.close()
    lose_the_database(tmp_path / "data")

    done = restore(tmp_path / "later.db", tmp_path / "data", withdrawn=tmp_path / "data" / FILE)

    assert {(each.action, each.subject) for each in done.withdrawn} == {
        ("org.remove", "acme"),
        ("grant", "grace none kept"),
        ("service.revoke", "kept/old"),
        ("apikey.revoke", revoked.id),
        ("immutable.add", "v*"),
    }
    again = Registry.open(tmp_path / "data")
    found = [
        again.rights.standing_by_secret(each.secret, "kept/x") for each in (alive, revoked, ended, other)
    ]
    assert [each[0].name if each else None for each in found] == ["kept/ci", None, None, None]
    assert [(each.name, dict(each.members)) for each in again.organisations.all()] == [
        ("kept", {"mary": Right.OWNER})
    ]
    assert TagPattern("kept/tiny", "v*") in again.immutable.listed()
    again.close()


def lose_the_database(data: Path) -> None:
    for path in data.glob("registry.db*"):
        path.unlink()


def test_what_was_withdrawn_is_told_when_the_database_is_lost(registry: Registry, tmp_path: Path) -> None:
    withdraw(registry)
    Upkeep(registry.depot, pytest.fail, pytest.fail).step()
    registry.close()
    assert (tmp_path / "data" / FILE).stat().st_mode & 0o777 == 0o600
    lose_the_database(tmp_path / "data")

    done = restore(tmp_path / "backup.db", tmp_path / "data")

    assert [(each.action, each.subject) for each in done.withdrawn] == WITHDRAWN
    again = Registry.open(tmp_path / "data")
    assert again.credentials.speaker(key(1).public).name == "ada"  # told, and no more than that
    again.close()


def test_it_is_withdrawn_again_when_that_is_asked_for(registry: Registry, tmp_path: Path) -> None:
    withdraw(registry)
    keep(tmp_path / "data", registry.depot.engine, NOW)
    registry.close()
    lose_the_database(tmp_path / "data")

    done = restore(tmp_path / "backup.db", tmp_path / "data", withdrawn=tmp_path / "data" / FILE)

    assert [(each.action, each.subject) for each in done.withdrawn] == WITHDRAWN
    again = Registry.open(tmp_path / "data")
    for number, why in ((1, "revoked"), (3, "disabled")):
        with pytest.raises(DeniedError, match=why):
            again.credentials.speaker(key(number).public)
    assert again.credentials.speaker(key(2).public).name == "ada"
    users = {each.name: each for each in again.accounts.users()}
    rights = {name: again.rights.right(Principal(user), "ada/other") for name, user in users.items()}
    assert rights == {"ada": Right.OWNER, "grace": Right.READ, "mary": Right.WRITE}
    assert again.rights.public() == []
    again.close()


def test_a_removed_account_stays_removed(registry: Registry, tmp_path: Path) -> None:
    registry.accounts.remove("mary")
    keep(tmp_path / "data", registry.depot.engine, NOW)
    registry.close()
    restore(tmp_path / "backup.db", tmp_path / "data", withdrawn=tmp_path / "data" / FILE)
    again = Registry.open(tmp_path / "data")
    assert [each.name for each in again.accounts.users()] == ["ada", "grace"]
    again.close()


def test_a_file_gives_nobody_anything(registry: Registry, tmp_path: Path) -> None:
    registry.close()
    lines = [
        Change(9e9, "grant", "grace write mary"),
        Change(9e9, "visibility", "public", "ada/secret"),
        Change(9e9, "user.enable", "mary"),
        Change(9e9, "grant", "nobody none ada"),
        Change(9e9, "key.revoke", "SHA256:nobodys"),
    ]
    (tmp_path / "given").write_bytes(b"".join(each.line + b"\n" for each in lines))
    assert restore(tmp_path / "backup.db", tmp_path / "data", withdrawn=tmp_path / "given").withdrawn == []


def test_the_file_is_only_added_to_and_each_change_is_in_it_once(registry: Registry, tmp_path: Path) -> None:
    data, engine = tmp_path / "data", registry.depot.engine
    assert keep(data, engine, NOW) == 3  # what was granted and shown before counts as well
    withdraw(registry)
    first = (data / FILE).read_bytes()
    assert keep(data, engine, NOW) == 9
    assert keep(data, engine, NOW) == 0
    assert (data / FILE).read_bytes().startswith(first)
    registry.close()
    restore(tmp_path / "backup.db", data)  # an older table, whose numbers come again
    again = Registry.open(data)
    again.credentials.revoke_key(key(2).public.fingerprint)
    assert keep(data, again.depot.engine, NOW) == 1
    again.close()
    assert len(read(data / FILE)) == 13


def test_a_line_that_was_cut_off_is_written_again(registry: Registry, tmp_path: Path) -> None:
    data, engine = tmp_path / "data", registry.depot.engine
    keep(data, engine, NOW)
    whole = (data / FILE).read_bytes()
    (data / FILE).write_bytes(whole[:-5])
    assert len(read(data / FILE)) == 2
    assert keep(data, engine, NOW) == 1
    assert (data / FILE).read_bytes() == whole


def test_what_is_withdrawn_after_the_clock_was_a_year_ahead_is_kept_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, now = tmp_path / "data", NOW + 365 * 86_400.0
    monkeypatch.setattr("registry.server.registry.time", SimpleNamespace(time=lambda: now))
    made = Registry.prepare(data)
    made.accounts.add_user("ada", key=key(1).public)
    made.credentials.add_key("ada", key(2).public)
    made.rights.grant("ada", "acme", Right.READ)  # a change that the file has too
    made.rights.grant("ada", "team", Right.READ)
    made.rights.grant("ada", "team", Right.NONE)
    assert keep(data, made.depot.engine, now) == 3
    now = NOW  # the clock is put right
    made.rights.grant("ada", "team", Right.READ)  # the copy knows that it was given again
    backup(made.depot.engine, tmp_path / "backup.db")
    now = NOW + 3 * 86_400.0
    made.credentials.revoke_key(key(1).public.fingerprint)
    assert keep(data, made.depot.engine, now) == 2
    made.close()

    done = restore(tmp_path / "backup.db", data, now)

    assert [(each.action, each.subject) for each in done.withdrawn] == [
        ("key.revoke", key(1).public.fingerprint)
    ]


@pytest.mark.parametrize(
    "line", [b"no JSON", b"{}", b'{"time":1,"action":"grant","subject":"ada","repository":""}', b"[" * 5000]
)
def test_another_file_is_refused_before_anything_changes(
    registry: Registry, tmp_path: Path, line: bytes
) -> None:
    registry.close()
    (tmp_path / "given").write_bytes(line + b"\n")
    before = (tmp_path / "data" / "registry.db").read_bytes()
    with pytest.raises(InvalidError, match="no file of revocations"):
        restore(tmp_path / "backup.db", tmp_path / "data", withdrawn=tmp_path / "given")
    assert (tmp_path / "data" / "registry.db").read_bytes() == before


def test_a_damaged_file_is_told_and_ends_no_server(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "data" / FILE).write_bytes(b"edited\n")
    told: list[str] = []
    noted: list[str] = []
    Upkeep(registry.depot, told.append, noted.append).step()
    assert [revocations.FILE in each for each in told] == [True]


def test_a_file_that_another_process_has_locked_is_told_and_waited_for_no_longer_than_others_need(
    registry: Registry, tmp_path: Path
) -> None:
    keep(tmp_path / "data", registry.depot.engine, NOW)
    registry.credentials.revoke_key(key(1).public.fingerprint)
    held = lock_file(tmp_path / "data" / FILE)
    assert held is not None
    with pytest.raises(StorageError, match="locked"):
        keep(tmp_path / "data", registry.depot.engine, NOW, limit=0.0)
    held.close()
    assert keep(tmp_path / "data", registry.depot.engine, NOW, limit=0.0) == 1  # what one did not come to
