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


class _Served:
    """A registry that is served now and then, with a copy of each day it is."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.passed = 50.0
        self.told: list[str] = []
        kit.now = 2_000_000_000.0
        self.begin()
        self.goes(60)

    def begin(self) -> None:
        self.upkeep = Upkeep(self.kit.depot, self.told.append, pytest.fail, passed=lambda: self.passed)
        self.told.clear()

    def goes(self, seconds: float) -> bool:
        """Whether the file of a forgotten upload is gone after so long."""
        forgotten = self.kit.directory / "uploads" / "forgotten"
        forgotten.parent.mkdir(exist_ok=True)
        forgotten.write_bytes(b"1")
        os.utime(forgotten, (1.0, 1.0))
        self.kit.now, self.passed = self.kit.now + seconds, self.passed + seconds
        self.upkeep.step()
        return not forgotten.exists()


def test_nothing_is_reclaimed_for_a_day_where_the_clock_was_put_forward_while_no_server_ran(kit: Kit) -> None:
    served = _Served(kit)
    kit.now += 400 * DAY
    served.begin()

    assert not served.goes(60)
    assert len(served.told) == 1 and "no server has run for 400 days" in served.told[0]
    assert not served.goes(DAY / 2)
    served.begin()  # today's copy alone is no proof
    assert not served.goes(60)
    assert "400 days" in served.told[0]
    kit.now -= 400 * DAY  # it is set right, and another server begins
    served.begin()
    assert served.goes(60)
    assert len(served.told) == 1 and "by this clock a daily copy was made in" in served.told[0]


def test_a_server_that_was_off_for_a_year_reclaims_after_a_day_also_if_it_is_stopped_each_night(
    kit: Kit,
) -> None:
    served = _Served(kit)
    kit.now += 365 * DAY
    served.begin()
    assert not served.goes(60)
    kit.now += DAY
    served.begin()
    assert served.goes(60)
    assert served.told == []
    kit.now += 3 * DAY  # nobody was here at the weekend
    served.begin()
    assert served.goes(60)
    assert served.told == []


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
