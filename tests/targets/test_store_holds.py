"""What an Ollama store can hold and what it cannot, said before a byte moves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sample_models import GRAIN, KiB, Model, chunked, describe, put, receive
from store_kit import MODEL, NAME

from registry.errors import InvalidError, NotFoundError, StorageError
from registry.model.digests import Digest
from registry.model.manifests import Manifest
from registry.model.names import Name
from registry.model.spans import Span
from registry.targets.store import Store

CHILD = Digest.of(b"child")
INDEX = Manifest.parse(
    f'{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json",'
    f'"digest":"{CHILD}","size":5}}]}}'.encode()
)
SHA512 = Manifest.parse(
    MODEL.manifest.raw.replace(
        str(MODEL.manifest.layers[0].digest).encode(), f"sha512:{'0' * 128}".encode(), 1
    )
)


@pytest.mark.parametrize(
    ("name", "manifest", "words"),
    [
        (f"acme/tiny@{CHILD}", MODEL.manifest, "name_not_storable"),
        ("[::1]/acme/tiny", MODEL.manifest, "name_not_storable"),
        ("h/deep/er/tiny", MODEL.manifest, "name_not_storable"),
        ("h/ac.me/tiny", MODEL.manifest, "name_not_storable"),
        ("acme/tiny", INDEX, str(CHILD)),
        ("acme/tiny", SHA512, "sha512"),
    ],
)
@pytest.mark.parametrize("act", [Store.prepare, Store.publish])
def test_what_ollama_could_not_hold_is_refused_before_a_byte_moves(
    act: Callable[[Store, Name, Manifest], None],
    name: str,
    manifest: Manifest,
    words: str,
    store: Store,
    models: Path,
) -> None:
    with pytest.raises(InvalidError) as caught:
        act(store, Name.parse(name), manifest)

    assert words in f"{caught.value.message} {caught.value.reason}"
    assert not models.exists()


DOCKER, OCI = "application/vnd.docker.container.image.v1+json", "application/vnd.oci.image.config.v1+json"


@pytest.mark.parametrize(
    ("config", "layer", "artifact", "what"),
    [
        (DOCKER, "application/vnd.ollama.image.model", "", ""),
        (DOCKER, "", "", ""),  # a cloud model
        (DOCKER, "application/vnd.docker.image.rootfs.diff.tar.gzip", "", "a container image"),
        (OCI, "application/vnd.oci.image.layer.v1.tar+gzip", "", "a container image"),
        ("application/vnd.cncf.model.config.v1+json", "x", "", "a ModelPack"),
        ("x", "y", "application/vnd.cncf.model.manifest.v1+json", "a ModelPack"),
        ("application/vnd.docker.ai.model.config.v0.1+json", "x", "", "a model of Docker Model Runner"),
        ("application/vnd.oci.empty.v1+json", "text/plain", "application/x", "of type application/x"),
    ],
)
def test_a_model_of_another_kind_is_kept_and_what_it_is_is_said(
    config: str, layer: str, artifact: str, what: str, store: Store, said: list[str]
) -> None:
    blob = describe(b"any").as_json()
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        **({"artifactType": artifact} if artifact else {}),
        "config": {**blob, "mediaType": config},
        "layers": [{**blob, "mediaType": layer}] if layer else [],
    }
    manifest = Manifest.parse(json.dumps(document).encode())

    put(store, NAME, Model(manifest, {Digest.of(b"any"): b"any"}))

    assert [what in line and "Ollama cannot run it" in line for line in said] == ([True] if what else [])
    assert store.resolve(NAME) == manifest


def test_blobs_that_an_old_ollama_named_are_said_once(store: Store, models: Path, said: list[str]) -> None:
    (models / "blobs").mkdir(parents=True)
    for digest, data in MODEL.blobs.items():
        (models / "blobs" / f"sha256:{digest.hex}").write_bytes(data)

    sizes = {store.size(NAME, blob) for blob in MODEL.manifest.blobs()}
    with pytest.raises(NotFoundError):
        store.open(NAME, MODEL.manifest.layers[0], Span(0, 1))

    assert sizes == {None}
    assert len(said) == 1 and "sha256:" in said[0] and "when it starts" in said[0]


def test_what_does_not_fit_is_refused_with_numbers(store: Store) -> None:
    huge = Manifest.parse(MODEL.manifest.raw.replace(b'"size":10', b'"size":900000000000000'))

    with pytest.raises(StorageError, match=r"900 TB needed, .* free"):
        store.prepare(NAME, huge)


def test_what_was_fetched_already_needs_no_room_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    big = Model.random(3, 2 * 1024 * KiB)
    blob = big.manifest.layers[0]
    intake = receive(store, NAME, blob)
    intake.write(Span(0, GRAIN), chunked(big.blobs[blob.digest][:GRAIN]))
    intake.close()
    monkeypatch.setattr("registry.targets.store.free_bytes", lambda _path: 1024 * KiB)

    store.prepare(NAME, big.manifest)  # its room was taken when it began
    assert store.missing(blob) == blob.size - GRAIN, "room is not yet bytes: ferry outdated told a cost of 0"
