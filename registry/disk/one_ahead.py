"""Pieces that are made by a thread of their own while the ones before them are worked on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from typing import TypeVar

T = TypeVar("T")


def one_ahead(pieces: Iterator[T]) -> Generator[T, None, None]:
    """The same pieces, in order; each is made while the one before it is in use, and no sooner.

    So two buffers in turn are enough. What making one raises is raised here in its place. When this ends, or
    is closed, nothing is being made any more.
    """
    made: queue.SimpleQueue[tuple[T] | BaseException | None] = queue.SimpleQueue()
    wanted, over = threading.Semaphore(0), threading.Event()

    def make() -> None:
        try:
            for piece in pieces:
                made.put((piece,))
                wanted.acquire()
                if over.is_set():
                    return
            made.put(None)
        except BaseException as error:  # noqa: BLE001 - raised again where the pieces are used
            made.put(error)

    maker = threading.Thread(target=make, daemon=True)
    maker.start()
    try:
        while (found := made.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            wanted.release()
            yield found[0]
    finally:
        over.set()
        wanted.release()
        maker.join()
