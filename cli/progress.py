"""How a transfer is watched: bars in a terminal, plain lines elsewhere, JSON lines for programs.

All three stand on one tally, whose numbers start with what was there before and never run backwards.
Calls come from several threads, one at a time.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TextIO

from cli.render import Terminal, size, visible
from registry.contracts import How
from registry.model.digests import Digest
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.transfer.progress import Observer, Report, Silent

Clock = Callable[[], float]

_RATE_WINDOW = 10.0  # seconds the shown rate looks back
_PLAIN_EVERY = 5.0
_JSON_EVERY = 0.5


class Tally:
    """The bytes of one model: per blob and in all, and how fast they grow."""

    def __init__(self, blobs: Sequence[Descriptor], now: float) -> None:
        self.blobs = {blob.digest: blob for blob in blobs}
        self.total = sum(blob.size for blob in self.blobs.values())
        self.began = now
        self._done: dict[Digest, int] = {}
        self._fresh: deque[tuple[float, int]] = deque([(now, 0)])
        self.moved = 0  # bytes that came in this run

    @property
    def done(self) -> int:
        """The bytes that are there."""
        return sum(self._done.values())

    def at(self, blob: Descriptor, done: int, now: float) -> int:
        """Take note; how many bytes more there are of the blob than before. The first call sets its start."""
        before = self._done.get(blob.digest)
        after = min(max(done, before or 0), blob.size)
        self._done[blob.digest] = after
        if before is None:
            return after
        self.moved += after - before
        self._fresh.append((now, self.moved))
        while now - self._fresh[0][0] > _RATE_WINDOW and len(self._fresh) > 2:
            self._fresh.popleft()
        return after - before

    def of(self, blob: Descriptor) -> int:
        """The bytes that are there of one blob."""
        return self._done.get(blob.digest, 0)

    def rate(self, now: float) -> float:
        """Bytes a second over the last few seconds."""
        since, moved = self._fresh[0]
        return (self.moved - moved) / (now - since) if now - since > 0.05 else 0.0

    def left(self, now: float) -> float | None:
        """Seconds left at this rate, or None if nothing moves."""
        rate = self.rate(now)
        return (self.total - self.done) / rate if rate else None


def clock_face(seconds: float | None) -> str:
    """`1:02:03` or `2:03`."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Plain:
    """A line every few seconds, and one at the end."""

    def __init__(self, terminal: Terminal, clock: Clock = time.monotonic) -> None:
        self._terminal = terminal
        self._clock = clock
        self._name = ""
        self._tally = Tally((), 0.0)
        self._spoke = 0.0

    def begin(self, name: Name, blobs: Sequence[Descriptor]) -> None:
        self._spoke = self._clock()
        self._name = str(name)
        self._tally = Tally(blobs, self._spoke)

    def at(self, blob: Descriptor, done: int) -> None:
        now = self._clock()
        self._tally.at(blob, done, now)
        if now - self._spoke < _PLAIN_EVERY:
            return
        self._spoke = now
        tally = self._tally
        percent = 100 * tally.done // tally.total if tally.total else 100
        self._terminal.note(
            f"{self._name}: {percent}%, {size(tally.done)} of {size(tally.total)}, "
            f"{size(int(tally.rate(now)))}/s, {clock_face(tally.left(now))} left"
        )

    def done(self, blob: Descriptor, how: How) -> None:
        self._tally.at(blob, blob.size, self._clock())

    def note(self, text: str) -> None:
        self._terminal.note(visible(text))

    def end(self, report: Report) -> None: ...


class JsonLines:
    """One object a line: `{"event","name","digest","done","total","rate"}`; `digest` null for the whole."""

    def __init__(self, stream: TextIO, clock: Clock = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._name = ""
        self._tally = Tally((), 0.0)
        self._spoke: dict[Digest, float] = {}

    def begin(self, name: Name, blobs: Sequence[Descriptor]) -> None:
        self._name = str(name)
        self._tally = Tally(blobs, self._clock())
        self._spoke = {}
        self._say("begin", None)

    def at(self, blob: Descriptor, done: int) -> None:
        now = self._clock()
        self._tally.at(blob, done, now)
        if now - self._spoke.get(blob.digest, float("-inf")) >= _JSON_EVERY:
            self._spoke[blob.digest] = now
            self._say("progress", blob)

    def done(self, blob: Descriptor, how: How) -> None:
        self._tally.at(blob, blob.size, self._clock())
        self._say("done", blob, how=str(how))

    def note(self, text: str) -> None:
        self._say("note", None, text=text)

    def end(self, report: Report) -> None:
        self._say("end", None)

    def _say(self, event: str, blob: Descriptor | None, **more: str) -> None:
        tally = self._tally
        line = {
            "event": event,
            "name": self._name,
            "digest": str(blob.digest) if blob else None,
            "done": tally.of(blob) if blob else tally.done,
            "total": blob.size if blob else tally.total,
            "rate": int(tally.rate(self._clock())),
            **more,
        }
        try:
            self._stream.write(json.dumps(line) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return


def observer(terminal: Terminal, wish: str) -> Observer:
    """What watches a transfer, as `--progress` wishes."""
    if wish == "auto":
        wish = "bar" if terminal.err.isatty() else "plain"
    if terminal.quiet and wish != "json":
        wish = "none"
    if wish == "json":
        return JsonLines(terminal.err)
    if wish == "bar":
        from cli.bars import Bars

        return Bars(terminal)
    return Silent() if wish == "none" else Plain(terminal)
