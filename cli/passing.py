"""A peer's bytes on their way to standard output, as they come: exact into a pipe, readable in a terminal."""

from __future__ import annotations

import codecs

from cli.render import Terminal, visible


class Passing:
    """In a terminal, text with its control characters made visible, but for line ends and tabs."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._shown = terminal.out.isatty()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""  # a carriage return whose line feed may come yet
        self._open = False  # whether the last line has no end yet

    def write(self, data: bytes) -> None:
        """Show `data` at once. StorageError, BrokenPipeError."""
        if not self._shown:
            self._terminal.raw(data)
            return
        self._show(self._decoder.decode(data))

    def end(self) -> None:
        """No more comes: in a terminal the last line is ended."""
        if self._shown:
            self._show(self._decoder.decode(b"", final=True), last=True)
            if self._open:
                self._terminal.say()

    def _show(self, text: str, *, last: bool = False) -> None:
        text = self._held + text
        self._held = "\r" if text.endswith("\r") and not last else ""
        text = text[: len(text) - len(self._held)].replace("\r\n", "\n")
        if text:
            self._open = not text.endswith("\n")
            lines = ("\t".join(map(visible, line.split("\t"))) for line in text.split("\n"))
            self._terminal.piece("\n".join(lines))
