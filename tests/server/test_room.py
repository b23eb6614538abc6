"""How much of a disk is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.disk import files
from registry.server.room import Room

MIB = 1024**2
GIB = 1024 * MIB


@pytest.mark.parametrize(
    ("disk", "wish", "least"),
    [
        (1000 * GIB, None, GIB),
        (10 * GIB, None, GIB // 2),
        (100 * MIB, None, 16 * MIB),
        (10 * GIB, 0, 16 * MIB),
        (10 * GIB, 1000, 16 * MIB),
        (10 * GIB, 2 * GIB, 2 * GIB),
    ],
)
def test_the_database_has_room_whatever_is_wished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: int, wish: int | None, least: int
) -> None:
    monkeypatch.setattr(files, "disk_bytes", lambda _: disk)

    assert Room.at(tmp_path, wish) == Room(tmp_path, least)
