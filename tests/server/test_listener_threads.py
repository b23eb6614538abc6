"""The threads of the listener's queues: what ends is told, several at once, and never forgotten."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Iterator

import pytest
from waiting import until

from registry.errors import StorageError
from registry.net.listener.queues import Queues, Work
from registry.net.listener.threads import Threads, _Call


@pytest.fixture
def threads() -> Iterator[Threads]:
    made = Threads(2, "test")
    yield made
    made.close()


def on_loop(work: Callable[[], Awaitable[None]]) -> None:
    async def in_time() -> None:
        async with asyncio.timeout(20):
            await work()

    asyncio.run(in_time())


def test_what_a_call_returns_or_raises_is_its_futures(threads: Threads) -> None:
    def fails() -> int:
        raise StorageError("a disk that fails")

    async def work() -> None:
        assert await threads.start(lambda: 7) == 7
        with pytest.raises(StorageError, match="a disk that fails"):
            await threads.start(fails)

    on_loop(work)


def test_what_no_future_takes_is_an_error_too_and_others_are_told(threads: Threads) -> None:
    def ends() -> int:
        raise StopIteration

    async def work() -> None:
        both = threading.Barrier(2)
        odd = threads.start(lambda: (both.wait(20), ends()))
        other = threads.start(lambda: both.wait(20))
        with pytest.raises(RuntimeError, match="StopIteration"):
            await odd
        await other

    on_loop(work)


def test_where_the_system_gives_no_more_threads_those_that_are_there_do_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queues = Queues(threads={**dict.fromkeys(Work, 1), Work.WRITING: 2})
    start = threading.Thread.start

    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def work() -> None:
        monkeypatch.setattr(threading.Thread, "start", refused)
        with pytest.raises(RuntimeError):
            await queues.run(Work.WRITING, lambda: None)
        assert not any(queues.inside().values())
        monkeypatch.setattr(threading.Thread, "start", start)
        await queues.run(Work.WRITING, lambda: None)
        monkeypatch.setattr(threading.Thread, "start", refused)
        made = [queues.run(Work.WRITING, threading.get_ident) for _ in range(3)]
        assert len(set(await asyncio.gather(*made))) == 1

    on_loop(work)
    monkeypatch.undo()
    queues.close()


def test_there_are_as_many_threads_as_are_needed_and_no_more_than_there_may_be(threads: Threads) -> None:
    async def work() -> None:
        assert await threads.start(threading.get_ident) == await threads.start(threading.get_ident)
        both = threading.Barrier(2)
        three = [threads.start(lambda: both.wait(20)) for _ in range(2)]
        three.append(threads.start(threading.get_ident))
        await asyncio.gather(*three)
        assert len(threads._threads) == 2

    on_loop(work)


def test_all_that_end_while_the_loop_is_busy_wake_it_once(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        wakes: list[object] = []
        wake = loop.call_soon_threadsafe

        def counted(call: Callable[[], None]) -> asyncio.Handle:
            wakes.append(call)
            return wake(call)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        ten = [threads.start(lambda: None) for _ in range(10)]
        until(lambda: len(threads._ended) == 10)
        await asyncio.gather(*ten)
        assert len(wakes) == 1

    on_loop(work)


class EndsLast(deque[_Call[object]]):
    """What has ended, in which one more ends just when the loop has found that there is none."""

    def __init__(self, end: threading.Event) -> None:
        super().__init__()
        self._end = end

    def __bool__(self) -> bool:
        empty = not len(self)
        if empty and not self._end.is_set():
            self._end.set()
            until(lambda: len(self) > 0)
        return not empty


def test_a_call_that_ends_when_the_others_were_just_told_is_not_forgotten(threads: Threads) -> None:
    async def work() -> None:
        end = threading.Event()
        threads._ended = EndsLast(end)
        last = threads.start(lambda: end.wait(20))
        await threads.start(lambda: None)
        assert await last

    on_loop(work)


def test_a_thread_that_waits_holds_nothing_of_its_last_call(threads: Threads) -> None:
    class Piece:
        """A megabyte of a body, say."""

    async def work() -> None:
        piece = Piece()
        gone = weakref.ref(piece)
        await threads.start(piece.__repr__)
        del piece
        await threads.start(lambda: None)  # as above: that was told to the end
        assert gone() is None

    on_loop(work)


def test_at_the_end_what_runs_ends_and_what_waits_is_dropped() -> None:
    threads, done = Threads(1, "test"), []
    begun, may_end = threading.Event(), threading.Event()

    def runs() -> None:
        begun.set()
        assert may_end.wait(20)
        done.append("ran")

    async def work() -> None:
        threads.start(runs)
        for _ in range(2):
            threads.start(lambda: done.append("waited"))
        assert begun.wait(20)

    on_loop(work)
    closing = threading.Thread(target=threads.close)
    closing.start()
    until(lambda: threads._calls.qsize() == 1)  # the end
    assert closing.is_alive()
    may_end.set()
    closing.join(20)
    assert done == ["ran"]
