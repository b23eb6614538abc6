"""The archives under `fixtures/`, unpacked by every Python that Ferry runs with."""

from __future__ import annotations

import tarfile
from pathlib import Path


def unpack(archive: Path, place: Path) -> None:
    """Everything in it, below `place`."""
    with tarfile.open(archive) as opened:
        # As the library's documentation advises: before Python 3.11.4 there are no filters.
        opened.extraction_filter = getattr(tarfile, "data_filter", lambda member, _path: member)
        opened.extractall(place)
