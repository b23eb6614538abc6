"""API keys; what a credential is for, and when it was last used. SQLite only, as 0002."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

_WATCHED = " OF secret_hash, scopes, old_hash, old_until"


def upgrade() -> None:
    """Two columns, one table, its triggers."""
    op.execute("ALTER TABLE credentials ADD COLUMN note VARCHAR(200) DEFAULT '' NOT NULL")
    op.execute("ALTER TABLE credentials ADD COLUMN last_used FLOAT")
    op.execute(
        "CREATE TABLE api_keys (credential VARCHAR(36) NOT NULL, secret_hash VARCHAR(64) NOT NULL,"
        " last_four VARCHAR(4) NOT NULL, scopes TEXT NOT NULL, issued FLOAT NOT NULL, old_hash VARCHAR(64),"
        " old_until FLOAT, PRIMARY KEY (credential), UNIQUE (secret_hash), UNIQUE (old_hash),"
        " FOREIGN KEY(credential) REFERENCES credentials (id) ON DELETE CASCADE)"
    )
    for event in ("INSERT", "UPDATE", "DELETE"):
        of = _WATCHED if event == "UPDATE" else ""
        op.execute(
            f"CREATE TRIGGER api_keys_{event.lower()}_changes_rights AFTER {event}{of} ON api_keys"
            " BEGIN UPDATE rights_changes SET count = count + 1; END"
        )
