"""What a store has, compared with what its manifests name: good, damaged, missing, extra.

Others pull, push, remove and prune here meanwhile: what nothing names any more is nobody's damage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from registry.disk.check import Seen, unseen
from registry.disk.files import Status, names, status
from registry.disk.proven import mark_of
from registry.errors import InvalidError, NotFoundError, RegistryError
from registry.model.digests import Digest
from registry.model.manifests import Descriptor, Manifest
from registry.model.names import Name
from registry.model.spans import Spans
from registry.targets.blob_checks import BlobChecks
from registry.targets.blob_files import digest_in, file_name
from registry.targets.in_use import blobs_in_use
from registry.targets.manifest_tree import ManifestTree

_TIMES = 5  # that a blob is looked at which others take away and bring back


class BlobState(StrEnum):
    """What a blob of a store is."""

    GOOD = "good"
    DAMAGED = "damaged"
    MISSING = "missing"
    EXTRA = "extra"  # no manifest names it


@dataclass(frozen=True, slots=True)
class Held:
    """A blob, and the names of the models that are made of it; none for one that is extra."""

    blob: Descriptor
    names: tuple[Name, ...]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A manifest that cannot be read, and why."""

    name: Name
    error: RegistryError


@dataclass(frozen=True, slots=True)
class Inventory:
    """What is to be verified: the blobs, the largest first, what is extra, and unreadable manifests.

    What is extra is not known while a manifest cannot be read, or its disk is not mounted: it may name any
    blob.
    """

    blobs: tuple[Held, ...]
    extra: tuple[Held, ...]
    unreadable: tuple[Unreadable, ...]
    models: int


@dataclass(frozen=True, slots=True)
class BlobCheck:
    """What became of one blob. `spans`: where a damaged one is wrong, empty if that is not known."""

    held: Held
    state: BlobState
    spans: Spans = field(default_factory=Spans)


class Verify:
    """Looks through one store. Writes nothing but what it learned of the blobs."""

    def __init__(
        self,
        tree: ManifestTree,
        checks: BlobChecks,
        blobs: Path,
        users: Path,
        not_there: Callable[[Digest], None],
    ) -> None:
        """`not_there` is told of each blob without a file."""
        self._tree = tree
        self._checks = checks
        self._blobs = blobs
        self._users = users
        self._not_there = not_there

    def inventory(self, wanted: Sequence[Name] = ()) -> Inventory:
        """What the models `wanted` are made of; without any, the whole store. NotFoundError, StorageError."""
        named: dict[Digest, tuple[Descriptor, list[Name]]] = {}
        unreadable = []
        models = 0
        for name, path in self._manifests(wanted):
            manifest = self._read(path)
            if isinstance(manifest, RegistryError):
                unreadable.append(Unreadable(name, manifest))
            elif manifest is not None:
                models += 1
                for blob in manifest.blobs():
                    named.setdefault(blob.digest, (blob, []))[1].append(name)
        held = [Held(blob, tuple(users)) for blob, users in named.values()]
        held.sort(key=lambda each: -each.blob.size)
        unknown = wanted or unreadable or any(True for _ in self._tree.lost())
        extra = () if unknown else tuple(self._extra(named))
        return Inventory(tuple(held), extra, tuple(unreadable), models)

    def look(self, held: Held, seen: Seen = unseen) -> BlobCheck | None:
        """Read every byte of a blob; None if it is not right, and no model needs it any more. StorageError.

        `seen` is told how many bytes more were read. A blob that others take away and bring back meanwhile
        is read again.
        """
        found = None
        for _ in range(_TIMES):
            before = status(self._blobs / file_name(held.blob.digest))
            found = self._looked(held, seen)
            if found is None or found.state is BlobState.GOOD:
                break
            after = status(self._blobs / file_name(held.blob.digest))
            if _same(before, after):
                break
        return found

    def _looked(self, held: Held, seen: Seen) -> BlobCheck | None:
        try:
            found = self._checks.read(held.blob, seen)
        except NotFoundError:
            self._not_there(held.blob.digest)
            state, spans = BlobState.MISSING, Spans()
        else:
            if found is not None and found.right:
                return BlobCheck(held, BlobState.GOOD)
            state = BlobState.DAMAGED
            spans = Spans() if found is None else found.damaged(held.blob.size)
        users = tuple(name for name in held.names if self._still_names(name, held.blob.digest))
        return BlobCheck(Held(held.blob, users), state, spans) if users else None

    def manifest(self, name: Name) -> Manifest:
        """What `name` stands for. NotFoundError, InvalidError."""
        return self._tree.read(self._tree.find(name))

    def _manifests(self, wanted: Sequence[Name]) -> Iterable[tuple[Name, Path]]:
        if not wanted:
            return self._tree.names()
        return ((name, self._tree.find(name)) for name in wanted)

    def _read(self, path: Path) -> Manifest | RegistryError | None:
        """The manifest, what is wrong with it, or None if it is gone."""
        try:
            return self._tree.read(path)
        except NotFoundError:
            return None
        except RegistryError as error:
            return error

    def _still_names(self, name: Name, digest: Digest) -> bool:
        try:
            return any(blob.digest == digest for blob in self.manifest(name).blobs())
        except (NotFoundError, InvalidError):
            return False

    def _extra(self, named: Iterable[Digest]) -> Iterator[Held]:
        """The blobs that no manifest names, and that no running process is bringing or reading."""
        needed = {*named, *blobs_in_use(self._users)}
        for name in names(self._blobs):
            digest = digest_in(name)
            there = status(self._blobs / name) if digest is not None and digest not in needed else None
            if digest is not None and there is not None and not there.is_directory:
                yield Held(Descriptor("", digest, there.size), ())


def _same(one: Status | None, other: Status | None) -> bool:
    """Whether both are of one file that nobody wrote meanwhile, or of none."""
    if one is None or other is None:
        return one is other
    return mark_of(one) == mark_of(other)
