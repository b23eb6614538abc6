"""A count of the changes of what rights depend on, and the triggers that keep it. SQLite only, as 0002."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

_WATCHED = {
    "users": " OF name, admin, disabled",
    "credentials": " OF user_id, cap, expires, revoked",
    "namespaces": " OF name, owner",
    "grants": "",
    "public_repositories": "",
}


def upgrade() -> None:
    """The table, its one row, the triggers."""
    op.execute("CREATE TABLE rights_changes (id INTEGER NOT NULL, count BIGINT NOT NULL, PRIMARY KEY (id))")
    op.execute("INSERT INTO rights_changes (id, count) VALUES (1, 0)")
    for table, columns in _WATCHED.items():
        for event in ("INSERT", "UPDATE", "DELETE"):
            of = columns if event == "UPDATE" else ""
            op.execute(
                f"CREATE TRIGGER {table}_{event.lower()}_changes_rights AFTER {event}{of} ON {table}"
                " BEGIN UPDATE rights_changes SET count = count + 1; END"
            )
