"""A terminal's window, as far as bars need one: what is written to it, and what is seen of that.

Like most terminals of today it wraps long lines anew when it is made narrower or wider.
"""

from __future__ import annotations

import io
import os
import re

_PARTS = re.compile(r"\x1b\[(\d*)([A-Z])|(\r)|(\n)|([^\x1b\r\n]+)")


class Window(io.StringIO):
    """A text stream; `seen` is its lines without trailing blanks."""

    encoding = "utf-8"

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        super().__init__()
        self.size = os.terminal_size((columns, rows))
        self._lines = [""]  # as they were ended by a newline: each may be wrapped over several rows
        self._row, self._column = 0, 0

    def write(self, text: str) -> int:
        for count, letter, back, down, plain in _PARTS.findall(text):
            if letter == "A":
                self._row = max(0, self._row - int(count or 1))
            elif letter == "J":
                self._erase()
            elif back:
                self._column = 0
            elif down:
                self._down()
            else:
                self._put(plain)
        return len(text)

    def isatty(self) -> bool:
        return True

    def resize(self, columns: int, rows: int = 24) -> None:
        line, offset = self._place()
        self.size = os.terminal_size((columns, rows))
        self._row = sum(self._height(text) for text in self._lines[:line]) + offset // columns
        self._column = offset % columns

    @property
    def seen(self) -> list[str]:
        width = self.size.columns
        rows = [text[n : n + width] for text in self._lines for n in range(0, max(len(text), 1), width)]
        return [row.rstrip() for row in rows]

    def _height(self, text: str) -> int:
        return max(1, -(-len(text) // self.size.columns))

    def _place(self) -> tuple[int, int]:
        """The line on which the cursor is, and where on it."""
        row = self._row
        for number, text in enumerate(self._lines):
            if row < self._height(text) or number == len(self._lines) - 1:
                return number, row * self.size.columns + self._column
            row -= self._height(text)
        raise AssertionError

    def _erase(self) -> None:
        line, offset = self._place()
        self._lines = [*self._lines[:line], self._lines[line][:offset]]

    def _down(self) -> None:
        line, _ = self._place()
        if line == len(self._lines) - 1:
            self._lines.append("")
        self._row = sum(self._height(text) for text in self._lines[: line + 1])
        self._column = 0

    def _put(self, text: str) -> None:
        line, offset = self._place()
        old = self._lines[line].ljust(offset)
        self._lines[line] = old[:offset] + text + old[offset + len(text) :]
        end = offset + len(text)
        self._row += end // self.size.columns - offset // self.size.columns
        self._column = end % self.size.columns
