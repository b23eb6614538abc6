"""How a store receives its blobs: what is here of one is gone on with, and a damaged one is mended."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from registry.disk.files import Owner, status, write_atomic
from registry.disk.partial import GRAIN, Partial
from registry.disk.partial_files import Busy, held, hold, received
from registry.disk.proven import Proven
from registry.errors import NotFoundError, StorageError
from registry.model.digests import Digest
from registry.model.manifests import Descriptor
from registry.targets.blob_checks import BlobChecks
from registry.targets.intake import SMALL, PartialIntake, SmallIntake
from registry.targets.relied_on import ReliedOn


class BlobIntakes:
    """Takes in the blobs that `place` says the files of. Safe from many threads.

    What has arrived of a blob lies in `partials`, the sums of its spans in `sums` once it is whole, what is
    written at once in `drafts`. `grain`: the span size in bytes.
    """

    def __init__(
        self,
        place: Callable[[Digest], Path],
        checks: BlobChecks,
        proven: Proven,
        relied_on: ReliedOn,
        *,
        partials: Path,
        sums: Path,
        drafts: Path,
        owner: Owner | None,
        grain: int,
    ) -> None:
        self._path = place
        self._checks = checks
        self._proven = proven
        self._relied_on = relied_on
        self._partials = partials
        self._sums = sums
        self._drafts = drafts
        self._owner = owner
        self._grain = grain

    def open(self, blob: Descriptor) -> PartialIntake | SmallIntake | Busy:
        """What takes the bytes of a blob that is not here; Busy while another process receives it.

        StorageError where it could not get its name afterwards.
        """
        path = self._path(blob.digest)
        there = status(path)
        if there is not None and there.is_directory:  # all else there is replaced
            raise StorageError(f"{path} is a directory, where a blob is to be", hint="move it away")
        return self._small(blob) if blob.size <= min(SMALL, self._grain) else self._resumed(blob)

    def missing(self, blob: Descriptor) -> int:
        """How many bytes of a blob are still to be fetched; what is here counts by its size."""
        return 0 if self._is_there(blob) else blob.size - received(self._partials, blob.digest, blob.size)

    def room(self, blob: Descriptor) -> int:
        """The disk space that a blob still takes: its partial has some from when it began."""
        return 0 if self._is_there(blob) else max(0, blob.size - held(self._partials, blob.digest))

    def _resumed(self, blob: Descriptor) -> PartialIntake | Busy:
        partial = self._mending(blob) or Partial.open(
            self._partials, blob.digest, blob.size, grain=self._grain, owner=self._owner
        )
        if isinstance(partial, Busy):
            return partial
        return PartialIntake(partial, self._grain, self._promote, self._relied_on.stay_young)

    def _mending(self, blob: Descriptor) -> Partial | Busy | None:
        """What mends a damaged blob, of which only what is wrong need come; None if none is there."""
        path = self._path(blob.digest)
        there = status(path)
        damage = self._checks.damage(blob.digest, there) if there is not None else None
        if damage is None:
            return None
        sums = self._checks.sums_of(blob.digest)
        places = (self._partials, blob.digest, blob.size, path, damage.good, sums)
        with contextlib.suppress(NotFoundError):  # removed meanwhile
            return Partial.over(*places, grain=self._grain, owner=self._owner)
        return None

    def _small(self, blob: Descriptor) -> SmallIntake | Busy:
        held = hold(self._partials, blob.digest, blob.size, self._owner)
        return held if isinstance(held, Busy) else SmallIntake(held, blob, self._write)

    def _promote(self, partial: Partial) -> None:
        path = self._path(partial.digest)
        # The name of a blob of one span is made durable by `publish`, together with all the others.
        partial.promote(path, sums=self._sums / path.name, durably=partial.size > GRAIN)
        self._named(partial.digest)

    def _write(self, blob: Descriptor, whole: bytearray) -> None:
        write_atomic(self._path(blob.digest), whole, scratch=self._drafts, owner=self._owner, durably=False)
        self._named(blob.digest)

    def _named(self, digest: Digest) -> None:
        """Remember a blob as proven, before its intake is closed."""
        there = status(self._path(digest))
        if there is not None:
            self._proven.note(digest, there)
        self._relied_on.add(digest)

    def _is_there(self, blob: Descriptor) -> bool:
        there = status(self._path(blob.digest))
        return there is not None and there.size == blob.size
