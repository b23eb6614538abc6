"""Trusted publishers, their issuers, and the ID tokens that were used. SQLite only, as 0002."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"

_STATEMENTS = (
    "CREATE TABLE issuers (url VARCHAR(500) NOT NULL, ca TEXT NOT NULL, jwks VARCHAR(500) NOT NULL,"
    " PRIMARY KEY (url))",
    "CREATE TABLE publishers (credential VARCHAR(36) NOT NULL, repository VARCHAR(255) NOT NULL,"
    " issuer VARCHAR(500) NOT NULL, audience VARCHAR(255) NOT NULL, claims TEXT NOT NULL,"
    " PRIMARY KEY (credential), FOREIGN KEY(credential) REFERENCES credentials (id) ON DELETE CASCADE)",
    "CREATE INDEX ix_publishers_repository ON publishers (repository)",
    "CREATE INDEX ix_publishers_issuer ON publishers (issuer)",
    "CREATE TABLE spent_id_tokens (issuer VARCHAR(500) NOT NULL, jti VARCHAR(255) NOT NULL,"
    " repository VARCHAR(255) NOT NULL, expires FLOAT NOT NULL, PRIMARY KEY (issuer, jti))",
    "CREATE INDEX ix_spent_id_tokens_expires ON spent_id_tokens (expires)",
)


def upgrade() -> None:
    """Three tables."""
    for statement in _STATEMENTS:
        op.execute(statement)
