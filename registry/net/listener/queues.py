"""Where calls that may block wait for a thread: reading, hashing and writing each in a queue of their own.

DESIGN, rule 16: a stalled writer delays writers only, and a health check waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from enum import Enum
from typing import TypeVar

from registry.net.listener.processors import Affinity
from registry.net.listener.threads import Threads
from registry.wire.messages import Request
from registry.wire.routes import Route

T = TypeVar("T")


class Work(Enum):
    """The kinds of calls that may block."""

    HEALTH = "health"
    READING = "reading"
    HASHING = "hashing"
    WRITING = "writing"


_THREADS: Mapping[Work, int] = {Work.HEALTH: 1, Work.READING: 8, Work.HASHING: 2, Work.WRITING: 8}
_WAITING: Mapping[Work, int] = {
    Work.HEALTH: 32,
    Work.READING: 1024,
    Work.HASHING: 1024,
    Work.WRITING: 256,
}


class QueueFullError(Exception):
    """So many wait already that one more would only wait in vain."""


def work_of(request: Request) -> Work:
    """What answering a request is: a token request writes too, as its nonce is spent in the database."""
    if request.path == Route.HEALTH.value:
        return Work.HEALTH
    if request.method in ("GET", "HEAD") and request.path != Route.TOKEN.value:
        return Work.READING
    return Work.WRITING


class Queues:
    """One pool of threads for each kind of work. Used from one event loop."""

    def __init__(
        self,
        threads: Mapping[Work, int] = _THREADS,
        waiting: Mapping[Work, int] = _WAITING,
        shared: int | None = None,
    ) -> None:
        """`waiting`: how many calls of a kind may wait for a thread. `shared`: where short ones are made."""
        self._room = {work: threads[work] + waiting[work] for work in Work}
        self._inside = dict.fromkeys(Work, 0)
        self._threads = {work: Threads(threads[work], f"ferry-{work.value}", shared) for work in Work}
        self._affinity = Affinity(shared)
        self._short = 0  # of these calls are short

    def inside(self) -> dict[Work, int]:
        """How many calls of each kind wait or run."""
        return dict(self._inside)

    def full(self, work: Work) -> bool:
        """Whether one more would only wait in vain."""
        return self._inside[work] >= self._room[work]

    async def enter(self, work: Work, call: Callable[[], T]) -> T:
        """`call()` in a thread, for a request that is new. QueueFullError."""
        if self.full(work):
            raise QueueFullError(work.value)
        return await self.run(work, call)

    async def run(self, work: Work, call: Callable[[], T], *, short: bool = False) -> T:
        """`call()` in a thread, for a request that is under way: it waits, however many do.

        A `short` one is made on a processor that it shares with the event loop, and starts no thread, which
        would stay there. A caller that is cancelled meanwhile stays until the call has ended: nobody closes
        what it uses.
        """
        self._inside[work] += 1
        self._count_short(int(short))
        try:
            future = self._threads[work].start(call, short=short)
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise
        finally:
            self._inside[work] -= 1
            self._count_short(-int(short))

    def _count_short(self, more: int) -> None:
        """The loop stays where short calls are made while there are any; else it runs where there is room."""
        self._short += more
        self._affinity.move(to_shared=self._short > 0)

    async def within(self, seconds: float, work: Work, call: Callable[[], T]) -> T:
        """`call()` in a thread, if it ends in time; else TimeoutError, and it goes on by itself."""
        running = asyncio.ensure_future(self.enter(work, call))
        done, _ = await asyncio.wait([running], timeout=seconds)
        if not done:
            running.add_done_callback(_ignored)
            raise TimeoutError
        return running.result()

    def close(self) -> None:
        """Wait for the calls that run; those that wait are dropped."""
        for threads in self._threads.values():
            threads.close()


def _ignored(late: asyncio.Future[T]) -> None:
    """An answer that came too late for anybody."""
    if not late.cancelled():
        late.exception()
