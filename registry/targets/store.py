"""The local store, in the layout Ollama runs from (PROTOCOL section 2).

`blobs/` and `manifests/` are Ollama's: nothing unfinished is ever in them. What Ferry needs besides is in
`.ferry/` beside them. Ollama, and other Ferry processes, read and write here at the same time.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from registry.contracts import BusyElsewhere, Clock, Entry, Intake, Reading
from registry.disk.data import wait_for_lock
from registry.disk.files import (
    free_bytes,
    make_directory,
    owner_to_keep,
    read_span,
    same_filesystem,
    status,
    sync_directory,
)
from registry.disk.partial import GRAIN
from registry.disk.partial_files import Busy
from registry.disk.proven import Proven
from registry.errors import InvalidError, NotFoundError, Reason, RegistryError, StorageError
from registry.model.amounts import amount
from registry.model.digests import Digest
from registry.model.manifests import Descriptor, Manifest
from registry.model.names import Name
from registry.model.spans import FileSpan, Span
from registry.targets.blob_checks import BlobChecks
from registry.targets.blob_files import blob_path
from registry.targets.blob_intakes import BlobIntakes
from registry.targets.in_use import InUse
from registry.targets.manifest_tree import ManifestTree
from registry.targets.ollama import OlderNames, another_kind, check_kind, check_name, missing
from registry.targets.origins import Origins
from registry.targets.relied_on import ReliedOn

if TYPE_CHECKING:  # a transfer does without them, and they take 6 ms
    from registry.targets.sweep import Pruned, Sweep
    from registry.targets.verify import Verify


class Store:
    """The models in the directory `models`, which need not exist yet.

    `grain`: the span size in bytes. `note` is told in one sentence what a person may want to know.
    """

    def __init__(
        self,
        models: Path,
        *,
        grain: int = GRAIN,
        clock: Clock = time.time,
        pause: Callable[[float], None] = time.sleep,
        note: Callable[[str], None] = lambda _text: None,
    ) -> None:
        own = models / ".ferry"
        self.models = models
        self.blobs = models / "blobs"
        self._partials = own / "partial"
        self._sums = own / "sums"
        self._users = own / "claims"
        self._lock_at = own / "lock"
        self._drafts = own / "drafts"
        self._owner = owner_to_keep(models)
        self._clock = clock
        self._note = note
        # No method of this object is handed on, so that it ends with its last user, and its marks in use too.
        place = self._path = functools.partial(blob_path, self.blobs)
        self._proven = Proven(own / "proven", place, self._drafts, self._owner)
        self._checks = BlobChecks(place, self._sums, self._drafts, self._proven, self._owner, grain)
        self._relied_on = ReliedOn(place, self._proven, clock)  # here, but no manifest of ours names them yet
        self._intakes = BlobIntakes(
            place,
            self._checks,
            self._proven,
            self._relied_on,
            partials=self._partials,
            sums=self._sums,
            drafts=self._drafts,
            owner=self._owner,
            grain=grain,
        )
        self._tree = ManifestTree(models / "manifests", self._drafts, self._owner, clock, pause)
        self.origins = Origins(own / "origins", self._drafts, self._owner)
        self._in_use: dict[tuple[str, ...], InUse] = {}
        self._to_read: dict[tuple[str, ...], frozenset[Digest]] = {}
        self._older = OlderNames(self.blobs, note)
        self._mutex = threading.Lock()

    @functools.cached_property
    def verify(self) -> Verify:
        """What looks through the store."""
        from registry.targets.verify import Verify

        return Verify(self._tree, self._checks, self.blobs, self._users, self._older.look_for)

    @functools.cached_property
    def _sweep(self) -> Sweep:
        from registry.targets.sweep import Sweep

        own = (self._partials, self._sums, self._users, self._drafts, self._proven)
        return Sweep(self._tree, self.blobs, *own)

    # --- reading -----------------------------------------------------------------------------------

    def resolve(self, name: Name) -> Manifest:
        """The manifest. NotFoundError; InvalidError if it cannot be read."""
        manifest = self._tree.read(self._tree.find(name))
        with self._mutex:
            self._to_read[name.folded()] = frozenset(blob.digest for blob in manifest.blobs())
        return manifest

    def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
        """Exactly `span`. NotFoundError if the blob is not there, or of another size."""
        self._mark_for_reading(name)
        path = self._path(blob.digest)
        there = status(path)
        if there is None:
            self._older.look_for(blob.digest)
        if there is None or not there.is_file or there.size != blob.size or span.end > blob.size:
            raise NotFoundError(
                f"blob {blob.digest.short} of {name} is not in {self.models}",
                name=str(name),
                reason=Reason.BLOB_NOT_IN_STORE,
            )
        return Reading(span, read_span(FileSpan(path, span.offset, span.length)))

    def size(self, name: Name, blob: Descriptor) -> int | None:
        """The blob's size if it is here and proven: what somebody else put here is hashed once."""
        if blob.digest.algorithm != "sha256":
            return None
        there = status(self._path(blob.digest))
        if there is None:
            self._older.look_for(blob.digest)
        if there is None or not there.is_file or there.size != blob.size:
            return None
        if not self._proven.knows(blob.digest, there):
            if self._checks.damage(blob.digest, there) is not None:
                return None
            found = self._checks.read(blob)
            if found is None or not found.proven:
                self._note(f"blob {blob.digest.short} in {self.models} is not what its name says")
                return None
        self._relied_on.add(blob.digest)
        return blob.size

    def entries(self) -> Iterator[Entry]:
        """Every model, in order; one whose manifest cannot be read is left out, and said."""
        found = []
        for name, path in self._tree.names():
            try:
                manifest = self._tree.read(path)
                there = status(path)
            except NotFoundError:
                continue
            except RegistryError as error:
                self._note(f"{name} is left out: {error.message}")
                continue
            found.append(Entry(name, manifest.digest, manifest.total, there.modified if there else None))
        return iter(found)

    def tags(self, name: Name) -> Iterator[str]:
        """Sorted. NotFoundError."""
        tags = self._tree.tags(name)
        if not tags:
            raise NotFoundError(f"{name.repository} is not in {self.models}", name=str(name))
        return iter(tags)

    # --- writing -----------------------------------------------------------------------------------

    def prepare(self, name: Name, manifest: Manifest) -> None:
        """Refuse what Ollama could not hold, or what does not fit; then mark its blobs as in use."""
        check_name(name)
        check_kind(name, manifest)
        if other := another_kind(manifest):
            self._note(f"{name} is {other}: it is kept here as it is, and Ollama cannot run it")
        if not same_filesystem(self.blobs, self._partials):
            raise StorageError(
                f"{self.blobs} is on another filesystem than {self.models}",
                reason=Reason.STORE_IN_TWO,
                detail=str(self.blobs),
            )
        digests = [blob.digest for blob in manifest.blobs()]
        with self._locked(shared=True), self._mutex:
            mark = InUse.mark(self._users, digests, self._owner)
            before, self._in_use[name.folded()] = self._in_use.get(name.folded()), mark
        if before is not None:
            before.release()
        self.room_for_rest(manifest)

    def room_for_rest(self, manifest: Manifest) -> None:
        """StorageError if what is missing of a model does not fit."""
        self.room_for(sum(map(self._intakes.room, manifest.blobs())))

    def missing(self, blob: Descriptor) -> int:
        """How many bytes of a blob are still to be fetched; what is here counts by its size."""
        return self._intakes.missing(blob)

    def room_for(self, needed: int) -> None:
        """StorageError if `needed` more bytes do not fit."""
        free = free_bytes(self.models)
        if needed > free:
            raise StorageError(
                f"not enough room in {self.models}: {amount(needed)} needed, {amount(free)} free",
                reason=Reason.STORE_FULL,
                detail=amount(needed - free),
            )

    def receive(self, name: Name, blob: Descriptor, near: Name | None) -> Intake | BusyElsewhere | None:
        """Go on with what is here of the blob; BusyElsewhere while another process receives it."""
        if blob.digest.algorithm != "sha256":
            raise InvalidError(f"an Ollama store holds sha256 blobs only, not {blob.digest.algorithm}")
        if self.size(name, blob) is not None:
            return None
        intake = self._intakes.open(blob)
        if isinstance(intake, Busy):
            process = intake.process()
            return BusyElsewhere(
                intake.received, intake.over, intake.written, process, ours=process == os.getpid()
            )
        try:
            arrived = self.size(name, blob) is not None  # by another process, between the two looks
        except BaseException:
            intake.close()
            raise
        if arrived:
            intake.close()
        return None if arrived else intake

    def current(self, name: Name) -> Digest | None:
        """What `name` stands for here; None also for a manifest that cannot be read, and is written over."""
        try:
            return self._tree.read(self._tree.find(name)).digest
        except (NotFoundError, InvalidError):
            return None

    def publish(self, name: Name, manifest: Manifest, was: Digest | None = None) -> None:
        """Make `name` stand for the manifest's exact bytes. InvalidError while a blob is missing."""
        self.replace(name, manifest, lambda: None)

    def replace(self, name: Name, manifest: Manifest, check: Callable[[], None]) -> None:
        """The same, unless `check` raises: while it looks, no other process of Ferry changes a name."""
        check_name(name)
        check_kind(name, manifest)
        blobs = list(manifest.blobs())
        for blob in blobs:
            if self.size(name, blob) is None:
                raise missing(name, blob)
        with self._locked():
            check()
            for blob in blobs:  # proven above, but somebody may have taken it away meanwhile
                if status(self._path(blob.digest)) is None:
                    raise missing(name, blob)
            if blobs:
                sync_directory(self.blobs)
            self._tree.write(name, manifest.raw)
        self.release(name, manifest)

    def release(self, name: Name, manifest: Manifest) -> None:
        """What `prepare` marked as in use is named by a manifest now."""
        self._proven.flush()
        self._relied_on.release(blob.digest for blob in manifest.blobs())
        with self._mutex:
            mark = self._in_use.pop(name.folded(), None)
        if mark is not None:
            mark.release()

    def copy_name(self, old: Name, new: Name) -> None:
        """Make `new` stand for what `old` stands for. NotFoundError, InvalidError."""
        check_name(new)
        with self._locked():
            manifest = self._tree.read(self._tree.find(old))
            for blob in manifest.blobs():
                if status(self._path(blob.digest)) is None:
                    self._older.look_for(blob.digest)
                    raise missing(new, blob)
            self._tree.write(new, manifest.raw)

    # --- taking away -------------------------------------------------------------------------------

    def remove(self, name: Name) -> int:
        """Take away `name`, and the blobs that nothing else names or uses; the bytes freed. NotFoundError."""
        manifest: Manifest | None = None
        with self._locked():
            path = self._tree.find(name)
            with contextlib.suppress(InvalidError):
                manifest = self._tree.read(path)
            self._tree.remove(path)
            self.origins.forget(name)
            if manifest is None:
                self._note(f"the manifest of {name} could not be read: its blobs stay until a prune")
                return 0
            self._stop_reading(name)
            dropped = self._sweep.drop((blob.digest for blob in manifest.blobs()), self._clock())
        if dropped.kept:
            self._note(dropped.kept)
        return dropped.freed

    def would_free(self, names: Iterable[Name]) -> int:
        """How many bytes `remove` would free, of all `names` together. NotFoundError."""
        with self._locked():
            return self._sweep.would_drop([self._tree.find(name) for name in names], self._clock())

    def prune(
        self, now: float, *, dry_run: bool = False, at_once: bool = False, no_models: bool = False
    ) -> Pruned:
        """Reclaim what nothing names and what broken transfers left, if it is old enough: see `Sweep`."""
        with self._locked():
            return self._sweep.prune(now, dry_run=dry_run, at_once=at_once, no_models=no_models)

    def close(self) -> None:
        """Nothing is in use any more."""
        self._proven.flush()
        with self._mutex:
            marks = list(self._in_use.values())
            self._in_use.clear()
        for mark in marks:
            mark.release()

    # --- being here together -----------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self, *, shared: bool = False) -> Iterator[None]:
        """The store's lock: alone to change names or take blobs away, shared to mark blobs as in use."""
        make_directory(self._lock_at.parent, self._owner)
        lock = wait_for_lock(self._lock_at, shared=shared, owner=self._owner, note=self._note)
        try:
            yield
        finally:
            lock.close()

    def _mark_for_reading(self, name: Name) -> None:
        """Mark the model's blobs as in use when the first is read; a read-only store needs no mark."""
        with self._mutex:
            digests = self._to_read.pop(name.folded(), None)
        if digests is None:
            return
        with contextlib.suppress(RegistryError), self._locked(shared=True), self._mutex:
            key = ("reading", *name.folded())
            if key not in self._in_use:
                self._in_use[key] = InUse.mark(self._users, digests, self._owner)

    def _stop_reading(self, name: Name) -> None:
        with self._mutex:
            mark = self._in_use.pop(("reading", *name.folded()), None)
        if mark is not None:
            mark.release()
