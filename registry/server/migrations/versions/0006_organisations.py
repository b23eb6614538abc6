"""Organisations, service accounts, immutable tags; credentials of a namespace. SQLite only, as 0002."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

_OF_NAMESPACE = "FOREIGN KEY(namespace) REFERENCES namespaces (id) ON DELETE CASCADE"
_STATEMENTS = (
    "CREATE TABLE organisations (namespace INTEGER NOT NULL, created FLOAT NOT NULL, PRIMARY KEY (namespace),"
    f" {_OF_NAMESPACE})",
    "CREATE TABLE services (id VARCHAR(36) NOT NULL, namespace INTEGER NOT NULL, name VARCHAR(80) NOT NULL,"
    " role VARCHAR(5) NOT NULL, created FLOAT NOT NULL, note VARCHAR(200) NOT NULL, PRIMARY KEY (id),"
    f" UNIQUE (namespace, name), {_OF_NAMESPACE})",
    "CREATE TABLE immutable (scope VARCHAR(255) NOT NULL, pattern VARCHAR(128) NOT NULL,"
    f" namespace INTEGER NOT NULL, PRIMARY KEY (scope, pattern), {_OF_NAMESPACE})",
    "CREATE INDEX ix_immutable_namespace ON immutable (namespace)",
    "ALTER TABLE credentials RENAME TO old_credentials",
    "CREATE TABLE credentials (id VARCHAR(36) NOT NULL, kind VARCHAR(20) NOT NULL, user_id VARCHAR(36),"
    " cap VARCHAR(5) NOT NULL, added FLOAT NOT NULL, expires FLOAT, revoked FLOAT,"
    " note VARCHAR(200) DEFAULT '' NOT NULL, last_used FLOAT, namespace INTEGER, service VARCHAR(36),"
    f" PRIMARY KEY (id), FOREIGN KEY(user_id) REFERENCES users (id), {_OF_NAMESPACE},"
    " FOREIGN KEY(service) REFERENCES services (id) ON DELETE CASCADE)",
    "INSERT INTO credentials (id, kind, user_id, cap, added, expires, revoked, note, last_used)"
    " SELECT id, kind, user_id, cap, added, expires, revoked, note, last_used FROM old_credentials",
    "DROP TABLE old_credentials",
    "CREATE INDEX ix_credentials_user_id ON credentials (user_id)",
    "CREATE INDEX ix_credentials_namespace ON credentials (namespace)",
    "CREATE INDEX ix_credentials_service ON credentials (service)",
)
_TRIGGERS = {"credentials": " OF user_id, cap, expires, revoked, namespace, service", "services": ""}


def upgrade() -> None:
    """Three tables, two columns, the triggers of what rights depend on."""
    op.execute("PRAGMA legacy_alter_table = ON")  # what refers to a table that is set aside means the new one
    for statement in _STATEMENTS:
        op.execute(statement)
    op.execute("PRAGMA legacy_alter_table = OFF")
    for table, columns in _TRIGGERS.items():
        for event in ("INSERT", "UPDATE", "DELETE"):
            of = columns if event == "UPDATE" else ""
            op.execute(
                f"CREATE TRIGGER {table}_{event.lower()}_changes_rights AFTER {event}{of} ON {table}"
                " BEGIN UPDATE rights_changes SET count = count + 1; END"
            )
