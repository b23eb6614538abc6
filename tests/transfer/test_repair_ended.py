"""A repair that ends at any step: the blob is no worse than it was, and the next repair ends it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from faults import filled, quick
from invariants import check_store
from sample_models import GRAIN, Model, put
from store_kit import NAME, blob_path

from registry.disk import system as calls
from registry.disk.system import System
from registry.targets.store import Store
from registry.targets.store_destinations import Repair
from registry.transfer.copy import copy

MODEL = Model.random(23, 8 * GRAIN + 11)
LARGE = MODEL.manifest.layers[0].digest
DATA = MODEL.blobs[LARGE]
CHANGING = ("pwrite", "truncate", "sync", "sync_data", "rename", "unlink", "mkdir", "link")


class Died(BaseException):
    """The process ended here."""


class Dying(System):
    """Makes `left` of the calls that change the disk; the process ends at the next."""

    def __init__(self, left: int) -> None:
        self.left = left

    def __getattribute__(self, name: str) -> object:
        if name in CHANGING:
            self.left -= 1
            if self.left < 0:
                raise Died
        return super().__getattribute__(name)


def repair(models: Path) -> None:
    store = Store(models, grain=GRAIN)
    for held in store.verify.inventory().blobs:
        store.verify.look(held)
    copy(filled(MODEL), Repair(store, MODEL.manifest), NAME, manifest=MODEL.manifest, options=quick())
    store.close()


def spoil(path: Path) -> int:
    """Turn some bits; how many bytes are wrong then."""
    data = bytearray(DATA)
    places = (5, 4 * GRAIN + 1, 7 * GRAIN)
    for at in places:
        data[at] ^= 0x40
    path.write_bytes(data)
    return len(places)


def wrong(path: Path) -> int:
    there = path.read_bytes()
    assert len(there) == len(DATA)
    pages = [slice(at, at + 4096) for at in range(0, len(DATA), 4096)]
    return sum(
        one != other
        for page in pages
        if there[page] != DATA[page]
        for one, other in zip(there[page], DATA[page], strict=True)
    )


@pytest.mark.parametrize("sums", [True, False])
def test_a_repair_that_ends_at_any_step_made_nothing_worse(
    sums: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    path, steps, over = blob_path(models, LARGE), 0, False
    put(Store(models, grain=GRAIN), NAME, MODEL)
    while not over:
        before = spoil(path)
        if not sums:
            for each in (models / ".ferry" / "sums").iterdir():
                each.unlink()
        disk = Dying(steps)
        monkeypatch.setattr(calls, "system", disk)
        with contextlib.suppress(Died):
            repair(models)
        over = disk.left >= 0
        monkeypatch.undo()

        assert wrong(path) <= before
        repair(models)
        assert wrong(path) == 0
        steps += 1

    assert steps > 10
    check_store(models)
