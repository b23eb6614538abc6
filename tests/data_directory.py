"""A data directory to administer before anything is served from it."""

from __future__ import annotations

from pathlib import Path

from registry.server.registry import Registry


def prepared(data: Path) -> Path:
    """The directory as `ferry serve` leaves it that nobody has asked anything."""
    Registry.prepare(data).close()
    return data
