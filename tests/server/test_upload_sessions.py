"""An upload on disk: who owns it, what a failed write leaves, how it is hashed again."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from depots import Turned, on_disk

from registry.contracts import Depot, Upload
from registry.disk import system as calls
from registry.disk.data import DataFile
from registry.errors import CorruptError, NotFoundError, StorageError, TransientError
from registry.model.digests import Digest
from registry.server import uploads
from registry.server.catalogue import Catalogue
from registry.server.depot import DiskDepot
from registry.server.uploads import QUIET, DiskUpload, Owners
from registry.wire.faults import answer_to

DATA = bytes(range(256)) * 1000


class Place:
    """Uploads to one file, and what became of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = 0.0
        self.owners = Owners(lambda: self.now)
        self.named: list[tuple[Digest, int]] = []
        self.forgotten = 0
        self.naming: Callable[[], None] = lambda: None

    def opened(self) -> DiskUpload:
        hold = self.owners.take("one")
        return DiskUpload(
            "one", lambda: DataFile.open(self.path, mode=0o600), self.owners, hold, self._name, self._forget
        )

    def _name(self, digest: Digest, size: int) -> None:
        self.naming()
        self.named.append((digest, size))

    def _forget(self) -> None:
        self.forgotten += 1


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "upload")


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "HASH_STEP", 100_000)
    monkeypatch.setattr(uploads, "_READ", 30_000)


def test_a_write_that_failed_leaves_the_file_where_it_ended(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = place.opened()
    upload.write(DATA)
    real = DataFile.write

    def half(file: DataFile, data: bytes, offset: int) -> None:
        real(file, data[: len(data) // 2], offset)
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(DataFile, "write", half)
        with pytest.raises(StorageError):
            upload.write(b"x" * 5000)

    assert place.path.stat().st_size == len(DATA)
    upload.write(b"end")
    upload.commit(Digest.of(DATA + b"end"))
    upload.close()


def test_a_call_that_runs_is_never_taken_over(place: Place) -> None:
    older = place.opened()
    older.write(DATA)
    begun, may_end = threading.Event(), threading.Event()

    def naming() -> None:
        begun.set()
        assert may_end.wait(10)

    place.naming = naming
    committing = threading.Thread(target=older.commit, args=(Digest.of(DATA),))
    committing.start()
    assert begun.wait(10)
    place.now += 10 * QUIET

    with pytest.raises(TransientError):
        place.opened()

    may_end.set()
    committing.join(10)
    assert place.named == [(Digest.of(DATA), len(DATA))]
    older.close()


@pytest.mark.usefixtures("small_steps")
def test_whoever_takes_over_goes_on_with_the_hash(place: Place) -> None:
    older = place.opened()
    older.write(DATA)
    place.now += QUIET
    newer = place.opened()
    assert not newer.hash_more(Digest.of(DATA)), "there was nothing left to hash"
    newer.close()
    older.close()


def test_it_knows_whether_its_bytes_were_hashed_as_they_came(place: Place) -> None:
    upload = place.opened()
    assert upload.is_hashed(Digest.of(DATA)), "nothing is here yet"
    upload.write(DATA)
    assert upload.is_hashed(Digest.of(DATA))
    assert not upload.is_hashed(Digest.of(DATA, "sha512"))
    upload.rewind(len(DATA) - 1)
    assert not upload.is_hashed(Digest.of(DATA))
    upload.close()

    place.owners = Owners()  # the server was started again
    again = place.opened()
    assert not again.is_hashed(Digest.of(DATA))
    again.close()


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_what_was_not_hashed_as_it_came_is_hashed_in_bounded_steps(place: Place, algorithm: str) -> None:
    upload = place.opened()
    upload.write(DATA)
    upload.close()
    place.owners = Owners()  # the server was started again
    digest = Digest.of(DATA, algorithm)
    again = place.opened()

    steps = 1
    while again.hash_more(digest):
        steps += 1

    assert steps == 3  # 256,000 bytes, at most 100,000 at a time
    again.commit(digest)
    again.close()
    assert place.named == [(digest, len(DATA))]


@pytest.mark.usefixtures("small_steps")
def test_a_file_that_lost_bytes_is_not_what_it_was_and_does_not_hash_for_ever(place: Place) -> None:
    upload = place.opened()
    upload.write(DATA)
    upload.close()
    place.owners = Owners()
    again = place.opened()
    with place.path.open("r+b") as file:
        file.truncate(1000)

    with pytest.raises(CorruptError):
        again.commit(Digest.of(DATA))

    assert (place.forgotten, place.named) == (1, [])
    again.close()


def test_a_request_that_lost_its_upload_is_told_when_to_ask_again(place: Place) -> None:
    older = place.opened()
    place.now += QUIET
    newer = place.opened()
    with pytest.raises(TransientError) as lost:
        older.write(b"late")
    answer = answer_to(lost.value)
    assert (answer.status, answer.headers.get("Retry-After")) == (429, "1")
    newer.close()
    older.close()


# --- the same of every depot --------------------------------------------------------------------------------


def test_an_upload_that_is_at_work_has_one_writer(depot: Depot, watch: Turned) -> None:
    upload = depot.begin("acme/tiny")
    upload.write(DATA[:1000])
    watch.seconds += QUIET - 0.1
    with pytest.raises(TransientError) as refused:
        depot.upload("acme/tiny", upload.id)
    assert refused.value.retry_after == 1
    upload.close()
    depot.upload("acme/tiny", upload.id).close()


def test_the_newest_request_takes_an_upload_over_that_stood_still(depot: Depot, watch: Turned) -> None:
    older = depot.begin("acme/tiny")
    older.write(DATA[:1000])
    watch.seconds += QUIET

    newer = depot.upload("acme/tiny", older.id)

    with pytest.raises(TransientError):
        older.write(b"late")
    with pytest.raises(TransientError):
        older.rewind(0)
    with pytest.raises(TransientError):
        older.commit(Digest.of(b""))
    with pytest.raises(TransientError):
        older.cancel()
    older.close()  # lets go of nothing that is not its own
    assert newer.received == 1000
    newer.write(DATA[1000:])
    newer.commit(Digest.of(DATA))
    newer.close()
    assert depot.blob("acme/tiny", Digest.of(DATA)) is not None


def test_an_upload_that_was_just_finished_is_not_there_for_a_newer_request(depot: Depot) -> None:
    upload = depot.begin("acme/tiny")
    upload.write(b"12")
    upload.commit(Digest.of(b"12"))  # has not let go yet

    with pytest.raises(NotFoundError):
        depot.upload("acme/tiny", upload.id)
    upload.close()


def test_an_upload_that_is_written_down_while_it_ends_leaves_no_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    depot = on_disk(tmp_path)
    upload = depot.begin("acme/tiny")
    upload.write(DATA)
    hold = Catalogue.hold

    def crowded(catalogue: Catalogue, *blob: Any) -> None:
        depot._keep(upload.id)  # what `begin` does where too many are not written down
        hold(catalogue, *blob)

    monkeypatch.setattr(Catalogue, "hold", crowded)
    upload.commit(Digest.of(DATA))
    upload.close()

    assert depot.blob("acme/tiny", Digest.of(DATA)) is not None
    assert not depot.catalogue.has_upload("acme/tiny", upload.id)


def test_a_small_upload_that_is_dropped_asks_nothing_of_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    depot = on_disk(tmp_path)
    monkeypatch.setattr(Catalogue, "end_upload", lambda *_: pytest.fail("a transaction"))
    empty, wrong = depot.begin("acme/tiny"), depot.begin("acme/tiny")
    wrong.write(DATA)
    with pytest.raises(CorruptError):
        wrong.commit(Digest.of(b"other bytes"))

    for each in (empty, wrong):
        each.cancel()
        each.close()

    assert not depot.begun and not depot.upload_path(wrong.id).exists()
    depot.engine.dispose()


# --- the order in which a blob is written -------------------------------------------------------------------


class Watched(calls.System):
    """Notes what is made durable and named, in its order; `broken` disks make nothing durable."""

    def __init__(self, broken: bool = False) -> None:
        self.done: list[str] = []
        self.broken = broken

    def sync(self, handle: int) -> None:
        kind = "directory" if stat.S_ISDIR(os.fstat(handle).st_mode) else "bytes"
        if self.broken and kind == "bytes":
            raise OSError(errno.EIO, "Input/output error")
        self.done.append(kind)
        super().sync(handle)

    def rename(self, old: Path, new: Path) -> None:
        super().rename(old, new)
        self.done.append("name")


@pytest.mark.parametrize("requests", [1, 2])
def test_bytes_and_their_name_are_durable_before_the_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, requests: int
) -> None:
    system, depot = Watched(), on_disk(tmp_path)
    monkeypatch.setattr(Catalogue, "hold", lambda *_: system.done.append("transaction"))
    upload = sent(depot, requests)
    monkeypatch.setattr(calls, "system", system)
    upload.commit(Digest.of(DATA))
    upload.close()
    assert [each for each in system.done if each != "directory"][:3] == ["bytes", "name", "transaction"]
    assert "directory" in system.done[system.done.index("name") : system.done.index("transaction")]
    depot.engine.dispose()


@pytest.mark.parametrize("requests", [1, 2])
def test_a_disk_that_makes_nothing_durable_gets_no_blob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, requests: int
) -> None:
    depot = on_disk(tmp_path)
    upload = sent(depot, requests)
    with monkeypatch.context() as patch:
        patch.setattr(calls, "system", Watched(broken=True))
        with pytest.raises(StorageError, match="Input/output error"):
            upload.commit(Digest.of(DATA))
    upload.close()
    assert depot.blob("acme/tiny", Digest.of(DATA)) is None
    with pytest.raises(NotFoundError):  # sent again: Linux would say that the lost bytes are durable
        depot.upload("acme/tiny", upload.id)
    assert not depot.upload_path(upload.id).exists()
    depot.engine.dispose()


def test_a_blob_whose_bytes_go_while_it_is_named_is_not_said_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    depot = on_disk(tmp_path)
    upload = sent(depot, 1)
    hold = Catalogue.hold

    def lost(self: Catalogue, repository: str, digest: Digest, size: int) -> None:
        hold(self, repository, digest, size)
        (tmp_path / depot.blobs.name(digest)).unlink()

    monkeypatch.setattr(Catalogue, "hold", lost)
    with pytest.raises(StorageError, match="was lost while it was named"):
        upload.commit(Digest.of(DATA))
    upload.close()
    depot.engine.dispose()


def sent(depot: DiskDepot, requests: int) -> Upload:
    """An upload with all of its bytes, by one request or by an earlier one."""
    upload = depot.begin("acme/tiny")
    upload.write(DATA)
    if requests == 1:
        return upload
    upload.close()
    return depot.upload("acme/tiny", upload.id)
