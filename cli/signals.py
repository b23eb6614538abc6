"""SIGINT and SIGTERM, at whatever instant they arrive.

A handler that raises does so between any two steps of the main thread, also where a lock is just being given
back; what runs then can trust no lock any more. So a command that moves models runs in a thread of its own,
and the main thread only waits, in a call that a signal cannot leave half done.
"""

from __future__ import annotations

import _thread
import contextlib
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

_LET_GO_WITHIN = 1.2  # seconds that a command gets to let go of what it holds
_LOOK_EVERY = 0.1  # seconds: a signal that lands just before a wait begins does not end that wait


class Terminated(BaseException):
    """SIGTERM arrived."""


class Signals:
    """The first signal that asks this process to end; those after it change nothing."""

    def __init__(self) -> None:
        self.arrived: int | None = None
        self._waiting = False  # whether the main thread only waits: then nothing is raised
        self._awake = _thread.allocate_lock()
        self._awake.acquire()

    def watch(self) -> None:
        """From now on a signal raises KeyboardInterrupt or Terminated in the main thread, or in `beside`."""
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as under nohup
            signal.signal(signal.SIGINT, self._arrive)
        signal.signal(signal.SIGTERM, self._arrive)

    def leave(self) -> None:
        """There is nothing left that a signal could harm: it ends the process without a word."""
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) == self._arrive:
                signal.signal(number, signal.SIG_DFL)

    def beside(self, call: Callable[[], Any], stop: Callable[[], bool]) -> Any:
        """What `call` returns or raises, made in a thread of its own.

        After a signal, `stop` tells it to end, and whether that is worth waiting for; then the signal is
        raised here.
        """
        results: list[Any] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(call())
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
                errors.append(error)
            finally:
                self._wake()

        self._waiting = True
        _thread.start_new_thread(run, ())  # Thread.start would wait, in a way that a signal can break
        while not results and not errors and self.arrived is None:
            self._awake.acquire(timeout=_LOOK_EVERY)
        if self.arrived is not None:
            if stop():
                deadline = time.monotonic() + _LET_GO_WITHIN
                while not results and not errors and (left := deadline - time.monotonic()) > 0:
                    self._awake.acquire(timeout=left)
            raise self._error()
        self._waiting = False
        if errors:
            raise errors[0]
        return results[0]

    def _arrive(self, number: int, _frame: FrameType | None) -> None:
        if self.arrived is not None:
            return
        self.arrived = number
        if not self._waiting:
            raise self._error()
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # it is awake
            self._awake.release()

    def _error(self) -> BaseException:
        return KeyboardInterrupt() if self.arrived == signal.SIGINT else Terminated()
