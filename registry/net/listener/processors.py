"""On which of the machine's processors the threads of a listener run.

Python lets one thread run at a time. Where two of them are on two processors, each system call of the one
wakes the other there: a call of many short ones is held up longer by that than it takes. So threads whose
calls are short share one with the event loop meanwhile, and take their turns on it. What is long is mostly
done outside of Python (a hash, a large write), and is done on any.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Processors:
    """`every` one that this process may use, and the `one` of short calls; without, the system decides."""

    every: frozenset[int] = frozenset()
    one: frozenset[int] = frozenset()

    @classmethod
    def of_this_process(cls) -> Processors:
        """Of several servers on a machine not all get the same."""
        if sys.platform != "linux":
            return cls()
        every = sorted(os.sched_getaffinity(0))
        return cls(frozenset(every), frozenset((every[os.getpid() % len(every)],)))


class Affinity:
    """The processors of the thread that made this."""

    def __init__(self, processors: Processors) -> None:
        self._processors = processors
        self._now: frozenset[int] = frozenset()

    def move(self, *, to_loop: bool) -> None:
        """Run on the processor of short calls, and of the loop during them, from now on, or on any."""
        wanted = self._processors.one if to_loop else self._processors.every
        if wanted == self._now:
            return
        self._now = wanted
        if sys.platform == "linux":
            with suppress(OSError):  # what this process may use has been changed: then that holds
                os.sched_setaffinity(0, wanted)
