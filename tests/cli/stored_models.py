"""Models laid into an Ollama store by hand, as Ollama itself would have written them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from registry.model.digests import Digest

CONFIG: dict[str, object] = {
    "model_format": "gguf",
    "model_family": "llama",
    "model_families": ["llama"],
    "model_type": "1.2M",
}
LAYERS = {
    "model": b"GGUF" + bytes(range(256)) * 16,
    "template": b"{{ .Prompt }}",
    "system": b'Say "hello"\nand no more.',
    "params": b'{"stop":["<a>","b c"],"temperature":0.5}',
    "license": b"Do as you like.\n",
}


def put_blob(models: Path, data: bytes) -> str:
    digest = Digest.of(data)
    path = models / "blobs" / f"sha256-{digest.hex}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(digest)


def put_model(
    models: Path,
    path: str = "registry.ollama.ai/library/tiny/latest",
    weights: bytes = LAYERS["model"],
    config: dict[str, object] = CONFIG,
) -> bytes:
    """Write a model's blobs and manifest; its manifest's bytes."""
    return put_layers(models, path, {**LAYERS, "model": weights}.items(), config)


def put_layers(
    models: Path,
    path: str,
    layers: Iterable[tuple[str, bytes]],
    config: dict[str, object] = CONFIG,
) -> bytes:
    """Write a model of any layers, each with its kind; its manifest's bytes."""
    about = json.dumps(config).encode()
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "digest": put_blob(models, about),
            "size": len(about),
        },
        "layers": [
            {
                "mediaType": f"application/vnd.ollama.image.{kind}",
                "digest": put_blob(models, data),
                "size": len(data),
            }
            for kind, data in layers
        ],
    }
    raw = json.dumps(document, separators=(",", ":")).encode()
    place = models / "manifests" / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(raw)
    return raw
