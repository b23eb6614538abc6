"""The one database of a data directory: how it is opened, and what its transactions promise.

SQLite in write-ahead mode with `synchronous=FULL`, by SQLAlchemy Core in SQL that PostgreSQL takes too.
`tables` is what it looks like now; `migrations` brings an older one there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Dialect,
    Engine,
    Select,
    String,
    Table,
    UpdateBase,
    create_engine,
    event,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool, StaticPool
from sqlalchemy.sql.compiler import SQLCompiler

from registry.disk import files
from registry.disk.data import DataFile
from registry.errors import InvalidError, Reason, StorageError
from registry.server.reserve import Reserve
from registry.server.tables import METADATA, RIGHTS_CHANGES, TRIGGERS

FILE = "registry.db"
REVISION = "0009"  # what `tables` is: the newest of `migrations/versions`
OLDEST = "0001"  # Ferry 0.1, which wrote a number into a table `about`
_BUSY_SECONDS = 30
_ROOM = 1024 * 1024  # bytes; where fewer are left, what fails is taken for a disk that is full
_Statement = Select[Any] | UpdateBase
_Values = Mapping[str, object]
_NONE: _Values = {}

_ALEMBIC = Table("alembic_version", METADATA, Column("version_num", String(32), primary_key=True))


def create_database(directory: Path) -> Engine:
    """A new, empty database in `directory`, which exists; one that is there is opened. StorageError."""
    engine = connect(directory / FILE)
    with writing(engine) as database:
        if not inspect(database).get_table_names():
            METADATA.create_all(database)
            database.execute(insert(RIGHTS_CHANGES).values(id=1, count=0))
            for trigger in TRIGGERS:
                database.exec_driver_sql(trigger)
            database.execute(insert(_ALEMBIC).values(version_num=REVISION))
    return _checked(engine, directory / FILE)


def open_database(directory: Path) -> Engine:
    """The database in `directory`, as it is now.

    StorageError if it is missing or broken, or was made by a newer Ferry or an older one.
    """
    path = directory / FILE
    if files.status(path) is None:
        raise StorageError(
            f"{directory} has lost its database ({FILE})",
            hint=f"bring it back: ferry admin restore FILE --onto {directory}; "
            f"copies of it are in {directory}/copies",
        )
    return _checked(connect(path), path)


def connect(path: Path, *, constraints: bool = True) -> Engine:
    """The database at `path`, whatever it holds; SQLite makes the file when it is first used.

    Of its connections the one that was used last is used next: it knows the file as it is now, and the others
    would read again what was changed since their turn.
    """
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": _BUSY_SECONDS},
        pool_use_lifo=True,
    )
    reserve = Reserve(path.parent)
    event.listen(engine, "connect", lambda *_: reserve.give_way())  # to its journal, which comes first
    event.listen(engine, "connect", _prepare)
    if not constraints:
        event.listen(engine, "connect", _without_constraints)

    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("alone"):
            reserve.give_way()
        _begin(connection)

    event.listen(engine, "begin", begin)
    return engine


def connect_at_once(path: Path) -> Engine:
    """The same for one thread that must never wait, and reads only: what is held by others is a
    StorageError at once, and so is what it would write.
    """
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": 0, "check_same_thread": False},  # another thread closes it
        poolclass=StaticPool,
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "connect", _without_writes)
    event.listen(engine, "begin", _begin)
    return engine


def connect_read_only(path: Path, *, alone: bool) -> Engine:
    """The database in a file that is not changed, not even in how it keeps its journal.

    `alone`: nobody has it open and it has no journal beside it, as a copy; then none is made either.
    """
    address = f"file:{quote(str(path))}?mode=ro{'&immutable=1' if alone else ''}"
    return create_engine("sqlite://", creator=lambda: sqlite3.connect(address, uri=True), poolclass=NullPool)


def revision(engine: Engine) -> str:
    """Which migration the database has come to; "" if there is nothing in it. StorageError."""
    with reading(engine) as database:
        names = inspect(database).get_table_names()
        if _ALEMBIC.name in names:
            return str(database.execute(select(_ALEMBIC.c.version_num)).scalar() or "")
        if "about" in names:
            schema = database.execute(text("SELECT value FROM about WHERE key = 'schema'")).scalar()
            return OLDEST if schema == 1 else f"about {schema}"
        if names:
            raise StorageError(f"{engine.url.database} is a database, but not a registry's")
    return ""


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One consistent look at the database. StorageError when it fails."""
    try:
        with engine.connect() as database:
            yield database
    except SQLAlchemyError as error:
        raise _broken(error, engine) from error


def first(engine: Engine, query: Select[Any], parameters: _Values = _NONE) -> Any:
    """The first row of a query, as the database gives it, or None. StorageError.

    For what every request asks: a tenth of what SQLAlchemy takes to run it. One statement sees one moment by
    itself, so there is no transaction. `query` is made once, with every value in `parameters`.
    """
    try:
        connection = engine.raw_connection()
        try:
            with closing(_executed(connection, engine.dialect, query, parameters)) as cursor:
                return cursor.fetchone()
        finally:
            connection.close()
    except SQLAlchemyError as error:
        raise _broken(error, engine) from error


def first_in(database: Connection, query: Select[Any], parameters: _Values) -> Any:
    """The same within a transaction."""
    raw = database.connection.driver_connection
    with closing(_executed(raw, database.dialect, query, parameters)) as cursor:
        return cursor.fetchone()


def change(database: Connection, statement: UpdateBase, parameters: _Values) -> int:
    """How many rows a statement changed within a transaction. As quick as `first`, and made once as well.

    SQLAlchemyError, as from the connection itself.
    """
    raw = database.connection.driver_connection
    with closing(_executed(raw, database.dialect, statement, parameters)) as cursor:
        return int(cursor.rowcount)


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction; durable when the block is left without an error. StorageError.

    SQLite lets one in at a time. Nothing may rest on that: under PostgreSQL's READ COMMITTED two run side
    by side, and what must hold between them is a constraint or an `ON CONFLICT`.
    """
    try:
        with engine.connect() as database:
            database.execution_options(alone=True)
            with database.begin():
                yield database
    except SQLAlchemyError as error:
        raise _broken(error, engine) from error


def upsert(database: Connection, table: Table) -> Any:
    """An `INSERT` that says what to do `ON CONFLICT`; SQLAlchemy has one for each database."""
    return upsert_for(database.dialect.name, table)


def upsert_for(dialect: str, table: Table) -> Any:
    """The same for a dialect of SQL, by its name: to be made once, and run by `change`."""
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # here, because it takes a sixth of a command's start

        return postgresql.insert(table)
    return sqlite.insert(table)


def copy_database(engine: Engine, path: Path) -> None:
    """A consistent copy of the database at `path`, 0600 and durable, while others use it. StorageError."""
    draft = path.with_name(f".{path.name}.draft")
    files.remove(draft)
    made = DataFile.open(draft, mode=0o600)
    try:
        try:
            with reading(engine) as database:
                # Outside a transaction: a copy is one statement, and sees one moment.
                database.connection.driver_connection.execute(  # type: ignore[union-attr]
                    "VACUUM INTO ?", (str(draft),)
                )
            made.sync()
        finally:
            made.close()
        files.move(draft, path)
    except sqlite3.Error as error:  # the statement went around SQLAlchemy
        hint = "make room there, or choose another place"
        raise StorageError(f"copying the registry's database to {path}: {error}", hint=hint) from error
    finally:
        files.remove(draft)  # on a full disk what is left of it would take the room


def _checked(engine: Engine, path: Path) -> Engine:
    """The same, if it is what this Ferry reads and writes."""
    try:
        found = revision(engine)
        if found != REVISION:
            raise _other(path, found)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _other(path: Path, found: str) -> StorageError | InvalidError:
    if found in ("", OLDEST) or found < REVISION:
        return StorageError(
            f"{path} was made by an older Ferry (revision {found or 'none'}, this one needs {REVISION})",
            hint="start ferry serve on it once: it keeps a copy of the database and brings it up to date",
        )
    return StorageError(
        f"{path} was made by a newer Ferry (revision {found}, this one knows {REVISION})",
        hint="serve it with that version",
    )


def _prepare(connection: Any, _record: object) -> None:
    """What every SQLite connection is told; transactions are begun by `_begin`, not by the driver."""
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _without_writes(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA query_only=ON")


def _without_constraints(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys=OFF")


def _begin(connection: Connection) -> None:
    """A writer takes its place in the queue at once: one that reads first could not be let in later."""
    alone = connection.get_execution_options().get("alone")
    _run(connection.connection.cursor(), connection.dialect, "BEGIN IMMEDIATE" if alone else "BEGIN").close()


def _executed(connection: Any, dialect: Dialect, statement: _Statement, parameters: _Values) -> Any:
    """A cursor on which the statement was run. SQLAlchemyError, whatever the database's own error was."""
    spelled, names = _spelled(statement, dialect)
    values = [parameters[name] for name in names]
    return _run(connection.cursor(), dialect, spelled, values)


def _run(cursor: Any, dialect: Dialect, spelled: str, values: Sequence[object] = ()) -> Any:
    """The cursor, on which the words were run. SQLAlchemyError."""
    try:
        cursor.execute(spelled, values)
    except dialect.loaded_dbapi.Error as error:
        known = DBAPIError.instance(spelled, None, error, dialect.loaded_dbapi.Error, dialect=dialect)
        raise known from error
    return cursor


@lru_cache(maxsize=64)
def _spelled(statement: _Statement, dialect: Dialect) -> tuple[str, Sequence[str]]:
    """A statement in the database's words, and the names of its parameters in their order."""
    compiled = statement.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)
    return compiled.string, compiled.positiontup or ()


# By how SQLite names what happened. `{path}` is the database's.
_OF_OTHERS = "this user may not write it, or its disk is read-only: ls -l {path} shows whose it is"
_DAMAGED = (
    "bring it back: ferry admin restore FILE --onto {directory}; copies of it are in {directory}/copies"
)
_HINTS = {
    "SQLITE_READONLY": _OF_OTHERS,
    "SQLITE_CANTOPEN": _OF_OTHERS,
    "SQLITE_BUSY": "another process keeps it locked: fuser {path} shows which",
    "SQLITE_IOERR_LOCK": "its filesystem locks no files, as some network shares: take a disk of this machine",
    "SQLITE_CORRUPT": _DAMAGED,
    "SQLITE_NOTADB": _DAMAGED,
}


def _broken(error: Exception, engine: Engine) -> StorageError:
    cause = getattr(error, "orig", None) or type(error).__name__
    name = str(getattr(cause, "sqlite_errorname", ""))
    if not engine.url.database:  # a copy, which is read only
        return StorageError(f"the registry's database failed: {cause}")
    path = Path(engine.url.database)
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")) and files.free_bytes(path.parent) < _ROOM:
        return StorageError(f"the registry's database {path}: the disk is full", reason=Reason.DISK_FULL)
    known = next((hint for start, hint in _HINTS.items() if name.startswith(start)), "")
    hint = known.format(path=path, directory=path.parent) or "check the data directory's disk and permissions"
    return StorageError(f"the registry's database failed: {cause}", hint=hint)
