"""Bars in a terminal: one for the whole model, below it one for each blob where several are on their way."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from tqdm import tqdm

from cli.counts import Counts, Rate, clock_face, seconds_left
from cli.render import Terminal, shortened, size, visible
from cli.screen import Block
from registry.contracts import Clock, How
from registry.model.digests import Digest
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.transfer.progress import Report

_MOST_BARS = 6  # more blobs than this at once share the bar of the whole
_LABEL = 26  # characters in front of each bar
_SHORT_LABEL = 12  # and in a narrow window
_NUMBERS = 32  # characters behind it
_BETWEEN = 9  # and around the percentage and the shortest bar
_DRAWN_EVERY = 0.1  # seconds
_LOOKED_EVERY = 0.5  # seconds between two looks at whether anything still comes


class Bars:
    """Draws a copy; a blob's bar goes when the blob is done, the whole's stays."""

    def __init__(
        self, terminal: Terminal, models: int = 1, clock: Clock = time.monotonic, block: Block | None = None
    ) -> None:
        """`models` is how many models this run moves, one after another."""
        self._block = block or Block(terminal.err)
        self._unicode = (terminal.err.encoding or "").lower() in ("utf-8", "utf8")
        self._clock = clock
        self._models = models
        self._model = 0  # which of them this is
        self._name = ""
        self._counts = Counts((), 0.0)
        self._running: dict[Digest, Descriptor] = {}
        self._drawn = float("-inf")
        self._lock = threading.RLock()  # the ticking thread draws too
        self._over = threading.Event()

    def begin(self, name: Name | str, blobs: Sequence[Descriptor]) -> None:
        with self._lock:
            self._block.clear()
            self._model += 1
            self._name = str(name)
            self._counts = Counts(blobs, self._clock())
            self._running.clear()
            self._over.set()
            self._over = threading.Event()
            threading.Thread(target=self._tick, args=(self._over,), daemon=True).start()
            self._draw()

    def at(self, name: Name | str, blob: Descriptor, done: int) -> None:
        with self._lock:
            self._counts.at(blob, done, self._clock())
            self._running[blob.digest] = blob
            if self._clock() - self._drawn >= _DRAWN_EVERY:
                self._draw()

    def done(self, name: Name | str, blob: Descriptor, how: How) -> None:
        with self._lock:
            self._counts.at(blob, blob.size, self._clock())
            self._running.pop(blob.digest, None)
            if self._clock() - self._drawn >= _DRAWN_EVERY:
                self._draw()

    def note(self, text: str) -> None:
        with self._lock:
            self._draw(above=f"ferry: {visible(text)}\n")

    def end(self, report: Report) -> None:
        with self._lock:
            self._running.clear()
            self._draw()
            self._block.leave()
            self.close()

    def close(self) -> bool:
        """Take the bars away, until a model begins: what is said now is on a line of its own."""
        self._over.set()
        with self._lock:
            self._name = ""
            return self._block.clear()

    def _tick(self, over: threading.Event) -> None:
        """Draw also when nothing comes, so that no rate is shown that is not true any more."""
        while not over.wait(_LOOKED_EVERY):
            with self._lock:
                if not over.is_set():
                    self._draw()

    def _draw(self, above: str = "") -> None:
        """Everything anew; between two models, and after `close`, only what is said above."""
        lines = self._lines() if self._name else []
        if lines or above:
            self._drawn = self._clock()
            self._block.draw(lines, above)

    def _lines(self) -> list[str]:
        counts, now = self._counts, self._clock()
        which = f"{self._model}/{self._models} " if self._models > 1 else ""
        length = self._label_length()
        label = which + shortened(visible(self._name), length - len(which), "…" if self._unicode else "..")
        lines = [self._line(label, counts.done, counts.total, counts.whole, now)]
        running = list(self._running.values())
        if len(counts.blobs) > 1 and len(running) > 1:
            for blob in running[:_MOST_BARS]:
                rate = counts.rate_of(blob)
                kind = visible(blob.media_type.rpartition(".")[2]) or "blob"
                label = f"  {blob.digest.short} {kind}"[:length]
                if rate is not None:
                    lines.append(self._line(label, counts.of(blob), blob.size, rate, now))
        return lines

    def _label_length(self) -> int:
        """How many characters a label may have, so that the numbers fit too."""
        return max(_SHORT_LABEL, min(_LABEL, self._block.width - _BETWEEN - _NUMBERS))

    def _line(self, label: str, done: int, total: int, rate: Rate, now: float) -> str:
        """`tiny:1.0      34% ████       106 MB/315 MB 12.3 MB/s 0:17`."""
        percent = 100 * done // total if total else 100
        length = self._label_length()
        room = min(_NUMBERS, self._block.width - _BETWEEN - length)
        told = [f"{size(done)}/{size(total)}", *pace(rate, total - done, now).rsplit(" ", 1)]
        while told and len(" ".join(told)) > room:
            told.pop()  # a number is whole, or not there
        numbers = " ".join(told).ljust(room)
        return tqdm.format_meter(
            done,
            max(total, 1),
            1.0,
            ncols=self._block.width,
            prefix=label.ljust(length),
            ascii=not self._unicode,
            bar_format=f"{{desc}} {percent:3}% {{bar}} {numbers}",
        )


def pace(rate: Rate, missing: int, now: float) -> str:
    """`12.3 MB/s 0:17`: how fast, and how long still; nothing where nothing came yet or all is there."""
    if not missing:
        return ""
    if rate.waiting(now):
        return "waiting"
    speed = rate.at(now)
    return f"{size(int(speed))}/s {clock_face(seconds_left(rate, missing, now))}" if speed else ""
