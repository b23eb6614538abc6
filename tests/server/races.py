"""Calls that are made at one instant, each in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

E = TypeVar("E", bound=Exception)


def refused_at_once(calls: Sequence[Callable[[], object]], error: type[E]) -> list[E | None]:
    """What refused each of `calls`, None for one that was done; any other exception is raised here."""
    together = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> E | None:
        together.wait()
        try:
            call()
        except error as refusal:
            return refusal
        return None

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))
