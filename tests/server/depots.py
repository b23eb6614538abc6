"""Depots to test, and the clock that says how long an upload stood still."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

from databases import database

from registry.disk import files
from registry.server.database import FILE
from registry.server.depot import DiskDepot
from registry.server.uploads import Owners


class Turned:
    """A clock that the test turns."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def on_disk(
    directory: Path, clock: Callable[[], float] = lambda: 1000.0, owners: Owners | None = None
) -> DiskDepot:
    ids = itertools.count()
    files.make_directory(directory)
    engine = database(directory / FILE)
    return DiskDepot(directory, engine, clock, lambda: f"session-{next(ids)}-{id(ids)}", owners or Owners())
