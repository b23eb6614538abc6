"""A depot to reclaim from, with a clock to turn."""

from __future__ import annotations

import os
from pathlib import Path

from depots import on_disk

from registry.model.digests import Digest
from registry.server.manifests import DAY
from registry.server.reclaim import Reclaim, Reclaimed, Terms

WEEK = 7 * DAY
ORPHAN = b"nobody names me"


class Kit:
    """A depot, a clock to turn, and its files."""

    def __init__(self, directory: Path) -> None:
        self.now = 1_000_000.0
        self.directory = directory
        self.depot = on_disk(directory, lambda: self.now)

    def collect(self, terms: Terms | None = None) -> Reclaimed:
        return Reclaim(self.depot, terms or Terms()).run()

    def path(self, digest: Digest) -> Path:
        return self.directory / "blobs" / "sha256" / digest.hex[:2] / digest.hex

    def trashed(self, digest: Digest) -> Path:
        return self.directory / "trash" / f"sha256-{digest.hex}"

    def begin(self, data: bytes) -> str:
        """An upload nobody goes on with."""
        upload = self.depot.begin("acme/tiny")
        upload.write(data)
        upload.close()
        os.utime(self.directory / "uploads" / upload.id, (self.now, self.now))
        return upload.id
