"""What goes along with an index: all that it names, and what refers to that."""

from __future__ import annotations

import json

import pytest
from faults import quick
from mirror_kit import Pairing, signature
from sample_models import KiB, Model, describe, get, index_of, put

from registry.model.manifests import OCI_INDEX, Manifest
from registry.transfer.engine import Engine
from registry.transfer.one_pair import Copying
from registry.transfer.pairs import Referrers


@pytest.fixture
def between() -> Pairing:
    return Pairing()


def test_an_index_goes_along_with_its_children_byte_for_byte(between: Pairing) -> None:
    children = [Model.random(seed, KiB) for seed in (12, 13)]
    name = between.source.name("acme/many:1")
    for child in children:
        put(between.source.remote, name.with_reference(child.manifest.digest), child)
    entries = [child.manifest.descriptor().as_json() for child in children]
    raw = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}, indent=3).encode()
    between.source.remote.publish(name, Manifest.parse(raw))
    late = signature(children[0].manifest, b"of one child")
    put(between.source.remote, name.with_reference(late.manifest.digest), late)

    between.run(between.pair("acme/many:1"))

    to = between.destination.name("acme/many:1")
    assert between.destination.remote.resolve(to).raw == raw
    first = to.with_reference(children[0].manifest.digest)
    assert [each.digest for each in between.destination.remote.referrers(first)] == [late.manifest.digest]


def test_what_an_index_names_and_is_no_manifest_goes_along(between: Pairing) -> None:
    """As caches of builds are written: they were asked for as manifests, for ten minutes."""
    layer = describe(b"a cached layer", "application/vnd.oci.image.layer.v1.tar+gzip")
    config = describe(b"{}", "application/vnd.buildkit.cacheconfig.v0")
    child, name = Model.random(14, KiB), between.source.name("acme/cache:1")
    put(between.source.remote, name.with_reference(child.manifest.digest), child)
    cache = Model(
        index_of(layer, child.manifest, config), {layer.digest: b"a cached layer", config.digest: b"{}"}
    )
    put(between.source.remote, name, cache)

    looked = between.run(between.pair("acme/cache:1"), looks=True)["cache:1"]
    copied = between.run(between.pair("acme/cache:1"))["cache:1"]

    assert get(between.destination.remote, between.destination.name("acme/cache:1")) == cache
    assert copied.transferred == looked.would_move == between.destination.moved == child.manifest.total + 16


def test_what_refers_to_a_manifest_two_indexes_deep_goes_along(between: Pairing) -> None:
    child, name = Model.random(15, KiB), between.source.name("acme/deep:1")
    late = signature(child.manifest, b"of a grandchild")
    inner = index_of(child.manifest)
    for each in (child, late, Model(inner, {})):
        put(between.source.remote, name.with_reference(each.manifest.digest), each)
    between.source.remote.publish(name, index_of(inner))

    between.run(between.pair("acme/deep:1"))

    to = between.destination.name("acme/deep:1").with_reference(child.manifest.digest)
    assert [each.digest for each in between.destination.remote.referrers(to)] == [late.manifest.digest]


@pytest.mark.parametrize("how", ["always", "one name"])
def test_a_signature_of_a_child_that_is_made_later_goes_along_with_an_index_that_is_the_same(
    between: Pairing, how: str
) -> None:
    child, name = Model.random(31, KiB), between.source.name("acme/many:1")
    put(between.source.remote, name.with_reference(child.manifest.digest), child)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [child.manifest.descriptor().as_json()],
    }
    between.source.remote.publish(name, Manifest.parse(json.dumps(document).encode()))
    pair = between.pair("acme/many:1")
    between.run(pair)
    late = signature(child.manifest, b"late, of a child")
    put(between.source.remote, name.with_reference(late.manifest.digest), late)

    if how == "always":
        between.run(pair, referrers=Referrers.ALWAYS)
    else:
        Copying(Engine(quick())).report(pair)

    to = between.destination.name("acme/many:1").with_reference(child.manifest.digest)
    assert [each.digest for each in between.destination.remote.referrers(to)] == [late.manifest.digest]
