"""Which blobs of a store are what their names say, and where those that are not are wrong."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from registry.disk.check import Checked, Seen, check_file, keep_sums, read_kept, unseen
from registry.disk.files import Owner, Status, status
from registry.disk.proven import Proven, mark_of
from registry.disk.sums import Sum
from registry.errors import RegistryError
from registry.model.digests import Digest
from registry.model.manifests import Descriptor

_TIMES = 3  # that a file is read which others change meanwhile


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that is not what its name says, and the sums of its spans that are right still."""

    file: Status
    good: tuple[Sum, ...]


class BlobChecks:
    """What is known of the blobs that `place` says the files of. Safe from many threads.

    `sums` is where the sums of their spans are kept, of `grain` bytes each where they are made here; their
    drafts lie in `drafts`.
    """

    def __init__(
        self,
        place: Callable[[Digest], Path],
        sums: Path,
        drafts: Path,
        proven: Proven,
        owner: Owner | None,
        grain: int,
    ) -> None:
        self._place = place
        self._sums = sums
        self._drafts = drafts
        self._proven = proven
        self._owner = owner
        self._grain = grain
        self._damage: dict[Digest, Damage] = {}
        self._lock = threading.Lock()

    def read(self, blob: Descriptor, seen: Seen = unseen) -> Checked | None:
        """Read every byte of a blob, whatever is remembered of it, and remember what was found.

        `seen` as for `check_file`.
        None if it is no file, or others wrote it each time it was read. NotFoundError, StorageError.
        """
        path = self._place(blob.digest)
        kept = read_kept(self.sums_of(blob.digest), blob.digest, blob.size)
        for _ in range(_TIMES):
            there = status(path)
            if there is not None and not there.is_file:
                return None
            found = check_file(path, blob.digest, blob.size, kept, grain=self._grain, seen=seen)
            if not found.changed:
                break
        if found.changed and not found.right:
            return None
        self._remember(blob, found, kept)
        return found

    def damage(self, digest: Digest, there: Status) -> Damage | None:
        """What is known to be wrong with the file that `there` tells of."""
        with self._lock:
            known = self._damage.get(digest)
        return known if known is not None and mark_of(known.file) == mark_of(there) else None

    def sums_of(self, digest: Digest) -> Path:
        """Where the sums of a blob's spans are kept."""
        return self._sums / self._place(digest).name

    def _remember(self, blob: Descriptor, found: Checked, kept: list[Sum]) -> None:
        with self._lock:
            self._damage.pop(blob.digest, None)
            if not found.right:
                self._damage[blob.digest] = Damage(found.file, found.sums)
        if not found.right:
            self._proven.forget(blob.digest)
            return
        if found.proven:
            self._proven.note(blob.digest, found.file)
        if list(found.sums) != kept:
            path = self.sums_of(blob.digest)
            with contextlib.suppress(RegistryError):  # a store that nobody may write is verified, too
                keep_sums(path, blob.digest, blob.size, found.sums, scratch=self._drafts, owner=self._owner)
