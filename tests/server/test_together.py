"""Pushes, mounts, deletes and collectors at random, side by side: never "blob unknown", never a loss."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from depots import on_disk
from invariants import check_registry
from test_depot_contract import get

from registry.model.digests import Digest
from registry.model.manifests import DOCKER_CONFIG, Descriptor, Manifest, image
from registry.server.depot import DiskDepot
from registry.server.manifests import DAY
from registry.server.reclaim import GRACE, Reclaim, Terms

STEPS = 800  # --steps 20000 is the bar's length, in this one process
TERMS = (Terms(), Terms(pushed_to=GRACE))
REPOSITORIES = ("acme/one", "acme/two", "ben/three")
TAGS = ("a", "b")
DATA = [b"blob %d" % number * (number + 1) for number in range(12)]


@dataclass
class World:
    """Two depots on one directory, as two processes have it, and a clock that jumps."""

    chance: random.Random
    directory: Path
    now: float = 1_000_000.0
    depots: list[DiskDepot] = field(default_factory=list)
    tags: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    published: int = 0
    collected: int = 0

    def __post_init__(self) -> None:
        self.depots = [on_disk(self.directory, lambda: self.now) for _ in range(2)]

    @property
    def depot(self) -> DiskDepot:
        return self.chance.choice(self.depots)

    def push(self) -> Iterator[None]:
        """What a client does, one request at a time; it takes less than the grace."""
        began, repository, tag = self.now, self.chance.choice(REPOSITORIES), self.chance.choice(TAGS)
        parts = self.chance.sample(DATA, self.chance.randint(1, 4))
        for data in parts:
            digest = Digest.of(data)
            if self.depot.blob(repository, digest, renew=True) is None:
                yield
                other = self.chance.choice(REPOSITORIES)
                if self.chance.random() < 0.5 or not self.depot.mount(repository, digest, other):
                    yield from self.upload(repository, data)
            yield
            if self.now - began > 0.8 * DAY:
                return  # gives up: whoever takes longer has to ask again
        config, *layers = [Descriptor(DOCKER_CONFIG, Digest.of(data), len(data)) for data in parts]
        manifest = image(config, [layer.as_json() for layer in layers])
        self.depot.publish(repository, manifest, tag)  # never "blob unknown"
        self.tags[repository, tag] = manifest
        self.published += 1

    def upload(self, repository: str, data: bytes) -> Iterator[None]:
        depot = self.depot
        upload = depot.begin(repository)
        upload.write(data[: len(data) // 2])
        upload.close()
        yield
        again = depot.upload(repository, upload.id)
        again.write(data[len(data) // 2 :])
        again.commit(Digest.of(data))
        again.close()

    def disturb(self) -> None:
        """A delete, a collector, time that passes."""
        repository, tag = self.chance.choice(REPOSITORIES), self.chance.choice(TAGS)
        match self.chance.randrange(4):
            case 0 if (repository, tag) in self.tags:
                self.depot.delete_tag(repository, tag)
                del self.tags[repository, tag]
            case 1 if (repository, tag) in self.tags:
                digest = self.tags[repository, tag].digest
                self.depot.delete_manifest(repository, digest)
                self.tags = {
                    at: each for at, each in self.tags.items() if at[0] != repository or each.digest != digest
                }
            case 2:
                done = Reclaim(self.depot, self.chance.choice(TERMS)).run()
                self.collected += done.blobs
            case 3:
                self.now += self.chance.random() * 0.5 * DAY

    def check(self) -> None:
        """Every tag is the manifest that was last published, and each blob it names is there and right."""
        for (repository, tag), manifest in self.tags.items():
            found = self.depot.manifest(repository, tag)
            assert found is not None
            assert found.digest == manifest.digest
            for blob in manifest.blobs():
                data = get(self.depot, blob.digest, repository)
                assert data is not None
                assert hashlib.sha256(data).hexdigest() == blob.digest.hex


@pytest.mark.seeds(2)
def test_nothing_that_was_told_to_be_there_is_missing(
    seed: int, steps: Callable[[int], int], tmp_path: Path
) -> None:
    world = World(random.Random(seed), tmp_path)
    pushes: list[Iterator[None]] = []
    for step in range(steps(STEPS)):
        if len(pushes) < 3:
            pushes.append(world.push())
        if world.chance.random() < 0.4:
            world.disturb()
        else:
            push = world.chance.choice(pushes)
            if next(push, push) is push:
                pushes.remove(push)
        if step % 300 == 0:
            world.now += 0.3 * DAY
            world.check()
    for depot in world.depots:
        world.now += 40 * DAY
        world.collected += Reclaim(depot).run().blobs
    world.check()
    assert world.published > steps(STEPS) / 50
    assert world.collected > 0
    for depot in world.depots:
        depot.engine.dispose()
    check_registry(tmp_path)
