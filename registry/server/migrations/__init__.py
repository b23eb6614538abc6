"""Brings the database of an older Ferry to what `tables` says, with Alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from registry.errors import StorageError
from registry.server.database import OLDEST, connect, revision, writing


def bring_up(path: Path, now: float) -> None:
    """Every migration that the database at `path` has not had, in one transaction. StorageError.

    Nobody else may have it open. `now` (Unix seconds) stands where an older Ferry kept no time.
    """
    engine = connect(path, constraints=False)  # tables are made anew in any order; what results is checked
    try:
        found = revision(engine)
        with writing(engine) as database:
            config = Config()
            config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
            config.attributes.update(connection=database, now=now)
            if found == OLDEST:
                command.stamp(config, OLDEST)
            command.upgrade(config, "head")
            broken = database.execute(text("PRAGMA foreign_key_check")).first()
            if broken is not None:
                raise StorageError(f"{path} could not be brought up to date: {broken[0]} has a row too many")
    finally:
        engine.dispose()
