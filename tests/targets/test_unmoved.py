"""A name of the store is replaced only while it stands for what it did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sample_models import KiB, Model, put
from store_kit import NAME

from registry.errors import InvalidError
from registry.targets.store import Store
from registry.targets.store_destinations import Unmoved

OLD, NEW, OTHERS = (Model.random(seed, KiB) for seed in range(3))


class Overtaken(Store):
    """Another process has the lock first, and publishes the name while this one waits for it."""

    waiting = False

    @contextmanager
    def _locked(self, *, shared: bool = False) -> Iterator[None]:
        if self.waiting:
            put(Store(self.models), NAME, OTHERS)
        with super()._locked(shared=shared):
            yield


def test_what_another_process_wrote_before_this_one_had_the_lock_stays(tmp_path: Path) -> None:
    store = Overtaken(tmp_path)
    put(store, NAME, NEW)
    put(store, NAME, OLD)
    store.prepare(NAME, NEW.manifest)
    store.waiting = True

    with pytest.raises(InvalidError, match="changed here meanwhile"):
        Unmoved(store, OLD.manifest.digest).publish(NAME, NEW.manifest)

    assert store.current(NAME) == OTHERS.manifest.digest
