"""What a server does by itself is not misled by its clock."""

from __future__ import annotations

import os
import time

import pytest
from reclaim_kit import Kit

from registry.server.manifests import DAY
from registry.server.upkeep import RECLAIM_EVERY, Upkeep


@pytest.mark.parametrize("moved", [365 * DAY, -365 * DAY])
def test_nothing_is_reclaimed_for_a_day_after_the_clock_has_leapt(kit: Kit, moved: float) -> None:
    passed, told = 50.0, list[str]()
    upkeep = Upkeep(kit.depot, told.append, pytest.fail, passed=lambda: passed)

    def later(seconds: float) -> bool:
        """Whether the file of a forgotten upload is gone then."""
        nonlocal passed
        passed, kit.now = passed + seconds, kit.now + seconds
        upkeep.step()
        return not forgotten.exists()

    kit.now = 2_000_000_000.0
    forgotten = kit.directory / "uploads" / "forgotten"
    forgotten.parent.mkdir(exist_ok=True)
    assert later(60)
    forgotten.write_bytes(b"1")
    os.utime(forgotten, (1.0, 1.0))
    assert not later(RECLAIM_EVERY - 1)
    kit.now += moved
    assert not later(60)
    assert len(told) == 1 and f"{moved:+.0f} s" in told[0]
    assert not later(DAY - 1)
    assert later(1)
    forgotten.write_bytes(b"1")
    os.utime(forgotten, (1.0, 1.0))
    assert later(RECLAIM_EVERY)  # and by what has passed from then on, whatever the clock shows
    assert len(told) == 1


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="the system does not count them")
def test_a_machine_that_was_suspended_has_no_clock_that_leapt(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    since_boot = {time.CLOCK_BOOTTIME: 50.0}
    monkeypatch.setattr(time, "clock_gettime", since_boot.__getitem__)
    upkeep = Upkeep(kit.depot, pytest.fail, pytest.fail)
    upkeep.step()
    kit.now += DAY
    since_boot[time.CLOCK_BOOTTIME] += DAY
    upkeep.step()  # nothing is told
