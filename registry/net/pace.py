"""A connection that moves so slowly that it is as good as dead."""

from __future__ import annotations

from dataclasses import dataclass


class TooSlowError(TimeoutError):
    """Fewer bytes came than the floor wants."""


@dataclass(slots=True)
class Pace:
    """Adds up what one message moves and how long the peer let us wait for it.

    `floor` bytes a second must move in every `window` seconds of waiting. Time in which nobody waited for
    the peer does not count: who is held back by a limit of ours is not slow.
    """

    floor: float
    window: float
    _waited: float = 0.0
    _moved: int = 0

    def took(self, seconds: float, moved: int) -> None:
        """After a wait of `seconds` `moved` bytes had come or gone. TooSlowError."""
        self._waited += seconds
        self._moved += moved
        if self._waited >= self.window:
            if self._moved < self.floor * self._waited:
                raise TooSlowError(f"moved {self._moved} bytes in {self._waited:.0f} s")
            self._waited, self._moved = 0.0, 0
