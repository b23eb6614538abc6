"""Where the threads of a listener run: short calls beside the event loop, all others wherever they may."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest

from registry.net.listener.queues import Queues, Work

if sys.platform != "linux" or len(os.sched_getaffinity(0)) == 1:
    pytest.skip("there is but one processor, or a program has no say in it", allow_module_level=True)

EVERY = os.sched_getaffinity(0)
ONE = min(EVERY)
ALONE = dict.fromkeys(Work, 1)


@pytest.fixture
def allowed() -> Iterator[Callable[[set[int]], None]]:
    """Says what the process may use from now on, as `taskset -p` does."""
    yield lambda processors: os.sched_setaffinity(os.getpid(), processors)
    os.sched_setaffinity(os.getpid(), EVERY)


def where() -> set[int]:
    return os.sched_getaffinity(0)


def on_loop(work: Callable[[Queues], Awaitable[None]]) -> None:
    """In a thread of its own, as a listener's loop; nothing of it is left."""
    failed: list[BaseException] = []

    def run() -> None:
        queues = Queues(threads=ALONE, shared=len(EVERY) * 3 + sorted(EVERY).index(ONE))
        try:
            asyncio.run(in_time(queues))
        except BaseException as error:  # noqa: BLE001 - raised below
            failed.append(error)
        queues.close()

    async def in_time(queues: Queues) -> None:
        async with asyncio.timeout(20):
            await work(queues)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def test_a_short_call_is_made_on_the_shared_processor_and_a_long_one_on_any() -> None:
    async def work(queues: Queues) -> None:
        for short in (True, False, False, True):
            on = await queues.run(Work.WRITING, where, short=short)
            assert on == ({ONE} if short else EVERY)

    on_loop(work)


def test_the_loop_is_there_only_while_there_are_short_calls() -> None:
    async def work(queues: Queues) -> None:
        loop, seen = threading.get_native_id(), list[set[int]]()
        await queues.run(Work.WRITING, lambda: seen.append(os.sched_getaffinity(loop)), short=True)
        assert [*seen, where()] == [{ONE}, EVERY]

    on_loop(work)


def test_a_thread_that_begins_while_the_loop_is_there_does_not_stay_there() -> None:
    async def work(queues: Queues) -> None:
        end = threading.Event()
        short = asyncio.ensure_future(queues.run(Work.WRITING, lambda: end.wait(20), short=True))
        await asyncio.sleep(0)
        assert where() == {ONE}
        assert await queues.run(Work.READING, where) == EVERY
        end.set()
        assert await short

    on_loop(work)


def test_what_the_process_may_use_may_change(allowed: Callable[[set[int]], None]) -> None:
    other = EVERY - {ONE}

    async def work(queues: Queues) -> None:
        await queues.run(Work.WRITING, where, short=True)
        for now in (other, EVERY):
            allowed(now)
            assert await queues.run(Work.READING, where) == now
            assert await queues.run(Work.WRITING, where, short=True) < EVERY
            assert await queues.run(Work.WRITING, where) == now
            assert where() == now

    on_loop(work)


@pytest.mark.parametrize("refused", ["sched_getaffinity", "sched_setaffinity"])
def test_where_a_program_may_not_say_where_it_runs_it_runs(
    refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refuse(*_: object) -> None:
        asked.append(refused)
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, refused, refuse)

    async def work(queues: Queues) -> None:
        assert await queues.run(Work.WRITING, lambda: 7, short=True) == 7

    on_loop(work)
    assert asked
