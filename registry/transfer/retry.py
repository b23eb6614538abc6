"""Patience: the one retry loop, for the one retryable error. Progress resets it.

Until a place has answered once it is given a few quick tries, so that a typo or a dead port is told at
once; after that the budget is time without progress.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from registry.contracts import Clock
from registry.errors import InvalidError, TransientError

T = TypeVar("T")

_RETRY_AFTER_CEILING = 600.0
_SAY_AGAIN = 10.0  # seconds before the same is said again


def say_nothing(_text: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How patient to be, in seconds.

    `give_up_after`: the longest time without progress. `first_pause` doubles up to `longest_pause`.
    A place that never answered gets `first_tries` within `first_seconds`.
    """

    give_up_after: float = 600.0
    first_pause: float = 0.5
    longest_pause: float = 30.0
    first_tries: int = 3
    first_seconds: float = 5.0

    def __post_init__(self) -> None:
        if self.give_up_after < 0 or self.first_pause <= 0 or self.longest_pause < self.first_pause:
            raise InvalidError("patience: times must be positive, and the longest pause the longest")


@dataclass(slots=True)
class Patience:
    """One transfer's patience, shared by its threads.

    `stop` ends every pause at once. `sleep` waits that many seconds and returns True if told to stop.
    """

    rule: Rule = field(default_factory=Rule)
    clock: Clock = time.monotonic
    sleep: Callable[[float], bool] | None = None
    chance: Callable[[], float] = random.random
    note: Callable[[str], None] = say_nothing
    stop: threading.Event = field(default_factory=threading.Event)
    _answered: set[str] = field(default_factory=set)
    _last_progress: float = 0.0
    _moved: int = 0
    _told: tuple[str, float] = ("", 0.0)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._last_progress = self.clock()

    def progress(self) -> None:
        """Something moved: the count and the budget begin anew."""
        with self._lock:
            self._moved += 1
            self._last_progress = self.clock()

    def retry(self, call: Callable[[], T], place: str) -> T:
        """What `call` returns, asked again while it raises TransientError and patience lasts.

        `place` is the side that is asked ("source", "destination"). Raises the last TransientError when
        patience ends, any other error at once.
        """
        began = self.clock()
        tries = 0
        while True:
            moved = self._moved
            try:
                result = call()
            except TransientError as error:
                tries = 1 if self._moved > moved else tries + 1
                if error.answered:
                    self._answered.add(place)
                self._pause(error, tries, began, place)
            else:
                self._answered.add(place)
                self.progress()
                return result

    def _pause(self, error: TransientError, tries: int, began: float, place: str) -> None:
        """Wait before the next try, or raise `error` if there shall be none."""
        pause = min(self.rule.first_pause * 2 ** min(tries - 1, 20), self.rule.longest_pause)
        pause *= 0.5 + self.chance() / 2
        if error.retry_after is not None:
            pause = max(pause, min(error.retry_after, _RETRY_AFTER_CEILING))
        if place in self._answered:
            spent, budget = self.clock() - max(began, self._last_progress), self.rule.give_up_after
        else:
            spent, budget = self.clock() - began, self.rule.first_seconds
            if tries >= self.rule.first_tries:
                raise error
        if spent + pause > budget:
            raise error
        self._tell(error, pause)
        if (self.sleep or self.stop.wait)(pause):
            raise error

    def _tell(self, error: TransientError, pause: float) -> None:
        """Say why it takes longer, once where many threads have the same reason."""
        with self._lock:
            now = self.clock()
            if error.message == self._told[0] and now - self._told[1] < _SAY_AGAIN:
                return
            self._told = (error.message, now)
        self.note(f"{error.message}; trying again in {pause:.1f} s")
