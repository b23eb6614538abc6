"""How the database of a data directory is opened."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from registry.errors import StorageError
from registry.server.database import create_database, reading, writing


def test_the_connection_that_was_used_last_is_used_next(tmp_path: Path) -> None:
    engine = create_database(tmp_path)
    with writing(engine) as last, reading(engine) as other:
        used = [each.connection.driver_connection for each in (last, other)]
    for _ in range(3):
        with reading(engine) as database:
            assert database.connection.driver_connection is used[0]
    engine.dispose()


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("SQLITE_READONLY_DBMOVED", "ls -l {} shows whose it is"),
        ("SQLITE_BUSY", "fuser {} shows which"),
        ("SQLITE_NOTADB", "ferry admin restore FILE"),
        ("SQLITE_IOERR_LOCK", "locks no files"),
        ("SQLITE_INTERNAL", "check the data directory's disk and permissions"),
    ],
)
def test_what_sqlite_complains_of_is_told_with_what_to_do(name: str, step: str, tmp_path: Path) -> None:
    engine = create_database(tmp_path)
    cause = sqlite3.OperationalError("it failed")
    cause.sqlite_errorname = name
    with pytest.raises(StorageError) as caught, reading(engine):
        raise DBAPIError("SELECT 1", None, cause)
    assert caught.value.message == "the registry's database failed: it failed"
    assert step.format(tmp_path / "registry.db") in caught.value.hint
    engine.dispose()
