"""The C library's allocator, told that this process moves bytes in large buffers.

By default glibc gives every buffer's memory back to the kernel when it is freed, and fetches it again for
the next one, page by page: 15 % of a pull's time on a fast link.
"""

from __future__ import annotations

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # <malloc.h>
_KEPT = 32 * 1024 * 1024  # bytes of freed memory that are kept for the next buffer
_A_BUFFER = 4 * 1024 * 1024  # what is larger than this is no buffer, and goes back at once


def keep_buffers() -> None:
    """Keep the memory of freed buffers for the next ones, where the C library can be told so."""
    import ctypes  # here, because only a command that moves models needs it

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # macOS, musl: they have their own ways
        return
    mallopt(_M_MMAP_THRESHOLD, _A_BUFFER)
    mallopt(_M_TRIM_THRESHOLD, _KEPT)
