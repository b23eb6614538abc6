"""SIGKILL at any moment of `verify --repair` and `update`: the store is no worse, and the next run goes on.

By hand, for long: pytest tests/transfer/test_kill_mending.py --runs 500
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from invariants import check_store
from peers import Registry, ferry_server

ROOT = Path(__file__).resolve().parents[2]
MiB = 1024 * 1024
SIZE = 20 * MiB  # two spans
MOMENTS = 0.9  # seconds within which a run is killed; half of them are Python's own start
KILLS = 1  # before the run that ends it
SLOW = "30M"  # bytes a second: what moves takes about as long as the start


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with ferry_server(tmp_path_factory.mktemp("registry")) as server:
        yield server


def ferry(home: Path, *words: str, killed_after: float | None = None) -> str:
    """One run to its end, or to its SIGKILL; what it said on standard output."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", *words],
        env={"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if killed_after is not None:
        time.sleep(killed_after)
        process.send_signal(signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert killed_after is not None or process.returncode == 0, err
    return out


def write(models: Path, name: str, weights: bytes) -> Path:
    """A model as Ollama would write it; its largest blob."""

    def blob(data: bytes, kind: str) -> dict[str, object]:
        path = models / "blobs" / f"sha256-{hashlib.sha256(data).hexdigest()}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o644)
        return {"mediaType": kind, "digest": path.name.replace("-", ":"), "size": len(data)}

    layer = blob(weights, "application/vnd.ollama.image.model")
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": blob(b"{}", "application/vnd.docker.container.image.v1+json"),
        "layers": [layer],
    }
    place = models / "manifests" / name.replace(":", "/").replace("/", ":", 1)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(document))
    return models / "blobs" / str(layer["digest"]).replace(":", "-")


def wrong(path: Path, right: bytes) -> int:
    """How many bytes of the file are not what they should be."""
    there = path.read_bytes()
    assert len(there) == len(right)
    return int(np.count_nonzero(np.frombuffer(there, np.uint8) != np.frombuffer(right, np.uint8)))


@pytest.mark.seeds(1)
def test_a_repair_that_is_killed_made_nothing_worse_and_the_next_ends_it(
    seed: int, registry: Registry, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    name, models = f"{registry.host}/acme/killed-{seed}:1", tmp_path / ".ollama" / "models"
    data = chance.randbytes(MiB) * (SIZE // MiB)
    path = write(models, name, data)
    ferry(tmp_path, "push", name)
    if chance.random() < 0.5:  # else as a stock Ollama leaves it: without sums
        ferry(tmp_path, "verify")
    spoilt = bytearray(data)
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(SIZE - 1000)
        spoilt[at : at + 1000] = bytes(1000)
    path.write_bytes(spoilt)
    before = wrong(path, data)

    for _ in range(KILLS):
        killed_after = chance.uniform(0.2, MOMENTS)
        ferry(tmp_path, "verify", "--repair", "--limit-rate", SLOW, killed_after=killed_after)
        assert wrong(path, data) <= before
        before = wrong(path, data)
    ferry(tmp_path, "verify", "--repair")

    assert path.read_bytes() == data
    check_store(models)


@pytest.mark.seeds(1)
def test_an_update_that_is_killed_leaves_the_old_model_or_the_new_one(
    seed: int, registry: Registry, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    name, models = f"{registry.host}/acme/update-{seed}:1", tmp_path / ".ollama" / "models"
    publisher, key = tmp_path / "publisher", f"{registry.host}/acme/update-{seed}/1"
    manifests = []
    for number in range(2):
        write(publisher, name, chance.randbytes(MiB) * (SIZE // MiB))
        ferry(tmp_path, "push", name, "--models", str(publisher))
        if number == 0:
            ferry(tmp_path, "pull", name)
        manifests.append(
            (publisher / "manifests" / registry.host / "acme" / f"update-{seed}" / "1").read_bytes()
        )

    for _ in range(KILLS):
        killed_after = chance.uniform(0.2, MOMENTS)
        ferry(tmp_path, "update", "--all", "--limit-rate", SLOW, killed_after=killed_after)
        check_store(models, {key: manifests})
    ferry(tmp_path, "update", "--all")

    check_store(models, {key: manifests[1:]})
