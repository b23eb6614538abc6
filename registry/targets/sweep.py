"""What a store may be rid of: blobs that nothing names, and what broken transfers left behind.

Never what somebody may still use: what a manifest names, what a running process claims or holds locked,
what is younger than an hour. While one manifest cannot be read, no blob goes: it may name any of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from registry.disk.files import names, remove, status
from registry.disk.partials import leftovers, reclaim
from registry.errors import InvalidError
from registry.model.digests import Digest
from registry.targets.claims import claimed
from registry.targets.shelf import Shelf

GRACE = 3600.0
# What stock Ollama leaves in `blobs` when it is interrupted (PROTOCOL section 2).
_STOCK = re.compile(r"sha256-[0-9a-f]{64}-partial(-\d+)?|sha256-[0-9a-f]{64}\.tmp|sha256-\d{1,20}|COPY\d+")


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """A file, or the partial data of a blob, that is (or would be) gone; `size` in bytes of disk space."""

    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class Pruned:
    """What `prune` took away. `kept`: why it left all blobs alone, or ""."""

    items: tuple[Reclaimed, ...]
    kept: str = ""

    @property
    def freed(self) -> int:
        """Bytes of disk space."""
        return sum(item.size for item in self.items)


@dataclass(frozen=True, slots=True)
class Sweep:
    """The places of one store. Its lock must be held alone around every call."""

    shelf: Shelf
    blobs: Path
    partials: Path
    sums: Path
    claims: Path
    drafts: Path

    def drop(self, candidates: Iterable[Digest]) -> str:
        """Remove those blobs that nothing names and nobody claims; why none was removed, or ""."""
        in_use, kept = self._in_use()
        if kept:
            return kept
        for digest in candidates:
            if digest not in in_use:
                remove(self.blobs / file_name(digest))
                remove(self.sums / file_name(digest))
        return ""

    def prune(self, now: float, dry_run: bool) -> Pruned:
        """Remove everything that is left over and older than an hour; with `dry_run` only say what."""
        in_use, kept = self._in_use()
        claims = claimed(self.claims)
        items = []
        for item in self._old(self.blobs, now):
            digest = digest_in(item.path.name)
            stale = _STOCK.fullmatch(item.path.name) is not None
            if stale or (digest is not None and not kept and digest not in in_use):
                items.append(item)
        items.extend(self._old(self.drafts, now))
        for item in self._old(self.sums, now):
            if status(self.blobs / item.path.name) is None:
                items.append(item)
        if not dry_run:
            for item in items:
                remove(item.path)
        for partial in leftovers(self.partials):
            if partial.modified > now - GRACE or partial.digest in claims:
                continue
            if dry_run or reclaim(self.partials, partial.digest):
                items.append(Reclaimed(self.partials / file_name(partial.digest), partial.held))
        return Pruned(tuple(items), kept)

    def _in_use(self) -> tuple[frozenset[Digest], str]:
        named = self.shelf.named()
        kept = ""
        if named.unreadable:
            kept = f"{named.unreadable[0]} cannot be read, so it may need any blob: all of them are kept"
        return named.digests | claimed(self.claims), kept

    def _old(self, directory: Path, now: float) -> Iterator[Reclaimed]:
        """The files (and links) of a directory that nobody touched for an hour."""
        for name in names(directory):
            there = status(directory / name)
            if there is not None and not there.is_directory and there.modified <= now - GRACE:
                yield Reclaimed(directory / name, there.held)


def file_name(digest: Digest) -> str:
    """A blob's file name."""
    return f"{digest.algorithm}-{digest.hex}"


def digest_in(name: str) -> Digest | None:
    """The digest a blob's file name spells; None for any other name."""
    try:
        digest = Digest.parse(name.replace("-", ":", 1))
    except InvalidError:
        return None
    return digest if file_name(digest) == name else None
