"""The one database of a data directory: how it is opened, and what its transactions promise.

SQLite in write-ahead mode with `synchronous=FULL`, by SQLAlchemy Core in SQL that PostgreSQL takes too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    insert,
    select,
)
from sqlalchemy.exc import SQLAlchemyError

from registry.disk import files
from registry.errors import StorageError

METADATA = MetaData()
SCHEMA = 1
FILE = "registry.db"
_BUSY_SECONDS = 30

_ABOUT = Table(
    "about",
    METADATA,
    Column("key", String(40), primary_key=True),
    Column("value", Integer, nullable=False),
)


def open_database(directory: Path) -> Engine:
    """The database in `directory`, made if it is not there.

    StorageError if it is broken, or was made by a newer Ferry.
    """
    files.make_directory(directory, mode=0o700)
    path = directory / FILE
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": _BUSY_SECONDS})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    with writing(engine) as database:
        METADATA.create_all(database)
        found = database.execute(select(_ABOUT.c.value).where(_ABOUT.c.key == "schema")).scalar()
        if found is None:
            database.execute(insert(_ABOUT).values(key="schema", value=SCHEMA))
    if found is not None and found > SCHEMA:
        engine.dispose()
        raise StorageError(
            f"{path} was made by a newer Ferry (schema {found}, this one knows {SCHEMA})",
            hint="serve it with that version",
        )
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One consistent look at the database. StorageError when it fails."""
    try:
        with engine.connect() as database:
            yield database
    except SQLAlchemyError as error:
        raise _broken(error) from error


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction, alone; durable when the block is left without an error. StorageError."""
    try:
        with engine.execution_options(alone=True).begin() as database:
            yield database
    except SQLAlchemyError as error:
        raise _broken(error) from error


def _prepare(connection: Any, _record: object) -> None:
    """What every SQLite connection is told; transactions are begun by `_begin`, not by the driver."""
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    """A writer takes its place in the queue at once: one that reads first could not be let in later."""
    alone = connection.get_execution_options().get("alone")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if alone else "BEGIN")


def _broken(error: SQLAlchemyError) -> StorageError:
    cause = str(getattr(error, "orig", None) or type(error).__name__)
    return StorageError(
        f"the registry's database failed: {cause}", hint="check the data directory's disk and permissions"
    )
