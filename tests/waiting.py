"""Waiting for what another thread or process does, which tells nobody when it is done."""

from __future__ import annotations

import time
from collections.abc import Callable

_SECONDS = 60.0  # a busy machine may take long for what usually takes some milliseconds
_STEP = 0.005


def until(true: Callable[[], bool]) -> None:
    """Return once `true()`. AssertionError if it is not after a minute."""
    end = time.monotonic() + _SECONDS
    while not true():
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(_STEP)
