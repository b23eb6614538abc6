"""The database as Ferry 0.1 made it."""

from __future__ import annotations

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Nothing: 0.1 made its tables by itself."""
