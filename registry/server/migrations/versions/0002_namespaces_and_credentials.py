"""Namespaces, credentials, audit; what a manifest needs as constraints; who published what, and when.

Only SQLite databases are this old. The tables are written out: a migration stays when `tables` changes.
"""

from __future__ import annotations

import json

from alembic import context, op
from sqlalchemy import text

revision = "0002"
down_revision = "0001"

_RENAMED = (
    "repositories", "blobs", "manifests", "parts", "tags", "keys", "grants", "public_repositories", "nonces"
)  # fmt: skip

_TABLES = """
CREATE TABLE namespaces (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, name VARCHAR(255) NOT NULL,
  owner VARCHAR(36), created FLOAT NOT NULL, UNIQUE (name), FOREIGN KEY(owner) REFERENCES users (id));
CREATE TABLE credentials (id VARCHAR(36) NOT NULL, kind VARCHAR(20) NOT NULL, user_id VARCHAR(36),
  cap VARCHAR(5) NOT NULL, added FLOAT NOT NULL, expires FLOAT, revoked FLOAT, PRIMARY KEY (id),
  FOREIGN KEY(user_id) REFERENCES users (id));
CREATE TABLE keys (fingerprint VARCHAR(50) NOT NULL, text VARCHAR(100) NOT NULL,
  credential VARCHAR(36) NOT NULL, PRIMARY KEY (fingerprint), UNIQUE (credential),
  FOREIGN KEY(credential) REFERENCES credentials (id) ON DELETE CASCADE);
CREATE TABLE grants (user_id VARCHAR(36) NOT NULL, scope VARCHAR(255) NOT NULL, namespace INTEGER NOT NULL,
  permission VARCHAR(5) NOT NULL, PRIMARY KEY (user_id, scope),
  FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
  FOREIGN KEY(namespace) REFERENCES namespaces (id) ON DELETE CASCADE);
CREATE TABLE public_repositories (repository VARCHAR(255) NOT NULL, namespace INTEGER NOT NULL,
  PRIMARY KEY (repository), FOREIGN KEY(namespace) REFERENCES namespaces (id) ON DELETE CASCADE);
CREATE TABLE nonces (credential VARCHAR(36) NOT NULL, nonce VARCHAR(128) NOT NULL, expires FLOAT NOT NULL,
  PRIMARY KEY (credential, nonce));
CREATE TABLE repositories (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, name VARCHAR(255) NOT NULL,
  namespace INTEGER NOT NULL, UNIQUE (name), FOREIGN KEY(namespace) REFERENCES namespaces (id));
CREATE TABLE manifests (repository INTEGER NOT NULL, digest VARCHAR(136) NOT NULL,
  media_type VARCHAR(255) NOT NULL, subject VARCHAR(136), artifact_type VARCHAR(255) NOT NULL,
  descriptor TEXT NOT NULL, raw BLOB NOT NULL, pushed FLOAT NOT NULL, pushed_by VARCHAR(80) NOT NULL,
  used FLOAT NOT NULL, PRIMARY KEY (repository, digest),
  FOREIGN KEY(repository) REFERENCES repositories (id));
CREATE TABLE parts (repository INTEGER NOT NULL, manifest VARCHAR(136) NOT NULL, part VARCHAR(136) NOT NULL,
  PRIMARY KEY (repository, manifest, part), FOREIGN KEY(repository, manifest)
  REFERENCES manifests (repository, digest) ON DELETE CASCADE,
  FOREIGN KEY(repository, part) REFERENCES links (repository, digest));
CREATE TABLE children (repository INTEGER NOT NULL, manifest VARCHAR(136) NOT NULL,
  child VARCHAR(136) NOT NULL, PRIMARY KEY (repository, manifest, child),
  FOREIGN KEY(repository, manifest) REFERENCES manifests (repository, digest) ON DELETE CASCADE,
  FOREIGN KEY(repository, child) REFERENCES manifests (repository, digest));
CREATE TABLE tags (repository INTEGER NOT NULL, tag VARCHAR(128) NOT NULL, digest VARCHAR(136) NOT NULL,
  moved FLOAT NOT NULL, moved_by VARCHAR(80) NOT NULL, PRIMARY KEY (repository, tag),
  FOREIGN KEY(repository, digest) REFERENCES manifests (repository, digest) ON DELETE CASCADE,
  FOREIGN KEY(repository) REFERENCES repositories (id));
CREATE TABLE audit (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, time FLOAT NOT NULL,
  user VARCHAR(80) NOT NULL, credential VARCHAR(36) NOT NULL, address VARCHAR(64) NOT NULL,
  action VARCHAR(40) NOT NULL, repository VARCHAR(255) NOT NULL, subject VARCHAR(400) NOT NULL,
  digest VARCHAR(136) NOT NULL);
CREATE TABLE blobs (digest VARCHAR(136) NOT NULL, size BIGINT NOT NULL, checked FLOAT NOT NULL,
  hidden FLOAT, PRIMARY KEY (digest));
"""

# An account owns the namespace of its name; the others of 0.1 belong to nobody.
_ROWS = """
INSERT INTO namespaces (name, owner, created) SELECT name, id, created FROM users ORDER BY created;
INSERT OR IGNORE INTO namespaces (name, created)
  SELECT DISTINCT substr(name, 1, instr(name || '/', '/') - 1), :now FROM
  (SELECT name FROM old_repositories UNION SELECT scope FROM old_grants
   UNION SELECT repository FROM old_public_repositories);
INSERT INTO credentials (id, kind, user_id, cap, added, revoked)
  SELECT lower(hex(randomblob(16))), 'key:' || fingerprint, user_id, 'write', added, revoked FROM old_keys;
INSERT INTO keys SELECT k.fingerprint, k.text, c.id FROM old_keys k
  JOIN credentials c ON c.kind = 'key:' || k.fingerprint;
UPDATE credentials SET kind = 'key';
INSERT INTO grants SELECT g.user_id, g.scope, n.id, g.permission FROM old_grants g
  JOIN namespaces n ON n.name = substr(g.scope, 1, instr(g.scope || '/', '/') - 1);
INSERT INTO public_repositories SELECT p.repository, n.id FROM old_public_repositories p
  JOIN namespaces n ON n.name = substr(p.repository, 1, instr(p.repository || '/', '/') - 1);
INSERT INTO nonces SELECT k.credential, o.nonce, o.expires FROM old_nonces o
  JOIN keys k ON k.fingerprint = o.key;
INSERT INTO repositories SELECT r.id, r.name, n.id FROM old_repositories r
  JOIN namespaces n ON n.name = substr(r.name, 1, instr(r.name || '/', '/') - 1);
INSERT INTO manifests SELECT repository, digest, media_type, subject, '', '', raw, pushed, '', :now
  FROM old_manifests;
INSERT INTO blobs (digest, size, checked) SELECT digest, size, 0 FROM old_blobs;
INSERT INTO children SELECT p.* FROM old_parts p
  JOIN manifests m ON m.repository = p.repository AND m.digest = p.manifest
  JOIN manifests c ON c.repository = p.repository AND c.digest = p.part
  WHERE m.media_type LIKE '%.index.v1+json' OR m.media_type LIKE '%.manifest.list.v2+json';
INSERT INTO parts SELECT p.* FROM old_parts p
  JOIN manifests m ON m.repository = p.repository AND m.digest = p.manifest
  JOIN links l ON l.repository = p.repository AND l.digest = p.part
  WHERE NOT (m.media_type LIKE '%.index.v1+json' OR m.media_type LIKE '%.manifest.list.v2+json');
INSERT INTO tags SELECT t.repository, t.tag, t.digest, m.pushed, '' FROM old_tags t
  JOIN manifests m ON m.repository = t.repository AND m.digest = t.digest;
"""

_INDEXES = """
CREATE INDEX ix_audit_repository ON audit (repository);
CREATE INDEX ix_audit_time ON audit (time);
CREATE INDEX ix_blobs_checked ON blobs (checked);
CREATE INDEX ix_nonces_expires ON nonces (expires);
CREATE INDEX ix_credentials_user_id ON credentials (user_id);
CREATE INDEX ix_namespaces_owner ON namespaces (owner);
CREATE INDEX ix_grants_namespace ON grants (namespace);
CREATE INDEX ix_public_repositories_namespace ON public_repositories (namespace);
CREATE INDEX ix_repositories_namespace ON repositories (namespace);
CREATE INDEX ix_uploads_repository ON uploads (repository);
CREATE INDEX manifests_by_subject ON manifests (repository, subject, digest);
CREATE INDEX children_by_child ON children (repository, child);
CREATE INDEX parts_by_part ON parts (repository, part);
CREATE INDEX tags_by_digest ON tags (repository, digest);
"""


def upgrade() -> None:
    """The old tables aside, the new ones made and filled, the old ones gone."""
    op.execute("PRAGMA legacy_alter_table = ON")  # what refers to a table that is set aside means the new one
    for name in _RENAMED:
        op.execute(f"ALTER TABLE {name} RENAME TO old_{name}")
    _run(_TABLES)
    _run(_ROWS)
    _describe()
    for name in (*(f"old_{name}" for name in _RENAMED), "about"):
        op.execute(f"DROP TABLE {name}")
    _run(_INDEXES)
    op.execute("PRAGMA legacy_alter_table = OFF")


def _run(script: str) -> None:
    now = context.config.attributes["now"]
    for statement in filter(str.strip, script.split(";\n")):
        found = text(statement)
        op.execute(found.bindparams(now=now) if ":now" in statement else found)


def _describe() -> None:
    """What an index or a list of referrers says of each manifest."""
    database = op.get_bind()
    change = text(
        "UPDATE manifests SET artifact_type = :type, descriptor = :descriptor"
        " WHERE repository = :repository AND digest = :digest"
    )
    one = text("SELECT media_type, raw FROM manifests WHERE repository = :repository AND digest = :digest")
    for repository, digest in database.execute(text("SELECT repository, digest FROM manifests")).all():
        media_type, raw = database.execute(one, {"repository": repository, "digest": digest}).one()
        document = json.loads(raw)
        kind = document.get("artifactType") or (document.get("config") or {}).get("mediaType") or ""
        entry = {"mediaType": media_type, "digest": digest, "size": len(raw)}
        entry |= {"artifactType": kind} if kind else {}
        entry |= {"annotations": document["annotations"]} if document.get("annotations") else {}
        row = {"repository": repository, "digest": digest, "type": kind[:255]}
        database.execute(change, {**row, "descriptor": json.dumps(entry, separators=(",", ":"))})
