"""What is moved: one model, laid out both as Ollama's store and as an OCI layout, sharing its bytes."""

from __future__ import annotations

import hashlib
import json
import os
import random
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

from peers import Registry

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.ollama.image.model"
BLOCK = 1 << 20
LOCAL = "bench"  # its name in the store: library/bench:latest
TAG = "v1"


@dataclass(frozen=True)
class Load:
    """`home` has the store (`.ollama/models`), `layout` the OCI layout; `blobs` are digest and size."""

    home: Path
    layout: Path
    manifest: bytes
    blobs: list[tuple[str, int]]

    @property
    def size(self) -> int:
        return sum(size for _, size in self.blobs)

    @property
    def biggest(self) -> str:
        return max(self.blobs, key=lambda blob: blob[1])[0]

    def file(self, digest: str) -> Path:
        return self.layout / "blobs" / "sha256" / digest.removeprefix("sha256:")


def make_load(place: Path, layers: int, layer_size: int) -> Load:
    """A model of `layers` random layers below `place`. Each file exists once, under two names."""
    home, layout = place / "home", place / "layout"
    store = home / ".ollama" / "models"
    (layout / "blobs" / "sha256").mkdir(parents=True)
    (store / "blobs").mkdir(parents=True)
    source = random.Random(20260801)
    blobs = [_write(layout, store, source, layer_size) for _ in range(layers)]
    config = json.dumps({"model_format": "gguf", "architecture": "amd64", "os": "linux"}).encode()
    settled = _settle(layout, store, config)
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": settled, "size": len(config)},
            "layers": [{"mediaType": LAYER, "digest": digest, "size": size} for digest, size in blobs],
        }
    ).encode()
    name = _settle(layout, None, manifest)
    entry = {"mediaType": MANIFEST, "digest": name, "size": len(manifest)}
    entry["annotations"] = {"org.opencontainers.image.ref.name": TAG}
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    path = store / "manifests" / "registry.ollama.ai" / "library" / LOCAL / "latest"
    path.parent.mkdir(parents=True)
    path.write_bytes(manifest)
    return Load(home, layout, manifest, [*blobs, (settled, len(config))])


def _write(layout: Path, store: Path, source: random.Random, size: int) -> tuple[str, int]:
    path, seen, left = layout / "making", hashlib.sha256(), size
    with path.open("wb") as file:
        while left:
            block = source.randbytes(min(BLOCK, left))
            seen.update(block)
            file.write(block)
            left -= len(block)
    name = seen.hexdigest()
    final = path.rename(layout / "blobs" / "sha256" / name)
    os.link(final, store / "blobs" / f"sha256-{name}")
    return f"sha256:{name}", size


def _settle(layout: Path, store: Path | None, data: bytes) -> str:
    name = hashlib.sha256(data).hexdigest()
    (layout / "blobs" / "sha256" / name).write_bytes(data)
    if store:
        (store / "blobs" / f"sha256-{name}").write_bytes(data)
    return f"sha256:{name}"


def fill(registry: Registry, load: Load, repository: str) -> None:
    """Put the whole model into the registry with plain requests, as tag v1."""
    import requests

    with requests.Session() as session:
        session.trust_env = False
        base = f"http://{registry.host}/v2/{repository}"
        for digest, _ in load.blobs:
            began = session.post(f"{base}/blobs/uploads/")
            began.raise_for_status()
            location = urljoin(f"{base}/", began.headers["Location"])
            location += ("&" if "?" in location else "?") + f"digest={digest}"
            with load.file(digest).open("rb") as file:
                session.put(
                    location, data=file, headers={"Content-Type": "application/octet-stream"}
                ).raise_for_status()
        session.put(
            f"{base}/manifests/{TAG}", data=load.manifest, headers={"Content-Type": MANIFEST}
        ).raise_for_status()
