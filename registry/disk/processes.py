"""Tells whether a process that wrote something still runs; its number alone may be another's by now."""

from __future__ import annotations

import os
from pathlib import Path

_ENDED = (b"Z", b"X")  # proc_pid_stat(5): nobody has asked yet how it ended
_STATE, _STARTED = 0, 19  # fields behind the program's name, which may have any characters in it


def this_process() -> str:
    """What `is_running` knows this process by, also after it ended."""
    return f"{os.getpid()} {_started(os.getpid())}"


def is_running(process: str) -> bool:
    """Whether the `process`, as it called itself, runs on this machine; False where that is not told."""
    number, _, started = process.partition(" ")
    return number.isdecimal() and started != "" and _started(int(number)) == started


def _started(number: int) -> str:
    """When it was started, in ticks since the machine was; empty for none, and without a proc(5)."""
    try:
        fields = Path(f"/proc/{number}/stat").read_bytes().rpartition(b")")[2].split()
        return "" if fields[_STATE] in _ENDED else fields[_STARTED].decode()
    except (OSError, IndexError):
        return ""
