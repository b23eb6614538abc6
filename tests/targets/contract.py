"""The places that keep the contract of `registry.contracts.Target`, and models to put there.

A further place is one line in PLACES.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from registry.auth.credentials import Credentials
from registry.connect import Connections, Way, in_process
from registry.contracts import Elsewhere, Intake, Target
from registry.model.digests import Digest
from registry.model.manifests import Descriptor, Manifest, image
from registry.model.names import Name
from registry.model.spans import Span
from registry.server.accounts import Right
from registry.server.app import App
from registry.server.depot_memory import MemoryDepot
from registry.server.service import Plan, Service
from registry.targets.memory import Memory
from registry.targets.peer import Peer
from registry.targets.remote import Remote
from registry.targets.sessions import FileSessions
from registry.targets.store import Store
from registry.wire.messages import Origin

KiB = 1024
GRAIN = 64 * KiB


@dataclass(frozen=True)
class Place:
    """A target under test, whose names are at `host`.

    `again`: the same place as a later process finds it. `shared`: whether a second intake for a blob is
    refused while the first is open. `keeps_blobs`: whether removing leaves blobs to a later collection.
    """

    target: Target
    again: Callable[[], Target]
    host: str = "models.example"
    shared: bool = True
    keeps_blobs: bool = False

    def name(self, text: str) -> Name:
        """A name at this place, `namespace/model:tag`."""
        return Name.parse(f"{self.host}/{text}")


Open = Callable[[Path, contextlib.ExitStack], Place]


def memory(_directory: Path, _undo: contextlib.ExitStack) -> Place:
    target = Memory(grain=GRAIN)
    return Place(target, lambda: target)


def store(directory: Path, undo: contextlib.ExitStack) -> Place:
    def again() -> Store:
        target = Store(directory / "models", grain=GRAIN)
        undo.callback(target.close)
        return target

    return Place(again(), again)


def remote_in_process(directory: Path, _undo: contextlib.ExitStack) -> Place:
    """A registry over its application, without a socket."""
    depot = MemoryDepot()

    def again() -> Remote:
        peer = Peer(in_process(App(depot)), Origin("https", "models.example", 443))
        return Remote(peer, FileSessions(directory / "state"))

    return Place(again(), again, shared=False, keeps_blobs=True)


def remote_over_sockets(directory: Path, undo: contextlib.ExitStack) -> Place:
    """The embedded registry as it is served, over loopback."""
    service = Service(Plan(directory / "data", anonymous=Right.WRITE))
    undo.callback(service.stop)
    host = service.start().removeprefix("http://")

    def again() -> Remote:
        uploads = FileSessions(directory / "state")
        connections = Connections(lambda _: Way(), Credentials(), uploads=uploads)
        undo.callback(connections.close)
        return connections.remote_at(Origin.of(f"http://{host}"))

    return Place(again(), again, host=host, shared=False, keeps_blobs=True)


PLACES: dict[str, Open] = {
    "memory": memory,
    "store": store,
    "remote in process": remote_in_process,
    "remote over sockets": remote_over_sockets,
}


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
        return cls.of(*(chance.randbytes(size) for size in sizes))


def describe(data: bytes, media_type: str = "application/octet-stream") -> Descriptor:
    return Descriptor(media_type, Digest.of(data), len(data))


def chunked(data: bytes, size: int = 10_007) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def breaking(data: bytes, error: Exception) -> Iterator[bytes]:
    """`data`, and then the stream breaks."""
    yield from chunked(data)
    raise error


def receive(target: Target, name: Name, blob: Descriptor) -> Intake:
    """An intake for a blob that nobody else receives."""
    intake = target.receive(name, blob, None)
    assert not isinstance(intake, Elsewhere)
    return intake


def fill(intake: Intake, data: bytes) -> None:
    """Write whatever is missing, as the intake wants it."""
    most = max(intake.appetite.first, 1)
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
