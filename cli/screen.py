"""Lines at the bottom of a terminal that are drawn again in place, below what is said for good."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TextIO

_WIDEST = 80  # columns used of a wider window: made narrower, down to this, nothing of it wraps
_FALLBACK = os.terminal_size((80, 24))

_UP, _ERASE_BELOW = "\x1b[{}A", "\x1b[J"


class Block:
    """Some lines, each shorter than the window is wide; the cursor stays behind the last one."""

    def __init__(self, stream: TextIO, size: Callable[[], os.terminal_size] | None = None) -> None:
        self._stream = stream
        self._size = size or (lambda: window(stream))
        self._drawn: list[str] = []

    @property
    def width(self) -> int:
        """How many characters a line may have; three are left for the `^C` that a terminal shows."""
        return max(10, min(self._size().columns, _WIDEST) - 4)

    def draw(self, lines: Sequence[str], above: str = "") -> None:
        """Show `lines` in place of what was drawn before, the first ones if not all fit; `above` stays."""
        columns, rows = self._size()
        shown = [line[: max(1, columns - 1)] for line in lines[: max(1, rows - 1)]]
        self._write(f"{self._back(columns)}{above}" + "\n".join(shown))
        self._drawn = shown

    def clear(self) -> bool:
        """Take everything away, the cursor where the first line began; whether there was anything."""
        drawn = bool(self._drawn)
        if drawn:
            self._write(self._back(self._size().columns))
        self._drawn = []
        return drawn

    def leave(self) -> None:
        """Leave the lines where they are, and go below them."""
        if self._drawn:
            self._write("\n")
        self._drawn = []

    def _back(self, columns: int) -> str:
        """To the first line's beginning, all below it erased; a window made narrower wraps long lines."""
        rows = sum(max(1, -(-len(line) // columns)) for line in self._drawn)
        return "\r" + (_UP.format(rows - 1) if rows > 1 else "") + _ERASE_BELOW

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # nobody sees it any more, and that is no reason to stop
            return


def window(stream: TextIO) -> os.terminal_size:
    """A terminal's size in columns and rows; 80 and 24 where it does not say."""
    try:
        found = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return _FALLBACK
    return os.terminal_size((found.columns or _FALLBACK.columns, found.lines or _FALLBACK.lines))
