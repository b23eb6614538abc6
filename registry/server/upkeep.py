"""What a server does by itself: it copies its database, notes what is withdrawn, reclaims and so on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from registry.contracts import Clock
from registry.errors import InvalidError, StorageError
from registry.server import revocations
from registry.server.backup import copied, daily_copy
from registry.server.depot import DiskDepot
from registry.server.reclaim import Reclaim
from registry.server.reserve import Reserve

EVERY = 60.0  # seconds between two looks
RECLAIM_EVERY = 3600.0
_LEAP = 3600.0  # seconds by which the clock may have moved otherwise than time did, and be believed
_GAP = 4 * 86_400.0  # seconds between two daily copies, which may be a leap of the clock: a weekend is less
_WAIT = 86_400.0  # seconds without reclaiming after that: by a clock that is wrong everything is old


def _since_boot() -> float:
    """Seconds, those of a suspended machine too: Linux leaves them out of `time.monotonic`."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why the clock may be wrong, and for how many seconds nothing is reclaimed for that."""

    why: str
    wait: float


def doubt(directory: Path, now: float) -> Doubt | None:
    """Whether the clock may have been put forward while no server ran: its daily copies say when one did.

    Of a server that was off for long the same is seen: either is believed when its copies reach back a day
    without such a gap, however often it was started meanwhile. StorageError.
    """
    since = now
    for made in sorted((each for each in copied(directory) if each <= now), reverse=True):
        if since - made > _GAP:
            if now - since >= _WAIT:
                return None
            days = (since - made) / 86_400
            why = f"by this clock no server has run for {days:.0f} days: is that so, or is the clock wrong?"
            return Doubt(why, _WAIT - (now - since))
        since = made
    return None


@dataclass(slots=True)
class Upkeep:
    """Done in steps, when the server has the time; `told` hears of each trouble once, `noted` of its end.

    `more` is what else has to be written down once in a while. `passed` counts seconds, whatever the time is.
    """

    depot: DiskDepot
    told: Callable[[str], None]
    noted: Callable[[str], None]
    more: tuple[Callable[[], None], ...] = ()
    passed: Clock = _since_boot
    _reclaim_at: float | None = field(default=None, init=False)  # by `passed`
    _began: float | None = field(default=None, init=False)  # what the clock showed where `passed` begins
    _full: bool = field(default=False, init=False)

    def step(self) -> None:
        """What is due now. Never raises StorageError: it is told."""
        for work in (self._look_at_the_disk, self._note, self._copy, self._reclaim, *self.more):
            try:
                work()
            except (StorageError, InvalidError) as error:  # the latter: somebody edited the revocations
                self.told(error.message)

    def look_for_room(self) -> None:
        """Tell when there begins to be too little room. Cheap, for once a second: pushes are refused by now.

        That there is room again is found at the next step, so that a disk which is nearly full makes two
        lines a minute at most. Never raises StorageError.
        """
        if self._full:
            return
        try:
            self.depot.room.check()
        except StorageError as error:
            self._full = True
            self.told(f"{error.message}; pulls go on, and deleting and ferry admin gc make room")

    def _look_at_the_disk(self) -> None:
        was_full, self._full = self._full, False
        if was_full:
            try:
                self.depot.room.check()
                self.noted("the disk has room again")
            except StorageError:
                self._full = True
        else:
            self.look_for_room()
        if not self._full:
            Reserve(self.depot.directory).keep()

    def _note(self) -> None:
        revocations.keep(self.depot.directory, self.depot.engine, self.depot.clock())

    def _copy(self) -> None:
        if not self._full:
            daily_copy(self.depot.directory, self.depot.engine, self.depot.clock())

    def _reclaim(self) -> None:
        now, passed = self.depot.clock(), self.passed()
        began, self._began = self._began, now - passed
        if began is not None and abs(self._began - began) > _LEAP:
            self._reclaim_at = passed + _WAIT
            self.told(
                f"the clock has moved by {self._began - began:+.0f} s: is it right? "
                f"nothing is reclaimed for {_WAIT:.0f} s"
            )
        if self._reclaim_at is None:
            self._reclaim_at = passed + self._wait_at_start(now)
        if passed >= self._reclaim_at:
            self._reclaim_at = passed + RECLAIM_EVERY
            Reclaim(self.depot).run()
        else:
            self.depot.manifests.note_pulls()

    def _wait_at_start(self, now: float) -> float:
        """Seconds until the first reclaiming."""
        ahead = max(copied(self.depot.directory), default=now) - now
        if ahead > _LEAP:
            self.told(
                f"by this clock a daily copy was made in {ahead:.0f} s: it was wrong then, or it is now"
            )
        found = doubt(self.depot.directory, now)
        if found is None:
            return 0.0
        self.told(f"{found.why} nothing is reclaimed for {found.wait:.0f} s")
        return found.wait
