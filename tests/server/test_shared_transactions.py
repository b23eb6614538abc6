"""Changes that share a transaction: each is durable when it returns, and one that fails harms no other."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event, insert

from registry.errors import DeniedError, StorageError
from registry.server import shared_transactions
from registry.server.database import change, create_database
from registry.server.shared_transactions import SharedTransactions, _Change
from registry.server.tables import NONCES

_ADD = insert(NONCES)


def adding(name: str) -> Callable[[Connection], int]:
    return lambda database: change(database, _ADD, {"credential": name, "nonce": name, "expires": 0.0})


def refused(_database: Connection) -> int:
    raise DeniedError("not this one")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = create_database(tmp_path)
    yield made
    made.dispose()


def names(engine: Engine) -> list[str]:
    """What is in the database, by a connection of its own: what is durable."""
    assert engine.url.database is not None
    with closing(sqlite3.connect(engine.url.database)) as database:
        return [row[0] for row in database.execute("SELECT credential FROM nonces ORDER BY credential")]


class Gate:
    """A change that stays in its transaction until the others wait behind it."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self, database: Connection) -> int:
        self.entered.set()
        assert self.open.wait(20)
        return adding("gate")(database)


def waiting(shared: SharedTransactions, count: int) -> bool:
    return len(shared._waiting) == count


def at_once(
    shared: SharedTransactions, changes: list[Callable[[Connection], int]], engine: Engine
) -> tuple[list[int | str], int]:
    """What becomes of changes that wait together behind another one, and how many were committed in all."""
    commits: list[Connection] = []
    event.listen(engine, "commit", commits.append)
    gate = Gate()
    with ThreadPoolExecutor(len(changes) + 1) as pool:
        first = pool.submit(shared.change, gate)
        assert gate.entered.wait(20)
        others = [pool.submit(shared.change, each) for each in changes]
        pause = threading.Event()
        while not waiting(shared, len(changes)):
            pause.wait(0.001)
        gate.open.set()
        assert first.result() == 1
        results: list[int | str] = []
        for each in others:
            error = each.exception()
            results.append(each.result() if error is None else type(error).__name__)
    return results, len(commits)


def test_those_that_wait_share_one_transaction(engine: Engine) -> None:
    found, commits = at_once(SharedTransactions(engine), [adding(str(each)) for each in range(8)], engine)

    assert found == [1] * 8
    assert commits == 2  # the first one's, and one for the eight
    assert names(engine) == [*map(str, range(8)), "gate"]


def test_one_that_fails_takes_no_other_with_it(engine: Engine) -> None:
    changes = [adding("a"), refused, adding("b"), adding("a"), adding("c")]

    found, _ = at_once(SharedTransactions(engine), changes, engine)

    assert sorted(map(str, found)) == ["1", "1", "1", "DeniedError", "StorageError"]
    assert names(engine) == ["a", "b", "c", "gate"]


@pytest.mark.parametrize("failure", [StorageError("the disk is full"), RuntimeError("a bug")])
def test_what_was_not_written_is_so_for_all_that_waited(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    shared, waits = SharedTransactions(engine), _Change[object](adding("a"))

    def fail(_engine: Engine) -> AbstractContextManager[Connection]:
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(shared_transactions, "writing", fail)
        shared._waiting.append(waits)
        with pytest.raises(type(failure)):
            shared.change(adding("b"))

    assert waits.tried and isinstance(waits.error, StorageError)
    assert shared.change(adding("c")) == 1
    assert names(engine) == ["c"]
