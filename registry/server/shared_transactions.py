"""Short changes of the database that come at once share one transaction.

To make a transaction durable takes the disk longer than everything in it: it is asked once for all of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, TypeVar

from sqlalchemy import Connection, Engine

from registry.errors import RegistryError, StorageError
from registry.server.database import writing

T = TypeVar("T")


def _unwritten() -> RegistryError:
    return StorageError("a change of the registry's database could not be written")


@dataclass(slots=True, eq=False)
class _Change(Generic[T]):
    """A change that waits to be made: refused until it is known to be durable."""

    make: Callable[[Connection], T]
    tried: bool = False
    result: T | None = None
    error: RegistryError | None = field(default_factory=_unwritten)


class SharedTransactions:
    """Makes changes of one database: those that come while one becomes durable share the next transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: deque[_Change[object]] = deque()
        self._writer = Lock()

    def change(self, make: Callable[[Connection], T]) -> T:
        """What `make` returns, once all that it changed is durable. StorageError, and what `make` raises.

        A change that fails takes no other one with it: those are made again without it. So `make` may be
        called several times, and does nothing but what the transaction undoes.
        """
        mine: _Change[object] = _Change(make)
        self._waiting.append(mine)
        with self._writer:
            if not mine.tried:  # the first caller to write does it for all
                self._make([self._waiting.popleft() for _ in range(len(self._waiting))])
        if mine.error is not None:
            raise mine.error
        return mine.result  # type: ignore[return-value]  # what `make` returned

    def _make(self, changes: list[_Change[object]]) -> None:
        for each in changes:
            each.tried = True
        while changes:
            failed = self._tried(changes)
            changes = [each for each in changes if failed and each not in failed]

    def _tried(self, changes: list[_Change[object]]) -> list[_Change[object]]:
        """Those that failed, which are all of them if the database did."""
        at_work: _Change[object] | None = None
        try:
            with writing(self._engine) as database:
                for at_work in changes:
                    at_work.result = at_work.make(database)
                at_work = None
        except RegistryError as error:
            failed = changes if at_work is None else [at_work]
            for each in failed:
                each.error = error
            return failed
        for each in changes:
            each.error = None
        return []
