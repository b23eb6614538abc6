"""Pull, push, rm, prune, verify and repair at random, side by side in one store: nobody sees a third thing.

By hand, for about a minute: pytest tests/transfer/test_store_at_random.py --runs 45
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from pathlib import Path

import pytest
from faults import quick
from invariants import check_store
from sample_models import GRAIN, KiB, Model, get, put

from registry.errors import InvalidError, NotFoundError
from registry.model.names import Name
from registry.targets.memory import Memory
from registry.targets.store import Store
from registry.targets.store_destinations import Repair
from registry.targets.verify import BlobState
from registry.transfer.copy import copy

ACTIONS = 40  # of each worker
WORKERS = 4
NAMES = [Name.parse(f"models.example/acme/m{number}:1") for number in range(4)]
SHARED = random.Random(0).randbytes(3 * GRAIN + 5)
MODELS = [Model.of(SHARED, random.Random(number).randbytes(number * 40 * KiB + 1)) for number in range(4)]


class Worker(threading.Thread):
    """One process of Ferry, as far as the store can tell: it has locks of its own."""

    def __init__(self, models: Path, seed: int) -> None:
        super().__init__(daemon=True)
        self.failure: BaseException | None = None
        self._models = models
        self._chance = random.Random(seed)
        self._there = Memory(grain=GRAIN)
        for name, model in zip(NAMES, MODELS, strict=True):
            put(self._there, name, model)

    def run(self) -> None:
        acts = [self.pull, self.pull, self.push, self.remove, self.prune, self.verify, self.repair]
        try:
            for _ in range(ACTIONS):
                store = Store(self._models, grain=GRAIN)
                try:
                    self._chance.choice(acts)(store)
                finally:
                    store.close()
        except BaseException as error:  # noqa: BLE001 - for the test
            self.failure = error

    def pull(self, store: Store) -> None:
        with contextlib.suppress(InvalidError):  # a blob of it was removed at the last moment
            copy(self._there, store, self._chance.choice(NAMES), options=quick())

    def push(self, store: Store) -> None:
        name, there = self._chance.choice(NAMES), Memory(grain=GRAIN)
        with contextlib.suppress(NotFoundError):
            copy(store, there, name, options=quick())
            assert get(there, name) == MODELS[NAMES.index(name)]

    def remove(self, store: Store) -> None:
        with contextlib.suppress(NotFoundError):
            store.remove(self._chance.choice(NAMES))

    def prune(self, store: Store) -> None:
        store.prune(time.time(), at_once=self._chance.random() < 0.7)

    def verify(self, store: Store) -> None:
        for held in store.verify.inventory().blobs:
            found = store.verify.look(held)
            assert found is None or found.state is BlobState.GOOD, found

    def repair(self, store: Store) -> None:
        """Of what others may remove and prune meanwhile: it brings no model back."""
        name = self._chance.choice(NAMES)
        with contextlib.suppress(NotFoundError):
            manifest = store.verify.manifest(name)
            copy(self._there, Repair(store, manifest), name, manifest=manifest, options=quick())


@pytest.mark.seeds(1)
def test_what_many_do_at_once_leaves_every_model_whole(seed: int, tmp_path: Path) -> None:
    models = tmp_path / "models"
    workers = [Worker(models, seed * WORKERS + number) for number in range(WORKERS)]

    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)

    assert [worker.failure for worker in workers] == [None] * WORKERS
    assert not any(worker.is_alive() for worker in workers)
    check_store(models)
