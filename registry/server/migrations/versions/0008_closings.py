"""How often an account was disabled, so that what was issued before stays dead. SQLite only, as 0002."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """One column."""
    op.execute("ALTER TABLE users ADD COLUMN closings INTEGER DEFAULT '0' NOT NULL")
