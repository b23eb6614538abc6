"""Taking away from the store, and others at work in it: what somebody uses stays."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from invariants import check_store
from sample_models import GRAIN, KiB, Model, describe, fill, get, get_blob, put, put_blob, receive
from store_kit import HOUR, MODEL, NAME, OTHER, age, blob_path

from registry.contracts import BusyElsewhere
from registry.disk.data import DataFile, lock_file
from registry.disk.partial_files import Busy, hold
from registry.errors import InvalidError, NotFoundError
from registry.model.names import Name
from registry.model.spans import Span
from registry.targets.store import Store
from registry.targets.store_destinations import Repair


def test_removing_keeps_every_blob_while_a_manifest_cannot_be_read(
    store: Store, models: Path, said: list[str]
) -> None:
    put(store, NAME, MODEL)
    bad = models / "manifests" / "h" / "a" / "b" / "c"
    bad.parent.mkdir(parents=True)
    bad.write_bytes(b"{")
    age(bad, 60)

    store.remove(NAME)
    pruned = store.prune(time.time() + 2 * HOUR)

    assert all(blob_path(models, digest).exists() for digest in MODEL.blobs)
    assert str(bad) in said[-1] and str(bad) in pruned.kept
    bad.unlink()
    unlisted = store.prune(time.time() + 2 * HOUR)
    assert unlisted.unlisted and "there is no model" in unlisted.kept
    assert all(blob_path(models, digest).exists() for digest in MODEL.blobs)
    assert store.prune(time.time() + 2 * HOUR, no_models=True).kept == ""
    assert list((models / "blobs").iterdir()) == []


def test_a_name_whose_own_manifest_cannot_be_read_can_be_removed(
    store: Store, models: Path, said: list[str]
) -> None:
    put(store, NAME, MODEL)
    path = models / "manifests" / "models.example" / "acme" / "tiny" / "1"
    path.write_bytes(b"{")
    age(path, 60)

    store.remove(NAME)

    assert not path.exists() and said
    assert all(blob_path(models, digest).exists() for digest in MODEL.blobs)


def test_blobs_that_a_manifest_with_a_name_we_refuse_needs_are_kept(store: Store, models: Path) -> None:
    put(store, NAME, MODEL)
    odd = models / "manifests" / "h" / "a" / "b" / "bad name"
    odd.parent.mkdir(parents=True)
    odd.write_bytes(MODEL.manifest.raw)

    store.remove(NAME)

    assert all(blob_path(models, digest).exists() for digest in MODEL.blobs)


def test_removing_leaves_what_another_process_is_about_to_name(store: Store, models: Path) -> None:
    put(store, NAME, MODEL)
    puller = Store(models, grain=GRAIN)
    puller.prepare(OTHER, MODEL.manifest)

    store.remove(NAME)
    store.prune(time.time() + 2 * HOUR)
    put(puller, OTHER, MODEL)

    assert get(puller, OTHER) == MODEL
    puller.close()
    store.remove(OTHER)
    assert list((models / "blobs").iterdir()) == []


def test_removing_leaves_what_another_process_is_sending(store: Store, models: Path) -> None:
    put(store, NAME, MODEL)
    pusher = Store(models)
    manifest = pusher.resolve(NAME)
    first, *rest = manifest.blobs()
    get_blob(pusher, NAME, first)

    store.remove(NAME)

    assert [get_blob(pusher, NAME, blob) for blob in rest] == [MODEL.blobs[blob.digest] for blob in rest]
    pusher.close()


def test_what_an_earlier_run_left_stays_for_whoever_is_about_to_go_on_with_it(
    store: Store, models: Path
) -> None:
    blob = MODEL.manifest.layers[0]
    intake = receive(store, NAME, blob)
    intake.write(Span(0, GRAIN), [MODEL.blobs[blob.digest][:GRAIN]])
    intake.close()
    puller = Store(models, grain=GRAIN)
    puller.prepare(NAME, MODEL.manifest)

    claimed = store.prune(time.time() + 2 * HOUR).items
    puller.close()
    unclaimed = store.prune(time.time() + 2 * HOUR).items

    assert claimed == ()
    assert [item.path.name for item in unclaimed] == [blob_path(models, blob.digest).name]


def test_nobody_claims_blobs_while_somebody_takes_blobs_away(store: Store, models: Path) -> None:
    put(store, NAME, MODEL)
    taking_away = lock_file(models / ".ferry" / "lock")
    assert taking_away is not None
    puller = threading.Thread(target=store.prepare, args=(OTHER, MODEL.manifest), daemon=True)

    puller.start()
    puller.join(0.2)
    waited = puller.is_alive()
    taking_away.close()
    puller.join(5)

    assert waited and not puller.is_alive()


def test_removing_says_how_many_bytes_are_free_again(store: Store, models: Path) -> None:
    put(store, NAME, MODEL)
    store.copy_name(NAME, OTHER)
    held = sum(path.stat().st_blocks * 512 for path in (models / "blobs").iterdir())

    assert (store.remove(NAME), store.remove(OTHER)) == (0, held)


def test_a_finished_blob_stays_young_until_its_manifest_is_written(models: Path) -> None:
    now = [time.time()]
    store = Store(models, grain=GRAIN, clock=lambda: now[0])
    blob = put_blob(store, NAME, b"finished long ago")
    age(blob_path(models, blob.digest), 2 * HOUR)
    Store(models).size(NAME, blob)  # proven again with its new time

    now[0] += 2 * HOUR
    put_blob(store, NAME, b"another one, two hours later")

    assert time.time() - blob_path(models, blob.digest).stat().st_mtime < 60
    store.close()


def test_a_copy_of_a_name_is_the_same_bytes_and_lives_on_its_own(store: Store) -> None:
    put(store, NAME, MODEL)

    store.copy_name(NAME, OTHER)
    store.remove(NAME)

    assert get(store, OTHER) == MODEL
    with pytest.raises(NotFoundError):
        store.copy_name(NAME, OTHER)
    with pytest.raises(InvalidError):
        store.copy_name(OTHER, Name.parse("[::1]/a/b"))


# --- others at work ------------------------------------------------------------------------------------


def test_a_blob_that_another_process_named_just_now_is_not_fetched_again(store: Store, models: Path) -> None:
    data = b"in between" * GRAIN
    blob = describe(data)
    assert store.size(NAME, blob) is None
    put_blob(Store(models, grain=GRAIN), NAME, data)

    answer = store.receive(NAME, blob, None)

    assert answer is None
    assert store.size(NAME, blob) == len(data)


@pytest.mark.parametrize("size", [10, 3 * GRAIN])
def test_a_blob_that_another_process_named_before_its_lock_was_ours_is_not_fetched_again(
    size: int, store: Store, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It named the blob and let go of it between our look at the blob and our lock."""
    data = bytes(size)

    def late(*given: Any, **named: Any) -> DataFile | Busy:
        monkeypatch.undo()
        put_blob(Store(models, grain=GRAIN), NAME, data)
        return hold(*given, **named)

    monkeypatch.setattr("registry.targets.blob_intakes.hold", late)
    monkeypatch.setattr("registry.disk.partial.hold", late)

    answer = store.receive(NAME, describe(data), None)

    assert answer is None
    assert store.size(NAME, describe(data)) == size
    assert list((models / ".ferry" / "partial").iterdir()) == []


def test_what_a_store_that_was_forgotten_claimed_and_locked_is_free(models: Path) -> None:
    blob = MODEL.manifest.layers[0]
    forgotten = Store(models, grain=GRAIN)
    forgotten.prepare(NAME, MODEL.manifest)
    intake = receive(forgotten, NAME, blob)
    intake.write(Span(0, GRAIN), [MODEL.blobs[blob.digest][:GRAIN]])
    assert isinstance(Store(models, grain=GRAIN).receive(NAME, blob, None), BusyElsewhere)

    del intake, forgotten

    assert receive(Store(models, grain=GRAIN), NAME, blob).received.total == GRAIN
    assert len(Store(models).prune(time.time() + 2 * HOUR).items) == 1


def test_a_tag_is_the_old_model_or_the_new_one_at_every_instant(store: Store, models: Path) -> None:
    old, new = Model.random(4, KiB), Model.random(5, KiB)
    put(store, NAME, old)
    put(store, OTHER, new)
    seen: set[bytes] = set()
    stop = threading.Event()

    def look() -> None:
        path = models / "manifests" / "models.example" / "acme" / "tiny" / "1"
        while not stop.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=look, daemon=True)
    reader.start()
    for _ in range(30):
        store.publish(NAME, new.manifest)
        store.publish(NAME, old.manifest)
    stop.set()
    reader.join()

    assert seen <= {old.manifest.raw, new.manifest.raw}


@pytest.mark.seeds(2)
def test_put_remove_and_prune_at_random_side_by_side_leave_a_whole_store(seed: int, models: Path) -> None:
    shared = Model.random(seed, 2 * KiB).blobs
    data = [bytes(blob) for blob in shared.values()]
    made = [Model.of(*data, bytes([number]) * KiB) for number in range(4)]
    names = [Name.parse(f"h/a/m{number}:t") for number in range(4)]
    errors: list[BaseException] = []

    def life(number: int) -> None:
        store = Store(models, grain=GRAIN)
        try:
            for _ in range(6):
                put_together(store, names[number], made[number])
                assert get(store, names[number]) == made[number]
                store.remove(names[number])
                store.prune(time.time())
            put_together(store, names[number], made[number])
        except BaseException as error:  # noqa: BLE001
            errors.append(error)
        finally:
            store.close()

    threads = [threading.Thread(target=life, args=(number,), daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    check_store(models)
    assert sorted(entry.name.text for entry in Store(models).entries()) == [name.text for name in names]


def put_together(store: Store, name: Name, model: Model) -> None:
    """Like `put`, following whoever receives a blob right now."""
    store.prepare(name, model.manifest)
    for blob in model.manifest.blobs():
        while (intake := store.receive(name, blob, None)) is not None:
            if isinstance(intake, BusyElsewhere):
                while not intake.over():
                    time.sleep(0.001)
                continue
            fill(intake, model.blobs[blob.digest])
            intake.prove()
            intake.commit()
            intake.close()
    store.publish(name, model.manifest)


def test_no_name_is_written_for_a_blob_that_was_taken_away_at_the_last_moment(
    store: Store, models: Path
) -> None:
    """After it was proven, and before the lock was there: Ollama takes no lock."""
    put(store, NAME, MODEL)
    taken = blob_path(models, MODEL.manifest.layers[0].digest)

    with pytest.raises(InvalidError):
        store.replace(OTHER, MODEL.manifest, taken.unlink)

    assert store.current(OTHER) is None


def test_a_repair_does_not_end_well_where_a_blob_was_taken_away_meanwhile(store: Store, models: Path) -> None:
    put(store, NAME, MODEL)
    blob_path(models, MODEL.manifest.layers[0].digest).unlink()

    with pytest.raises(NotFoundError, match="was removed meanwhile"):
        Repair(store, MODEL.manifest).publish(NAME, MODEL.manifest)
