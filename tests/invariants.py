"""What holds after anything that can happen (BAR), checked without Ferry's own code."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import sqlite3
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

BLOB = re.compile(r"sha256-[0-9a-f]{64}")
# What is at the top of a registry's data directory.
REGISTRY = {"blobs", "copies", "ferry-registry", "registry.db", "registry.db-shm", "registry.db-wal"}
REGISTRY |= {"reserve", "revocations", "served-at", "serving", "token-secret", "trash", "uploads"}
OWN = {"partial", "sums", "claims", "drafts", "lock", "origins", "proven"}
LEFT = re.compile(
    r"partial/sha256-[0-9a-f]{64}\.(data|journal)|sums/sha256-[0-9a-f]{64}|claims/claim\.\d+-\d+"
    r"|drafts/[^/]+\.\d+-\d+|lock|origins/[0-9a-f]{40}|proven"
)
FOREIGN_LAYERS = ("application/vnd.docker.image.rootfs.foreign.", "application/vnd.oci.image.layer.nondist")


def check_store(models: Path, tags: Mapping[str, Collection[bytes]] | None = None) -> None:
    """I1, I2, I3 and I7 of the store in `models`.

    `tags`: for each `host/namespace/model/tag` that may be there, the manifests it may stand for; a tag that
    is not among them may not be there. None checks only that every tag is whole.
    """
    check_blobs(models / "blobs")
    for path in manifests(models):
        check_manifest(models, path)
        if tags is not None:
            key = path.relative_to(models / "manifests").as_posix()
            assert path.read_bytes() in tags.get(key, ()), f"{key} stands for something nobody published"
    check_leftovers(models)


def check_blobs(blobs: Path) -> None:
    """I1: every named blob hashes to its name, is a plain file, and nobody else may write it."""
    for path in sorted(blobs.iterdir()) if blobs.exists() else ():
        found = path.lstat()
        assert BLOB.fullmatch(path.name), f"{path} is not a blob's name"
        assert stat.S_ISREG(found.st_mode), f"{path} is not a plain file"
        assert stat.S_IMODE(found.st_mode) == 0o644, f"{path} has mode {stat.S_IMODE(found.st_mode):o}"
        with path.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        assert path.name == f"sha256-{actual}", f"{path} hashes to {actual}"


def manifests(models: Path) -> Iterator[Path]:
    """Every manifest of a store."""
    return (path for path in sorted((models / "manifests").glob("*/*/*/*")) if path.is_file())


def check_registry(data: Path) -> None:
    """I1, I2, I3 and I7 of an embedded registry's data directory: by its files, and plain SQL.

    What lies in its trash is there too: whoever asks for it brings it back.
    """
    there = dict(_registry_blobs(data))
    with contextlib.closing(sqlite3.connect(data / "registry.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        for digest, size in database.execute("SELECT digest, size FROM blobs WHERE hidden IS NULL"):
            assert there.get(digest) == size, f"{digest} is in the catalogue with {size} bytes"
        held = set(database.execute("SELECT repository, digest FROM links").fetchall())
        manifests = {
            (repository, digest): raw
            for repository, digest, raw in database.execute("SELECT repository, digest, raw FROM manifests")
        }
        for (repository, digest), raw in manifests.items():
            assert digest == f"sha256:{hashlib.sha256(raw).hexdigest()}"
            document: dict[str, Any] = json.loads(raw)
            for blob in [*document.get("layers", ()), *filter(None, [document.get("config")])]:
                assert (repository, blob["digest"]) in held, f"{digest} lost {blob['digest']}"
                assert there.get(blob["digest"]) == blob["size"]
            for child in document.get("manifests", ()):
                assert (repository, child["digest"]) in manifests, f"{digest} lost {child['digest']}"
        sessions = {session for (session,) in database.execute("SELECT id FROM uploads")}
        for path in (data / "uploads").glob("*"):
            assert path.name in sessions, f"{path} belongs to no upload"
    for path in data.iterdir():
        assert path.name in REGISTRY, f"{path} is in no known place"


def _registry_blobs(data: Path) -> Iterator[tuple[str, int]]:
    """I1: the digests and sizes of a registry's blobs, also of those in its trash."""
    named = [(path, path.name) for path in (data / "blobs").glob("*/*/*")]
    named += [(path, path.name.partition("-")[2]) for path in (data / "trash").glob("*")]
    for path, name in named:
        found = path.lstat()
        assert stat.S_ISREG(found.st_mode), f"{path} is not a plain file"
        assert stat.S_IMODE(found.st_mode) == 0o644, f"{path} has mode {stat.S_IMODE(found.st_mode):o}"
        algorithm = "sha512" if len(name) == 128 else "sha256"
        with path.open("rb") as file:
            assert hashlib.file_digest(file, algorithm).hexdigest() == name, f"{path} has other bytes"
        yield f"{algorithm}:{name}", found.st_size


def check_manifest(models: Path, path: Path) -> None:
    """I2: it parses, and each blob it names is there with the right size."""
    document: dict[str, Any] = json.loads(path.read_bytes())
    for blob in [*(document.get("layers") or []), document["config"]]:
        if blob.get("mediaType", "").startswith(FOREIGN_LAYERS):
            continue
        there = models / "blobs" / blob["digest"].replace(":", "-")
        assert there.is_file(), f"{path} needs {blob['digest']}, which is not there"
        assert there.stat().st_size == blob["size"], f"{there} has another size than {path} says"


def check_leftovers(models: Path) -> None:
    """I7: what broken runs leave lies in known places, and never in Ollama's directories."""
    own = models / ".ferry"
    for path in sorted(own.rglob("*")):
        inside = path.relative_to(own).as_posix()
        assert LEFT.fullmatch(inside) or (path.is_dir() and inside in OWN), f"{path} is in no known place"
    depths = {len(path.relative_to(models / "manifests").parts) for path in manifests(models)}
    assert depths <= {4}, "a manifest is not at the fourth level"


def snapshot(*roots: Path) -> str:
    """A hash over the names, kinds, modes and contents of whole trees (I5): equal if nothing changed."""
    whole = hashlib.sha256()
    for root in roots:
        for path in sorted([root, *root.rglob("*")]):
            found = path.lstat()
            whole.update(f"{path} {found.st_mode} {found.st_mtime_ns}\n".encode())
            if path.is_symlink():
                whole.update(str(path.readlink()).encode())
            elif path.is_file():
                whole.update(path.read_bytes())
    return whole.hexdigest()
