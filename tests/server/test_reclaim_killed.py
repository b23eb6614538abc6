"""A collector that is killed while it throws blobs away, and one that has no room to say which."""

from __future__ import annotations

import pytest
from reclaim_kit import ORPHAN, Kit
from test_depot_contract import get, put

from registry.disk import files
from registry.errors import Reason, StorageError
from registry.model.digests import Digest
from registry.server.blobs import Blobs
from registry.server.manifests import DAY
from registry.server.reclaim import Reclaim


def test_what_a_collector_that_was_killed_had_dropped_is_thrown_away_by_the_next_one(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    orphans = [put(kit.depot, ORPHAN + bytes([number])) for number in range(3)]
    kit.now += 8 * DAY
    thrown = iter(range(1))

    def killed(blobs: Blobs, digest: Digest, now: float) -> int:
        next(thrown)  # the second is not thrown away any more
        return throw_away(blobs, digest, now)

    throw_away = Blobs.throw_away
    with monkeypatch.context() as patch, pytest.raises(StopIteration):
        patch.setattr(Blobs, "throw_away", killed)
        kit.collect()
    assert len(Reclaim(kit.depot).strays()) == 2
    put(kit.depot, ORPHAN + bytes([2]))

    done = kit.collect()

    assert done.trashed == len(ORPHAN) + 1
    assert [kit.trashed(each).exists() for each in orphans] == [True, True, False]
    assert get(kit.depot, orphans[2]) == ORPHAN + bytes([2])
    assert Reclaim(kit.depot).strays() == []
    assert not (kit.directory / "leaving").exists()


def test_room_is_made_also_where_there_is_none_to_note_what_leaves(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    orphan = put(kit.depot, ORPHAN)
    kit.now += 8 * DAY

    def full(*_args: object, **_options: object) -> None:
        raise StorageError("no space left", reason=Reason.DISK_FULL)

    monkeypatch.setattr(files, "write_atomic", full)
    assert kit.collect().trashed == len(ORPHAN)
    assert kit.trashed(orphan).exists()
