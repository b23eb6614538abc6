"""Models made by hand, in Ollama's layout and over the wire, so that no test trusts Ferry to make them."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from pathlib import Path

from peers import Registry

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.ollama.image."
DEFAULT_HOST = "registry.ollama.ai"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Model:
    """A model's exact bytes: its manifest, and every blob by digest."""

    manifest: bytes
    blobs: dict[str, bytes]

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)

    @property
    def size(self) -> int:
        return sum(map(len, self.blobs.values()))


def make_model(seed: int, weights: int = 300_000) -> Model:
    """A model as Ollama would write it: weights, template, parameters, licence; other bytes per seed."""
    layers = {
        "model": random.Random(seed).randbytes(weights),
        "template": b"{{ .Prompt }}",
        "params": json.dumps({"seed": seed, "stop": ["<end>"]}).encode(),
        "license": b"Do as you like.\n",
    }
    config = {"model_format": "gguf", "model_family": "llama", "model_type": f"{seed}B", "file_type": "F16"}
    text = json.dumps({**config, "architecture": "amd64", "os": "linux"}).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": digest_of(text), "size": len(text)},
        "layers": [
            {"mediaType": LAYER + kind, "digest": digest_of(data), "size": len(data)}
            for kind, data in layers.items()
        ],
    }
    blobs = {digest_of(data): data for data in (text, *layers.values())}
    return Model(json.dumps(manifest, indent=1).encode(), blobs)


def models_of(home: Path) -> Path:
    return home / ".ollama" / "models"


def shelve(home: Path, model: Model, name: str, host: str = DEFAULT_HOST) -> None:
    """Put `model` into the store below `home` as `namespace/model/tag`."""
    store = models_of(home)
    path = store / "manifests" / host / name
    path.parent.mkdir(parents=True, exist_ok=True)
    (store / "blobs").mkdir(parents=True, exist_ok=True)
    for digest, data in model.blobs.items():
        (store / "blobs" / digest.replace(":", "-")).write_bytes(data)
    path.write_bytes(model.manifest)


def unshelve(home: Path, host: str, name: str) -> Model:
    """What the store below `home` holds as `host/namespace/model/tag`, read without Ferry."""
    store = models_of(home)
    manifest = (store / "manifests" / host / name).read_bytes()
    parsed = json.loads(manifest)
    digests = [parsed["config"]["digest"], *(layer["digest"] for layer in parsed["layers"])]
    blobs = {digest: (store / "blobs" / digest.replace(":", "-")).read_bytes() for digest in digests}
    return Model(manifest, blobs)


def fetch(registry: Registry, repository: str, reference: str) -> Model:
    """What the registry answers, read with plain requests."""
    answer = registry.call("GET", f"/v2/{repository}/manifests/{reference}", headers={"Accept": MANIFEST})
    assert answer.status == 200, (answer.status, answer.body)
    parsed = json.loads(answer.body)
    digests = [parsed["config"]["digest"], *(layer["digest"] for layer in parsed["layers"])]
    blobs = {d: registry.call("GET", f"/v2/{repository}/blobs/{d}").body for d in digests}
    return Model(answer.body, blobs)
