"""The server's log on standard error: one line an event, as text or JSON, behind a queue that never fills up.

Who tells of an event never waits for the reader: lines that nobody reads are dropped and counted. How it is
spelled is the log's own thread's work, which does it for many at once.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.render import date, visible

if TYPE_CHECKING:
    from registry.net.listener.record import AccessRecord

MOST_LINES = 10_000  # that wait to be written
_GATHER = 0.02  # seconds in which more lines may come, to be written at once
_LAST_SECONDS = 1.0  # that the end of the process waits for the last lines
_SHOWN = 4000  # characters of a complaint


def _text(request: AccessRecord) -> str:
    who = f"{request.user or '-'} {request.credential or '-'}"
    cut = "" if request.whole else " cut"
    return (
        f"{request.address} {who} {request.method} {visible(request.path)} {request.status} "
        f"{request.received}>{request.sent}{cut} {request.seconds:.3f}s {request.id}"
    )


def _fields(request: AccessRecord) -> dict[str, object]:
    return {
        "id": request.id,
        "peer": request.peer,
        "address": request.address,
        "user": request.user,
        "credential": request.credential,
        "method": request.method,
        "path": request.path,
        "route": request.route,
        "repository": request.repository,
        "status": request.status,
        "received": request.received,
        "sent": request.sent,
        "whole": request.whole,
        "seconds": round(request.seconds, 4),
    }


@dataclass(frozen=True, slots=True)
class _Complaint:
    """What is wrong, or worth knowing."""

    level: str
    text: str


class Log:
    """Lines for `write`, which may block; they are written by a thread of their own, from `start` on."""

    def __init__(
        self,
        write: Callable[[str], object],
        *,
        as_json: bool = False,
        quiet: bool = False,
        most: int = MOST_LINES,
        clock: Callable[[], float] = time.time,
        text: Callable[[AccessRecord], str] = _text,
        fields: Callable[[AccessRecord], dict[str, object]] = _fields,
    ) -> None:
        """`write` returns False if it could not. `quiet`: only complaints, no line for each request.

        `clock` in Unix seconds. `text` and `fields` are what is told of a request, behind its time.
        """
        self._write = write
        self._json = as_json
        self._quiet = quiet
        self._most = most
        self._clock = clock
        self._text = text
        self._fields = fields
        self._events: deque[tuple[float, AccessRecord | _Complaint]] = deque()  # each with its time
        self._changed = threading.Condition()
        self._dropped = 0  # since the last line that was written
        self._ending = False
        self._thread = threading.Thread(target=self._run, daemon=True, name="ferry-log")
        self.dropped = 0  # lines, altogether

    def start(self) -> Log:
        """Begin to write, and take what libraries complain about too."""
        self._thread.start()
        handler = _Complaints(self)
        for name in ("registry", "aiohttp", "asyncio"):
            logger = logging.getLogger(name)
            logger.handlers = [handler]
            logger.propagate = False
        return self

    def close(self) -> None:
        """Write what waits, for a second at most."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join(_LAST_SECONDS)

    def request(self, request: AccessRecord) -> None:
        """A line for a request that was answered; the server has taken the secrets out."""
        if not self._quiet:
            self._put(request)

    def complain(self, text: str, level: str = "error") -> None:
        """A line for something that is wrong, or worth knowing; never with a secret in it."""
        self._put(_Complaint(level, text[:_SHOWN]))

    def note(self, text: str) -> None:
        """A line that is worth knowing, of something that is right."""
        self.complain(text, "info")

    def gauges(self) -> Mapping[str, tuple[str, float]]:
        """What the metrics show of it."""
        return {
            "ferry_log_lines_dropped": (
                "Lines of the log that nobody read in time, or that could not be written.",
                float(self.dropped),
            )
        }

    def _put(self, event: AccessRecord | _Complaint) -> None:
        with self._changed:
            if len(self._events) >= self._most:
                self.dropped += 1
                self._dropped += 1
                return
            self._events.append((self._clock(), event))
            if len(self._events) == 1:
                self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._events and not self._ending:
                    self._changed.wait()
                if not self._events:
                    return
                self._changed.wait_for(lambda: self._ending, _GATHER)
                events, self._events = self._events, deque()
                dropped, self._dropped = self._dropped, 0
            if self._write("\n".join(self._spelled(at, event) for at, event in events)) is False:
                with self._changed:
                    self.dropped += len(events)
                    self._dropped += dropped + len(events)
            elif dropped:
                why = "nobody read it, or it could not be written"
                self.complain(f"{dropped} lines of this log were dropped: {why}", "warning")

    def _spelled(self, at: float, event: AccessRecord | _Complaint) -> str:
        """The event's line; one that cannot be made is told, and the next ones are written."""
        try:
            return self._line(at, event)
        except Exception as error:  # noqa: BLE001 - it would end this thread, and with it the log
            return self._line(at, _Complaint("error", f"a line of this log could not be made: {error!r}"))

    def _line(self, at: float, event: AccessRecord | _Complaint) -> str:
        moment = date(at)
        if not isinstance(event, _Complaint):
            if self._json:
                return json.dumps({"time": moment, **self._fields(event)})
            return f"{moment} {self._text(event)}"
        shown = visible(event.text)[:_SHOWN]
        if self._json:
            return json.dumps({"time": moment, "level": event.level, "message": shown})
        return f"{moment} {event.level}: {shown}"


class _Complaints(logging.Handler):
    """What the library and its engine complain about: one line each, with where it happened."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            frames = traceback.extract_tb(error.__traceback__)[-3:]
            where = " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames))
            text = f"{text}: {type(error).__name__}: {error} ({where})"
        self._log.complain(text, record.levelname.lower())
