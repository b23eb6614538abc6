"""Models to put somewhere, and the whole way there and back by the contract alone."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from registry.contracts import BusyElsewhere, Intake, Target
from registry.model.digests import Digest
from registry.model.manifests import OCI_INDEX, Descriptor, Manifest, image
from registry.model.names import Name
from registry.model.spans import Span

KiB = 1024
GRAIN = 64 * KiB


@dataclass(frozen=True)
class Model:
    """A manifest and the bytes of its blobs."""

    manifest: Manifest
    blobs: dict[Digest, bytes] = field(repr=False)

    @classmethod
    def of(cls, *layers: bytes, media_type: str = "application/vnd.ollama.image.model") -> Model:
        config = b'{"model_format":"gguf"}'
        described = [describe(layer, media_type) for layer in layers]
        manifest = image(
            describe(config, "application/vnd.docker.container.image.v1+json"),
            [{**blob.as_json(), "x-unknown": [1, {"deep": None}]} for blob in described],
        )
        return cls(manifest, {Digest.of(data): data for data in (config, *layers)})

    @classmethod
    def random(cls, seed: int, *sizes: int) -> Model:
        chance = random.Random(seed)
        return cls.of(*(_random(chance, size) for size in sizes))


def _random(chance: random.Random, size: int) -> bytes:
    """`randbytes`, which has a ceiling below 256 MiB."""
    most = 64 * KiB * KiB
    return b"".join(chance.randbytes(min(most, size - at)) for at in range(0, size, most))


def describe(data: bytes, media_type: str = "application/octet-stream") -> Descriptor:
    return Descriptor(media_type, Digest.of(data), len(data))


def index_of(*children: Manifest | Descriptor) -> Manifest:
    described = [child.descriptor() if isinstance(child, Manifest) else child for child in children]
    entries = [child.as_json() for child in described]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return Manifest.parse(json.dumps(document).encode())


def chunked(data: bytes, size: int = 10_007) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def breaking(data: bytes, error: Exception) -> Iterator[bytes]:
    """`data`, and then the stream breaks."""
    yield from chunked(data)
    raise error


def receive(target: Target, name: Name, blob: Descriptor) -> Intake:
    """An intake for a blob that nobody else receives."""
    intake = target.receive(name, blob, None)
    assert intake is not None and not isinstance(intake, BusyElsewhere)
    return intake


def fill(intake: Intake, data: bytes) -> None:
    """Write whatever is missing, as the intake wants it."""
    most = max(intake.chunk_rules.first, 1)
    for gap in list(intake.received.missing(len(data))):
        for piece in gap.cut(most):
            intake.write(piece, chunked(data[piece.offset : piece.end]))


def put_blob(target: Target, name: Name, data: bytes) -> Descriptor:
    """The whole way of one blob."""
    blob = describe(data)
    if target.size(name, blob) is None:
        intake = receive(target, name, blob)
        try:
            fill(intake, data)
            intake.prove()
            intake.commit()
        finally:
            intake.close()
    return blob


def put(target: Target, name: Name, model: Model) -> None:
    """The whole way of a model."""
    target.prepare(name, model.manifest)
    for data in model.blobs.values():
        put_blob(target, name, data)
    target.publish(name, model.manifest)


def get_blob(target: Target, name: Name, blob: Descriptor, span: Span | None = None) -> bytes:
    """The bytes a target gives for a blob."""
    reading = target.open(name, blob, span or Span(0, blob.size))
    return b"".join(reading.stream)


def get(target: Target, name: Name) -> Model:
    """What a target holds under a name."""
    manifest = target.resolve(name)
    return Model(manifest, {blob.digest: get_blob(target, name, blob) for blob in manifest.blobs()})


def blobs_of(model: Model) -> Iterable[Descriptor]:
    return model.manifest.blobs()
