"""Two processes push, mount, delete and collect on one directory: never "blob unknown", never a loss.

One in each process, without turns: what is here `test_together` with real locks and real files between them.
The clock is a file that both of them turn.
"""

from __future__ import annotations

import contextlib
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from depots import on_disk
from invariants import check_registry
from test_depot_contract import get, put

from registry.errors import InvalidError, NotFoundError
from registry.model.digests import Digest
from registry.model.manifests import DOCKER_CONFIG, Descriptor, Manifest, image
from registry.server.catalogue import RENEW_AFTER
from registry.server.depot import DiskDepot
from registry.server.manifests import DAY
from registry.server.reclaim import GRACE, Reclaim, Terms

STEPS = 120  # of both together; --steps 20000 is the bar's length
TERMS = (Terms(), Terms(pushed_to=GRACE))
REPOSITORIES = ("acme/one", "acme/two")
DATA = [b"blob %d" % number * (number + 1) for number in range(8)]


@dataclass
class Clock:
    """Seconds, in a file."""

    path: Path

    def __call__(self) -> float:
        (now,) = struct.unpack("d", self.path.read_bytes())
        return float(now)

    def turn(self, seconds: float) -> None:
        draft = self.path.with_name(f"{self.path.name}.{id(self)}.{seconds}")
        draft.write_bytes(struct.pack("d", self() + seconds))
        draft.replace(self.path)


@dataclass
class Worker:
    """One process: its tags are its own, the repositories and blobs everybody's."""

    number: int
    chance: random.Random
    depot: DiskDepot
    clock: Clock
    tags: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    published: int = 0

    def step(self) -> None:
        repository, tag = self.chance.choice(REPOSITORIES), f"{self.chance.choice('ab')}{self.number}"
        match self.chance.randrange(8):
            case 0 if (repository, tag) in self.tags:
                self.depot.delete_tag(repository, tag)
                del self.tags[repository, tag]
            case 1 if (repository, tag) in self.tags:
                digest = self.tags[repository, tag].digest
                self.depot.delete_manifest(repository, digest)
                for at in [
                    at for at, each in self.tags.items() if (at[0], each.digest) == (repository, digest)
                ]:
                    del self.tags[at]
            case 2:
                Reclaim(self.depot, self.chance.choice(TERMS)).run()
            case 3:
                self.clock.turn(self.chance.random() * 0.2 * DAY)
            case 4:
                self.delete_blob(repository)
            case _:
                self.push(repository, tag)

    def delete_blob(self, repository: str) -> None:
        with contextlib.suppress(NotFoundError, InvalidError):  # it is not there, or needed
            self.depot.delete_blob(repository, Digest.of(self.own))

    @property
    def own(self) -> bytes:
        return b"of worker %d" % self.number

    def push(self, repository: str, tag: str) -> None:
        began = self.clock()
        parts = [self.own, *self.chance.sample(DATA, self.chance.randint(1, 3))]
        for data in parts:
            digest = Digest.of(data)
            if self.depot.blob(repository, digest, renew=True) is None:
                other = self.chance.choice(REPOSITORIES)
                if not self.depot.mount(repository, digest, other):
                    put(self.depot, data, repository)
        config, *layers = [Descriptor(DOCKER_CONFIG, Digest.of(data), len(data)) for data in parts]
        manifest = image(config, [layer.as_json() for layer in layers])
        try:
            self.depot.publish(repository, manifest, tag)
        except NotFoundError:
            assert self.clock() - began > GRACE - RENEW_AFTER, (
                "it was told a moment ago that the blob is there"
            )
            return
        self.tags[repository, tag] = manifest
        self.published += 1

    def check(self) -> None:
        for (repository, tag), manifest in self.tags.items():
            found = self.depot.manifest(repository, tag)
            assert found is not None
            assert found.digest == manifest.digest
            for blob in manifest.blobs():
                assert Digest.of(get(self.depot, blob.digest, repository) or b"") == blob.digest


def work(directory: str, number: str, seed: str, steps: str) -> None:
    """What one process does, in so many steps; AssertionError ends it."""
    clock = Clock(Path(directory) / "clock")
    depot = on_disk(Path(directory) / "data", clock)
    worker = Worker(int(number), random.Random(f"{seed} {number}"), depot, clock)
    for step in range(int(steps)):
        worker.step()
        if step % 50 == 0:
            worker.check()
    worker.check()
    assert worker.published > int(steps) / 10
    depot.engine.dispose()


@pytest.mark.seeds(1)
def test_two_processes_lose_nothing(seed: int, steps: Callable[[int], int], tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clock")
    clock.path.write_bytes(struct.pack("d", 1_000_000.0))
    on_disk(tmp_path / "data", clock).engine.dispose()
    program = f"import sys; sys.path[:0] = {sys.path!r}; import {__name__} as it; it.work(*sys.argv[1:])"
    command = [sys.executable, "-c", program, str(tmp_path)]
    each = str(steps(STEPS) // 2)
    workers = [
        subprocess.Popen([*command, str(number), str(seed), each], stderr=subprocess.PIPE, text=True)
        for number in range(2)
    ]
    ended = [(worker.communicate()[1], worker.returncode) for worker in workers]
    assert [code for _, code in ended] == [0, 0], "\n".join(said for said, _ in ended)
    check_registry(tmp_path / "data")
