"""How much of a disk is left alone, and how that is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.disk import files
from registry.errors import StorageError
from registry.server.registry import Registry
from registry.server.room import Room
from registry.server.upkeep import Upkeep

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


def test_a_full_disk_is_said_once_and_that_it_has_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry.prepare(tmp_path / "data", min_free=20 * 1024**2)
    told: list[str] = []
    noted: list[str] = []
    free = [999]
    monkeypatch.setattr(Room, "free", property(lambda _: free[0]))
    upkeep = Upkeep(registry.depot, told.append, noted.append)
    upkeep.look_for_room()  # once a second: pushes are refused at once
    assert len(told) == 1
    for _ in range(3):
        upkeep.step()
        upkeep.look_for_room()
    assert len(told) == 1
    assert "nearly full: 999 B free" in told[0]
    with pytest.raises(StorageError, match="nearly full"):
        registry.depot.begin("acme/tiny")
    free[0] = 20 * 1024**2
    upkeep.step()
    upkeep.step()
    upkeep.look_for_room()
    assert (len(told), noted) == (1, ["the disk has room again"])
    free[0] = 999
    upkeep.look_for_room()
    assert (len(told), noted) == (2, ["the disk has room again"])
    free[0] = 20 * 1024**2
    registry.depot.begin("acme/tiny").close()
    registry.close()
