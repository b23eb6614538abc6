"""A data directory is known by its mark, an older one is brought up to date, and nothing else is touched."""

from __future__ import annotations

import shutil
import sqlite3
import uuid
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from earlier_serve import unpacked
from guarded import key
from sqlalchemy import inspect, text

from registry.auth.api_keys import make
from registry.errors import DeniedError, InvalidError, RegistryError, StorageError
from registry.model.digests import Digest
from registry.model.spans import Span
from registry.server.bearers import hashed
from registry.server.credentials import CredentialStore
from registry.server.database import FILE, REVISION, create_database, open_database
from registry.server.directory import MARK, check_servable, note_url, noted_url, open_registry, prepare
from registry.server.migrations import bring_up
from registry.server.principal import ANYBODY, Right
from registry.server.reclaim import Reclaim
from registry.server.registry import Registry
from registry.server.rights import Rights
from registry.server.tables import METADATA


def fresh() -> str:
    return str(uuid.uuid4())


def made(directory: Path) -> None:
    prepare(directory, lambda: 0.0, fresh).dispose()


def everything_in(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


# --- the mark ---------------------------------------------------------------------------------------------


def test_a_directory_is_marked_when_it_is_made(tmp_path: Path) -> None:
    check_servable(tmp_path / "missing")
    (tmp_path / "lost+found").mkdir()
    check_servable(tmp_path)
    made(tmp_path)
    check_servable(tmp_path)
    assert uuid.UUID((tmp_path / MARK).read_text().strip())
    open_registry(tmp_path).dispose()


@pytest.mark.parametrize("name", ["photo.jpg", "blobs/sha256-00", "uploads/photo.jpg", FILE, f"{FILE}/x"])
def test_what_is_not_ours_is_refused_and_left_as_it_is(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"not ours")
    before = everything_in(tmp_path)
    for refused in (check_servable, open_registry):
        with pytest.raises(InvalidError, match="no registry's data directory"):
            refused(tmp_path)
    assert everything_in(tmp_path) == before


def test_another_programs_database_is_not_ours(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / FILE)
    other.execute("CREATE TABLE about (key, value)")
    other.close()
    before = everything_in(tmp_path)
    with pytest.raises(InvalidError, match="no registry's data directory"):
        check_servable(tmp_path)
    assert everything_in(tmp_path) == before


def test_a_directory_of_0_1_whose_server_was_killed_is_known_by_what_its_journal_has(tmp_path: Path) -> None:
    old = unpacked(tmp_path)
    running = sqlite3.connect(old / FILE)
    running.execute("PRAGMA journal_mode=WAL")
    running.execute("UPDATE users SET disabled = 1 WHERE name = 'ben'")
    running.commit()
    killed = tmp_path / "killed"
    shutil.copytree(old, killed)
    running.close()
    check_servable(killed)
    registry = Registry.prepare(killed)
    assert registry.accounts.user("ben").disabled
    registry.close()


def test_an_administrator_makes_no_directory(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="no registry's data directory"):
        open_registry(tmp_path / "nosuch")
    assert not (tmp_path / "nosuch").exists()


def test_a_directory_with_a_question_mark_keeps_its_database_inside(tmp_path: Path) -> None:
    made(tmp_path / "a?b")
    assert (tmp_path / "a?b" / FILE).is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["a?b"]


# --- a database that is lost, newer, or older -------------------------------------------------------------


@pytest.mark.parametrize("lost", ["removed", "empty"])
def test_blobs_that_no_database_knows_stop_the_start_and_stay(tmp_path: Path, lost: str) -> None:
    made(tmp_path)
    blob = tmp_path / "blobs" / "sha256" / "ab" / ("ab" * 32)
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"the only copy")
    if lost == "removed":
        for name in (FILE, f"{FILE}-wal", f"{FILE}-shm"):
            (tmp_path / name).unlink(missing_ok=True)
    with pytest.raises(StorageError, match="knows nothing of them") as refused:
        made(tmp_path)
    assert "restore" in refused.value.hint
    assert blob.read_bytes() == b"the only copy"
    assert (tmp_path / FILE).exists() is (lost == "empty")


def test_what_a_newer_ferry_made_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    made(tmp_path)
    other = sqlite3.connect(tmp_path / FILE)
    other.execute("UPDATE alembic_version SET version_num = '9999'")
    other.commit()
    other.close()
    for refused in (made, open_registry):
        with pytest.raises(StorageError, match="made by a newer Ferry"):
            refused(tmp_path)


def test_an_administrator_leaves_an_older_one_to_the_server(tmp_path: Path) -> None:
    old = unpacked(tmp_path)
    before = everything_in(old)
    with pytest.raises(StorageError, match=r"of Ferry 0\.1") as refused:
        open_registry(old)
    assert "ferry serve" in refused.value.hint
    assert {name: data for name, data in everything_in(old).items() if name in before} == before


# --- from 0.1 ---------------------------------------------------------------------------------------------


@pytest.fixture
def upgraded(tmp_path: Path) -> Registry:
    old = unpacked(tmp_path)
    check_servable(old)
    return Registry.prepare(old)


def test_the_tables_of_an_upgraded_database_are_those_of_a_new_one(
    upgraded: Registry, tmp_path: Path
) -> None:
    engine = upgraded.depot.engine
    new = create_database(tmp_path)
    with engine.connect() as database:
        assert compare_metadata(MigrationContext.configure(database), METADATA) == []
    tables = [
        {
            name: (
                [str(column) for column in found.get_columns(name)],
                found.get_pk_constraint(name)["constrained_columns"],
                sorted(map(str, found.get_foreign_keys(name))),
                sorted(map(str, found.get_indexes(name))),
                sorted(map(str, found.get_unique_constraints(name))),
            )
            for name in sorted(found.get_table_names())
            if name != "sqlite_sequence"
        }
        for found in (inspect(engine), inspect(new))
    ]
    assert tables[0] == tables[1]
    assert set(tables[0]) == set(METADATA.tables)
    triggers = text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name")
    with engine.connect() as upgraded_one, new.connect() as new_one:
        assert upgraded_one.execute(triggers).all() == new_one.execute(triggers).all()
    with engine.connect() as database:
        assert database.execute(text("PRAGMA foreign_key_check")).all() == []
    new.dispose()
    upgraded.close()


def test_every_model_of_0_1_is_there_after_it(upgraded: Registry) -> None:
    depot = upgraded.depot
    weights = Digest.of(b"weights")
    for repository in ("ada/tiny", "acme/tiny"):
        blob = depot.blob(repository, weights)
        assert blob is not None
        assert blob.content(Span(0, blob.size)) == b"weights"
    assert [(each.tag, each.moved_by) for each in depot.tags("ada/tiny", "", 9)] == [
        ("latest", ""),
        ("v1", ""),
    ]
    latest = depot.manifest("ada/tiny", "latest")
    assert latest is not None
    assert b'"schemaVersion"' in latest.raw
    (signature,) = depot.referrers("ada/tiny", latest.digest, None, "", 9)
    assert (
        '"artifactType":"application/vnd.example.signature","annotations":{"by":"ada"}'
        in signature.descriptor
    )
    assert depot.repositories("", 9, lambda _: True) == [
        "acme/tiny",
        "ada/tiny",
        "ben/half",
        "team/deep/model",
    ]
    assert depot.manifest("acme/tiny", "all") is not None
    upgraded.close()


def test_an_upload_of_0_1_goes_on_after_it(upgraded: Registry) -> None:
    upload = upgraded.depot.upload("ben/half", "00000000-0000-4000-8000-000000000018")
    assert upload.received == len(b"half of it")
    upload.write(b", and the rest")
    upload.commit(Digest.of(b"half of it, and the rest"))
    upload.close()
    upgraded.close()


def test_every_account_key_and_right_of_0_1_is_there_after_it(upgraded: Registry) -> None:
    names = {user.name: (user.admin, user.disabled) for user in upgraded.accounts.users()}
    assert names == {
        "root": (True, False),
        "ada": (False, False),
        "ben": (False, False),
        "cleo": (False, True),
    }
    ada, ben = (upgraded.credentials.speaker(key(number).public) for number in (2, 3))
    assert (ada.name, ben.name) == ("ada", "ben")
    for number, why in ((4, "cleo is disabled"), (11, "was revoked")):
        with pytest.raises(DeniedError, match=why):
            upgraded.credentials.speaker(key(number).public)
    rights = upgraded.rights
    assert rights.right(ada, "ada/tiny") is Right.WRITE
    assert rights.right(ben, "acme/tiny") is Right.WRITE
    assert rights.right(ben, "ada/other") is Right.NONE
    assert rights.right(ada, "acme/secret") is Right.NONE
    assert rights.right(ANYBODY, "ada/tiny") is Right.READ
    assert rights.public() == ["ada/tiny", "later/model"]
    for taken in ("acme", "team", "lonely", "later"):  # namespaces that belong to nobody, but are there
        with pytest.raises(InvalidError, match="is a namespace already"):
            upgraded.accounts.add_user(taken)
    upgraded.close()


def test_api_keys_of_an_earlier_0_2_are_good_and_bad_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table of credentials is made anew since, and what refers to it stays."""
    path, upgrade = unpacked(tmp_path) / FILE, command.upgrade
    with monkeypatch.context() as earlier:
        earlier.setattr(command, "upgrade", lambda config, _: upgrade(config, "0005"))
        bring_up(path, 1.0)
    secrets = {name: make(name.encode().ljust(32)) for name in ("good", "revoked")}
    old = sqlite3.connect(path)
    for name, secret in secrets.items():
        old.execute(
            "INSERT INTO credentials (id, kind, user_id, cap, added, revoked, note)"
            " SELECT ?, 'api', id, 'write', 1, ?, 'a note' FROM users WHERE name = 'ada'",
            (name, None if name == "good" else 1.0),
        )
        row = (name, hashed(secret), secret[-4:], "*:pull", 1.0)
        old.execute("INSERT INTO api_keys VALUES (?, ?, ?, ?, ?, NULL, NULL)", row)
    old.commit()
    old.close()
    bring_up(path, 2.0)
    engine = open_database(path.parent)
    rights = Rights(engine, lambda: 3.0)
    good, revoked = (rights.standing_by_secret(secret, "ada/tiny") for secret in secrets.values())
    assert good is not None
    assert (good[0].name, good[1], revoked) == ("ada", Right.READ, None)
    assert CredentialStore(engine, lambda: 3.0, fresh).one("good").note == "a note"
    engine.dispose()


def test_what_was_unneeded_in_0_1_is_not_reclaimed_at_once(upgraded: Registry) -> None:
    old = upgraded.depot.repositories("", 9, lambda _: True)
    Reclaim(upgraded.depot).run()
    assert [name for name in old if name != "ben/half"] == upgraded.depot.repositories("", 9, lambda _: True)
    with upgraded.depot.engine.connect() as database:
        assert database.execute(text("SELECT count(*) FROM manifests")).scalar() == 6
    upgraded.close()


def test_a_copy_of_the_database_of_0_1_is_kept(upgraded: Registry, tmp_path: Path) -> None:
    copy = upgraded.depot.directory / "copies" / "registry-0.1.db"
    assert copy.stat().st_mode & 0o777 == 0o600
    shutil.copy(copy, tmp_path / FILE)
    kept = sqlite3.connect(tmp_path / FILE)
    assert kept.execute("SELECT value FROM about").fetchall() == [(1,)]
    assert kept.execute("SELECT count(*) FROM manifests").fetchone() == (6,)
    kept.close()
    upgraded.close()


def test_an_upgrade_that_fails_changes_nothing_and_can_be_tried_again(tmp_path: Path) -> None:
    old = unpacked(tmp_path)
    broken = sqlite3.connect(old / FILE)
    broken.execute("UPDATE manifests SET raw = 'no json' WHERE digest = (SELECT max(digest) FROM manifests)")
    broken.commit()
    broken.execute("ATTACH ? AS fine", (str(unpacked(tmp_path / "fine") / FILE),))
    with pytest.raises((RegistryError, ValueError)):
        Registry.prepare(old)
    broken.execute("UPDATE manifests SET raw = f.raw FROM fine.manifests f WHERE f.digest = manifests.digest")
    broken.commit()
    broken.close()
    registry = Registry.prepare(old)
    assert len(registry.accounts.users()) == 4
    registry.close()
    assert open_database(old).url.database == str(old / FILE)
    assert REVISION == "0009"


def test_a_start_under_the_same_url_writes_nothing(tmp_path: Path) -> None:
    note_url(tmp_path, "http://a")
    (noted,) = tmp_path.iterdir()
    first = noted.stat().st_ino
    note_url(tmp_path, "http://a")
    assert noted.stat().st_ino == first

    note_url(tmp_path, "http://b")
    assert noted.stat().st_ino != first
    assert noted_url(tmp_path) == "http://b"
