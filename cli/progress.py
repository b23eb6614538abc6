"""How a transfer is watched: bars in a terminal, plain lines elsewhere, JSON lines for programs.

Calls come from several threads, one at a time.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from typing import Protocol, TextIO

from cli.counts import Counts, clock_face
from cli.render import Terminal, size, visible
from registry.contracts import Clock, How
from registry.model.digests import Digest
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.transfer.progress import Observer, Report

_PLAIN_EVERY = 5.0
_MANY_EVERY = 10.0
_JSON_EVERY = 0.5
_NO_COUNTS = Counts((), 0.0)


class Plain:
    """A line every few seconds, and one at the end."""

    def __init__(self, terminal: Terminal, clock: Clock = time.monotonic) -> None:
        self._terminal = terminal
        self._clock = clock
        self._name = ""
        self._counts = Counts((), 0.0)
        self._spoke = 0.0

    def begin(self, name: Name | str, blobs: Sequence[Descriptor]) -> None:
        self._spoke = self._clock()
        self._name = str(name)
        self._counts = Counts(blobs, self._spoke)

    def at(self, name: Name | str, blob: Descriptor, done: int) -> None:
        now = self._clock()
        self._counts.at(blob, done, now)
        if now - self._spoke < _PLAIN_EVERY:
            return
        self._spoke = now
        counts = self._counts
        percent = 100 * counts.done // counts.total if counts.total else 100
        if rate := counts.rate(now):
            speed = f"{size(int(rate))}/s, {clock_face(counts.left(now))} left"
        else:
            speed = "waiting"
        self._terminal.note(f"{self._name}: {percent}%, {size(counts.done)} of {size(counts.total)}, {speed}")

    def done(self, name: Name | str, blob: Descriptor, how: How) -> None:
        self._counts.at(blob, blob.size, self._clock())

    def note(self, text: str) -> None:
        self._terminal.note(f"ferry: {visible(text)}")

    def end(self, report: Report) -> None: ...

    def close(self) -> bool:
        return False


class JsonLines:
    """One object a line: `{"event","name","digest","done","total","rate"}`; `digest` null for the whole."""

    def __init__(self, stream: TextIO, clock: Clock = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._counts: dict[Name | str, Counts] = {}  # of the models that are on their way
        self._spoke: dict[tuple[Name | str, Digest], float] = {}

    def begin(self, name: Name | str, blobs: Sequence[Descriptor]) -> None:
        self._counts[name] = Counts(blobs, self._clock())
        self._say("begin", name, None)

    def at(self, name: Name | str, blob: Descriptor, done: int) -> None:
        now, key = self._clock(), (name, blob.digest)
        self._of(name).at(blob, done, now)
        if now - self._spoke.get(key, float("-inf")) >= _JSON_EVERY:
            self._spoke[key] = now
            self._say("progress", name, blob)

    def done(self, name: Name | str, blob: Descriptor, how: How) -> None:
        self._of(name).at(blob, blob.size, self._clock())
        self._spoke.pop((name, blob.digest), None)
        self._say("done", name, blob, how=str(how))

    def note(self, text: str) -> None:
        self._say("note", None, None, text=text)

    def end(self, report: Report) -> None:
        self._say("end", report.name, None)
        self._counts.pop(report.name, None)

    def close(self) -> bool:
        return False

    def _of(self, name: Name | str | None) -> Counts:
        """The counts of a model; of a remark that names none, those of the one that began last."""
        if name is None:
            name = next(reversed(self._counts), None)
        return self._counts.get(name) or _NO_COUNTS if name else _NO_COUNTS

    def _say(self, event: str, name: Name | str | None, blob: Descriptor | None, **more: str) -> None:
        counts = self._of(name)
        known = name or next(reversed(self._counts), None)
        line = {
            "event": event,
            "name": str(known) if known else "",
            "digest": str(blob.digest) if blob else None,
            "done": counts.of(blob) if blob else counts.done,
            "total": blob.size if blob else counts.total,
            "rate": int(counts.rate(self._clock())),
            **more,
        }
        try:
            self._stream.write(json.dumps(line) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return


class Watcher(Observer, Protocol):
    """What this run shows of its transfers, or of what else it does to many bytes: `name` says what."""

    def begin(self, name: Name | str, blobs: Sequence[Descriptor]) -> None: ...

    def at(self, name: Name | str, blob: Descriptor, done: int) -> None: ...

    def done(self, name: Name | str, blob: Descriptor, how: How) -> None: ...

    def close(self) -> bool:
        """Take away what is drawn, until a model begins; whether there was something. May come twice."""


class Nothing:
    """Shows nothing."""

    def begin(self, name: Name | str, blobs: Sequence[Descriptor]) -> None: ...

    def at(self, name: Name | str, blob: Descriptor, done: int) -> None: ...

    def done(self, name: Name | str, blob: Descriptor, how: How) -> None: ...

    def note(self, text: str) -> None: ...

    def end(self, report: Report) -> None: ...

    def close(self) -> bool:
        return False


class ManyLines(Nothing):
    """A line once in a while on the models that are on their way side by side, and remarks at once."""

    def __init__(self, terminal: Terminal, clock: Clock = time.monotonic) -> None:
        self._terminal = terminal
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[Name | str, Counts] = {}
        self._moved: dict[Name | str, float] = {}  # when a byte of it came last
        self._spoke = clock()

    def begin(self, name: Name | str, blobs: Sequence[Descriptor]) -> None:
        with self._lock:
            self._counts[name] = Counts(blobs, self._clock())

    def at(self, name: Name | str, blob: Descriptor, done: int) -> None:
        with self._lock:
            now = self._clock()
            if name in self._counts and self._counts[name].at(blob, done, now):
                self._moved[name] = now
            if now - self._spoke >= _MANY_EVERY:
                self._say(now)

    def done(self, name: Name | str, blob: Descriptor, how: How) -> None:
        self.at(name, blob, blob.size)

    def end(self, report: Report) -> None:
        with self._lock:
            self._counts.pop(report.name, None)
            self._moved.pop(report.name, None)

    def note(self, text: str) -> None:
        self._terminal.note(f"ferry: {visible(text)}")

    def _say(self, now: float) -> None:
        """What moved since the last line; a model that failed moves no more."""
        moving = {name: self._counts[name] for name, last in self._moved.items() if last >= self._spoke}
        self._spoke = now
        if not moving:
            return
        done, total = (
            sum(counts) for counts in zip(*((c.done, c.total) for c in moving.values()), strict=True)
        )
        what = str(next(iter(moving))) if len(moving) == 1 else f"{len(moving)} models on their way"
        rate = size(int(sum(counts.rate(now) for counts in moving.values())))
        percent = 100 * done // total if total else 100
        self._terminal.note(f"ferry: {visible(what)}: {percent}%, {size(done)} of {size(total)}, {rate}/s")


def observer(terminal: Terminal, wish: str, models: int = 1) -> Watcher:
    """What watches the transfers of so many models, as `--progress` wishes; "many": side by side."""
    if wish == "auto":
        wish = "bar" if terminal.err.isatty() else "plain"
    if terminal.quiet and wish != "json":
        wish = "none"
    if wish == "json":
        return JsonLines(terminal.err)
    if wish == "bar":
        from cli.bars import Bars  # tqdm is loaded where something is drawn

        return Bars(terminal, models)
    if wish == "many":
        return ManyLines(terminal)
    return Nothing() if wish == "none" else Plain(terminal)
