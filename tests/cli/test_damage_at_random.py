"""Damage of any kind between the commands that keep a store: what was right stays, what is repaired is right.

By hand, for about a minute: pytest tests/cli/test_damage_at_random.py --runs 30
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from invariants import check_leftovers, manifests
from peers import Registry, ferry_server
from person import Ferry
from sample_models import KiB, Model, put

from registry.auth.credentials import Credentials
from registry.connect import HostSettings, Registries
from registry.model.names import Name

STEPS = 30


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with ferry_server(tmp_path_factory.mktemp("registry")) as running:
        yield running


def needed(raw: bytes) -> set[str]:
    """The hexadecimal digests of the blobs that a manifest names."""
    document = json.loads(raw)
    return {blob["digest"].partition(":")[2] for blob in [document["config"], *document["layers"]]}


class Store:
    """A person's store, and the registry that its models come from."""

    def __init__(self, ferry: Ferry, host: str, seed: int) -> None:
        self.ferry = ferry
        self.changes: set[str] = set()  # manifests that the last act may have changed or taken away
        self._chance = random.Random(seed)
        self._host = host
        self._layers = [b"GGUF" + self._chance.randbytes(self._chance.randrange(300 * KiB)) for _ in range(5)]
        self._names = [f"{host}/seed{seed}/m{number}:1" for number in range(3)]
        self._there: dict[str, bytes] = {}
        self._known: set[bytes] = set()
        self._rotten: set[str] = set()
        self.acts = (self.publish, self.pull, self.copy, self.remove, self.prune, self.repair, self.update)
        self.damages = (self.flip, self.rot, self.cut, self.lose, self.cut_manifest)
        for name in self._names:
            self.publish(name)
            self.pull(name)

    @property
    def manifests(self) -> dict[str, bytes]:
        root = self.ferry.models / "manifests"
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in manifests(self.ferry.models)}

    def readable(self) -> dict[str, bytes]:
        return {path: raw for path, raw in self.manifests.items() if raw in self._known}

    def right(self) -> set[str]:
        """The blobs that a manifest names and whose bytes are their digest's."""
        named = {digest for raw in self.readable().values() for digest in needed(raw)}
        return {digest for digest in named if self._is_right(digest)}

    def _is_right(self, digest: str) -> bool:
        path = self.ferry.models / "blobs" / f"sha256-{digest}"
        return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest

    def _path(self, name: str) -> str:
        return (
            name.replace(":1", "/1") if name.endswith(":1") else f"registry.ollama.ai/library/{name}/latest"
        )

    # --- what people do ----------------------------------------------------------------------------------

    def publish(self, name: str = "") -> None:
        name = name or self._chance.choice(self._names)
        model = Model.of(*self._chance.sample(self._layers, self._chance.randrange(1, 4)))
        registries = Registries(lambda _: HostSettings(), Credentials())
        put(registries.remote(Name.parse(name)), Name.parse(name), model)
        registries.close()
        self._there[name] = model.manifest.raw
        self._known.add(model.manifest.raw)

    def pull(self, name: str = "") -> None:
        name = name or self._chance.choice(self._names)
        self.changes = {self._path(name)}
        self.ferry("pull", name).well()
        assert self.manifests[self._path(name)] == self._there[name]
        self._check_whole(self._there[name])

    def copy(self) -> None:
        one, other = self._chance.choice(self._names), self._chance.choice([*self._names, "mine"])
        self.changes = {self._path(other)}
        assert self.ferry("cp", one, other).code in (0, 2, 3)

    def remove(self) -> None:
        name = self._chance.choice([*self._names, "mine"])
        self.changes = {self._path(name)}
        assert self.ferry("rm", name, "--yes").code in (0, 2, 3)

    def prune(self) -> None:
        self.ferry("prune", "--now").well()

    def repair(self) -> None:
        self.changes = {*self.manifests} - {*self.readable()}
        done = self.ferry("verify", "--repair", "--format", "json")
        assert done.code in (0, 2, 3, 5)
        wrong = {
            row["digest"] for row in done.json if row["state"] in ("damaged", "missing") and row["digest"]
        }
        for raw in self.readable().values():
            for digest in needed(raw):
                assert self._is_right(digest) is (f"sha256:{digest}" not in wrong)
        self._rotten = {digest for digest in self._rotten if not self._is_right(digest)}
        assert bool(done.code) is bool(wrong or {*self.manifests} - {*self.readable()})

    def update(self) -> None:
        before = self.manifests
        assert self.ferry("update", "--all").code in (0, 2, 3, 5)
        for path, raw in self.manifests.items():
            if raw != before[path]:
                assert before[path] in self._known
                assert raw in self._there.values()
                self._check_whole(raw)
                self.changes.add(path)

    def _check_whole(self, raw: bytes) -> None:
        """But for what a disk made wrong since it was proven: only `verify` reads that."""
        assert {digest for digest in needed(raw) if not self._is_right(digest)} <= self._rotten

    # --- and what happens to them ------------------------------------------------------------------------

    def _blob(self) -> Path:
        blobs = sorted((self.ferry.models / "blobs").glob("sha256-*"))
        return self._chance.choice([path for path in blobs if path.stat().st_size])

    def flip(self) -> None:
        path = self._blob()
        data = bytearray(path.read_bytes())
        data[self._chance.randrange(len(data))] ^= 1 << self._chance.randrange(8)
        path.write_bytes(data)

    def rot(self) -> None:
        """As a disk does it: no time of a file changes."""
        path = self._blob()
        before = path.stat()
        data = bytearray(path.read_bytes())
        data[self._chance.randrange(len(data))] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        self._rotten.add(path.name.partition("-")[2])

    def cut(self) -> None:
        os.truncate(path := self._blob(), self._chance.randrange(path.stat().st_size))

    def lose(self) -> None:
        self._blob().unlink()

    def cut_manifest(self) -> None:
        path = self._chance.choice([*self.manifests])
        self.changes = {path}
        os.truncate(self.ferry.models / "manifests" / path, self._chance.randrange(60))


@pytest.mark.seeds(1)
def test_nothing_that_was_right_is_lost_and_what_is_repaired_is_right(
    seed: int, ferry: Ferry, server: Registry
) -> None:
    store, chance = Store(ferry, server.host, seed), random.Random(seed)
    for _ in range(STEPS):
        before, right = store.manifests, store.right()
        act: Callable[[], object] = chance.choice((*store.acts, *store.damages))
        store.changes = set()
        if act in store.damages and (not before or not right):
            continue

        act()

        now = store.manifests
        assert {path: now.get(path) for path in before if path not in store.changes} == {
            path: raw for path, raw in before.items() if path not in store.changes
        }
        if act in store.acts:
            still = {digest for raw in store.readable().values() for digest in needed(raw)}
            assert right & still <= store.right()
        check_leftovers(ferry.models)
