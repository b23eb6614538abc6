"""A manifest that cannot be read is mended beside others who write the same name."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from faults import quick
from mirror_kit import Registry
from sample_models import KiB, Model, put

from cli.repairs import Repairs
from registry.connect import Registries
from registry.model.names import Name
from registry.targets.origins import ModelOrigin
from registry.targets.remote import Remote
from registry.targets.store import Store
from registry.transfer.engine import Engine
from registry.wire.messages import Request

NAME = Name.parse("models.example/acme/tiny:1")
OLD, NEW = Model.random(1, KiB), Model.random(2, KiB)


class Opened:
    """The one registry that there is."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def remote(self, _name: Name) -> Remote:
        return self._registry.remote


@pytest.fixture
def registry() -> Registry:
    made = Registry("models.example")
    put(made.remote, NAME, OLD)
    return made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A model that was pulled, with a manifest that cannot be read."""
    made = Store(tmp_path)
    put(made, NAME, OLD)
    made.origins.put(NAME, ModelOrigin(NAME, OLD.manifest.digest))
    (tmp_path / "manifests" / "models.example" / "acme" / "tiny" / "1").write_bytes(b"\0" * 200)
    return made


@pytest.mark.parametrize("when", ["before", "meanwhile", "never"])
@pytest.mark.parametrize("removed", [False, True])
def test_what_others_wrote_or_removed_since_it_was_verified_is_left_alone(
    store: Store, registry: Registry, when: str, removed: bool
) -> None:
    def act(_request: Request | None = None) -> None:
        registry.wrong = lambda _: None
        if removed:
            store.remove(NAME)
        else:
            put(store, NAME, NEW)

    if when == "before":
        act()
    elif when == "meanwhile":
        registry.wrong = act
    repairs = Repairs(store, cast("Registries", Opened(registry)), Engine(quick()), None)

    repairs.fetch_manifest(NAME)

    left = {True: None, False: NEW.manifest.digest}[removed] if when != "never" else OLD.manifest.digest
    assert store.current(NAME) == left
    assert bool(repairs.failures) is (when == "meanwhile")
