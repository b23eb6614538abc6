"""What goes with a manifest at a registry that deletes by digest only: wrong lists, indexes that need it."""

from __future__ import annotations

import pytest
from mirror_kit import Registry
from sample_models import KiB, Model, index_of, put

from cli.remote_removal import removed
from registry.errors import InvalidError, ProtocolError, RegistryError
from registry.targets.removal import tags_that_go
from registry.wire.faults import fault
from registry.wire.headers import Headers
from registry.wire.messages import Request, Response

MODEL = Model.random(1, KiB)
DIGEST = MODEL.manifest.digest


@pytest.fixture
def registry() -> Registry:
    """A repository with two tags of one manifest, and another tag."""
    made = Registry("models.example")
    for tag, model in {"v1": MODEL, "same": MODEL, "v2": Model.random(2, KiB)}.items():
        put(made.remote, made.name(f"acme/tiny:{tag}"), model)
    return made


def going(registry: Registry) -> list[str]:
    return tags_that_go(registry.remote, registry.name("acme/tiny:v1"), DIGEST)


def test_every_tag_of_the_manifest_goes(registry: Registry) -> None:
    assert going(registry) == ["same", "v1"]


def test_nothing_goes_by_a_list_that_leaves_out_the_tag_itself(registry: Registry) -> None:
    cut = Response(200, Headers({}), b'{"name":"acme/tiny","tags":["v2"]}')
    registry.wrong = lambda request: cut if "/tags/list" in request.path else None

    with pytest.raises(ProtocolError, match="leaves v1 out"):
        going(registry)


@pytest.mark.parametrize("code", ["DENIED", "UNKNOWN"])
def test_nothing_goes_while_one_tag_is_not_told(registry: Registry, code: str) -> None:
    """It was taken for a tag of another manifest, and went without having been named."""

    def silent(request: Request) -> Response | None:
        return fault(code, "not now") if request.path.endswith("/manifests/same") else None

    registry.wrong = silent

    with pytest.raises(RegistryError):
        going(registry)


def test_a_manifest_that_an_index_needs_stays(registry: Registry) -> None:
    registry.remote.publish(registry.name("acme/tiny:all"), index_of(MODEL.manifest))

    with pytest.raises(InvalidError, match="all needs that of"):
        going(registry)


def test_nothing_goes_while_indexes_are_nested_deeper_than_anybody_looks(registry: Registry) -> None:
    inner = MODEL.manifest
    for _ in range(5):
        inner = index_of(inner)
        registry.remote.publish(registry.name(f"acme/tiny@{inner.digest}"), inner)
    registry.remote.publish(registry.name("acme/tiny:all"), inner)

    with pytest.raises(InvalidError, match="tiny:all: more than 4 indexes inside one another"):
        going(registry)


def test_what_was_moved_while_somebody_was_asked_stays(registry: Registry) -> None:
    name, newer = registry.name("acme/tiny:v1"), Model.random(9, KiB)

    def ask(_what: str) -> bool:
        put(registry.remote, name, newer)
        return True

    with pytest.raises(InvalidError, match="moved meanwhile"):
        removed(registry.remote, name, ask)
    assert registry.remote.digest(name) == newer.manifest.digest


def test_a_tag_that_was_pushed_while_somebody_was_asked_keeps_its_manifest(registry: Registry) -> None:
    name = registry.name("acme/tiny:v1").with_reference(DIGEST)

    def ask(_what: str, **_said: bool) -> bool:
        put(registry.remote, registry.name("acme/tiny:new"), MODEL)
        return True

    with pytest.raises(InvalidError, match="got or lost a tag meanwhile"):
        removed(registry.remote, name, ask)
    assert registry.remote.digest(name) == DIGEST


def test_a_registry_that_deletes_nothing_is_not_said_to_have_removed_anything(registry: Registry) -> None:
    refusal = fault("UNSUPPORTED", "deleting is switched off", status=405)
    registry.wrong = lambda request: refusal if request.method == "DELETE" else None

    with pytest.raises(RegistryError, match="switched off"):
        removed(registry.remote, registry.name("acme/tiny:v2"), lambda _what, **_said: True)


def test_several_tags_go(registry: Registry) -> None:
    told: list[str] = []

    def ask(what: str, **_said: bool) -> bool:
        told.append(what)
        return False

    removed(registry.remote, registry.name("acme/tiny:v1").with_reference(DIGEST), ask)

    assert told == [f"models.example deletes by digest: same, v1 go with models.example/acme/tiny@{DIGEST}"]
