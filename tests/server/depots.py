"""Depots to test, and the clock that says how long an upload stood still."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

from registry.server.depot import DiskDepot
from registry.server.uploads import Ledger


class Turned:
    """A clock that the test turns."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def on_disk(
    directory: Path, clock: Callable[[], float] = lambda: 1000.0, ledger: Ledger | None = None
) -> DiskDepot:
    ids = itertools.count()
    return DiskDepot.open(directory, clock, lambda: f"session-{next(ids)}-{id(ids)}", ledger)
