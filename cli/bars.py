"""Bars in a terminal: one for each blob on its way, below one for the whole."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import NoReturn, TextIO, TypeAlias

from tqdm import tqdm

from cli.render import Terminal, visible
from cli.tally import Clock, Tally
from registry.contracts import How
from registry.model.digests import Digest
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.transfer.progress import Report

_MOST_BARS = 6  # more blobs than this at once share the bar of the whole
_LABEL = 24  # characters in front of each bar
_FORMAT = "{desc} {percentage:3.0f}% {bar} {n_fmt}/{total_fmt} {rate_fmt} {remaining}"

_Bar: TypeAlias = "tqdm[NoReturn]"
tqdm.monitor_interval = 0  # no thread of its own


class Bars:
    """Draws a copy; a blob's bar goes when the blob is done, the whole's stays."""

    def __init__(self, terminal: Terminal, clock: Clock = time.monotonic) -> None:
        self._terminal = terminal
        self._clock = clock
        self._tally = Tally((), 0.0)
        self._whole: _Bar | None = None
        self._bars: dict[Digest, _Bar] = {}
        self._measured = _has_size(terminal.err)

    def begin(self, name: Name, blobs: Sequence[Descriptor]) -> None:
        self._close()
        self._tally = Tally(blobs, self._clock())
        self._whole = self._bar(str(name), self._tally.total, 0, leave=True)

    def at(self, blob: Descriptor, done: int) -> None:
        first = self._tally.of(blob) == 0 and blob.digest not in self._bars
        more = self._tally.at(blob, done, self._clock())
        if first:
            self._start(blob, more)
        else:
            self._grow(blob, more)

    def done(self, blob: Descriptor, how: How) -> None:
        more = self._tally.at(blob, blob.size, self._clock())
        if how is How.PRESENT or how is How.MOUNTED:
            self._was_there(more)
        else:
            self._grow(blob, more)
        bar = self._bars.pop(blob.digest, None)
        if bar is not None:
            bar.close()

    def note(self, text: str) -> None:
        tqdm.write(visible(text), file=self._terminal.err)

    def end(self, report: Report) -> None:
        self._close()

    def _start(self, blob: Descriptor, there: int) -> None:
        """A bar that begins with what was there before this run, which counts for no rate."""
        self._was_there(there)
        if len(self._bars) < _MOST_BARS:
            kind = blob.media_type.rpartition(".")[2] or "blob"
            label = f"  {blob.digest.short} {kind}"
            self._bars[blob.digest] = self._bar(label, blob.size, there, leave=False)

    def _was_there(self, more: int) -> None:
        if self._whole is not None:
            self._whole.initial += more
            self._whole.update(more)

    def _grow(self, blob: Descriptor, more: int) -> None:
        if self._whole is not None and more:
            self._whole.update(more)
        bar = self._bars.get(blob.digest)
        if bar is not None and more:
            bar.update(more)

    def _bar(self, label: str, total: int, initial: int, *, leave: bool) -> _Bar:
        return tqdm(
            desc=visible(label)[:_LABEL].ljust(_LABEL),
            total=total,
            initial=initial,
            unit="B",
            unit_scale=True,
            unit_divisor=1000,
            leave=leave,
            file=self._terminal.err,
            dynamic_ncols=self._measured,
            ncols=None if self._measured else 80,
            nrows=None if self._measured else 24,
            mininterval=0.1,
            smoothing=0.1,
            bar_format=_FORMAT,
            ascii=(self._terminal.err.encoding or "").lower() not in ("utf-8", "utf8"),
        )

    def _close(self) -> None:
        for bar in (*self._bars.values(), *((self._whole,) if self._whole else ())):
            bar.close()
        self._bars.clear()
        self._whole = None


def _has_size(stream: TextIO) -> bool:
    """Whether a terminal knows its size; some say 0, and then tqdm would draw nothing."""
    try:
        return min(os.get_terminal_size(stream.fileno())) > 0
    except (OSError, ValueError):
        return False
