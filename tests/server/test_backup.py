"""Copies of the database, one a day and on demand; and the way back from a loss."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
import uuid
from pathlib import Path

import pytest
from guarded import NOW, key
from peers import http_call
from sqlalchemy import text
from test_depot_contract import CONFIG, WEIGHTS, get, published, put

from registry.auth import signing
from registry.disk.data import lock_file
from registry.errors import DeniedError, InvalidError, NotFoundError, StorageError
from registry.model.digests import Digest
from registry.server import backup as copies
from registry.server.audit import entries, last
from registry.server.backup import backup, backup_with_blobs, daily_copy
from registry.server.blobs import Blobs
from registry.server.check import Check
from registry.server.database import REVISION
from registry.server.directory import LOCK
from registry.server.principal import Right
from registry.server.reclaim import Reclaim
from registry.server.registry import Registry
from registry.server.restore import Restore, Restored
from registry.server.service import Plan, Service
from registry.server.tokens import Nonces

DIGEST = Digest.of(WEIGHTS)
DAY = 86_400.0


def fresh() -> str:
    return str(uuid.uuid4())


def restore(copy: Path, directory: Path, now: float = 0.0, withdrawn: Path | None = None) -> Restored:
    return Restore(directory, lambda: now, fresh).run(copy, withdrawn)


def begun(place: Path) -> Registry:
    """A registry with a model in it, and ada's account."""
    registry = Registry.prepare(place)
    published(registry.depot)
    registry.accounts.add_user("ada", key=key(1).public)
    return registry


def test_a_backup_brings_a_lost_database_back_onto_its_blobs(tmp_path: Path) -> None:
    registry = begun(tmp_path / "data")
    copy = tmp_path / "backup.db"
    backup(registry.depot.engine, copy)
    registry.close()
    assert copy.stat().st_mode & 0o777 == 0o600
    copy.chmod(0o400)
    for path in (tmp_path / "data").glob("registry.db*"):
        path.unlink()
    with pytest.raises(StorageError, match="knows nothing of them"):
        Registry.prepare(tmp_path / "data")

    done = restore(copy, tmp_path / "data")

    assert (done.blobs, done.missing, done.aside, list(done.withdrawn)) == (2, 0, None, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.db", "data"]
    again = Registry.prepare(tmp_path / "data")
    assert get(again.depot, DIGEST) == WEIGHTS
    assert again.credentials.speaker(key(1).public).name == "ada"
    again.close()


def test_a_backup_goes_onto_blobs_that_were_copied_to_a_new_disk(tmp_path: Path) -> None:
    registry = begun(tmp_path / "data")
    backup(registry.depot.engine, tmp_path / "backup.db")
    registry.close()
    shutil.copytree(tmp_path / "data" / "blobs", tmp_path / "new" / "blobs")
    (tmp_path / "new" / "lost+found").mkdir()
    shutil.copytree(tmp_path / "new", tmp_path / "mixed")
    (tmp_path / "mixed" / "photo.jpg").touch()
    (tmp_path / "other" / "blobs" / "photos").mkdir(parents=True)

    assert restore(tmp_path / "backup.db", tmp_path / "new").missing == 0
    again = Registry.prepare(tmp_path / "new")
    assert get(again.depot, DIGEST) == WEIGHTS
    again.close()
    for place in ("mixed", "other"):
        with pytest.raises(InvalidError, match="no registry's data directory"):
            restore(tmp_path / "backup.db", tmp_path / place)


def test_a_restore_says_what_was_withdrawn_since_and_ends_every_token(tmp_path: Path) -> None:
    registry = begun(tmp_path / "data")
    registry.rights.grant("ada", "acme", Right.WRITE)
    backup(registry.depot.engine, tmp_path / "backup.db")
    registry.credentials.revoke_key(key(1).public.fingerprint)
    registry.rights.grant("ada", "acme", Right.NONE)
    registry.close()
    (tmp_path / "data" / "token-secret").write_bytes(b"old")

    done = restore(tmp_path / "backup.db", tmp_path / "data")

    assert [(each.action, each.subject) for each in done.withdrawn] == [
        ("key.revoke", key(1).public.fingerprint),
        ("grant", "ada none acme"),
    ]
    assert done.aside is not None
    assert done.aside.parent == tmp_path / "data" / "copies"
    assert not (tmp_path / "data" / "token-secret").exists()
    again = Registry.open(tmp_path / "data")
    assert again.credentials.speaker(key(1).public).name == "ada"
    again.close()
    restore(done.aside, tmp_path / "data", 1.0)  # and back to what was there


@pytest.mark.parametrize("lost", [False, True])
def test_a_request_that_was_used_before_a_restore_stays_used(tmp_path: Path, lost: bool) -> None:
    registry = begun(tmp_path / "data")
    backup(registry.depot.engine, tmp_path / "backup.db")
    Nonces(registry.depot.engine, lambda: NOW).spend("ada", "n" * 22, NOW + 200)  # her clock is ahead
    Nonces(registry.depot.engine, lambda: NOW).spend("ada", "m" * 22, NOW)
    registry.close()
    for path in (tmp_path / "data").glob("registry.db*") if lost else ():
        path.unlink()

    restore(tmp_path / "backup.db", tmp_path / "data", NOW)

    again = Registry.open(tmp_path / "data")
    nonces = Nonces(again.depot.engine, lambda: NOW, last(again.depot.engine, "restore"))
    with pytest.raises(DeniedError):
        nonces.spend("ada", "m" * 22, NOW)
    if not lost:
        with pytest.raises(DeniedError, match="used before"):
            nonces.spend("ada", "n" * 22, NOW + 200)
    nonces.spend("ada", "o" * 22, NOW + 1)
    done = entries(again.depot.engine)[-1]
    assert (done.action, done.subject, done.time) == ("restore", "backup.db", NOW)
    again.close()


def test_a_server_takes_no_request_that_was_signed_before_its_registry_was_restored(tmp_path: Path) -> None:
    registry = begun(tmp_path / "data")
    backup(registry.depot.engine, tmp_path / "backup.db")
    registry.close()
    restore(tmp_path / "backup.db", tmp_path / "data", time.time() + 100)  # from now on, as seen by a request
    service = Service(Plan(tmp_path / "data"))
    try:
        host = service.start().removeprefix("http://")
        nonce = secrets.token_urlsafe(16)
        url = signing.token_url(f"http://{host}/v2/token", host, [], now=time.time(), nonce=nonce)
        value = signing.authorization(key(1), signing.token_text(url))
        answer = http_call("GET", url, headers={"Authorization": value})
    finally:
        service.stop()
    assert answer.status == 403
    assert b"signed before the registry was restored" in answer.body


def test_a_backup_with_its_blobs_is_everything_in_one_file(tmp_path: Path) -> None:
    registry = begun(tmp_path / "data")
    copy = tmp_path / "all.tar"
    done = backup_with_blobs(registry.depot.engine, registry.depot.blobs, copy)
    with pytest.raises(InvalidError, match="exists already"):
        backup_with_blobs(registry.depot.engine, registry.depot.blobs, copy)
    registry.close()
    assert (done.blobs, done.bytes, done.damaged) == (2, len(WEIGHTS) + len(CONFIG), ())
    assert copy.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.tar", "data"]
    listed = subprocess.run(["tar", "-tf", copy], capture_output=True, text=True, check=True).stdout
    assert listed.splitlines()[0] == "registry.db"
    assert f"blobs/sha256/{DIGEST.hex[:2]}/{DIGEST.hex}" in listed.splitlines()

    restored = restore(copy, tmp_path / "elsewhere")

    assert (restored.blobs, restored.missing, restored.brought) == (2, 0, 2)
    again = Registry.prepare(tmp_path / "elsewhere")
    assert get(again.depot, DIGEST) == WEIGHTS
    assert list(Check(again.depot, hashing=True).findings()) == []
    assert Reclaim(again.depot).strays() == []
    again.close()
    assert restore(copy, tmp_path / "elsewhere").brought == 0  # they are there


def test_a_blob_that_is_thrown_away_during_a_backup_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = begun(tmp_path / "data")
    whole = copies.needed

    def needed(copy: Path) -> list[tuple[Digest, int]]:
        registry.depot.blobs.throw_away(DIGEST, 0.0)  # what a collector does now, or in an hour
        return whole(copy)

    monkeypatch.setattr(copies, "needed", needed)
    done = backup_with_blobs(registry.depot.engine, registry.depot.blobs, tmp_path / "all.tar")
    assert done.damaged == ()
    assert [each.digest for each in registry.depot.blobs.trash()] == [DIGEST]  # where the collector put it
    registry.close()
    assert restore(tmp_path / "all.tar", tmp_path / "elsewhere").missing == 0


@pytest.mark.parametrize("data", [None, WEIGHTS[:-1], b"x" + WEIGHTS[1:]])
def test_damage_is_named_and_does_not_end_a_backup(tmp_path: Path, data: bytes | None) -> None:
    registry = begun(tmp_path / "data")
    blob = tmp_path / "data" / registry.depot.blobs.name(DIGEST)
    blob.unlink()
    if data is not None:
        blob.write_bytes(data)
    done = backup_with_blobs(registry.depot.engine, registry.depot.blobs, tmp_path / "all.tar")
    registry.close()
    assert done.damaged == (DIGEST,)
    restored = restore(tmp_path / "all.tar", tmp_path / "elsewhere")
    assert (restored.blobs, restored.missing, restored.brought) == (2, 1, 1)
    assert not (tmp_path / "elsewhere" / "uploads").exists() or not any(
        (tmp_path / "elsewhere" / "uploads").iterdir()
    )


def test_a_backup_that_was_cut_off_gives_what_it_holds(tmp_path: Path) -> None:
    registry = begun(tmp_path / "data")
    put(registry.depot, bytes(100_000))
    backup_with_blobs(registry.depot.engine, registry.depot.blobs, tmp_path / "all.tar")
    registry.close()
    whole = (tmp_path / "all.tar").read_bytes()
    database = (tmp_path / "data" / "registry.db").stat().st_size
    for number, cut in enumerate((len(whole) - 1024, len(whole) - 101_000, database + 512, database)):
        (tmp_path / "cut.tar").write_bytes(whole[:cut])
        place = tmp_path / f"cut-{number}"
        if cut == database:
            with pytest.raises(InvalidError, match="no backup"):
                restore(tmp_path / "cut.tar", place)
            continue
        done = restore(tmp_path / "cut.tar", place)
        assert done.blobs == 3
        assert done.brought + done.missing == 3
        assert (number > 0) is (done.missing > 0)


def test_a_tar_of_something_else_changes_nothing(tmp_path: Path) -> None:
    registry = begun(tmp_path / "data")
    registry.close()
    (tmp_path / "registry.db").write_bytes(b"no database" * 1000)
    (tmp_path / "photo.jpg").write_bytes(b"")
    for name in ("photo.jpg", "registry.db"):
        subprocess.run(["tar", "-C", tmp_path, "-cf", tmp_path / "other.tar", name], check=True)
        with pytest.raises(InvalidError):
            restore(tmp_path / "other.tar", tmp_path / "data")
    again = Registry.open(tmp_path / "data")
    assert get(again.depot, DIGEST) == WEIGHTS
    again.close()
    assert not list((tmp_path / "data").glob("*.restored"))


@pytest.mark.parametrize(
    ("made_by", "taken"), [("0000", False), (REVISION, True), ("9999", False), ("x", False)]
)
def test_a_copy_of_a_newer_ferry_is_refused(tmp_path: Path, made_by: str, taken: bool) -> None:
    registry = begun(tmp_path / "data")
    with registry.depot.engine.begin() as database:
        database.execute(text("UPDATE alembic_version SET version_num = :made_by"), {"made_by": made_by})
    backup(registry.depot.engine, tmp_path / "backup.db")
    registry.close()
    if taken:
        assert restore(tmp_path / "backup.db", tmp_path / "elsewhere").blobs == 2
        return
    with pytest.raises(InvalidError, match="no copy that this Ferry can read"):
        restore(tmp_path / "backup.db", tmp_path / "elsewhere")


def test_blobs_that_are_not_there_are_counted(tmp_path: Path) -> None:
    registry = begun(tmp_path / "data")
    backup(registry.depot.engine, tmp_path / "backup.db")
    registry.close()
    done = restore(tmp_path / "backup.db", tmp_path / "elsewhere")
    assert (done.blobs, done.missing) == (2, 2)


@pytest.mark.parametrize("data", [b"", b"no database" * 1000, None])
def test_what_is_no_copy_is_refused_and_nothing_changes(tmp_path: Path, data: bytes | None) -> None:
    registry = begun(tmp_path / "data")
    registry.close()
    if data is not None:
        (tmp_path / "copy").write_bytes(data)
    with pytest.raises(NotFoundError if data is None else InvalidError):
        restore(tmp_path / "copy", tmp_path / "data")
    again = Registry.open(tmp_path / "data")
    assert get(again.depot, DIGEST) == WEIGHTS
    again.close()


def test_a_directory_that_is_served_or_not_ours_is_left_alone(tmp_path: Path) -> None:
    registry = begun(tmp_path / "data")
    backup(registry.depot.engine, tmp_path / "backup.db")
    with pytest.raises(InvalidError, match="exists already"):
        backup(registry.depot.engine, tmp_path / "backup.db")
    registry.close()
    lock = lock_file(tmp_path / "data" / LOCK)
    assert lock is not None
    with pytest.raises(StorageError, match="is being served"):
        restore(tmp_path / "backup.db", tmp_path / "data")
    lock.close()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "photo.jpg").write_bytes(b"")
    with pytest.raises(InvalidError, match="no registry's"):
        restore(tmp_path / "backup.db", tmp_path / "pictures")


def test_a_copy_a_day_is_kept_for_a_week(tmp_path: Path) -> None:
    registry = begun(tmp_path / "data")
    shutil.copy(tmp_path / "data" / "registry.db", tmp_path / "data" / "other.db")
    copies = tmp_path / "data" / "copies"
    copies.mkdir()
    others = {"registry-0.1.db", "registry-2026-01-01-before-the-move.db", "registry-2026.db"}
    for name in others:  # a person's, and an upgrade's
        (copies / name).write_bytes(b"")
    for day in range(9):
        now = 1_800_000_000.0 + day * DAY
        assert daily_copy(tmp_path / "data", registry.depot.engine, now) is not None
        assert daily_copy(tmp_path / "data", registry.depot.engine, now + 60) is None
    daily = {f"registry-2027-01-{day}.db" for day in range(17, 24)}
    assert {path.name for path in copies.iterdir()} == others | daily
    registry.close()
    done = restore(copies / "registry-2027-01-17.db", tmp_path / "data")
    assert done.missing == 0


def test_copies_of_days_to_come_are_older_than_todays(tmp_path: Path) -> None:
    registry = Registry.prepare(tmp_path / "data")
    copies = tmp_path / "data" / "copies"
    copies.mkdir()
    for day in range(10, 17):  # while the clock was ahead
        (copies / f"registry-2037-01-{day}.db").write_bytes(b"")
    made = [daily_copy(tmp_path / "data", registry.depot.engine, NOW + day * DAY) for day in range(2)]
    assert {path.name for path in copies.iterdir()} == {
        *(path.name for path in made if path is not None),
        *(f"registry-2037-01-{day}.db" for day in range(12, 17)),
    }
    assert daily_copy(tmp_path / "data", registry.depot.engine, NOW + DAY) is None
    registry.close()


def test_a_backup_into_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    registry = Registry.prepare(tmp_path / "data")
    with pytest.raises(InvalidError, match=f"no directory {tmp_path / 'nowhere'}"):
        backup(registry.depot.engine, tmp_path / "nowhere" / "backup.db")
    registry.close()
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for another user")
def test_what_root_restores_and_throws_away_belongs_to_who_serves_it(tmp_path: Path) -> None:
    """`sudo ferry admin`: the server, which is not root, has to open the database and fill the trash."""
    data = tmp_path / "data"
    registry = begun(data)
    backup_with_blobs(registry.depot.engine, registry.depot.blobs, tmp_path / "all.tar")
    registry.close()
    for missing in ("blobs", "uploads"):
        shutil.rmtree(data / missing)
    for path in (data, *data.rglob("*")):
        os.chown(path, 4711, 4712)

    restore(tmp_path / "all.tar", data)
    Blobs(data).throw_away(DIGEST, 0.0)

    assert {path.name for path in data.iterdir()} >= {"blobs", "copies", "registry.db", "trash", "uploads"}
    assert [path for path in data.rglob("*") if path.stat().st_uid != 4711] == []
