"""Databases for tests: thousands, each a copy of one that is empty, and each statement put together once.

To make the tables takes longer than most tests, and so does putting statements together, which SQLAlchemy
remembers by the engine and its dialect: here all have the first one's.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import shutil
import tempfile
from pathlib import Path

from sqlalchemy import Engine

from registry.server.database import FILE, connect, create_database, writing
from registry.server.principal import User
from registry.server.sessions import Sessions


@functools.cache
def _first() -> tuple[Path, Engine]:
    """A directory of this process with an empty database in it, of which every other one is a copy."""
    memory = Path("/dev/shm")  # none of them outlives its test
    place = Path(tempfile.mkdtemp(prefix="ferry-", dir=memory if memory.is_dir() else None))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    engine = create_database(place)
    with engine.connect() as database:
        database.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return place / FILE, engine


def database(path: Path | None = None) -> Engine:
    """An empty database, set up as the server's is; at `path`, the one that is there if there is one."""
    empty, first = _first()
    path = path or empty.with_name(f"{next(_numbers)}.db")
    if not path.exists():
        shutil.copy(empty, path)
    engine = connect(path)
    engine.dialect, engine._compiled_cache = first.dialect, first._compiled_cache
    return engine


_numbers = itertools.count()


def begin_session(sessions: Sessions, user: User, address: str) -> str:
    """Sign a browser in; the secret for its cookie."""
    with writing(sessions.engine) as opened:
        return sessions.begin_in(opened, user, address)
