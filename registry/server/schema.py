"""The tables of accounts, keys, rights and used nonces; SQL that PostgreSQL takes too."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, ForeignKey, String, Table

from registry.server.database import METADATA

USERS = Table(
    "users",
    METADATA,
    Column("id", String(36), primary_key=True),
    Column("name", String(80), nullable=False, unique=True),
    Column("admin", Boolean, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created", Float, nullable=False),
)
KEYS = Table(
    "keys",
    METADATA,
    Column("fingerprint", String(50), primary_key=True),
    Column("text", String(100), nullable=False),
    Column("user_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("added", Float, nullable=False),
    Column("revoked", Float, nullable=True),
)
GRANTS = Table(
    "grants",
    METADATA,
    Column("user_id", ForeignKey("users.id"), primary_key=True),
    Column("scope", String(255), primary_key=True),
    Column("permission", String(5), nullable=False),
)
PUBLIC = Table("public_repositories", METADATA, Column("repository", String(255), primary_key=True))
NONCES = Table(
    "nonces",
    METADATA,
    Column("key", String(50), primary_key=True),
    Column("nonce", String(128), primary_key=True),
    Column("expires", Float, nullable=False, index=True),
)
