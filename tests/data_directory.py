"""A data directory to administer before anything is served from it."""

from __future__ import annotations

from pathlib import Path

from registry.server.directory import note_url
from registry.server.registry import Registry


def prepared(data: Path) -> Path:
    """The directory as `ferry serve` leaves it that nobody has asked anything."""
    Registry.prepare(data).close()
    note_url(data, "http://127.0.0.1:5050")
    return data
