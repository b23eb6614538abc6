"""What a store may be rid of: blobs that nothing names, and what broken transfers left behind.

Never what somebody may still use: what a manifest names, what a running process uses or holds locked,
what is younger than an hour. While one manifest cannot be read, no blob goes: it may name any of them.
Nor where there is no manifest at all, unless that is said to be so: their directory may be lost.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from registry.disk.files import Status, names, remove, status
from registry.disk.partial_files import is_held, leftovers, reclaim
from registry.disk.proven import Proven
from registry.errors import InvalidError, NotFoundError
from registry.model.digests import Digest
from registry.targets.blob_files import blob_path, digest_in, file_name
from registry.targets.in_use import blobs_in_use
from registry.targets.manifest_tree import ManifestTree

GRACE = 3600.0  # seconds
_PULLING = 300.0  # seconds since Ollama wrote last, in which a pull of its own may still go on
# What stock Ollama leaves in `blobs` when it is interrupted (PROTOCOL section 2). Part files of one blob are
# written one after another, so they are one leftover, as young as its youngest file.
_STOCK = re.compile(
    r"(sha256-[0-9a-f]{64}-partial)(?:-\d+)?|sha256-[0-9a-f]{64}\.tmp|sha256-\d{1,20}|COPY\d+"
)


@dataclass(frozen=True, slots=True)
class PrunedFile:
    """A file, or the partial data of a blob, that is (or would be) gone; `size` in bytes of disk space."""

    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is left over, but too young to be taken away before `until` (Unix seconds); `size` as above.

    `ours`: no other program can be using it, so that it need not wait.
    """

    path: Path
    size: int
    until: float
    ours: bool


@dataclass(frozen=True, slots=True)
class Pruned:
    """What `prune` took away, and what waits. `kept`: why it left all blobs alone, or "".

    `unlisted`: that was because there is no model.
    """

    items: tuple[PrunedFile, ...]
    waiting: tuple[Waiting, ...] = ()
    kept: str = ""
    unlisted: bool = False

    @property
    def freed(self) -> int:
        """Bytes of disk space."""
        return sum(item.size for item in self.items)


@dataclass(frozen=True, slots=True)
class Dropped:
    """The bytes of disk space that were freed; `kept`: why no blob was taken away, or ""."""

    freed: int
    kept: str = ""


@dataclass(frozen=True, slots=True)
class _File:
    """A file that is left over; `modified` (Unix seconds) is when it, or one that belongs to it, was written.

    `ours`: only Ferry uses it, and no process of Ferry does.
    """

    path: Path
    size: int
    modified: float
    ours: bool


@dataclass(frozen=True, slots=True)
class Sweep:
    """The places of one store. Its lock must be held alone around every call."""

    tree: ManifestTree
    blobs: Path
    partials: Path
    sums: Path
    users: Path
    drafts: Path
    proven: Proven

    def drop(self, candidates: Iterable[Digest], now: float) -> Dropped:
        """Remove those blobs that nothing names and nobody uses; none while Ollama pulls: it may need any."""
        in_use, kept = self._in_use()
        if self._is_pulling(now):
            kept = "Ollama is pulling, and may need any blob: all of them are kept until a prune"
        if kept:
            return Dropped(0, kept)
        freed = 0
        for digest in candidates:
            if digest not in in_use:
                there = status(blob_path(self.blobs, digest))
                if remove(blob_path(self.blobs, digest)) and there is not None:
                    freed += there.held
                remove(self.sums / file_name(digest))
        return Dropped(freed)

    def would_drop(self, files: Iterable[Path], now: float) -> int:
        """The bytes of disk space that go when the manifests in `files` are taken away."""
        leaving = set(files)
        staying = self.tree.named(but=leaving)
        if staying.unreadable or self._is_pulling(now):
            return 0
        needed = staying.digests | blobs_in_use(self.users)
        gone: set[Digest] = set()
        for path in leaving:
            with contextlib.suppress(NotFoundError, InvalidError):
                gone.update(blob.digest for blob in self.tree.read(path).blobs())
        found = (status(blob_path(self.blobs, digest)) for digest in gone - needed)
        return sum(there.held for there in found if there is not None)

    def prune(self, now: float, *, dry_run: bool, at_once: bool, no_models: bool) -> Pruned:
        """Remove everything that is left over and older than an hour; with `dry_run` only say what.

        `at_once`: what only Ferry uses need not be that old. Ollama leaves no sign of what it works on: what
        may be its own waits. `no_models`: blobs go also where there is no manifest at all.
        """
        in_use, kept = self._in_use()
        unlisted = not (kept or no_models) and self._is_unlisted()
        if unlisted:
            kept = f"there is no model in {self.tree.root}; in case that list is lost, all blobs are kept"
        items, waiting = [], []
        for file in (*self._blobs(in_use, kept, now), *self._others()):
            if file.modified > now - GRACE and not (at_once and file.ours):
                waiting.append(Waiting(file.path, file.size, file.modified + GRACE, file.ours))
            elif dry_run or remove(file.path):
                items.append(PrunedFile(file.path, file.size))
        for partial in leftovers(self.partials):
            path = self.partials / file_name(partial.digest)
            if partial.digest in in_use or is_held(self.partials, partial.digest):
                continue
            if partial.modified > now - GRACE and not at_once:
                waiting.append(Waiting(path, partial.held, partial.modified + GRACE, True))
            elif dry_run or reclaim(self.partials, partial.digest, self.tree.owner):
                items.append(PrunedFile(path, partial.held))
        return Pruned(tuple(items), tuple(waiting), kept, unlisted)

    def _is_unlisted(self) -> bool:
        """Whether there are blobs, and not one manifest."""
        return not any(self.tree.names()) and any(map(digest_in, names(self.blobs)))

    def _in_use(self) -> tuple[frozenset[Digest], str]:
        named = self.tree.named()
        kept = ""
        if named.unreadable:
            kept = f"{named.unreadable[0]} cannot be read, so it may need any blob: all of them are kept"
        return named.digests | blobs_in_use(self.users), kept

    def _is_pulling(self, now: float) -> bool:
        return self._ollama_wrote() > now - _PULLING

    def _ollama_wrote(self) -> float:
        """When Ollama wrote last to a download that has not ended (Unix seconds); 0 where there is none."""
        found = (status(self.blobs / name) for name in names(self.blobs) if _STOCK.fullmatch(name))
        return max((there.modified for there in found if there is not None), default=0.0)

    def _blobs(self, in_use: frozenset[Digest], kept: str, now: float) -> Iterator[_File]:
        """Blobs that nothing names, unless all are `kept`, and what an interrupted Ollama left.

        Ollama takes any blob that is there for its own, and names it when all others have come: while it
        pulls, they are as young as what it wrote last.
        """
        files = dict(_files(self.blobs))
        youngest: dict[str, float] = {}
        for name, there in files.items():
            family = _family(name)
            youngest[family] = max(youngest.get(family, 0.0), there.modified)
        at_work = self._ollama_wrote()
        for name, there in files.items():
            digest = digest_in(name)
            if digest is not None and not kept and digest not in in_use:
                ours = at_work <= now - GRACE and self.proven.knows(digest, there)
                yield _File(self.blobs / name, there.held, max(there.modified, at_work), ours)
            elif _STOCK.fullmatch(name):
                yield _File(self.blobs / name, there.held, youngest[_family(name)], False)

    def _others(self) -> Iterator[_File]:
        """Drafts, and the span sums of blobs that are gone."""
        for name, there in _files(self.drafts):  # that of a running process is not told from another
            yield _File(self.drafts / name, there.held, there.modified, False)
        for name, there in _files(self.sums):
            if status(self.blobs / name) is None:
                yield _File(self.sums / name, there.held, there.modified, True)


def _files(directory: Path) -> Iterator[tuple[str, Status]]:
    """The files (and links) of a directory."""
    for name in names(directory):
        there = status(directory / name)
        if there is not None and not there.is_directory:
            yield name, there


def _family(name: str) -> str:
    """What the files of one interrupted download of Ollama's have in common; else the name itself."""
    found = _STOCK.fullmatch(name)
    return (found[1] if found else None) or name
