"""Blobs are looked at; what is wrong is named, hidden when that is asked for, and healed by a push."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from depots import on_disk
from test_depot_contract import CONFIG, WEIGHTS, get, model, published, put

from registry.disk import files
from registry.errors import NotFoundError, StorageError
from registry.model.digests import Digest
from registry.server.check import FEW, Check, DamagedBlob, Wrong
from registry.server.depot import DiskDepot

DIGEST = Digest.of(WEIGHTS)
NEEDED = (("acme/tiny", "acme/two"), ("acme/tiny:1",))


@pytest.fixture
def depot(tmp_path: Path) -> Iterator[DiskDepot]:
    made = on_disk(tmp_path)
    published(made)
    made.mount("acme/two", DIGEST, "acme/tiny")
    yield made
    made.engine.dispose()


def path(depot: DiskDepot, digest: Digest = DIGEST) -> Path:
    return depot.directory / "blobs" / "sha256" / digest.hex[:2] / digest.hex


def test_a_whole_registry_has_nothing_wrong(depot: DiskDepot) -> None:
    assert list(Check(depot, hashing=True).findings()) == []


@pytest.mark.parametrize(
    ("data", "wrong"), [(None, Wrong.MISSING), (WEIGHTS[:-1], Wrong.SIZE), (b"x" + WEIGHTS[1:], Wrong.DIGEST)]
)
def test_what_is_wrong_is_named_with_who_needs_it_and_a_push_heals_it(
    depot: DiskDepot, data: bytes | None, wrong: Wrong
) -> None:
    path(depot).unlink()
    if data is not None:
        path(depot).write_bytes(data)
    looking = Check(depot, hashing=True)

    found = list(looking.findings())
    assert found == [DamagedBlob(DIGEST, wrong, *NEEDED)]
    assert (depot.blob("acme/tiny", DIGEST) is None) is (wrong is not Wrong.DIGEST)
    assert looking.repair(found) == 1

    assert depot.blob("acme/tiny", DIGEST) is None
    with pytest.raises(NotFoundError, match=str(DIGEST)):
        depot.publish("acme/tiny", model(WEIGHTS), "2")
    still = list(looking.findings())
    assert still == [DamagedBlob(DIGEST, wrong, *NEEDED, hidden=True)]  # no repair makes the model whole
    assert looking.repair(still) == 0
    assert path(depot).exists() is (data is not None)  # bytes that are hidden stay
    put(depot, WEIGHTS)
    assert get(depot, DIGEST) == WEIGHTS
    assert list(looking.findings()) == []


def test_without_hashing_only_the_size_is_looked_at(depot: DiskDepot) -> None:
    path(depot).write_bytes(b"x" + WEIGHTS[1:])
    assert list(Check(depot).findings()) == []


def test_what_is_right_again_is_shown_again(depot: DiskDepot) -> None:
    away = path(depot).with_name("away")
    path(depot).rename(away)
    looking = Check(depot)
    looking.repair(list(looking.findings()))
    away.rename(path(depot))
    found = list(looking.findings())
    assert [each.wrong for each in found] == [Wrong.RIGHT]
    looking.repair(found)
    assert get(depot, DIGEST) == WEIGHTS


def test_an_error_of_the_disk_is_named_and_hides_nothing(
    depot: DiskDepot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_span: object) -> None:
        raise StorageError("reading: Input/output error")

    looking = Check(depot, hashing=True)
    with monkeypatch.context() as patch:
        patch.setattr(files, "read_span", broken)
        found = list(looking.findings())
        assert {each.wrong for each in found} == {Wrong.UNREADABLE}
        assert looking.repair(found) == 0
    assert get(depot, DIGEST) == WEIGHTS


@pytest.mark.parametrize(
    ("more", "mount_point", "left"),
    [(11, False, 0), (0, False, 0), (0, True, 0), (11, True, 2)],
    ids=["no directory", "no directory of a small one", "all of a small one", "many of them"],
)
def test_a_disk_that_is_not_there_is_not_taken_for_damage(
    depot: DiskDepot, more: int, mount_point: bool, left: int
) -> None:
    kept = [put(depot, b"%d" % number) for number in range(more)][:left]
    blobs = depot.directory / "blobs"
    blobs.rename(depot.directory / "elsewhere")
    if mount_point:
        blobs.mkdir()
    for digest in kept:
        depot.blobs.put(depot.directory / "elsewhere" / path(depot, digest).relative_to(blobs), digest)
    looking = Check(depot)
    found = list(looking.findings())
    assert len(found) == 2 + more - left
    with pytest.raises(StorageError, match="disk that is not there"):
        looking.repair(found)
    if left:
        assert looking.repair(found[1:]) == FEW
    assert looking.repair(found, however_many=True) == len(found)


def test_one_blob_alone_is_damage_as_long_as_there_is_a_place_for_blobs(tmp_path: Path) -> None:
    depot = on_disk(tmp_path)
    digest = put(depot, WEIGHTS)
    path(depot, digest).unlink()
    looking = Check(depot)

    assert looking.repair(list(looking.findings())) == 1

    shutil.rmtree(depot.directory / "blobs")
    again = put(depot, CONFIG)
    shutil.rmtree(depot.directory / "blobs")
    assert depot.blob("acme/tiny", again) is None
    with pytest.raises(StorageError, match="1 blob is missing or wrong, which looks like a disk"):
        looking.repair(list(looking.findings()))
    depot.engine.dispose()
