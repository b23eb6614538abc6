"""The C library's allocator and Python's collector, told what this process does with its memory.

By default glibc gives every buffer's memory back to the kernel when it is freed, and fetches it again for
the next one, page by page: 15 % of a pull's time on a fast link. But once it has seen a larger piece freed,
it keeps pieces of that size too, one for each thread that ever had one.
"""

from __future__ import annotations

import gc

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # <malloc.h>
_KEPT = 32 * 1024 * 1024  # bytes of freed memory that are kept for the next buffer
_KEPT_SERVING = 2 * 1024 * 1024  # the same of a server, whose pieces have 1 MiB
_LOOK_AFTER = 10_000  # objects that were made and are still there
_A_BUFFER = 4 * 1024 * 1024  # what is larger than this is no buffer, and goes back at once


def keep_buffers() -> None:
    """Keep the memory of freed buffers for the next ones, where the C library can be told so."""
    _tell(_KEPT)


def keep_no_more_than_buffers() -> None:
    """Have what is larger than a buffer go back at once: a password's hash takes 19 MiB, in any thread.

    And have all threads share their memory: what many slow peers hold is seldom freed by the thread that
    took it, so that each one's own had a third more than was in use.
    """
    _tell(_KEPT_SERVING, arenas=1)


def look_less_for_cycles() -> None:
    """Of a server's objects, those that are there from its start on are never looked at again for cycles,
    and others less often: that took 6 % of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_LOOK_AFTER, 20, 20)


def _tell(kept: int, arenas: int = 0) -> None:
    import ctypes  # here, because only commands that move models need it

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # macOS, musl: they have their own ways
        return
    mallopt(_M_MMAP_THRESHOLD, _A_BUFFER)
    mallopt(_M_TRIM_THRESHOLD, kept)
    if arenas:
        mallopt(_M_ARENA_MAX, arenas)
