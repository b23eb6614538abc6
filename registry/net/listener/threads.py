"""Threads that make calls for an event loop, and tell it of all that ended meanwhile at once.

An executor's future has a lock of its own and wakes the loop by itself: where a call takes some tens of
microseconds, that costs as much as the call.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

from registry.net.listener.processors import Affinity

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Call(Generic[T]):
    """A call, and the future that waits for its end. `is_short`: it is made on the shared processor."""

    make: Callable[[], T]
    future: asyncio.Future[T]
    is_short: bool
    result: T | None = None
    error: BaseException | None = None

    def run(self) -> None:
        """In a thread."""
        try:
            self.result = self.make()
        except StopIteration as error:  # which no future takes
            self.error = RuntimeError(f"a call raised {error!r}")
        except BaseException as error:  # noqa: BLE001 - raised to who waits for the future
            self.error = error

    def tell(self) -> None:
        """On the loop, once, when it has run."""
        future = self.future
        del self.future  # it keeps the error's traceback, which leads to this call and all that it made
        if future.done():
            return
        if self.error is not None:
            future.set_exception(self.error)
        else:
            future.set_result(self.result)  # type: ignore[arg-type]  # what `make` returned


class Threads:
    """At most `most` threads, begun when they are needed. Used from one event loop."""

    def __init__(self, most: int, name: str, shared: int | None = None) -> None:
        """`shared`: the processor of short calls, as `Affinity` takes it."""
        self._most = most
        self._name = name
        self._shared = shared
        self._threads: list[Thread] = []
        self._under_way = 0
        self._calls: SimpleQueue[_Call[object] | None] = SimpleQueue()
        self._ended: deque[_Call[object]] = deque()
        self._will_tell = False

    def start(self, make: Callable[[], T], *, short: bool = False) -> asyncio.Future[T]:
        """Have `make()` called as soon as a thread is free. What it returns or raises is the future's.

        RuntimeError if there is no thread, and the system gives none.
        """
        call = _Call(make, asyncio.get_running_loop().create_future(), short)
        if len(self._threads) < min(self._under_way + 1, self._most):
            self._begin()
        self._under_way += 1
        self._calls.put(call)
        return call.future

    def _begin(self) -> None:
        thread = Thread(target=self._run, daemon=True, name=f"{self._name}-{len(self._threads)}")
        try:
            thread.start()
        except RuntimeError:  # so many are there, of this or of other programs
            if not self._threads:
                raise
        else:
            self._threads.append(thread)

    def close(self) -> None:
        """Wait for the calls that run; those that wait are dropped."""
        with suppress(Empty):
            while True:
                self._calls.get_nowait()
        for _ in self._threads:
            self._calls.put(None)
        for each in self._threads:
            each.join()

    def _run(self) -> None:
        affinity = Affinity(self._shared)
        while self._has_run_one(affinity):
            pass

    def _has_run_one(self, affinity: Affinity) -> bool:
        """Wait for a call and make it; False at the end. Nothing of it is held while the next is waited for.

        The loop is woken by the first call that ends, and told of those too that end until it listens. They
        are noted before that is looked at, so that none is forgotten.
        """
        call = self._calls.get()
        if call is None:
            return False
        loop = call.future.get_loop()
        affinity.move(to_shared=call.is_short)
        call.run()
        self._ended.append(call)
        if not self._will_tell:
            self._will_tell = True
            with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
                loop.call_soon_threadsafe(self._tell)
        return True

    def _tell(self) -> None:
        self._will_tell = False  # first: what ends from now on wakes the loop again
        while self._ended:
            self._under_way -= 1
            self._ended.popleft().tell()
