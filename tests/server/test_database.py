"""How the database of a data directory is opened."""

from __future__ import annotations

from pathlib import Path

from registry.server.database import create_database, reading, writing


def test_the_connection_that_was_used_last_is_used_next(tmp_path: Path) -> None:
    engine = create_database(tmp_path)
    with writing(engine) as last, reading(engine) as other:
        used = [each.connection.driver_connection for each in (last, other)]
    for _ in range(3):
        with reading(engine) as database:
            assert database.connection.driver_connection is used[0]
    engine.dispose()
