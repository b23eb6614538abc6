"""Two names, a model, and a look at a store from outside."""

from __future__ import annotations

import os
import time
from pathlib import Path

from sample_models import GRAIN, Model

from registry.model.digests import Digest
from registry.model.names import Name

NAME = Name.parse("models.example/acme/tiny:1")
OTHER = Name.parse("127.0.0.1:5000/acme/other:2")
MODEL = Model.random(1, 3 * GRAIN, 10)
HOUR = 3600.0


def blob_path(models: Path, digest: Digest) -> Path:
    return models / "blobs" / f"sha256-{digest.hex}"


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))
