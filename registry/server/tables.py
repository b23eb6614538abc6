"""Every table of the database, in SQL that PostgreSQL takes too. Times are Unix seconds, sizes bytes.

Constraints carry what must hold when two writers meet: a manifest's parts and children are rows that cannot
go while it is there, a tag's manifest likewise. Repositories and namespaces are named in lower case: they
compare without it. An `Id` is never given out again.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

METADATA = MetaData()

_DIGEST = String(136)  # "sha512:" and 128 hex digits, rounded up
_NAME = String(255)
_ID = String(36)

# --- who ------------------------------------------------------------------------------------------------

USERS = Table(
    "users",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("name", String(80), nullable=False, unique=True),
    Column("admin", Boolean, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created", Float, nullable=False),
    Column("closings", Integer, nullable=False, server_default="0"),
)

# The first part of every repository's name. An account's own has its name, so that no two share one;
# `owner` is null for those that belong to nobody.
NAMESPACES = Table(
    "namespaces",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("owner", _ID, ForeignKey("users.id"), index=True),
    Column("created", Float, nullable=False),
    sqlite_autoincrement=True,
)

# A namespace that is an organisation: it has the namespace's name, so that no account has it too.
ORGANISATIONS = Table(
    "organisations",
    METADATA,
    Column("namespace", Integer, ForeignKey("namespaces.id", ondelete="CASCADE"), primary_key=True),
    Column("created", Float, nullable=False),
)

# Accounts of programs, which belong to a namespace and end with it; `role`: what they may do in it.
SERVICES = Table(
    "services",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("namespace", Integer, ForeignKey("namespaces.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(80), nullable=False),
    Column("role", String(5), nullable=False),
    Column("created", Float, nullable=False),
    Column("note", String(200), nullable=False),
    UniqueConstraint("namespace", "name"),
)

# Of an account (`user_id`), or of a namespace's program (`namespace`), perhaps a service account (`service`).
CREDENTIALS = Table(
    "credentials",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("user_id", _ID, ForeignKey("users.id"), index=True),
    Column("cap", String(5), nullable=False),
    Column("added", Float, nullable=False),
    Column("expires", Float),
    Column("revoked", Float),
    Column("note", String(200), nullable=False, server_default=""),
    Column("last_used", Float),
    Column("namespace", Integer, ForeignKey("namespaces.id", ondelete="CASCADE"), index=True),
    Column("service", _ID, ForeignKey("services.id", ondelete="CASCADE"), index=True),
    Column("makers", String(80), nullable=False, server_default=""),  # accounts that know a program's secret
)

KEYS = Table(
    "keys",
    METADATA,
    Column("fingerprint", String(50), primary_key=True),
    Column("text", String(100), nullable=False),
    Column("credential", _ID, ForeignKey("credentials.id", ondelete="CASCADE"), nullable=False, unique=True),
)

# Secrets are kept as their SHA-256 (hex digits); the present one was made at `issued`, and the one before it
# is good until `old_until`. `scopes`: what may be done by it, as texts with spaces between.
API_KEYS = Table(
    "api_keys",
    METADATA,
    Column("credential", _ID, ForeignKey("credentials.id", ondelete="CASCADE"), primary_key=True),
    Column("secret_hash", String(64), nullable=False, unique=True),
    Column("last_four", String(4), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("issued", Float, nullable=False),
    Column("old_hash", String(64), unique=True),
    Column("old_until", Float),
)

# `scope` is the namespace's name, or a repository's in it.
GRANTS = Table(
    "grants",
    METADATA,
    Column("user_id", _ID, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("scope", _NAME, primary_key=True),
    Column("namespace", Integer, ForeignKey("namespaces.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("permission", String(5), nullable=False),
)

# Who may sign ID tokens, as an administrator has named it: certificates (PEM) to know it by, and where its
# keys are, each "" where it needs none.
ISSUERS = Table(
    "issuers",
    METADATA,
    Column("url", String(500), primary_key=True),
    Column("ca", Text, nullable=False),
    Column("jwks", String(500), nullable=False),
)

# Whose jobs publish a repository: of `issuer`, with all of `claims` (a JSON object of texts). No row of it
# ever changes: it comes and goes with its credential's, which rights depend on.
PUBLISHERS = Table(
    "publishers",
    METADATA,
    Column("credential", _ID, ForeignKey("credentials.id", ondelete="CASCADE"), primary_key=True),
    Column("repository", _NAME, nullable=False, index=True),
    Column("issuer", String(500), nullable=False, index=True),
    Column("audience", String(255), nullable=False),
    Column("claims", Text, nullable=False),
)

# ID tokens that were used: for the one repository, or "" where they were exchanged.
SPENT_ID_TOKENS = Table(
    "spent_id_tokens",
    METADATA,
    Column("issuer", String(500), primary_key=True),
    Column("jti", String(255), primary_key=True),
    Column("repository", _NAME, nullable=False),
    Column("expires", Float, nullable=False, index=True),
)

# Tags that stay where they are, once they are there; `scope` as in `grants`, `pattern` a glob.
IMMUTABLE = Table(
    "immutable",
    METADATA,
    Column("scope", _NAME, primary_key=True),
    Column("pattern", String(128), primary_key=True),
    Column("namespace", Integer, ForeignKey("namespaces.id", ondelete="CASCADE"), nullable=False, index=True),
)

PUBLIC = Table(
    "public_repositories",
    METADATA,
    Column("repository", _NAME, primary_key=True),
    Column("namespace", Integer, ForeignKey("namespaces.id", ondelete="CASCADE"), nullable=False, index=True),
)

NONCES = Table(
    "nonces",
    METADATA,
    Column("credential", _ID, primary_key=True),
    Column("nonce", String(128), primary_key=True),
    Column("expires", Float, nullable=False, index=True),
)

# People's passwords, as argon2 writes them down; an account without one has no row.
PASSWORDS = Table(
    "passwords",
    METADATA,
    Column("user_id", _ID, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("hash", Text, nullable=False),
    Column("changed", Float, nullable=False),
)

# Links that are good once, by the SHA-256 (hex digits) of the secret in each; `user_id` is null where the
# link makes the first account.
INVITATIONS = Table(
    "invitations",
    METADATA,
    Column("hash", String(64), primary_key=True),
    Column("user_id", _ID, ForeignKey("users.id", ondelete="CASCADE"), index=True),
    Column("kind", String(10), nullable=False),
    Column("expires", Float, nullable=False),
)

# Browsers that are signed in, by the SHA-256 (hex digits) of the secret in each one's cookie.
SESSIONS = Table(
    "sessions",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("hash", String(64), nullable=False, unique=True),
    Column("user_id", _ID, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created", Float, nullable=False),
    Column("seen", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("address", String(64), nullable=False),
)

# One row, whose count goes up with every change of what a right depends on: triggers see to it, whatever
# program makes the change, so that what was found out at one count is true for as long as it stays.
RIGHTS_CHANGES = Table(
    "rights_changes",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("count", BigInteger, nullable=False),
)

# Nonces are spent and credentials used all the time; neither changes what anybody may do.
_WATCHED = {
    "users": " OF name, admin, disabled",
    "credentials": " OF user_id, cap, expires, revoked, namespace, service",
    "services": "",
    "api_keys": " OF secret_hash, scopes, old_hash, old_until",
    "namespaces": " OF name, owner",
    "grants": "",
    "public_repositories": "",
}
TRIGGERS = tuple(
    f"CREATE TRIGGER {table}_{event.lower()}_changes_rights AFTER {event}"
    f"{columns if event == 'UPDATE' else ''} ON {table}"
    " BEGIN UPDATE rights_changes SET count = count + 1; END"
    for table, columns in _WATCHED.items()
    for event in ("INSERT", "UPDATE", "DELETE")
)

# --- what is kept -----------------------------------------------------------------------------------------

REPOSITORIES = Table(
    "repositories",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", _NAME, nullable=False, unique=True),
    Column("namespace", Integer, ForeignKey("namespaces.id"), nullable=False, index=True),
    sqlite_autoincrement=True,
)

# `checked`: when its bytes were last seen to be its digest's. `hidden`: when `check --repair` took it out of
# sight, because they are missing or wrong.
BLOBS = Table(
    "blobs",
    METADATA,
    Column("digest", _DIGEST, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("checked", Float, nullable=False, index=True),
    Column("hidden", Float),
)

# Which repository holds which blob; `since` keeps one that no manifest names from being collected.
LINKS = Table(
    "links",
    METADATA,
    Column("repository", Integer, ForeignKey("repositories.id"), primary_key=True),
    Column("digest", _DIGEST, ForeignKey("blobs.digest"), primary_key=True, index=True),
    Column("since", Float, nullable=False),
)

UPLOADS = Table(
    "uploads",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("repository", Integer, ForeignKey("repositories.id"), nullable=False, index=True),
    Column("touched", Float, nullable=False),
)

# `descriptor` is how an index or a list of referrers names it (JSON); `used` is the day of the last pull.
MANIFESTS = Table(
    "manifests",
    METADATA,
    Column("repository", Integer, ForeignKey("repositories.id"), primary_key=True),
    Column("digest", _DIGEST, primary_key=True),
    Column("media_type", String(255), nullable=False),
    Column("subject", _DIGEST),
    Column("artifact_type", String(255), nullable=False),
    Column("descriptor", Text, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("pushed", Float, nullable=False),
    Column("pushed_by", String(80), nullable=False),
    Column("used", Float, nullable=False),
    Index("manifests_by_subject", "repository", "subject", "digest"),
)

# The blobs each manifest needs, and the manifests each index needs: they cannot go before it does.
PARTS = Table(
    "parts",
    METADATA,
    Column("repository", Integer, primary_key=True),
    Column("manifest", _DIGEST, primary_key=True),
    Column("part", _DIGEST, primary_key=True),
    ForeignKeyConstraint(
        ["repository", "manifest"], ["manifests.repository", "manifests.digest"], ondelete="CASCADE"
    ),
    ForeignKeyConstraint(["repository", "part"], ["links.repository", "links.digest"]),
    Index("parts_by_part", "repository", "part"),
)

CHILDREN = Table(
    "children",
    METADATA,
    Column("repository", Integer, primary_key=True),
    Column("manifest", _DIGEST, primary_key=True),
    Column("child", _DIGEST, primary_key=True),
    ForeignKeyConstraint(
        ["repository", "manifest"], ["manifests.repository", "manifests.digest"], ondelete="CASCADE"
    ),
    ForeignKeyConstraint(["repository", "child"], ["manifests.repository", "manifests.digest"]),
    Index("children_by_child", "repository", "child"),
)

TAGS = Table(
    "tags",
    METADATA,
    Column("repository", Integer, ForeignKey("repositories.id"), primary_key=True),
    Column("tag", String(128), primary_key=True),
    Column("digest", _DIGEST, nullable=False),
    Column("moved", Float, nullable=False),
    Column("moved_by", String(80), nullable=False),
    ForeignKeyConstraint(
        ["repository", "digest"], ["manifests.repository", "manifests.digest"], ondelete="CASCADE"
    ),
    Index("tags_by_digest", "repository", "digest"),
)

# --- what happened: rows are only ever added, in the transaction they speak of ----------------------------

AUDIT = Table(
    "audit",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("time", Float, nullable=False, index=True),
    Column("user", String(80), nullable=False),
    Column("credential", _ID, nullable=False),
    Column("address", String(64), nullable=False),
    Column("action", String(40), nullable=False),
    Column("repository", _NAME, nullable=False, index=True),
    Column("subject", String(400), nullable=False),
    Column("digest", _DIGEST, nullable=False),
    sqlite_autoincrement=True,
)
