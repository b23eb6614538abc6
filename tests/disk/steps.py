"""What a call costs, in lines of Python that ran: the same on every machine, however busy."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType


def steps(act: Callable[[], object]) -> int:
    """How many lines this thread ran in `act`."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> object:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type] # a tracer may return itself
    try:
        act()
    finally:
        sys.settrace(before)
    return count
