"""On which of the machine's processors the threads of a listener run.

Python lets one thread run at a time. Where two of them are on two processors, each system call of the one
wakes the other there: a call of many short ones is held up longer by that than it takes. So threads whose
calls are short share one with the event loop meanwhile, and take their turns on it. What is long is mostly
done outside of Python (a hash, a large write), and is done on any.
"""

from __future__ import annotations

import os
from contextlib import suppress


class Affinity:
    """Where the thread that made this runs: on any processor that the process may use, or on the shared one.

    What it may use is what its first thread may, which is never moved: that is asked each time, as people and
    managers of containers change it. Of so many, `shared` chooses one, by the remainder. None: the system
    decides, as where it lets no program do so.
    """

    def __init__(self, shared: int | None) -> None:
        self._shared = shared if hasattr(os, "sched_setaffinity") else None
        self._now: set[int] | None = None  # not known: a thread begins where the one is that started it

    def move(self, *, to_shared: bool) -> None:
        """Run there from now on."""
        if self._shared is None:
            return
        with suppress(OSError):  # not allowed, or not there any more
            wanted = os.sched_getaffinity(os.getpid())
            if to_shared:
                wanted = {sorted(wanted)[self._shared % len(wanted)]}
            if wanted != self._now:
                os.sched_setaffinity(0, wanted)
                self._now = wanted
