"""A store made whole again: only what is wrong moves, whoever wrote the store, whatever breaks."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from broken import Broken
from faults import Chunks, Counted, Flipping, NoRanges, Wrapped, filled, quick
from invariants import check_store
from sample_models import GRAIN, KiB, Model, put
from store_kit import NAME, OTHER, blob_path

from registry.contracts import Reading, Source
from registry.disk import system as calls
from registry.disk.system import System
from registry.errors import CorruptError, DeniedError, NotFoundError, StorageError
from registry.model.digests import Digest
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.model.spans import Span
from registry.targets.memory import Memory
from registry.targets.store import Store
from registry.targets.store_destinations import Repair
from registry.targets.verify import BlobState
from registry.transfer.copy import copy
from registry.transfer.model import BlobSource
from registry.transfer.progress import Report

MODEL = Model.random(21, 8 * GRAIN + 11, 9 * KiB)
LARGE, SMALL = (layer.digest for layer in MODEL.manifest.layers)
DATA = MODEL.blobs[LARGE]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def store(models: Path) -> Iterator[Store]:
    store = Store(models, grain=GRAIN)
    yield store
    store.close()


@pytest.fixture
def path(request: pytest.FixtureRequest, store: Store, models: Path) -> Path:
    """The large blob of a model that Ferry put there, which keeps sums, or an Ollama, which does not."""
    put(store, NAME, MODEL)
    if getattr(request, "param", "ours") == "stock":
        for each in (models / ".ferry" / "sums").iterdir():
            each.unlink()
    return blob_path(models, LARGE)


by_both = pytest.mark.parametrize("path", ["ours", "stock"], indirect=True)


def flip(path: Path, *places: int) -> None:
    data = bytearray(path.read_bytes())
    for at in places:
        data[at] ^= 0x40
    path.write_bytes(data)


def verify(store: Store) -> dict[Digest, BlobState]:
    found = [store.verify.look(held) for held in store.verify.inventory().blobs]
    return {each.held.blob.digest: each.state for each in found if each is not None}


def repair(store: Store, source: Source, *nearer: BlobSource) -> Report:
    verify(store)
    manifest = store.verify.manifest(NAME)
    return copy(source, Repair(store, manifest), NAME, manifest=manifest, nearer=nearer, options=quick())


@dataclass
class Ending(Wrapped):
    """Refuses everything after so many readings."""

    after: int = 0

    def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
        self.after -= 1
        if self.after < 0:
            raise DeniedError("no more of it")
        return self.inner.open(name, blob, span)


class Lying(Wrapped):
    """Has the blobs, and sends zeros."""

    def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
        return Reading(span, Chunks(iter([bytes(span.length)])))


@dataclass
class Writes(System):
    """What was written to files."""

    written: int = 0

    def pwrite(self, handle: int, data: bytes | memoryview, offset: int) -> int:
        self.written += len(data)
        return super().pwrite(handle, data, offset)


def test_only_the_damaged_spans_move_and_little_is_written(
    path: Path, store: Store, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip(path, 3 * GRAIN + 5)
    source, disk, inode = Counted(filled(MODEL)), Writes(), path.stat().st_ino
    monkeypatch.setattr(calls, "system", disk)

    report = repair(store, source)

    assert report.transferred == GRAIN
    assert [span for _, span in source.opened] == [Span(3 * GRAIN, GRAIN)]
    assert disk.written < 2.2 * GRAIN
    assert path.stat().st_ino == inode, "it was mended in place"
    assert set(verify(store).values()) == {BlobState.GOOD}
    assert list((models / ".ferry" / "partial").iterdir()) == []
    check_store(models)


def test_a_store_that_ollama_wrote_is_compared_with_the_source_and_only_what_differs_is_written(
    path: Path, store: Store, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in (models / ".ferry" / "sums").iterdir():
        each.unlink()
    flip(path, 3 * GRAIN + 5)
    disk = Writes()
    monkeypatch.setattr(calls, "system", disk)

    report = repair(store, filled(MODEL))

    assert report.transferred == len(DATA)
    assert disk.written < 2 * GRAIN + 8 * KiB
    check_store(models)
    flip(path, 0)
    assert repair(store, filled(MODEL)).transferred == GRAIN, "the sums of what is right are known now"


@pytest.mark.parametrize("size", [0, 1, 3 * GRAIN, len(DATA) - 1, len(DATA) + 1, 2 * len(DATA)])
@by_both
def test_a_blob_of_another_size_is_mended(size: int, path: Path, store: Store, models: Path) -> None:
    sums = list((models / ".ferry" / "sums").iterdir())
    path.write_bytes((DATA + DATA)[:size])

    report = repair(store, filled(MODEL))

    assert path.read_bytes() == DATA
    if sums:
        assert report.transferred <= max(0, len(DATA) - size) + GRAIN
    check_store(models)


@by_both
def test_a_blob_that_is_another_altogether_is_replaced_at_one_instant(
    path: Path, store: Store, models: Path
) -> None:
    inode = path.stat().st_ino
    path.write_bytes(bytes(len(DATA)))

    with path.open("rb") as reader:
        repair(store, filled(MODEL))
        assert reader.read() == bytes(len(DATA))

    assert path.read_bytes() == DATA and path.stat().st_ino != inode
    check_store(models)


@by_both
def test_what_is_missing_is_fetched(path: Path, store: Store, models: Path) -> None:
    path.unlink()
    blob_path(models, SMALL).unlink()

    report = repair(store, filled(MODEL))

    assert report.transferred == len(DATA) + 9 * KiB
    check_store(models)


def test_a_small_blob_is_mended(store: Store, models: Path) -> None:
    put(store, NAME, MODEL)
    flip(blob_path(models, SMALL), 1)

    assert repair(store, filled(MODEL)).transferred == 9 * KiB
    check_store(models)


def test_the_tag_stays_what_it_is_here_whatever_it_is_there_by_now(
    path: Path, store: Store, models: Path
) -> None:
    newer, there = Model.random(22, 100), Memory(grain=GRAIN)
    put(there, NAME, MODEL)
    put(there, NAME, newer)
    flip(path, 7)

    repair(store, there)

    assert store.resolve(NAME).digest == MODEL.manifest.digest
    check_store(models)


@by_both
def test_a_source_that_is_wrong_too_harms_nothing(path: Path, store: Store) -> None:
    """Nothing is written into the blob before the whole is proven."""
    flip(path, 2 * GRAIN + 1)
    before = path.read_bytes()

    with pytest.raises(CorruptError):
        repair(store, Lying(filled(MODEL)))

    assert path.read_bytes() == before
    repair(store, filled(MODEL))
    assert path.read_bytes() == DATA


def test_what_one_source_has_not_the_next_has(path: Path, store: Store) -> None:
    flip(path, 2 * GRAIN + 1)

    repair(store, filled(MODEL), BlobSource(Memory(grain=GRAIN), OTHER))

    assert path.read_bytes() == DATA


@by_both
def test_a_source_without_ranges_heals_too(path: Path, store: Store) -> None:
    flip(path, 2 * GRAIN + 1, 6 * GRAIN)

    repair(store, NoRanges(filled(MODEL)))

    assert path.read_bytes() == DATA


@by_both
def test_what_an_interrupted_repair_fetched_is_not_fetched_again(
    path: Path, store: Store, models: Path
) -> None:
    flip(path, *range(0, len(DATA), GRAIN // 2))
    before = path.read_bytes()
    with pytest.raises(DeniedError):
        repair(store, Ending(filled(MODEL), after=5))
    store.close()
    assert path.read_bytes() == before

    again = Store(models, grain=GRAIN)
    report = repair(again, filled(MODEL))

    assert report.transferred <= len(DATA) - 3 * GRAIN
    check_store(models)


@by_both
def test_what_an_interrupted_repair_found_right_is_not_compared_again(
    path: Path, store: Store, models: Path
) -> None:
    flip(path, 7 * GRAIN + 3)
    sums = list((models / ".ferry" / "sums").iterdir())
    with pytest.raises(DeniedError):
        repair(store, Ending(filled(MODEL), after=0 if sums else 5))
    store.close()

    report = repair(Store(models, grain=GRAIN), filled(MODEL))

    assert report.transferred <= len(DATA) - 3 * GRAIN
    check_store(models)


def test_a_pull_after_an_interrupted_repair_goes_on_with_what_that_fetched(
    path: Path, store: Store, models: Path
) -> None:
    flip(path, *range(0, len(DATA), GRAIN // 2))
    with pytest.raises(DeniedError):
        repair(store, Ending(filled(MODEL), after=5))
    store.close()

    report = copy(filled(MODEL), Store(models, grain=GRAIN), NAME, options=quick())

    assert report.transferred <= len(DATA) - 3 * GRAIN
    check_store(models)


@pytest.mark.parametrize("replaced", [True, False])
def test_a_blob_that_others_replace_or_remove_meanwhile_is_whole_afterwards(
    replaced: bool, path: Path, store: Store, models: Path
) -> None:
    flip(path, 5)

    class Meanwhile(Counted):
        def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
            path.unlink(missing_ok=True)
            if replaced:
                (models / "draft").write_bytes(bytes(len(DATA)))
                (models / "draft").rename(path)
            return super().open(name, blob, span)

    repair(store, Meanwhile(filled(MODEL)))

    assert path.read_bytes() == DATA
    check_store(models)


@pytest.mark.parametrize(("call", "number"), [("pwrite", errno.ENOSPC), ("sync_data", errno.EIO)])
def test_a_disk_that_refuses_leaves_the_blob_as_it_was(
    call: str, number: int, path: Path, store: Store, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip(path, 5)
    before = path.read_bytes()
    verify(store)
    monkeypatch.setattr(calls, "system", Broken(call, number))

    with pytest.raises(StorageError):
        repair(store, filled(MODEL))

    monkeypatch.undo()
    assert path.read_bytes() == before
    store.close()
    repair(Store(models, grain=GRAIN), filled(MODEL))
    check_store(models)


def test_a_blob_that_this_user_may_not_write_is_replaced(
    path: Path, store: Store, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip(path, 5)
    inode = path.stat().st_ino

    class OthersFiles(System):
        def open(self, path: Path, flags: int, mode: int = 0o644) -> int:
            if path.parent == models / "blobs" and flags & os.O_RDWR:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return super().open(path, flags, mode)

    monkeypatch.setattr(calls, "system", OthersFiles())
    repair(store, filled(MODEL))

    assert path.stat().st_ino != inode
    check_store(models)


def test_a_sector_that_takes_no_byte_is_left_for_a_new_file(
    path: Path, store: Store, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip(path, 5)
    inode = path.stat().st_ino

    class BadSector(System):
        def pwrite(self, handle: int, data: bytes | memoryview, offset: int) -> int:
            if os.fstat(handle).st_ino == inode:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().pwrite(handle, data, offset)

    monkeypatch.setattr(calls, "system", BadSector())
    repair(store, filled(MODEL))

    assert path.stat().st_ino != inode
    check_store(models)


@pytest.mark.seeds(2)
@by_both
def test_any_damage_is_mended(seed: int, path: Path, store: Store, models: Path) -> None:
    """Bits, zeros, lost ends, in any number, and sources that flip and break: what remains is the model."""
    chance = random.Random(seed)
    for _ in range(4):
        data = bytearray(path.read_bytes())
        for _ in range(chance.randrange(1, 6)):
            at, length = chance.randrange(len(data)), chance.choice([1, 100, GRAIN, 3 * GRAIN])
            length = min(length, len(data) - at)
            data[at : at + length] = chance.choice([bytes(length), chance.randbytes(length)])
        path.write_bytes(data[: chance.choice([len(data), chance.randrange(1, len(data))])])
        source = filled(MODEL)
        sources: list[Source] = [source, Flipping(source, at=GRAIN // 3), NoRanges(source)]
        repair(store, chance.choice(sources))
        assert path.read_bytes() == DATA
    check_store(models)


def test_a_model_that_was_removed_meanwhile_is_not_named_again(
    path: Path, store: Store, models: Path
) -> None:
    flip(path, 5)
    verify(store)
    manifest = store.verify.manifest(NAME)
    store.remove(NAME)

    copy(filled(MODEL), Repair(store, manifest), NAME, manifest=manifest, options=quick())

    with pytest.raises(NotFoundError):
        store.resolve(NAME)
    check_store(models)
