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
    damage(made)
    return made


def damage(store: Store) -> None:
    (store.models / "manifests" / "models.example" / "acme" / "tiny" / "1").write_bytes(b"\0" * 200)


def repaired(store: Store, registry: Registry, place: Name | None = None) -> Repairs:
    repairs = Repairs(store, cast("Registries", Opened(registry)), Engine(quick()), place)
    repairs.fetch_manifest(NAME)
    return repairs


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
    repairs = repaired(store, registry)

    left = {True: None, False: NEW.manifest.digest}[removed] if when != "never" else OLD.manifest.digest
    assert store.current(NAME) == left
    assert bool(repairs.failures) is (when == "meanwhile")


def test_what_ollama_made_under_a_pulled_name_is_not_replaced_by_what_was_pulled(
    store: Store, registry: Registry
) -> None:
    """`ollama rm` and `ollama create` take the blobs along, and tell Ferry nothing."""
    blob = OLD.manifest.layers[0].digest
    (store.blobs / f"sha256-{blob.hex}").unlink()

    repairs = repaired(store, registry)

    assert store.current(NAME) is None and not repairs.fetched
    assert "may be another model" in repairs.failures[0].message
    assert repaired(store, registry, NAME).fetched == {NAME: OLD.manifest.digest}, "--from asks for it"


def test_what_was_made_here_under_a_pulled_name_is_not_replaced_by_what_was_pulled(
    store: Store, registry: Registry
) -> None:
    """Its blobs are here still: nothing but what is remembered tells the two apart."""
    store.origins.put_made_here(NAME, NEW.manifest.digest)

    repairs = repaired(store, registry)

    assert store.current(NAME) is None and not repairs.fetched
    assert f"has no manifest {NEW.manifest.digest.short}" in repairs.failures[0].message


def test_what_was_brought_from_another_place_is_what_it_is_from_then_on(
    store: Store, registry: Registry
) -> None:
    other = NAME.with_reference("2")
    put(registry.remote, other, NEW)
    assert not repaired(store, registry, other).failures
    damage(store)

    assert repaired(store, registry).fetched == {NAME: NEW.manifest.digest}
    assert store.origins.get(NAME) == ModelOrigin(NAME, OLD.manifest.digest, changed=NEW.manifest.digest)


@pytest.mark.parametrize("made_here", [True, False])
def test_what_was_made_here_or_came_from_nowhere_does_so_still_where_it_was_brought_from_a_place(
    store: Store, registry: Registry, made_here: bool
) -> None:
    """Else `ferry outdated` asked a registry for it, under a name that is nobody's business."""
    store.origins.forget(NAME)
    if made_here:
        store.origins.put(NAME, ModelOrigin(None, NEW.manifest.digest))

    assert not repaired(store, registry, NAME).failures

    assert store.origins.get(NAME) == (ModelOrigin(None, OLD.manifest.digest) if made_here else None)


def test_a_blob_of_a_model_that_was_made_here_comes_from_another_that_has_it(
    tmp_path: Path, registry: Registry
) -> None:
    """`ferry cp`: the copy is asked of nobody, and what both need comes all the same."""
    store, mine = Store(tmp_path), Name.parse("mine")
    for name, origin in ((mine, None), (NAME, NAME)):
        put(store, name, OLD)
        store.origins.put(name, ModelOrigin(origin, OLD.manifest.digest))
    blob = OLD.manifest.layers[0].digest
    (store.blobs / f"sha256-{blob.hex}").unlink()
    [lost] = (held for held in store.verify.inventory().blobs if held.blob.digest == blob)
    found = store.verify.look(lost)
    assert found is not None
    repairs = Repairs(store, cast("Registries", Opened(registry)), Engine(quick()), None)

    repairs.mend(mine, [found])

    assert not repairs.failures and repairs.is_right(found)
