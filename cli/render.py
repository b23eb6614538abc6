"""What a person or a program sees: text or one JSON document, sizes, dates, tables, colours.

Standard output carries the result and nothing else; everything said on the way goes to standard error.
What a peer sent is shown with its control characters made visible.
"""

from __future__ import annotations

import errno
import json
import re
import sys
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import TextIO

from cli.hints import next_step
from cli.screen import window
from registry.errors import Reason, RegistryError, StorageError
from registry.model.amounts import amount
from registry.wire.masking import Masking

Document = dict[str, object]
"""A JSON object that tells a result."""

_COLOURS = {"red": "31", "green": "32", "yellow": "33", "dim": "2", "bold": "1"}
_ASCII = {"✓": "ok", "✗": "x", "…": "...", "→": "->", "─": "-"}
_GAP = "  "  # between two columns of a table
_NARROWEST = 20  # characters that the first of them keeps in any terminal
# What Markdown takes for more than text, as in GitHub's pages: there a bare URL is a link too.
_MARKUP = re.compile(r"[\\|\[\]`*~]|\b_|_\b|:(?=//)|(?<=www)\.", re.IGNORECASE)
_AGES = ((86400 * 365, "year"), (86400 * 30, "month"), (86400 * 7, "week"), (86400, "day"), (3600, "hour"))


def visible(text: str) -> str:
    """`text` with its control characters made visible, on one line."""
    if text.isascii() and text.isprintable():
        return text
    from registry.wire.faults import printable

    return printable(text)


def markdown_cell(text: str) -> str:
    """`text`, some of which a peer wrote, so that it is no link, picture, code or markup."""
    return _MARKUP.sub(r"\\\g<0>", visible(text)).replace("<", "&lt;")


def shortened(text: str, length: int, sign: str) -> str:
    """`text` in `length` characters: a name's end, with its tag, says more than its beginning."""
    return text if len(text) <= length else sign + text[len(text) - length + len(sign) :]


def size(count: int | None) -> str:
    """Bytes as people say them, decimal: `1.2 GB`; a dash where it is not known."""
    if count is None:
        return "-"
    return amount(count)


def counted(count: int, what: str) -> str:
    """`1 model`, `3 models`."""
    return f"{count} {what}{'s' * (count != 1)}"


def age(moment: float | None, now: float) -> str:
    """How long ago `moment` (Unix seconds) was: `3 days`."""
    if moment is None:
        return "-"
    passed = now - moment
    for length, word in (*_AGES, (60, "minute")):
        if passed >= length:
            return counted(int(passed // length), word)
    return "just now"


def date(moment: float | None) -> str | None:
    """Unix seconds as RFC 3339 in UTC, or None."""
    return None if moment is None else _date(int(moment))


@lru_cache(maxsize=8)  # a busy server's log says the same second many times
def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def error_document(error: RegistryError) -> dict[str, object]:
    """The error as CLI.md's JSON document."""
    return {
        "error": {
            "class": type(error).__name__,
            "reason": str(error.reason),
            "message": error.message,
            "hint": next_step(error),
            "host": error.host,
            "name": error.name,
            "exit": error.exit,
        }
    }


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where a run speaks: `out` for the result, `err` for everything else."""

    out: TextIO
    err: TextIO
    answers: TextIO = sys.stdin
    json: bool = False
    quiet: bool = False
    no_colour: bool = False
    kept: str = ""  # what is true where the same command goes on with what another run left
    streams: set[str] = field(default_factory=set, compare=False)  # "event" once one was written
    mask: Masking = field(default_factory=Masking)  # the last net: nothing of ours in what anybody says
    noted: set[str] | None = None  # where each note is told once, those that were

    @property
    def interactive(self) -> bool:
        """Whether somebody is there to answer a question."""
        return self.err.isatty() and self.answers.isatty()

    def document(self, value: object) -> None:
        """The result as JSON; called once in a run, and only if JSON was asked for.

        In one line where events stand before it: an error that ends what was waiting.
        """
        with _writing("standard output"):
            indent = None if self.streams else 2
            self.out.write(json.dumps(_masked(value, self.mask), indent=indent) + "\n")
            self.out.flush()

    def answer(self, value: object, text: str) -> None:
        """The result: `value` if JSON was asked for, else a line of text."""
        if self.json:
            self.document(value)
        else:
            self.line(text)

    def secret(self, value: object, secret: str, what: str) -> None:
        """The result: `value` if JSON was asked for, else a secret alone, and beside it `what` it is."""
        if not self.json:
            self.note(f"ferry: {visible(what)}; it is shown only this once")
        self.answer(value, visible(secret))

    def listing(
        self,
        documents: Sequence[object],
        head: Sequence[str],
        rows: Sequence[Sequence[str]],
        below: Sequence[str] = (),
    ) -> None:
        """The result of a listing: `documents` if JSON was asked for, else a table as `table` shows it."""
        if self.json:
            self.document(documents)
        else:
            self.table(head, rows, below)

    def line(self, text: str = "") -> None:
        """A line of the result as text."""
        with _writing("standard output"):
            self.out.write(self._spelled(text, self.out) + "\n")

    def say(self, text: str = "") -> None:
        """A line of the result while the command goes on: seen at once, also behind a pipe."""
        self.line(text)
        with _writing("standard output"):
            self.out.flush()

    def piece(self, text: str) -> None:
        """Text of the result that may be part of a line, seen at once."""
        with _writing("standard output"):
            self.out.write(self._spelled(text, self.out))
            self.out.flush()

    def event(self, value: Mapping[str, object]) -> None:
        """One JSON document in one line, of a command that waits or streams."""
        self.streams.add("event")
        with _writing("standard output"):
            self.out.write(json.dumps(_masked(value, self.mask)) + "\n")
            self.out.flush()

    def raw(self, data: bytes) -> None:
        """Exact bytes as the result."""
        with _writing("standard output"):
            self.out.flush()
            self.out.buffer.write(data)
            self.out.buffer.flush()

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]], below: Sequence[str] = ()) -> None:
        """Columns as wide as they must be, the head in capitals; the first ones are cut to fit a terminal.

        `below`: for each row what stands on a line of its own behind it, if anything.
        """
        shown = [[visible(cell) for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(head, *shown, strict=True)]
        if self.out.isatty():
            rest = sum(widths[1:]) + len(_GAP) * len(widths[1:])
            widths[0] = min(widths[0], max(_NARROWEST, window(self.out).columns - rest))
        for row, more in zip((head, *shown), ("", *(below or ("" for _ in shown))), strict=True):
            first = shortened(row[0], widths[0], "…")
            cells = (cell.ljust(width) for cell, width in zip((first, *row[1:]), widths, strict=True))
            self.line(_GAP.join(cells).rstrip())
            if more:
                self.line(f"{_GAP}{visible(more)}")

    def note(self, text: str) -> None:
        """Something worth knowing, on standard error; nothing with --quiet."""
        if self.quiet or (self.noted is not None and text in self.noted):
            return
        if self.noted is not None:
            self.noted.add(text)
        self.complain(text)

    def noting_once(self) -> Terminal:
        """The same for what comes again and again: a note is told the first time."""
        return replace(self, noted=set())

    def complain(self, text: str) -> None:
        """A line on standard error, said also with --quiet; that nobody reads it is no error."""
        self.complained(text)

    def complained(self, text: str) -> bool:
        """The same; whether it could be written."""
        try:
            self.err.write(self._spelled(text, self.err) + "\n")
            self.err.flush()
        except (OSError, ValueError):
            return False
        return True

    def paint(self, text: str, colour: str, stream: TextIO | None = None) -> str:
        """`text` in a colour, where `stream` (or else the result) is a terminal and colours are wanted."""
        if not self.colours(stream or self.out):
            return text
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"

    def colours(self, stream: TextIO) -> bool:
        """Whether colours may be written to `stream`."""
        return not self.no_colour and stream.isatty()

    def _spelled(self, text: str, stream: TextIO) -> str:
        """`text` without our secrets, and in ASCII where the stream can write nothing else."""
        text = self.mask(text)
        try:
            text.encode(stream.encoding or "ascii")
        except (UnicodeEncodeError, LookupError):
            for sign, ascii_sign in _ASCII.items():
                text = text.replace(sign, ascii_sign)
            return text.encode("ascii", "backslashreplace").decode()
        return text


def _masked(value: object, mask: Masking) -> object:
    """The document `value` without our secrets: in its texts, for a document it is to stay."""
    match value:
        case str():
            return mask(value)
        case Mapping():
            return {key: _masked(member, mask) for key, member in value.items()}
        case list() | tuple():
            return [_masked(member, mask) for member in value]
    return value


@contextmanager
def _writing(where: str) -> Iterator[None]:
    """A full disk behind the output is an error like any other; a closed pipe is the caller's business."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        raise StorageError(f"writing to {where}: {error.strerror}") from None


class Complaints:
    """Failures told one after another: the same one once, and what to do about several."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._told: set[str] = set()

    def tell(self, error: RegistryError) -> None:
        """It failed too."""
        if error.message not in self._told:
            complain(error, self._terminal, short=self._terminal.json, told=self._told)
        self._told |= {error.message, next_step(error)}


def complain(
    error: RegistryError, terminal: Terminal, *, short: bool, told: Container[str] = frozenset()
) -> None:
    """What failed, and what to do next: one line each; `short`: one line in all, beside a JSON document.

    `told`: next steps that were told already.
    """
    failed = f"{terminal.paint('ferry:', 'red', terminal.err)} {visible(error.message)}"
    step = next_step(error)
    step = "" if step in told else visible(step)
    if step and error.reason is Reason.DISK_FULL and terminal.kept:
        step = f"{terminal.kept}: {step}"
    if short:
        terminal.complain(f"{failed} → {step}" if step else failed)
        return
    terminal.complain(failed)
    if step:
        terminal.complain(f"  → {step}")


def columns(document: Mapping[str, object]) -> list[tuple[str, str]]:
    """The simple members of a JSON object as rows of text, for `show`."""
    rows = []
    for key, value in document.items():
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            value = ", ".join(value)
        if isinstance(value, str | int | float) and value != "":
            rows.append((key.replace("_", " "), str(value)))
    return rows
