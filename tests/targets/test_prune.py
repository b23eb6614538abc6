"""What `prune` takes, and what waits or stays: Ollama may be at work, and a part of the store away."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from sample_models import GRAIN, KiB, Model, describe, get, put, put_blob, receive
from store_kit import HOUR, MODEL, NAME, OTHER, age, blob_path

from registry.model.names import Name
from registry.model.spans import Span
from registry.targets.store import Store


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("depth", [1, 3])
def test_blobs_are_kept_while_manifests_on_another_disk_are_not_there(
    depth: int, there: bool, store: Store, models: Path, tmp_path: Path
) -> None:
    """A directory of `manifests` that is a link to a disk which is not mounted: to nothing, or a bare one."""
    other = Model.random(8, KiB)
    put(store, NAME, MODEL)
    put(store, OTHER, other)
    place = models / "manifests" / OTHER.host
    if depth == 3:
        place /= OTHER.repository
    away, disk = tmp_path / "away", tmp_path / "disk"
    place.rename(away)
    if there:
        disk.mkdir()
    place.symlink_to(disk)

    store.remove(NAME)

    assert str(place) in store.prune(time.time() + 2 * HOUR).kept
    assert store.verify.inventory().extra == ()
    assert all(blob_path(models, digest).exists() for digest in (*MODEL.blobs, *other.blobs))


def test_prune_takes_what_nothing_names_after_an_hour_and_says_what(store: Store, models: Path) -> None:
    put(store, NAME, MODEL)
    blobs = models / "blobs"
    orphan = put_blob(store, NAME, b"nobody names me")
    young = put_blob(store, NAME, b"I am young")
    stock = f"sha256-{'0' * 64}-partial"
    for stale in (stock, f"{stock}-3", "sha256-123", "COPY7"):
        (blobs / stale).write_bytes(b"x")
        age(blobs / stale, 2 * HOUR)
    (blobs / "notes.txt").write_bytes(b"somebody's own")
    for path in (
        blobs / "notes.txt",
        *(blob_path(models, digest) for digest in (*MODEL.blobs, orphan.digest)),
    ):
        age(path, 2 * HOUR)

    would = store.prune(time.time(), dry_run=True)
    did = store.prune(time.time())

    assert would == did
    assert {item.path.name for item in did.items} == {
        *(stock, f"{stock}-3", "sha256-123", "COPY7"),
        blob_path(models, orphan.digest).name,
    }
    assert did.freed > 0
    assert blob_path(models, young.digest).exists() and (blobs / "notes.txt").exists()
    assert get(store, NAME) == MODEL
    assert store.prune(time.time()).items == ()


def test_the_part_files_of_one_download_are_as_young_as_the_youngest(store: Store, models: Path) -> None:
    """Under a pulling Ollama: its first part was written two hours ago, the next one just now."""
    blobs = models / "blobs"
    blobs.mkdir(parents=True)
    fresh, old = (f"sha256-{digit * 64}-partial" for digit in "01")
    for name in (fresh, f"{fresh}-0", f"{fresh}-12", old, f"{old}-0"):
        (blobs / name).write_bytes(b"x" * 10)
        age(blobs / name, 2 * HOUR)
    age(blobs / f"{fresh}-12", 1)

    pruned = store.prune(time.time())

    assert {item.path.name for item in pruned.items} == {old, f"{old}-0"}
    assert {item.path.name for item in pruned.waiting} == {fresh, f"{fresh}-0", f"{fresh}-12"}
    assert {path.name for path in blobs.iterdir()} == {fresh, f"{fresh}-0", f"{fresh}-12"}
    assert all(abs(item.until - time.time() - HOUR) < 60 for item in pruned.waiting)


def test_what_only_ferry_uses_need_not_wait_an_hour(store: Store, models: Path) -> None:
    mine = put_blob(store, NAME, b"nobody names me")
    blob = MODEL.manifest.layers[0]
    intake = receive(store, NAME, blob)
    intake.write(Span(0, GRAIN), [MODEL.blobs[blob.digest][:GRAIN]])
    theirs = describe(b"named by a pulling ollama, whose manifest comes last")
    blob_path(models, theirs.digest).write_bytes(b"named by a pulling ollama, whose manifest comes last")

    put(store, Name.parse("models.example/acme/other:1"), Model.of(b"its manifest is there"))
    waits = store.prune(time.time())
    in_use = store.prune(time.time(), at_once=True)
    intake.close()
    broken = store.prune(time.time())
    left_over = store.prune(time.time(), at_once=True)

    assert waits.items == broken.items == ()
    assert blob_path(models, blob.digest).name in {item.path.name for item in broken.waiting}
    assert {(item.path.name, item.ours) for item in waits.waiting} == {
        (blob_path(models, mine.digest).name, True),
        (blob_path(models, theirs.digest).name, False),
    }
    assert [item.path for item in in_use.items] == [blob_path(models, mine.digest)]
    assert [item.path.name for item in left_over.items] == [blob_path(models, blob.digest).name]
    assert len(left_over.waiting) == 1


@pytest.mark.parametrize("at_once", [False, True])
def test_while_ollama_pulls_a_blob_that_nothing_names_may_be_its_own(
    at_once: bool, store: Store, models: Path
) -> None:
    """It takes what is there for its own, and names it when all has come: hours after it looked."""
    put(store, NAME, MODEL)
    orphan = put_blob(store, NAME, b"of a pull that broke, and that ollama goes on with")
    if not at_once:  # which is for what Ferry proved, and nobody touched since
        age(blob_path(models, orphan.digest), 2 * HOUR)
    partial = models / "blobs" / f"sha256-{'0' * 64}-partial-3"
    partial.touch()

    waits = store.prune(time.time(), at_once=at_once)

    assert waits.items == ()
    assert {(item.path, item.ours) for item in waits.waiting} == {
        (blob_path(models, orphan.digest), False),
        (partial, False),
    }
    assert all(abs(item.until - time.time() - HOUR) < 60 for item in waits.waiting)
    age(partial, HOUR + 1)
    assert len(store.prune(time.time(), at_once=at_once).items) == 2


@pytest.mark.parametrize("seconds", [60, HOUR / 2])
def test_while_ollama_pulls_a_model_that_is_removed_leaves_its_blobs(
    seconds: float, store: Store, models: Path, said: list[str]
) -> None:
    """The one that Ollama pulls may share them. A pull that ended, for the disk was full, keeps none."""
    put(store, NAME, MODEL)
    partial = models / "blobs" / f"sha256-{'0' * 64}-partial"
    partial.touch()
    age(partial, seconds)
    stay = seconds < 300

    assert (store.would_free([NAME]) == 0) is stay
    assert (store.remove(NAME) == 0) is stay

    assert {blob_path(models, digest).exists() for digest in MODEL.blobs} == {stay}
    assert any("Ollama is pulling" in line for line in said) is stay
