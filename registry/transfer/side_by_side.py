"""Independent tasks done side by side, by so many threads: for what the processor or the disk limits."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def side_by_side(tasks: Sequence[Callable[[], T]], width: int) -> Iterator[T | Exception]:
    """What each task returned or raised, as they end; they begin in order, `width` of them at once.

    Who stops listening stops them: each thread ends with the task that it has.
    """
    results: queue.SimpleQueue[T | Exception] = queue.SimpleQueue()
    waiting = iter(tasks)
    lock, over = threading.Lock(), threading.Event()

    def work() -> None:
        while not over.is_set():
            with lock:
                task = next(waiting, None)
            if task is None:
                return
            try:
                results.put(task())
            except Exception as error:  # noqa: BLE001 - for who listens
                results.put(error)

    for _ in range(min(width, len(tasks))):
        threading.Thread(target=work, daemon=True).start()
    try:
        for _ in tasks:
            yield results.get()
    finally:
        over.set()
