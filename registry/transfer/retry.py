"""Patience: the one retry loop, for the one retryable error. Progress resets it.

Until a side of the copy has answered once it is given a few quick tries, so that a typo or a dead port is
told at once; after that the budget is time without progress, counted from the first failure: a call that
runs for an hour and then breaks has used up none of it.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from registry.contracts import Clock
from registry.errors import InvalidError, RegistryError, Side, TransientError

T = TypeVar("T")

_LONGEST_WISH = 600.0  # seconds that a peer is waited for because it says so
_SAY_AGAIN = 10.0  # seconds before the same is said again
_LOOK_EVERY = 1.0  # seconds of a pause before it is looked whether others are served meanwhile


class Stopped(Exception):
    """Another blob failed, or the copy was told to stop: let go at once."""


def say_nothing(_text: str) -> None:
    """Tell nobody."""


def nothing() -> None:
    """Do nothing."""


@contextlib.contextmanager
def at(side: Side) -> Iterator[None]:
    """Errors that are raised in here come from `side`, unless they know better."""
    try:
        yield
    except RegistryError as error:
        error.side = error.side or side
        raise


@dataclass(frozen=True, slots=True)
class Rule:
    """How patient to be, in seconds.

    `give_up_after`: the longest time without progress. `first_pause` doubles up to `longest_pause`.
    A side that never answered gets `first_tries` within `first_seconds`.
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
class HostRecord:
    """How one host has served: kept from one copy to the next, so that patience with it is one.

    `answered`: whether it ever did. `progress` grows with everything it brings or keeps. `given_up`: patience
    with it ended, and it has served nothing since; until it does, each call gets one try. `told`: why it was
    waited for last, and when that was said.
    """

    answered: bool = False
    progress: int = 0
    given_up: bool = False
    told: tuple[str, float] = ("", 0.0)


@dataclass(slots=True)
class _Failures:
    """Failures of one call in a row, without progress at their host between them."""

    began: float  # when the call was made first
    host: HostRecord
    progress: int  # how much of it there had been by then
    first: float = 0.0  # when it failed first
    tries: int = 0


@dataclass(slots=True)
class Patience:
    """One copy's patience with the hosts at its two sides, shared by its threads.

    `stop` ends every pause at once. `sleep` waits that many seconds and returns True if told to stop.
    `hosts` may be those of earlier copies.
    """

    rule: Rule = field(default_factory=Rule)
    clock: Clock = time.monotonic
    sleep: Callable[[float], bool] | None = None
    chance: Callable[[], float] = random.random
    note: Callable[[str], None] = say_nothing
    stop: threading.Event = field(default_factory=threading.Event)
    hosts: Mapping[Side, HostRecord] = field(
        default_factory=lambda: {Side.SOURCE: HostRecord(), Side.DESTINATION: HostRecord()}
    )
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def progress(self, *sides: Side) -> None:
        """A step is done at `sides`, or the destination keeps more than before, which is progress at both.

        The budget begins anew for every call that waits for these hosts.
        """
        with self._lock:
            for side in sides or self.hosts:
                self.hosts[side].progress += 1
                self.hosts[side].given_up = False

    def retry(
        self,
        call: Callable[[], T],
        side: Side,
        *,
        answers: bool = True,
        look: Callable[[], None] = nothing,
    ) -> T:
        """What `call` returns, asked again while it raises TransientError and patience lasts.

        `side` is the one that is asked, where an error does not say it; without `answers` a call that ends
        well is no sign that somebody is there. `look` finds out what a broken call achieved: it is called
        before patience ends. Raises the last TransientError then, any other error at once.
        """
        began, before = self.clock(), {at: host.progress for at, host in self.hosts.items()}
        every: dict[Side, _Failures] = {}  # of most calls none
        while True:
            try:
                result = call()
            except RegistryError as error:
                error.side = error.side or side
                if not isinstance(error, TransientError):
                    raise
                if (failures := every.get(error.side)) is None:
                    failures = _Failures(began, self.hosts[error.side], before[error.side])
                    every[error.side] = failures
                self._count(failures, error)
                pause = self._pause_after(error, failures)
                if not self._lasts(pause, failures):
                    with contextlib.suppress(TransientError):
                        look()
                    if failures.host.progress == failures.progress:
                        failures.host.given_up = True
                        raise
                self._rest(pause, failures, error)
            else:
                if answers:
                    self.hosts[side].answered = True
                    self.progress(side)
                return result

    def _count(self, failures: _Failures, error: TransientError) -> None:
        host = failures.host
        host.answered = host.answered or error.answered
        if not failures.tries or host.progress > failures.progress:
            failures.tries, failures.first, failures.progress = 1, self.clock(), host.progress
        else:
            failures.tries += 1

    def _pause_after(self, error: TransientError, failures: _Failures) -> float:
        if error.at_once:
            return 0.0
        pause = min(self.rule.first_pause * 2.0 ** min(failures.tries - 1, 20), self.rule.longest_pause)
        pause *= 0.5 + self.chance() / 2
        if error.retry_after is not None:
            pause = max(pause, error.retry_after)
        return pause

    def _lasts(self, pause: float, failures: _Failures) -> bool:
        """Whether there is to be another try after `pause`; one of hours is for people to know."""
        now = self.clock()
        if pause > _LONGEST_WISH or failures.host.given_up:
            return False
        if failures.host.answered:
            return now - failures.first + pause <= self.rule.give_up_after
        in_time = now - failures.began + pause <= self.rule.first_seconds
        return in_time and failures.tries < self.rule.first_tries

    def _rest(self, pause: float, failures: _Failures, error: TransientError) -> None:
        """Wait, as long as the peer wished; else no longer than until others are served again."""
        if self.stop.is_set():
            raise error
        self._tell(error, pause, failures.host)
        wished = error.retry_after is not None
        while pause > 0 and (wished or failures.host.progress == failures.progress):
            part = pause if wished else min(pause, _LOOK_EVERY)
            if (self.sleep or self.stop.wait)(part):
                raise error
            pause -= part

    def _tell(self, error: TransientError, pause: float, host: HostRecord) -> None:
        """Say why it takes longer, once where many threads, or copies of one engine, have the same reason."""
        with self._lock:
            now = self.clock()
            if error.message == host.told[0] and now - host.told[1] < _SAY_AGAIN:
                return
            host.told = (error.message, now)
        self.note(f"{error.message}; trying again in {pause:.1f} s" if pause else error.message)
