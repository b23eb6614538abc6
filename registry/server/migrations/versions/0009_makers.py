"""Who was shown the secret of a service account's key. SQLite only, as 0002."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """One column; nobody is known of the keys that are there."""
    op.execute("ALTER TABLE credentials ADD COLUMN makers VARCHAR(80) DEFAULT '' NOT NULL")
