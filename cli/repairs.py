"""What was found wrong with the local store, brought from where it came from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cli import sources, transfers
from cli.options import Invocation
from cli.progress import Watcher
from registry.errors import (
    CorruptError,
    InvalidError,
    NotFoundError,
    RegistryError,
    Side,
    StorageError,
    exit_code,
)
from registry.model.digests import Digest
from registry.model.manifests import Manifest
from registry.model.names import Name
from registry.targets.origins import ModelOrigin
from registry.targets.store import Store
from registry.targets.store_destinations import Repair, Unmoved
from registry.targets.verify import BlobCheck, BlobState, Inventory, Unreadable
from registry.transfer.copy import copy
from registry.transfer.engine import Engine
from registry.transfer.model import BlobSource
from registry.transfer.retry import Stopped

if TYPE_CHECKING:
    from registry.connect import Registries

_EXITS = {BlobState.DAMAGED: CorruptError.exit, BlobState.MISSING: NotFoundError.exit}


@dataclass(frozen=True, slots=True)
class BlobOutcome:
    """One blob: what was found, whether it was repaired since, and why it could not be read."""

    finding: BlobCheck
    error: RegistryError | None = None
    repaired: bool = False

    @property
    def state(self) -> BlobState:
        """What it is by now."""
        return BlobState.GOOD if self.repaired else self.finding.state

    @property
    def was(self) -> BlobState | None:
        """What it was before it was repaired."""
        return self.finding.state if self.repaired else None

    @property
    def exit(self) -> int:
        """What it does to the exit code; 0 for nothing."""
        return self.error.exit if self.error else _EXITS.get(self.state, 0)


@dataclass(frozen=True, slots=True)
class Verified:
    """A store as it was found, and what a repair did.

    `fetched` are the names whose manifests were fetched again, and what they are now (None: removed);
    `moved` is how many bytes that took, and `failures` why others were not repaired.
    """

    inventory: Inventory
    found: Sequence[BlobOutcome]
    fetched: Mapping[Name, Digest | None] = field(default_factory=dict)
    moved: int = 0
    failures: list[RegistryError] = field(default_factory=list)

    @property
    def lost(self) -> list[Unreadable]:
        """The manifests that cannot be read still."""
        return [each for each in self.inventory.unreadable if each.name not in self.fetched]

    @property
    def wrong(self) -> bool:
        """Whether there is something to repair."""
        return bool(self.lost) or any(each.exit for each in self.found)

    @property
    def exit(self) -> int:
        """The exit code; where this disk has no room for what repairs it, that is why something is wrong."""
        codes = [*(CorruptError.exit for _ in self.lost), *(each.exit for each in self.found)]
        if self.wrong:
            codes += [error.exit for error in self.failures if isinstance(error, StorageError)]
        return exit_code(codes)


def repair_all(
    invocation: Invocation,
    store: Store,
    verified: Verified,
    place: Name | None,
    watcher: Watcher,
    look: Callable[[Inventory], Sequence[BlobOutcome]],
) -> Verified:
    """Repair what is wrong, model by model; one that fails does not stop the others.

    Each is asked for where it came from, and then where the others did that have the blob too; or at `place`.
    `look` reads every byte of more blobs: those that a manifest names which could not be read.
    """
    with sources.connections(invocation) as opened:
        engine = transfers.engine(invocation, watcher, opened.interrupt)
        transfers.stopped_by(engine)
        repair = Repairs(store, opened, engine, place)
        for unreadable in verified.inventory.unreadable:
            repair.fetch_manifest(unreadable.name)
        unseen = _unseen(store, verified, repair.fetched)
        found = [*verified.found, *(look(unseen) if unseen.blobs else ())]
        wrong = [each.finding for each in found if each.exit and each.error is None]
        for name in dict.fromkeys(name for each in wrong for name in each.held.names):
            repair.mend(name, [each for each in wrong if name in each.held.names])
        watcher.close()
    found = [
        replace(each, repaired=each.finding in wrong and repair.is_right(each.finding)) for each in found
    ]
    inventory = replace(verified.inventory, models=verified.inventory.models + unseen.models)
    return Verified(inventory, found, repair.fetched, repair.moved, repair.failures)


def _unseen(store: Store, verified: Verified, fetched: Iterable[Name]) -> Inventory:
    """What the models are made of whose manifests are there again, without what was looked at before."""
    names = [name for name in fetched if store.current(name) is not None]
    if not names:
        return Inventory((), (), (), 0)
    inventory = store.verify.inventory(names)
    seen = {each.finding.held.blob.digest for each in verified.found}
    return replace(inventory, blobs=tuple(held for held in inventory.blobs if held.blob.digest not in seen))


class Repairs:
    """The repairs of one run, and what became of them."""

    def __init__(self, store: Store, opened: Registries, engine: Engine, place: Name | None) -> None:
        self.fetched: dict[Name, Digest | None] = {}
        self.moved = 0
        self.failures: list[RegistryError] = []
        self._store = store
        self._opened = opened
        self._engine = engine
        self._place = place

    def fetch_manifest(self, name: Name) -> None:
        """Fetch a manifest anew that cannot be read; with `place`, what is missing of the model too.

        Hours may lie behind its verification: what others wrote or took away since then is left alone.
        """
        with self._noted(name):
            if not self._is_lost(name):
                self.fetched[name] = self._store.current(name)
                return
            origin = self._origin(name)
            manifest = self._lost_manifest(name, origin)
            report = copy(
                self._opened.remote(origin),
                Unmoved(self._store, None),
                origin,
                to=name,
                manifest=manifest,
                engine=self._engine,
            )
            if self._store.origins.get(name) is not None:
                self._store.origins.put_made_here(name, manifest.digest)
            elif self._place is None:
                self._store.origins.put(name, ModelOrigin(origin, manifest.digest))
            self.moved += report.transferred
            self.fetched[name] = manifest.digest

    def _is_lost(self, name: Name) -> bool:
        """Whether there still is a manifest that cannot be read."""
        try:
            self._store.verify.manifest(name)
        except NotFoundError:
            return False
        except InvalidError:
            return True
        return False

    def _lost_manifest(self, name: Name, origin: Name) -> Manifest:
        """The manifest that `name` had here: what its registry calls so by now may be another model.

        It is the one that is remembered, if that is known; and one whose blobs are all here, for a model that
        Ollama made here since is not remembered. NotFoundError, InvalidError.
        """
        if self._place is not None:
            return self._resolved(origin)
        known = self._store.origins.get(name)
        manifest = self._resolved(origin) if known is None else self._remembered(name, origin, known.here)
        if any(self._store.missing(blob) for blob in manifest.blobs()):
            raise InvalidError(
                f"{origin} at {origin.host} is made of blobs that are not all here, so that it may be "
                f"another model than {name} was",
                host=origin.host,
            )
        return manifest

    def _remembered(self, name: Name, origin: Name, digest: Digest) -> Manifest:
        try:
            return self._resolved(origin.with_reference(digest))
        except NotFoundError as error:
            raise NotFoundError(
                f"{origin.host} has no manifest {digest.short} of {origin.repository}, which {name} was here",
                host=origin.host,
            ) from error

    def _resolved(self, name: Name) -> Manifest:
        """What a registry says, with patience."""
        remote = self._opened.remote(name)
        return self._engine.ask(lambda: remote.resolve(name), Side.SOURCE, name, name)

    def mend(self, name: Name, wrong: Sequence[BlobCheck]) -> None:
        """Bring what is `wrong` of a model, as far as it still is."""
        wrong = [each for each in wrong if not self.is_right(each)]
        if not wrong:
            return
        with self._noted(name):
            manifest = self._store.verify.manifest(name)
            *nearer, last = self._sources(name, wrong)
            try:
                report = copy(
                    self._opened.remote(last),
                    Repair(self._store, manifest),
                    last,
                    to=name,
                    manifest=manifest,
                    nearer=[BlobSource(self._opened.remote(each), each) for each in nearer],
                    engine=self._engine,
                )
            except NotFoundError as error:
                self._check_is_same(name, last, wrong, error)
                raise
            self.moved += report.transferred

    def _check_is_same(
        self, name: Name, origin: Name, wrong: Sequence[BlobCheck], error: NotFoundError
    ) -> None:
        """Where a registry has not all that is `wrong`: NotFoundError if `origin` is another model there."""
        there = None
        with contextlib.suppress(NotFoundError, InvalidError):
            there = {blob.digest for blob in self._resolved(origin).blobs()}
        if there is None or all(each.held.blob.digest in there for each in wrong):
            return
        lacks = next(each.held.blob.digest for each in wrong if each.held.blob.digest not in there)
        raise NotFoundError(
            f"{origin} at its registry is another model than {name} is here: "
            f"its manifest names no blob {lacks.short}",
            host=origin.host,
        ) from error

    def is_right(self, finding: BlobCheck) -> bool:
        """Whether the blob is here and proven by now."""
        held = finding.held
        return self._store.size(held.names[0], held.blob) is not None

    def _sources(self, name: Name, wrong: Sequence[BlobCheck]) -> list[Name]:
        """What is asked for the blobs of a model: its own origin first. NotFoundError where there is none."""
        others = (other for each in wrong for other in each.held.names)
        found: dict[Name, None] = {}
        for each in (name, *others):
            with contextlib.suppress(NotFoundError):
                found[self._origin(each)] = None
        return list(found) or [self._origin(name)]

    def _origin(self, name: Name) -> Name:
        """What is asked for a model. NotFoundError for one that was made here: no registry knows of it."""
        if self._place is not None:
            return self._place
        known = self._store.origins.get(name)
        if known is not None and known.name is None:
            raise NotFoundError(f"{name} was made here: no registry is known that has it", name=str(name))
        return self._store.origins.asked(name)

    @contextlib.contextmanager
    def _noted(self, name: Name) -> Iterator[None]:
        """An error is for the end; the other models are not kept waiting by it."""
        try:
            yield
        except RegistryError as error:
            if self._engine.options.stop.is_set():
                raise Stopped from error
            error.name = error.name or str(name)
            self.failures.append(error)
