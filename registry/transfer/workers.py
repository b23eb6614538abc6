"""How many transfers at once: as many as it pays for, found by measuring.

A link that is throttled per connection wants many; a fast one is full with two. Where this machine's
processors are what is full, more workers only get into each other's way.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

FEWEST = 2  # one waits for an answer while the other moves
MOST = 16
_BLOBS_EACH = 8  # one worker from the start for so many blobs
_GAIN = 1.15  # what a step up must bring to be kept
_WINDOW = 0.4  # seconds of measurement before a decision
_PROBE_AGAIN = 1.0  # seconds before a step that did not pay is tried again, twice as many each time
_LONGEST_REST = 20.0
_BUSY = 0.4  # of the machine: a process that takes more does not wait for its link
_CALL_WORTH = 256 * 1024  # bytes that one finished call counts for, so that small blobs count too


def machine_time() -> float:
    """How much of this machine's time the process has taken: its processor seconds, by all processors."""
    return time.process_time() / (os.cpu_count() or 1)


@dataclass(slots=True)
class Workers:
    """The number of workers allowed right now, never above `most`; `fixed` leaves nothing to decide."""

    fixed: int | None = None
    limit: int = FEWEST
    most: int = MOST
    _since: float = 0.0
    _score: float = 0.0
    _taken: float = 0.0
    _best: float = 0.0
    _before: int = 0
    _rest_until: float = 0.0
    _rest: float = _PROBE_AGAIN

    def __post_init__(self) -> None:
        if self.fixed is not None:
            self.limit = self.fixed

    def begin(self, blobs: int) -> None:
        """Start with more than one where there are many blobs: then many are small, and wait for answers."""
        if self.fixed is None:
            self.limit = max(self.limit, min(self.most, blobs // _BLOBS_EACH))

    def measure(self, now: float, taken: float, moved: int, calls: int, wanted: int) -> None:
        """Decide anew, given all `moved` bytes and finished `calls` so far, how many workers would find
        work (`wanted`), and how many seconds of the machine the process has `taken`."""
        if self.fixed is not None:
            return
        score = moved + calls * _CALL_WORTH
        if not self._since:
            self._since, self._score, self._taken = now, score, taken
            return
        if now - self._since < _WINDOW:
            return
        rate = (score - self._score) / (now - self._since)
        busy = (taken - self._taken) / (now - self._since) > _BUSY
        self._since, self._score, self._taken = now, score, taken
        self._decide(now, rate, self.limit if busy else wanted)

    def _decide(self, now: float, rate: float, wanted: int) -> None:
        if self._before and rate < self._best * _GAIN:  # the step up that was on trial did not pay
            self.limit, self._before, self._best = self._before, 0, 0.0
            self._rest_until = now + self._rest
            self._rest = min(self._rest * 2, _LONGEST_REST)
            return
        if self._before:
            self._before, self._rest = 0, _PROBE_AGAIN
        self._best = max(self._best, rate)  # one slow moment does not make a step pay
        if rate > 0 and now >= self._rest_until and self.limit < min(self.most, wanted):
            self._before, self.limit = self.limit, min(self.most, self.limit * 2)
