"""A server that is killed while it names a blob has lost none of its bytes: at 99 % nobody starts over.

Nor has one that is killed while bytes arrive, but for the first mebibyte.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from depots import Turned, on_disk

from registry.disk import system as calls
from registry.disk.files import read_span
from registry.errors import InvalidError, NotFoundError, StorageError
from registry.model.digests import Digest
from registry.model.spans import FileSpan, Span
from registry.server import depot as depots_on_disk
from registry.server.catalogue import Catalogue
from registry.server.check import Check
from registry.server.depot import DiskDepot
from registry.server.uploads import KEPT_FROM, QUIET, Begun, Owners

WEIGHTS = bytes(range(256)) * 500
DIGEST = Digest.of(WEIGHTS)


class Killed(BaseException):
    """Nothing of this process runs any more."""


class Dying(calls.System):
    """Ends the process in front of its `last`-th change of a name."""

    def __init__(self, last: int) -> None:
        self.steps = 0
        self._last = last

    def rename(self, old: Path, new: Path) -> None:
        self._step()
        super().rename(old, new)

    def link(self, old: Path, new: Path) -> None:
        self._step()
        super().link(old, new)

    def unlink(self, path: Path) -> None:
        self._step()
        super().unlink(path)

    def sync(self, handle: int) -> None:
        self._step()
        super().sync(handle)

    def _step(self) -> None:
        self.steps += 1
        if self.steps == self._last:
            raise Killed


class Single(calls.System):
    """A filesystem on which a file has one name."""

    def link(self, old: Path, new: Path) -> None:
        raise OSError(errno.EPERM, "no links here")


def bring(depot: DiskDepot) -> str:
    upload = depot.begin("acme/tiny")
    upload.write(WEIGHTS)
    upload.close()
    return upload.id


def commit(depot: DiskDepot, session: str) -> None:
    upload = depot.upload("acme/tiny", session)
    try:
        upload.commit(DIGEST)
    finally:
        upload.close()


def held(depot: DiskDepot) -> bytes | None:
    blob = depot.blob("acme/tiny", DIGEST)
    if blob is None:
        return None
    span = blob.content(Span(0, blob.size))
    assert isinstance(span, FileSpan)
    return b"".join(read_span(span))


def files_of(place: Path) -> list[str]:
    return sorted(
        path.name
        for part in ("blobs", "uploads")
        for path in (place / part).rglob("*[0-9a-z]*")
        if path.is_file()
    )


def test_whenever_it_dies_the_blob_is_there_or_all_of_its_upload_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last, ended = 0, False
    while not ended:
        last += 1
        place = tmp_path / str(last)
        depot = on_disk(place)
        session = bring(depot)
        with monkeypatch.context() as patch:
            patch.setattr(calls, "system", Dying(last))
            try:
                commit(depot, session)
                ended = True
            except Killed:
                pass
        depot.engine.dispose()

        again = on_disk(place)
        if held(again) is None:
            upload = again.upload("acme/tiny", session)
            assert upload.received == len(WEIGHTS)
            upload.close()
            commit(again, session)
        assert held(again) == WEIGHTS
        again.engine.dispose()
    assert last > 4


def test_a_blob_that_came_by_one_request_is_in_the_catalogue_only_with_all_of_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last, ended = 0, False
    while not ended:
        last += 1
        depot = on_disk(tmp_path / str(last))
        with monkeypatch.context() as patch:
            patch.setattr(calls, "system", Dying(last))
            with contextlib.suppress(Killed):
                upload = depot.begin("acme/tiny")
                upload.write(WEIGHTS)
                upload.commit(DIGEST)
                ended = True
        depot.engine.dispose()

        again = on_disk(tmp_path / str(last))
        assert list(Check(again, hashing=True).findings()) == []
        assert held(again) == WEIGHTS or not ended
        again.engine.dispose()
    assert last > 2


def test_what_was_named_leaves_one_file(tmp_path: Path) -> None:
    depot = on_disk(tmp_path)

    for _ in range(2):
        commit(depot, bring(depot))

    assert files_of(tmp_path) == [DIGEST.hex]
    depot.engine.dispose()


def test_a_filesystem_without_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "system", Single())
    depot = on_disk(tmp_path)

    session = bring(depot)
    commit(depot, session)

    assert held(depot) == WEIGHTS
    assert files_of(tmp_path) == [DIGEST.hex]
    with pytest.raises(NotFoundError):
        depot.upload("acme/tiny", session)
    depot.engine.dispose()


# --- how much of an upload is known after a restart ---------------------------------------------------------


def known(depot: DiskDepot, session: str) -> bool:
    return depot.catalogue.has_upload("acme/tiny", session)


def test_an_upload_that_was_let_go_with_bytes_in_it_goes_on_after_a_restart(tmp_path: Path) -> None:
    depot = on_disk(tmp_path)
    session = bring(depot)
    depot.engine.dispose()

    again = on_disk(tmp_path)
    upload = again.upload("acme/tiny", session)
    assert upload.received == len(WEIGHTS)
    upload.close()
    commit(again, session)
    assert held(again) == WEIGHTS
    assert not known(again, session)
    again.engine.dispose()


def test_no_more_than_a_mebibyte_of_an_upload_is_lost_with_its_server(tmp_path: Path) -> None:
    depot = on_disk(tmp_path)
    upload = depot.begin("acme/tiny")
    upload.write(bytes(KEPT_FROM))
    assert not known(depot, upload.id)
    upload.write(b"1")
    assert known(depot, upload.id)  # and its server may be killed
    depot.engine.dispose()

    again = on_disk(tmp_path)
    goes_on = again.upload("acme/tiny", upload.id)
    assert goes_on.received == KEPT_FROM + 1
    goes_on.cancel()
    goes_on.close()
    assert not known(again, upload.id)
    again.engine.dispose()
    upload.close()


def test_a_blob_that_came_whole_and_an_upload_that_was_cancelled_leave_no_session(tmp_path: Path) -> None:
    depot = on_disk(tmp_path)
    whole, cancelled = depot.begin("acme/tiny"), depot.begin("acme/tiny")
    whole.write(WEIGHTS)
    whole.commit(DIGEST)
    whole.close()
    cancelled.write(b"12")
    cancelled.cancel()
    cancelled.close()

    assert depot.begun == {}
    assert not known(depot, whole.id) and not known(depot, cancelled.id)
    assert files_of(tmp_path) == [DIGEST.hex]
    depot.engine.dispose()


def test_whoever_lost_an_upload_does_not_bring_it_back(tmp_path: Path) -> None:
    watch = Turned()
    depot = on_disk(tmp_path, owners=Owners(watch))
    older = depot.begin("acme/tiny")
    older.write(WEIGHTS)
    watch.seconds += QUIET
    newer = depot.upload("acme/tiny", older.id)
    newer.commit(DIGEST)

    older.close()
    newer.close()

    assert not known(depot, older.id)
    with pytest.raises(NotFoundError):
        depot.upload("acme/tiny", older.id)
    depot.engine.dispose()


def test_very_many_uploads_that_were_only_begun_are_known_to_the_catalogue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(depots_on_disk, "_MOST_BEGUN", 2)
    depot = on_disk(tmp_path)
    sessions = []
    for _ in range(4):
        upload = depot.begin("acme/tiny")
        upload.close()
        sessions.append(upload.id)

    assert [known(depot, each) for each in sessions] == [True, True, False, False]
    for each in sessions:
        commit_of(depot, each)
    assert depot.begun == {}
    depot.engine.dispose()


def test_of_very_many_uploads_some_may_begin_and_end_while_one_is_made_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Busy(dict[str, Begun]):
        def __iter__(self) -> Iterator[str]:  # another thread begins one before the first is read
            found = super().__iter__()
            self["another"] = Begun("acme/tiny")
            return found

    monkeypatch.setattr(depots_on_disk, "_MOST_BEGUN", 2)
    depot = replace(on_disk(tmp_path), begun=Busy())
    for _ in range(4):
        depot.begin("acme/tiny").close()
    depot.engine.dispose()


def commit_of(depot: DiskDepot, session: str) -> None:
    upload = depot.upload("acme/tiny", session)
    upload.write(WEIGHTS)
    upload.commit(DIGEST)
    upload.close()


# --- an upload whose file is a blob already -----------------------------------------------------------------


@pytest.mark.parametrize("system", [calls.System(), Single()], ids=["links", "one name a file"])
@pytest.mark.parametrize("parts", [1, 2])
def test_what_is_sent_after_a_failed_transaction_changes_no_blob_that_others_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: int, system: calls.System
) -> None:
    monkeypatch.setattr(calls, "system", system)
    depot = on_disk(tmp_path)
    commit(depot, bring(depot))

    upload = depot.upload("acme/two", bring_in_vain(depot, monkeypatch, parts))
    with contextlib.suppress(InvalidError):
        upload.write(b"more")
    upload.rewind(min(upload.received, 10))
    with contextlib.suppress(InvalidError):
        upload.write(bytes(len(WEIGHTS)))
    upload.close()

    assert held(depot) == WEIGHTS
    depot.engine.dispose()


@pytest.mark.parametrize("parts", [1, 2])
def test_the_same_bytes_may_be_sent_again_after_a_failed_transaction_but_no_others_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    depot = on_disk(tmp_path)

    upload = depot.upload("acme/two", bring_in_vain(depot, monkeypatch, parts))
    assert upload.received == len(WEIGHTS)
    upload.rewind(1000)
    if parts > 1:
        with pytest.raises(InvalidError, match="longer blob"):
            upload.commit(Digest.of(WEIGHTS[:1000]))
        with pytest.raises(InvalidError, match="a blob already"):  # nor other bytes named as theirs
            upload.write(bytes(1000))
    upload.write(WEIGHTS[1000:])
    upload.commit(DIGEST)
    upload.close()

    assert depot.blob("acme/two", DIGEST) is not None
    assert files_of(tmp_path) == [DIGEST.hex]
    depot.engine.dispose()


def test_an_upload_that_a_backup_has_linked_goes_on(tmp_path: Path) -> None:
    depot = on_disk(tmp_path)
    upload = depot.begin("acme/tiny")
    upload.write(WEIGHTS[:1000])
    upload.close()
    (tmp_path / "copy").hardlink_to(depot.upload_path(upload.id))  # as `cp -al` does

    upload = depot.upload("acme/tiny", upload.id)
    upload.write(WEIGHTS[1000:])
    upload.commit(DIGEST)
    upload.close()

    assert held(depot) == WEIGHTS
    depot.engine.dispose()


def refused(*_asked: object) -> None:
    raise StorageError("the database is locked")


def bring_in_vain(depot: DiskDepot, monkeypatch: pytest.MonkeyPatch, parts: int) -> str:
    """An upload of the weights to acme/two, by one request or more, that the database refused to name."""
    upload = depot.begin("acme/two")
    upload.write(WEIGHTS)
    if parts > 1:
        upload.close()
        upload = depot.upload("acme/two", upload.id)
    with monkeypatch.context() as patch:
        patch.setattr(Catalogue, "hold", refused)
        with pytest.raises(StorageError):
            upload.commit(DIGEST)
    upload.close()
    return upload.id
