"""The copies of a run as they are planned, and what a dry run says of them: nothing is moved or written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.render import Document
from cli.reports import others, plan, referrer_bytes
from registry.contracts import Destination, How, Target
from registry.model.digests import Digest
from registry.model.manifests import Descriptor, Manifest
from registry.model.names import Name
from registry.model.nesting import all_blobs
from registry.model.spans import Span
from registry.transfer.engine import Engine
from registry.transfer.progress import Report

if TYPE_CHECKING:
    from registry.transfer.pairs import Pair


def nobody(_report: Report) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class PlannedCopy:
    """A model's name where it is and where it goes.

    `route` says both to people. `near` is what is known to hold the blobs at the destination already.
    `arrived` is told when it is there. `also`: what it is called there too. `dry_checks`: a run that moves
    nothing asks both ends all the same whether they would refuse. `manifest`: what is published instead
    of the source's own, with the same blobs. `left`: how many bytes of a blob are not there yet.
    `into_store`: all names of the destination share their blobs.
    """

    source: Target
    name: Name
    destination: Destination
    to: Name
    route: str
    near: Name | None = None
    arrived: Callable[[Report], None] = nobody
    pair: Pair | None = None  # where what refers to the model goes along
    also: tuple[Name, ...] = ()
    dry_checks: bool = False
    manifest: Manifest | None = None
    left: Callable[[Descriptor], int] = lambda blob: blob.size
    into_store: bool = False

    @property
    def repository(self) -> tuple[str, str]:
        """Where at the destination its blobs will be: one place for all names of a store."""
        return ("", "") if self.into_store else (self.to.host, self.to.repository)


class Plans:
    """The plans of one run: what one model brings, those after it find there, or mount."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._holders: defaultdict[Digest, set[tuple[str, str]]] = defaultdict(set)  # of blobs, by then

    def made(self, planned: PlannedCopy) -> Document:
        """What would move of one model, and how big it is."""
        manifest = planned.manifest or planned.source.resolve(planned.name)
        destination, to = planned.destination, planned.to
        was = destination.current(to)
        before = {name: destination.current(name) for name in planned.also}
        if planned.dry_checks:
            destination.prepare(to, manifest)

        def resolve(digest: Digest) -> Manifest:
            return planned.source.resolve(planned.name.with_reference(digest))

        blobs = [(blob, self._how(planned, blob)) for blob in all_blobs(manifest, planned.name, resolve)]
        missing = [blob for blob, how in blobs if how is not How.PRESENT]
        if planned.dry_checks:
            for blob in missing:  # NotFoundError, StorageError
                sum(map(len, planned.source.open(planned.name, blob, Span(0, min(1, blob.size))).stream))
        told = plan(to, manifest, was, blobs, planned.left) | others(manifest, before)
        if planned.pair is None:
            return told
        from registry.transfer.one_pair import Looking  # only a mirror does

        referring = Looking(self._engine).referring(planned.pair, manifest, was)
        return told | referrer_bytes(would_transfer=referring)

    def _how(self, planned: PlannedCopy, blob: Descriptor) -> How | None:
        """Whether a blob is there by then, or would be mounted; None if it would move."""
        holders, there = self._holders[blob.digest], planned.repository
        if there in holders:
            return How.PRESENT
        near = planned.near is not None and planned.near.repository != planned.to.repository
        missing = How.MOUNTED if near or any(host == there[0] for host, _ in holders) else None
        holders.add(there)
        return missing if planned.destination.size(planned.to, blob) is None else How.PRESENT
