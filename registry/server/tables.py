"""What the depot keeps in the database. Repositories are named in lower case: they compare without it."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
)

from registry.server.database import METADATA

_DIGEST = 136  # "sha512:" and 128 hex digits, rounded up

REPOSITORIES = Table(
    "repositories",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
)

BLOBS = Table(
    "blobs",
    METADATA,
    Column("digest", String(_DIGEST), primary_key=True),
    Column("size", BigInteger, nullable=False),
)

# Which repository holds which blob; `since` (Unix seconds) keeps a fresh one from being collected.
LINKS = Table(
    "links",
    METADATA,
    Column("repository", Integer, ForeignKey("repositories.id"), primary_key=True),
    Column("digest", String(_DIGEST), ForeignKey("blobs.digest"), primary_key=True, index=True),
    Column("since", Float, nullable=False),
)

UPLOADS = Table(
    "uploads",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("repository", Integer, ForeignKey("repositories.id"), nullable=False),
    Column("touched", Float, nullable=False),
)

MANIFESTS = Table(
    "manifests",
    METADATA,
    Column("repository", Integer, ForeignKey("repositories.id"), primary_key=True),
    Column("digest", String(_DIGEST), primary_key=True),
    Column("media_type", String(255), nullable=False),
    Column("subject", String(_DIGEST)),
    Column("raw", LargeBinary, nullable=False),
    Column("pushed", Float, nullable=False),
    Index("manifests_by_subject", "repository", "subject"),
)

# The blobs and child manifests each manifest needs.
PARTS = Table(
    "parts",
    METADATA,
    Column("repository", Integer, primary_key=True),
    Column("manifest", String(_DIGEST), primary_key=True),
    Column("part", String(_DIGEST), primary_key=True),
    Index("parts_by_part", "repository", "part"),
)

TAGS = Table(
    "tags",
    METADATA,
    Column("repository", Integer, ForeignKey("repositories.id"), primary_key=True),
    Column("tag", String(128), primary_key=True),
    Column("digest", String(_DIGEST), nullable=False),
    Index("tags_by_digest", "repository", "digest"),
)
