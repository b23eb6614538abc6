"""What becomes of a registry whose disk is full, or whose blobs or database are damaged or gone."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from databases import begin_session
from earlier_serve import unpacked
from guarded import key
from labs import Lab
from sqlalchemy import event
from test_backup import restore

from registry.errors import NotFoundError, Reason, StorageError
from registry.model.digests import Digest
from registry.model.manifests import DOCKER_CONFIG, OCI_MANIFEST, Descriptor, image
from registry.server.backup import backup, backup_with_blobs, daily_copy
from registry.server.check import Check, Wrong
from registry.server.key_scopes import parse_scopes
from registry.server.principal import Right
from registry.server.reclaim import Reclaim, Terms
from registry.server.registry import Registry
from registry.server.room import Room
from registry.server.service import Plan, Service
from registry.server.tokens import Nonces
from registry.server.upkeep import Upkeep

DATA = b"weights" * 1000
DIGEST = Digest.of(DATA)
BLOB = f"/v2/acme/tiny/blobs/{DIGEST}"
MANIFEST = "/v2/acme/tiny/manifests/1"
MIB = 1024 * 1024
NOW = Terms.asked(-1.0, served=False)


class Site(Lab):
    """A registry and its data directory, and the server that runs on it."""

    service: Service

    @property
    def registry(self) -> Registry:
        return self.service.registry

    def file(self, digest: Digest = DIGEST) -> Path:
        depot = self.registry.depot
        return depot.directory / depot.blobs.name(digest)

    def published(self) -> bytes:
        """Push a model; its manifest."""
        raw = self.manifest(DATA)
        assert self.call("PUT", MANIFEST, raw, Content_Type=OCI_MANIFEST).status == 201
        return raw


Serve = Callable[..., Site]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    running: list[Service] = []

    def start(directory: Path = tmp_path / "data", **plan: int) -> Site:
        service = Service(Plan(directory, anonymous=Right.WRITE, **plan))  # type: ignore[arg-type]  # numbers
        running.append(service)
        site = Site(service.start())
        object.__setattr__(site, "service", service)
        return site

    yield start
    for service in running:
        service.stop()


# --- a full disk ------------------------------------------------------------------------------------------


def test_a_full_disk_takes_nothing_more_and_gives_what_it_has(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = serve(min_free=1000)
    raw = site.published()
    begun = site.begin()
    monkeypatch.setattr(Room, "free", property(lambda _: 999))

    refused = [
        site.call("POST", "/v2/acme/tiny/blobs/uploads/"),
        site.call("POST", f"/v2/acme/tiny/blobs/uploads/?digest={Digest.of(b'new')}", b"new"),
        site.call("PATCH", begun, b"more"),
        site.call("PUT", "/v2/acme/tiny/manifests/2", raw, Content_Type=OCI_MANIFEST),
    ]

    assert [answer.status for answer in refused] == [507] * 4
    assert all(b"nearly full: 999 B free" in answer.body for answer in refused)
    assert site.call("GET", BLOB).body == DATA
    assert site.call("GET", MANIFEST, Accept=OCI_MANIFEST).body == raw
    assert site.call("DELETE", MANIFEST).status == 202
    assert site.call("DELETE", begun).status == 204


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 48 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "ferry-test", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a small disk, and not in every container")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_real_disk_that_a_push_fills_stays_one_that_can_be_worked_with(
    small_disk: Path, serve: Serve
) -> None:
    site = serve(small_disk / "data", min_free=0)  # what the database needs is kept all the same
    raw = site.published()
    pushed = 0
    while True:
        answer = site.call("POST", "/v2/acme/big/blobs/uploads/")
        if answer.status == 202:
            answer = site.call("PATCH", answer.headers["location"], os.urandom(4 * MIB))
        if answer.status == 507:
            break
        assert answer.status == 202
        pushed += 1
        assert pushed < 12
    assert pushed >= 4
    assert site.call("GET", BLOB).body == DATA
    assert site.call("GET", "/healthz").status == 200
    registry = site.registry
    registry.accounts.add_user("ada", key=key(1).public)  # the database can still write, and so
    nonces = Nonces(registry.depot.engine, registry.depot.clock)
    nonces.spend("ada", "n" * 20, nonces.clock())  # tokens can be asked for
    whole_disk_is_full(small_disk, registry)
    registry.accounts.remove("ada")
    assert site.call("DELETE", MANIFEST).status == 202
    assert Reclaim(registry.depot, Terms.asked(0.0)).run().freed == 0  # the push may go on
    site.service.stop()
    stopped = Registry.open(small_disk / "data")
    assert Reclaim(stopped.depot, NOW).run().freed >= pushed * 4 * MIB
    stopped.close()
    again = serve(small_disk / "data")
    assert again.published() == raw
    again.blob(bytes(4 * MIB))


def test_a_registry_that_is_stopped_on_a_disk_that_is_full_to_the_last_byte_is_opened_again(
    small_disk: Path,
) -> None:
    Registry.prepare(small_disk / "data").close()
    assert (small_disk / "data" / "reserve").exists()
    fill(small_disk)

    again = Registry.open(small_disk / "data")

    again.accounts.add_user("ada")
    again.close()


def test_a_database_that_finds_no_room_says_that_the_disk_is_full(small_disk: Path) -> None:
    Registry.prepare(small_disk / "data").close()
    (small_disk / "data" / "reserve").unlink()
    fill(small_disk)
    with pytest.raises(StorageError, match="the disk is full") as caught:
        Registry.open(small_disk / "data")
    assert caught.value.reason is Reason.DISK_FULL


def fill(disk: Path) -> None:
    """Something else takes every byte that is left."""
    with (disk / "other").open("wb", buffering=0) as other, pytest.raises(OSError, match="No space"):
        while True:
            other.write(bytes(4096))


def whole_disk_is_full(disk: Path, registry: Registry) -> None:
    """Something else takes every byte that is left: people still sign in, and end what has leaked."""
    ada = registry.accounts.user("ada")
    made = [registry.api_keys.create(ada, parse_scopes(["*:pull"])) for _ in range(3)]
    with registry.depot.engine.connect() as database:  # nothing is left of what earlier changes took
        database.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    fill(disk)
    assert registry.depot.room.free == 0
    assert begin_session(registry.sessions, ada, "127.0.0.1")
    assert all(registry.credentials.revoke("ada", each.id) for each in made)
    assert registry.credentials.revoke_key(key(1).public.fingerprint)
    registry.accounts.disable("ada")
    (disk / "other").unlink()


def test_a_copy_that_finds_no_room_says_so_and_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    registry = Registry.prepare(tmp_path / "data")
    ballast, path = small_disk / "ballast", small_disk / "backup.db"
    ballast.write_bytes(bytes(48 * MIB - 65_536))
    with pytest.raises(StorageError, match=re.escape(f"to {path}: database or disk is full")):
        backup(registry.depot.engine, path)
    with pytest.raises(StorageError, match="disk is full"):
        backup_with_blobs(registry.depot.engine, registry.depot.blobs, small_disk / "all.tar")
    (tmp_path / "data" / "copies").symlink_to(small_disk)
    told: list[str] = []
    Upkeep(registry.depot, told.append, told.append).step()
    assert len(told) == 1
    assert "disk is full" in told[0]
    registry.close()
    assert list(small_disk.iterdir()) == [ballast]


# --- blobs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("left", "wrong"), [(None, Wrong.MISSING), (100, Wrong.SIZE)])
def test_a_blob_that_is_cut_off_or_gone_is_not_there_and_a_push_heals_it(
    serve: Serve, left: int | None, wrong: Wrong
) -> None:
    site = serve()
    site.published()
    if left is None:
        site.file().unlink()
    else:
        os.truncate(site.file(), left)

    assert [site.call(method, BLOB).status for method in ("HEAD", "GET")] == [404, 404]
    assert site.call("GET", BLOB, Range="bytes=0-9").status == 404  # no head first that promises it
    check = Check(site.registry.depot)
    found = list(check.findings())
    assert [(each.wrong, each.tags) for each in found] == [(wrong, ("acme/tiny:1",))]
    check.repair(found)
    assert site.call("HEAD", BLOB).status == 404
    site.blob(DATA)
    assert site.call("GET", BLOB).body == DATA
    assert list(check.findings()) == []


def test_a_blob_whose_bytes_were_turned_is_there_until_it_is_repaired(serve: Serve) -> None:
    site = serve()
    site.published()
    site.file().chmod(0o600)
    site.file().write_bytes(b"X" + DATA[1:])
    assert site.call("HEAD", BLOB).status == 200
    check = Check(site.registry.depot, hashing=True)
    found = list(check.findings())
    assert [each.wrong for each in found] == [Wrong.DIGEST]
    check.repair(found)
    assert [site.call(method, BLOB).status for method in ("HEAD", "GET")] == [404, 404]
    mount = site.call("POST", f"/v2/acme/two/blobs/uploads/?mount={DIGEST}&from=acme/tiny")
    assert mount.status == 202  # what is hidden is not mounted either
    site.blob(DATA)
    assert site.call("GET", BLOB).body == DATA


# --- the database ----------------------------------------------------------------------------------------


def files(directory: Path) -> dict[str, bytes]:
    """Every blob file and what is in it."""
    found = (path for path in (directory / "blobs").rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}


def test_a_database_that_was_removed_stops_the_start_and_a_daily_copy_brings_it_back(
    serve: Serve, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    site = serve()
    raw = site.published()
    copy = daily_copy(data, site.registry.depot.engine, 1_800_000_000.0)
    assert copy is not None
    site.service.stop()
    before = files(data)
    for path in data.glob("registry.db*"):
        path.unlink()

    with pytest.raises(StorageError, match="knows nothing of them") as told:
        Service(Plan(data, anonymous=Right.WRITE))

    assert "ferry admin restore" in told.value.hint
    assert files(data) == before
    done = restore(copy, data)
    assert (done.blobs, done.missing) == (2, 0)
    again = serve()
    assert again.call("GET", MANIFEST, Accept=OCI_MANIFEST).body == raw
    assert again.call("GET", BLOB).body == DATA


def test_a_database_that_is_older_than_the_blobs_costs_none_of_them(serve: Serve, tmp_path: Path) -> None:
    data = tmp_path / "data"
    site = serve()
    site.blob(b"what the older one knows")
    backup(site.registry.depot.engine, tmp_path / "older.db")
    site.published()
    site.service.stop()
    before = files(data)
    restore(tmp_path / "older.db", data)

    again = serve()
    collector = Reclaim(again.registry.depot)
    collector.run()

    assert files(data) == before
    assert {each.digest for each in collector.strays()} == {DIGEST, Digest.of(b"{}")}
    assert again.call("HEAD", BLOB).status == 404
    again.published()  # a push adopts them
    assert collector.strays() == []
    assert files(data) == before


def test_an_older_database_that_knows_deleted_blobs_names_them(serve: Serve, tmp_path: Path) -> None:
    data = tmp_path / "data"
    site = serve()
    site.published()
    backup(site.registry.depot.engine, tmp_path / "older.db")
    assert site.call("DELETE", MANIFEST).status == 202
    manifest = Digest.of(site.manifest(DATA))
    site.registry.depot.delete_manifest("acme/tiny", manifest)
    Reclaim(site.registry.depot, NOW).run()
    site.service.stop()
    assert files(data) == {}

    done = restore(tmp_path / "older.db", data)

    assert (done.blobs, done.missing) == (2, 2)
    again = serve()
    found = list(Check(again.registry.depot).findings())
    assert {(each.wrong, each.tags) for each in found} == {(Wrong.MISSING, ("acme/tiny:1",))}
    again.published()
    assert list(Check(again.registry.depot, hashing=True).findings()) == []


def test_a_database_of_an_older_ferry_is_brought_up_to_date_also_when_it_is_restored(
    tmp_path: Path,
) -> None:
    data = unpacked(tmp_path)
    before = files(data)
    Registry.prepare(data).close()  # what serve does first: it keeps a copy
    older = data / "copies" / "registry-0.1.db"
    for path in data.glob("registry.db*"):
        path.unlink()

    done = restore(older, data)

    assert done.missing == 0
    assert files(data) == before
    again = Registry.open(data)
    assert again.credentials.speaker(key(1).public).name == "root"
    assert again.depot.manifest("ada/tiny", "latest") is not None
    assert list(Check(again.depot, hashing=True).findings()) == []
    again.close()


# --- many at once -----------------------------------------------------------------------------------------


def test_a_manifest_of_very_many_unknown_layers_costs_few_statements(serve: Serve) -> None:
    site = serve()
    site.blob(b"{}")
    layers = [
        {"mediaType": "x/y", "digest": str(Digest.of(b"%d" % number)), "size": 1} for number in range(30_000)
    ]
    manifest = image(Descriptor(DOCKER_CONFIG, Digest.of(b"{}"), 2), layers)
    statements: list[str] = []
    engine = site.registry.depot.engine
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    with pytest.raises(NotFoundError):
        site.registry.depot.publish("acme/tiny", manifest, "1")
    assert len(statements) < 100
