"""What the event loop answers itself: not what waits for a disk, nothing past a right; it writes nothing."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from guarded import HOST, ORIGIN, Door, key
from sqlalchemy import Engine, text

from registry.contracts import Upload
from registry.disk import files
from registry.errors import StorageError
from registry.model.digests import Digest
from registry.server import depot as depots_on_disk
from registry.server.app import App
from registry.server.database import connect_at_once, writing
from registry.server.depot import DiskDepot
from registry.server.prompt import Prompt
from registry.server.prompt_depot import PromptDepot
from registry.server.small_blobs import SMALL_BYTES, SmallBlobs
from registry.server.table import prompt_table
from registry.wire.headers import Headers
from registry.wire.messages import Accept, Request, Response

ADA, BOB = key(1), key(2)
SMALL, LARGE = b"small", bytes(SMALL_BYTES + 1)
MODEL = "/v2/ada/tiny"


class House:
    """A registry of ada's on disk, with what its loop and what its threads answer."""

    def __init__(self, place: Path) -> None:
        numbers = itertools.count()
        self.place = place
        self.door = Door()
        self.door.join("ada", ADA)
        self.door.join("bob", BOB)
        self.whole = DiskDepot(place, self.door.engine, lambda: self.door.now, lambda: f"s{next(numbers)}")
        self.door.serve(self.whole)
        self.quick: Engine = connect_at_once(Path(str(self.door.engine.url.database)))
        rights = replace(self.door.rights, engine=self.quick)
        identity = replace(
            self.door.identity, accounts=replace(self.door.accounts, engine=self.quick), rights=rights
        )
        app = App(PromptDepot.before(self.whole, self.quick), rights, self.door.links)
        guard = replace(self.door.guard, table=prompt_table(app), identity=identity)
        self.prompt = Prompt(guard, lambda: 0.0)

    def push(self, data: bytes) -> Digest:
        upload = self.whole.begin("ada/tiny")
        upload.write(data)
        upload.commit(Digest.of(data))
        upload.close()
        return Digest.of(data)

    def request(self, method: str, path: str, who: str = "ada") -> Request:
        fields = {"Host": HOST}
        if who:
            signer = {"ada": ADA, "bob": BOB}[who]
            fields["Authorization"] = f"Bearer {self.door.token(signer, 'repository:ada/tiny:pull,push')}"
        return Request(method, ORIGIN + path, Headers(fields), length=5 if method in ("PUT", "PATCH") else 0)

    def at_once(self, method: str, path: str, who: str = "ada") -> Response | Accept | None:
        return self.prompt(self.request(method, path, who))

    def by_thread(self, method: str, path: str, who: str = "ada") -> Response:
        answer = self.door.guard(self.request(method, path, who))
        assert isinstance(answer, Response)
        return answer


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.quick.dispose()
    made.door.engine.dispose()


def body(answer: Response | Accept | None) -> object:
    assert isinstance(answer, Response)
    assert answer.status == 200
    return answer.body


def test_a_small_blob_that_a_thread_has_read_is_answered_at_once_from_then_on(house: House) -> None:
    path = f"{MODEL}/blobs/{house.push(SMALL)}"
    assert house.at_once("GET", path) is None
    by_thread = house.by_thread("GET", path)
    assert by_thread.body == SMALL

    at_once = house.at_once("GET", path)

    assert body(at_once) == SMALL
    assert isinstance(at_once, Response)
    assert {name for name, _ in at_once.headers} == {name for name, _ in by_thread.headers}


def test_a_range_of_a_small_blob_is_no_more_than_that(house: House) -> None:
    path = f"{MODEL}/blobs/{house.push(SMALL)}"
    house.by_thread("GET", path)
    answer = house.prompt(house.request("GET", path).with_header("Range", "bytes=1-3"))
    assert isinstance(answer, Response)
    assert (answer.status, answer.body) == (206, SMALL[1:4])


def test_a_large_blob_and_one_that_a_writer_asks_to_keep_are_for_threads(house: House) -> None:
    large, small = (f"{MODEL}/blobs/{house.push(data)}" for data in (LARGE, SMALL))
    for path in (large, small):
        house.by_thread("GET", path)
    assert house.at_once("GET", large) is None
    assert house.at_once("HEAD", small) is None


def test_what_is_remembered_of_a_blob_ends_with_its_file(house: House) -> None:
    digest = house.push(SMALL)
    path, file = f"{MODEL}/blobs/{digest}", house.whole.directory / house.whole.blobs.name(digest)
    house.by_thread("GET", path)

    os.utime(file, (1, 1))
    assert house.at_once("GET", path) is None, "somebody wrote into it, perhaps"
    house.by_thread("GET", path)
    assert body(house.at_once("GET", path)) == SMALL

    file.unlink()
    assert house.at_once("GET", path) is None
    assert house.by_thread("GET", path).status == 404


def test_a_blob_in_memory_is_nobodys_who_may_not_read_it(house: House) -> None:
    path = f"{MODEL}/blobs/{house.push(SMALL)}"
    house.by_thread("GET", path)
    for who, status in (("bob", 404), ("", 401)):
        refused = house.at_once("GET", path, who)
        assert isinstance(refused, Response)
        assert refused.status == status

    house.whole.delete_blob("ada/tiny", Digest.of(SMALL))
    gone = house.at_once("GET", path)
    assert isinstance(gone, Response)
    assert gone.status == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", f"{MODEL}/manifests/1"),
        ("POST", f"{MODEL}/blobs/uploads/"),
        ("PUT", f"{MODEL}/blobs/uploads/s1?digest={Digest.of(SMALL)}"),
        ("PATCH", f"{MODEL}/blobs/uploads/s1"),
    ],
)
def test_strangers_who_would_write_are_refused_at_once(house: House, method: str, path: str) -> None:
    refused = house.at_once(method, path, who="")
    assert isinstance(refused, Response)
    assert refused.status == 401


def test_a_manifest_is_put_by_a_thread(house: House) -> None:
    assert house.at_once("PUT", f"{MODEL}/manifests/1") is None


def test_an_upload_is_begun_at_once_and_finished_by_threads(house: House) -> None:
    begun = house.at_once("POST", f"{MODEL}/blobs/uploads/?mount={Digest.of(SMALL)}&from=ada/tiny")
    assert isinstance(begun, Response)
    assert begun.status == 202
    assert not (house.place / "uploads").exists(), "there is no file before there are bytes"

    location = begun.headers.get("Location").removeprefix(ORIGIN)
    accepted = house.at_once("PUT", f"{location}?digest={Digest.of(SMALL)}")
    assert isinstance(accepted, Accept)
    accepted.intake.write(SMALL)
    assert accepted.then().status == 201
    accepted.intake.close()
    assert house.by_thread("GET", f"{MODEL}/blobs/{Digest.of(SMALL)}").body == SMALL


def test_an_upload_that_has_bytes_or_asks_to_mount_what_is_there_is_for_threads(house: House) -> None:
    held = house.push(SMALL)
    upload = house.whole.begin("ada/tiny")
    upload.write(b"1")
    upload.close()
    for method, path in (
        ("PATCH", f"{MODEL}/blobs/uploads/{upload.id}"),
        ("PUT", f"{MODEL}/blobs/uploads/none?digest={held}"),
        ("POST", f"{MODEL}/blobs/uploads/?mount={held}&from=ada/tiny"),
        ("POST", f"{MODEL}/blobs/uploads/?mount={held}"),
    ):
        assert house.at_once(method, path) is None, path


def test_with_very_many_uploads_begun_a_thread_begins_the_next(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(depots_on_disk, "_MOST_BEGUN", 1)
    assert house.at_once("POST", f"{MODEL}/blobs/uploads/") is not None
    assert house.at_once("POST", f"{MODEL}/blobs/uploads/") is None


def test_the_loops_connection_writes_nothing(house: House) -> None:
    with pytest.raises(StorageError), writing(house.quick) as database:
        database.execute(text("DELETE FROM grants"))


# --- uploads that the catalogue does not know yet -----------------------------------------------------------


def test_a_blob_whose_transaction_failed_is_an_upload_still(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = house.whole.begin("ada/tiny")
    upload.write(SMALL)
    real = type(house.whole.catalogue).hold
    calls = itertools.count()

    def failing(*args: object) -> None:
        if next(calls) == 0:
            raise StorageError("the database is held")
        real(*args)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(type(house.whole.catalogue), "hold", failing)
    with pytest.raises(StorageError):
        upload.commit(Digest.of(SMALL))
    upload.close()

    again: Upload = house.whole.upload("ada/tiny", upload.id)
    assert again.received == len(SMALL)
    again.commit(Digest.of(SMALL))
    again.close()
    blob = house.whole.blob("ada/tiny", Digest.of(SMALL))
    assert blob is not None
    assert list((house.place / "uploads").iterdir()) == []


# --- the bytes that are kept --------------------------------------------------------------------------------


def test_small_blobs_are_bounded_and_the_one_that_was_not_asked_for_goes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    status = files.status(tmp_path / "file")
    assert status is not None
    small, names = SmallBlobs(most=10), [Digest.of(b"%d" % number) for number in range(3)]
    small.put(names[0], status, b"12345")
    small.put(names[1], status, b"12345")
    small.put(names[1], status, b"54321")  # again, by another thread
    assert small.get(names[0], status) == b"12345"
    small.put(names[2], status, b"12345")
    assert [each in small for each in names] == [True, False, True]
    assert small.get(names[0], replace(status, inode=0)) is None
    assert names[0] not in small
    small.put(names[0], status, b"1234567890")
    assert [each in small for each in names] == [True, False, False]
