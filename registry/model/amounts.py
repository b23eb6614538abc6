"""A number of bytes as people say it, the same in every message, table and page."""

from __future__ import annotations

_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


def amount(count: float) -> str:
    """`count` bytes for people, decimal: `312 B`, `4.7 GB`, `300 MB`."""
    for unit in _UNITS:
        if count < 999.5 or unit == _UNITS[-1]:
            break
        count /= 1000
    digits = 0 if unit == "B" or count >= 99.95 else 1
    return f"{count:.{digits}f} {unit}"
