"""Passwords, links that are good once, and sessions of browsers. SQLite only, as 0002."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

_STATEMENTS = (
    "CREATE TABLE passwords (user_id VARCHAR(36) NOT NULL, hash TEXT NOT NULL, changed FLOAT NOT NULL,"
    " PRIMARY KEY (user_id), FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE)",
    "CREATE TABLE invitations (hash VARCHAR(64) NOT NULL, user_id VARCHAR(36), kind VARCHAR(10) NOT NULL,"
    " expires FLOAT NOT NULL, PRIMARY KEY (hash),"
    " FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE)",
    "CREATE INDEX ix_invitations_user_id ON invitations (user_id)",
    "CREATE TABLE sessions (id VARCHAR(36) NOT NULL, hash VARCHAR(64) NOT NULL,"
    " user_id VARCHAR(36) NOT NULL, created FLOAT NOT NULL, seen FLOAT NOT NULL, expires FLOAT NOT NULL,"
    " address VARCHAR(64) NOT NULL, PRIMARY KEY (id), UNIQUE (hash),"
    " FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE)",
    "CREATE INDEX ix_sessions_user_id ON sessions (user_id)",
)


def upgrade() -> None:
    """Three tables."""
    for statement in _STATEMENTS:
        op.execute(statement)
