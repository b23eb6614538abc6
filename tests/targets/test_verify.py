"""A store compared with what its manifests name, while others are at work in it."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from sample_models import GRAIN, Model, put
from store_kit import MODEL, NAME, OTHER, blob_path

from registry.disk import system as calls
from registry.disk.system import System
from registry.model.digests import Digest
from registry.model.manifests import Manifest
from registry.model.names import Name
from registry.model.spans import Span, Spans
from registry.targets.store import Store
from registry.targets.verify import BlobCheck, BlobState

LARGE, SMALL = (layer.digest for layer in MODEL.manifest.layers)


def verified(store: Store, *wanted: Name) -> dict[Digest, BlobCheck]:
    findings = [store.verify.look(held) for held in store.verify.inventory(wanted).blobs]
    return {each.held.blob.digest: each for each in findings if each is not None}


def states(store: Store, *wanted: Name) -> dict[Digest, BlobState]:
    return {digest: each.state for digest, each in verified(store, *wanted).items()}


def flip(path: Path, at: int, *, quietly: bool = False) -> None:
    """Turn one bit; `quietly`, as a disk does it: with the times that it had."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    if quietly:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_whole_store_is_good(store: Store) -> None:
    put(store, NAME, MODEL)

    assert set(states(store).values()) == {BlobState.GOOD}
    assert len(verified(store)) == 3


def test_a_blob_that_others_touch_while_it_is_read_is_read_again(store: Store, models: Path) -> None:
    put(store, NAME, MODEL)
    held = next(each for each in store.verify.inventory().blobs if each.blob.digest == LARGE)
    read: list[int] = []

    def seen(length: int) -> None:
        if not read:
            os.utime(blob_path(models, LARGE))
        read.append(length)

    found = store.verify.look(held, seen)

    assert found is not None and found.state is BlobState.GOOD
    assert sum(read) == 2 * held.blob.size


def test_a_bit_that_rotted_is_found_though_the_blob_was_proven_before(store: Store, models: Path) -> None:
    """The disk changes no time when it rots: the record of what was proven knows nothing of it."""
    put(store, NAME, MODEL)
    flip(blob_path(models, LARGE), GRAIN + 9, quietly=True)
    assert store.size(NAME, MODEL.manifest.layers[0]) is not None

    found = verified(store)[LARGE]

    assert (found.state, found.spans) == (BlobState.DAMAGED, Spans((Span(GRAIN, GRAIN),)))
    assert store.size(NAME, MODEL.manifest.layers[0]) is None
    assert Store(models).size(NAME, MODEL.manifest.layers[0]) is None


def test_what_is_missing_and_what_is_extra_is_named(store: Store, models: Path) -> None:
    put(store, NAME, MODEL)
    blob_path(models, SMALL).unlink()
    extra = Digest.of(b"extra")
    blob_path(models, extra).write_bytes(b"extra")
    (models / "blobs" / "sha256-12345").write_bytes(b"Ollama's own")

    found = states(store)

    assert found[SMALL] is BlobState.MISSING
    assert found[LARGE] is BlobState.GOOD
    assert [each.blob.digest for each in store.verify.inventory().extra] == [extra]
    assert not store.verify.inventory([NAME]).extra


def test_a_blob_of_several_models_is_read_once_and_named_by_all(store: Store) -> None:
    put(store, NAME, MODEL)
    store.copy_name(NAME, OTHER)

    inventory = store.verify.inventory()

    assert inventory.models == 2
    assert [set(each.names) for each in inventory.blobs] == [{NAME, OTHER}] * 3
    assert [each.names for each in store.verify.inventory([OTHER]).blobs] == [(OTHER,)] * 3


def test_a_manifest_that_cannot_be_read_is_named(store: Store, models: Path) -> None:
    put(store, NAME, MODEL)
    put(store, OTHER, Model.random(2, 100))
    path = models / "manifests" / "127.0.0.1:5000" / "acme" / "other" / "2"
    path.write_bytes(path.read_bytes()[:40])
    os.utime(path, (1, 1))

    inventory = store.verify.inventory()

    assert [each.name for each in inventory.unreadable] == [OTHER]
    assert inventory.models == 1


@pytest.mark.parametrize("wanted", [(), (NAME,)])
def test_what_was_removed_while_it_was_read_is_no_damage(wanted: Sequence[Name], store: Store) -> None:
    put(store, NAME, MODEL)
    inventory = store.verify.inventory(wanted)

    store.remove(NAME)

    assert [store.verify.look(held) for held in inventory.blobs] == [None] * 3


def test_a_verified_blob_gets_sums_so_that_later_damage_is_located(store: Store, models: Path) -> None:
    """As in a store that stock Ollama wrote, where nobody kept any."""
    put(store, NAME, MODEL)
    for path in (models / ".ferry" / "sums").iterdir():
        path.unlink()
    assert states(store)[LARGE] is BlobState.GOOD

    flip(blob_path(models, LARGE), 0)

    assert verified(store)[LARGE].spans == Spans((Span(0, GRAIN),))


def test_a_link_in_the_place_of_a_blob_is_damage(store: Store, models: Path, tmp_path: Path) -> None:
    put(store, NAME, MODEL)
    path = blob_path(models, LARGE)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")

    assert states(store)[LARGE] is BlobState.DAMAGED


def test_how_far_it_is_is_told_and_never_more_than_there_is(store: Store) -> None:
    put(store, NAME, MODEL)
    seen: list[int] = []

    for held in store.verify.inventory().blobs:
        store.verify.look(held, seen.append)

    assert sum(seen) == MODEL.manifest.total


def test_the_largest_is_looked_at_first_for_no_other_can_be_hashed_beside_it_at_the_end(store: Store) -> None:
    put(store, NAME, MODEL)

    sizes = [held.blob.size for held in store.verify.inventory().blobs]

    assert len(set(sizes)) == 3 and sizes == sorted(sizes, reverse=True)


def test_a_blob_that_comes_back_while_it_is_looked_for_is_not_missing(store: Store, models: Path) -> None:
    """`rm` and a pull of the same model, between two looks."""
    put(store, NAME, MODEL)
    [large] = [held for held in store.verify.inventory().blobs if held.blob.digest == LARGE]
    path = blob_path(models, LARGE)
    data = path.read_bytes()
    path.unlink()
    manifest = store.verify.manifest

    def back(name: Name) -> Manifest:
        path.write_bytes(data)
        return manifest(name)

    store.verify.manifest = back  # type: ignore[method-assign]

    found = store.verify.look(large)

    assert found is not None and found.state is BlobState.GOOD


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_a_store_that_takes_nothing_is_verified_all_the_same(
    number: int, store: Store, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, NAME, MODEL)
    for path in (models / ".ferry" / "sums").iterdir():
        path.unlink()
    flip(blob_path(models, SMALL), 0)

    class ReadOnly(System):
        def open(self, path: Path, flags: int, mode: int = 0o644) -> int:
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                raise OSError(number, os.strerror(number))
            return super().open(path, flags, mode)

    monkeypatch.setattr(calls, "system", ReadOnly())

    found = states(Store(models, grain=GRAIN))

    assert (found[LARGE], found[SMALL]) == (BlobState.GOOD, BlobState.DAMAGED)
