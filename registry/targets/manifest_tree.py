"""Which file a model's name is, and what the manifests of a store name (PROTOCOL section 2).

`manifests/<host>/<namespace>/<model>/<tag>`, always four levels. Somebody else (Ollama) reads and writes
the same tree at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from registry.contracts import Clock
from registry.disk.files import (
    Owner,
    names,
    read_bounded,
    remove,
    remove_empty,
    status,
    write_atomic,
)
from registry.errors import InvalidError, NotFoundError, Reason, RegistryError
from registry.model.digests import Digest
from registry.model.manifests import MANIFEST_BYTES, Manifest
from registry.model.names import Name

_BEING_WRITTEN = 2.0  # seconds: a manifest younger than this may be half of one
_READ_AGAIN = 5
_PAUSE = 0.05  # seconds


@dataclass(frozen=True, slots=True)
class Named:
    """Every blob that a manifest names, and where manifests could not be read: those may name any."""

    digests: frozenset[Digest]
    unreadable: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class ManifestTree:
    """The directory `root` of manifests; drafts of new ones are written in `drafts`."""

    root: Path
    drafts: Path
    owner: Owner | None
    clock: Clock
    pause: Callable[[float], None]

    def find(self, name: Name) -> Path:
        """The file of `name`; names that differ only in case are one. NotFoundError.

        Only whole names are folded: stock Ollama folds each part on its own, across unrelated models.
        """
        if name.ollama_problem():
            raise NotFoundError(f"{name} is not in {self.root.parent}", name=str(name))
        exact = self._path(name)
        if status(exact) is not None:
            return exact
        wanted = (name.host.lower(), name.namespace.lower(), name.model.lower(), name.tag.lower())
        for path in self._folded(self.root, wanted):
            return path
        raise NotFoundError(
            f"{name} is not in {self.root.parent}", name=str(name), reason=Reason.NOT_IN_STORE
        )

    def read(self, path: Path) -> Manifest:
        """The manifest in `path`; one that is being written just now is read again.

        NotFoundError; InvalidError if it breaks a rule; StorageError.
        """
        for _ in range(_READ_AGAIN):
            try:
                return self._read(path)
            except InvalidError:
                there = status(path)
                if there is None or self.clock() - there.modified > _BEING_WRITTEN:
                    break
                self.pause(_PAUSE)
        return self._read(path)

    def names(self) -> Iterator[tuple[Name, Path]]:
        """Every name there is a file for, in order; files with other names are passed over."""
        for path in self._files():
            if (name := _name_of(path)) is not None:
                yield name, path

    def tags(self, name: Name) -> list[str]:
        """The tags of `name`'s repository, sorted."""
        wanted = name.folded()[:2]
        return sorted(other.tag for other, _ in self.names() if other.folded()[:2] == wanted)

    def write(self, name: Name, raw: bytes) -> None:
        """Make `name` stand for `raw`, at one instant."""
        try:
            path = self.find(name)
        except NotFoundError:
            path = self._path(name)
        write_atomic(path, raw, scratch=self.drafts, owner=self.owner)

    def remove(self, path: Path) -> None:
        """Take a manifest away, and the directories that are empty then: Ollama wants none."""
        if not remove(path):
            raise NotFoundError(f"{path} is gone already")
        remove_empty(path.parent, self.root)

    def named(self, but: Collection[Path] = ()) -> Named:
        """What all manifests together name, without those in the files `but`."""
        digests: set[Digest] = set()
        unreadable = list(self.lost())
        for path in self._files():
            if path in but:
                continue
            try:
                manifest = self.read(path)
            except NotFoundError:
                continue
            except RegistryError:
                # A dotfile is nobody's model; anything else may be one that Ollama can read.
                if _name_of(path) is not None:
                    unreadable.append(path)
                continue
            config = (manifest.config,) if manifest.config else ()
            digests.update(blob.digest for blob in (*manifest.layers, *config))
        return Named(frozenset(digests), tuple(unreadable))

    def lost(self) -> Iterator[Path]:
        """Directories that are links, and in which nothing is: their disk may not be mounted."""
        level = [self.root / name for name in names(self.root)]
        for _ in range(3):
            below: list[Path] = []
            for directory in level:
                inside = names(directory)
                if not inside and _is_link(directory):
                    yield directory
                below += (directory / name for name in inside)
            level = below

    def _read(self, path: Path) -> Manifest:
        return Manifest.parse(read_bounded(path, MANIFEST_BYTES), where=str(path))

    def _path(self, name: Name) -> Path:
        return self.root / name.host / name.namespace / name.model / name.tag

    def _files(self) -> Iterator[Path]:
        """Every name at the fourth level."""
        for host in names(self.root):
            for namespace in names(self.root / host):
                for model in names(self.root / host / namespace):
                    folder = self.root / host / namespace / model
                    yield from (folder / tag for tag in names(folder))

    def _folded(self, directory: Path, wanted: tuple[str, ...]) -> Iterator[Path]:
        for part in names(directory):
            if part.lower() == wanted[0]:
                if len(wanted) == 1:
                    yield directory / part
                else:
                    yield from self._folded(directory / part, wanted[1:])


def _is_link(path: Path) -> bool:
    there = status(path)
    return there is not None and there.is_link


def _name_of(path: Path) -> Name | None:
    host, namespace, model, tag = path.parts[-4:]
    try:
        name = Name(host, f"{namespace}/{model}", tag)
    except InvalidError:
        return None
    return None if name.ollama_problem() else name
