"""A name of the store is replaced only while it stands for what it did."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample_models import KiB, Model, put
from store_kit import NAME

from registry.errors import InvalidError
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.targets.store import Store
from registry.targets.unmoved import Unmoved

OLD, NEW, OTHERS = (Model.random(seed, KiB) for seed in range(3))


class Overtaken(Store):
    """Another process, which had the lock first, publishes the name while this one is about to."""

    waiting = False

    def size(self, name: Name, blob: Descriptor) -> int | None:
        if self.waiting:
            put(Store(self.models), name, OTHERS)
        return super().size(name, blob)


def test_what_another_process_wrote_before_this_one_had_the_lock_stays(tmp_path: Path) -> None:
    store = Overtaken(tmp_path)
    put(store, NAME, NEW)
    put(store, NAME, OLD)
    store.prepare(NAME, NEW.manifest)
    store.waiting = True

    with pytest.raises(InvalidError, match="changed here meanwhile"):
        Unmoved(store, OLD.manifest.digest).publish(NAME, NEW.manifest)

    assert store.current(NAME) == OTHERS.manifest.digest
