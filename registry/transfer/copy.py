"""The one verb: `copy(source, destination, name)`. Nothing else moves blobs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from registry.contracts import Clock, Destination, Source
from registry.errors import InvalidError, RegistryError, Side
from registry.model.manifests import Kind, Manifest
from registry.model.names import Name
from registry.transfer.engine import Engine
from registry.transfer.progress import BlobReport, Observer, Report, Silent
from registry.transfer.retry import Patience, Stopped, nothing
from registry.transfer.workers import Workers, machine_time

_DEEPEST_INDEX = 4


@dataclass(frozen=True, slots=True)
class Options:
    """How a copy is made.

    `patience` makes a fresh one for each copy. `jobs`: transfers at once, or None to choose and adapt.
    `interrupt` wakes every thread that waits for a peer, when a copy is told to stop.
    `stop`, once it is set, ends the copy with Stopped. `taken` says how much of the machine's time this
    process has used.
    """

    patience: Callable[[], Patience] = Patience
    observer: Observer = field(default_factory=Silent)
    jobs: int | None = None
    interrupt: Callable[[], None] = nothing
    stop: threading.Event = field(default_factory=threading.Event)
    clock: Clock = time.monotonic
    taken: Clock = machine_time

    def __post_init__(self) -> None:
        if self.jobs is not None and not 1 <= self.jobs <= 64:
            raise InvalidError("jobs must be between 1 and 64")


def copy(
    source: Source,
    destination: Destination,
    name: Name,
    *,
    to: Name | None = None,
    near: Name | None = None,
    options: Options | None = None,
) -> Report:
    """Copy the model `name`, under the name `to` if given; its blobs first, its name last.

    `near` is a name at the destination that is known to hold the source's blobs, so that they are mounted.
    Blobs that are there already do not move. Raises what the two targets raise, TransientError once
    patience is over; what arrived is kept, and the same call goes on from there. An error's `side` says which
    of the two it comes from.
    """
    options = options or Options()
    engine = Engine(
        source,
        destination,
        options.patience(),
        Workers(options.jobs),
        options.interrupt,
        options.stop,
        options.clock,
        options.taken,
    )
    try:
        return _copy(engine, options, name, to or name, near, depth=0)
    except RegistryError as error:
        if options.stop.is_set():  # peers that were interrupted say this and that
            raise Stopped from error
        raise


def _copy(engine: Engine, options: Options, name: Name, to: Name, near: Name | None, depth: int) -> Report:
    began = options.clock()
    patience = engine.patience
    manifest = patience.retry(lambda: engine.source.resolve(name), Side.SOURCE)
    was = patience.retry(lambda: engine.destination.current(to), Side.DESTINATION)
    patience.retry(lambda: engine.destination.prepare(to, manifest), Side.DESTINATION, answers=False)
    if manifest.kind is Kind.INDEX:
        reports = _copy_children(engine, options, manifest, name, to, near, depth)
    else:
        options.observer.begin(to, tuple(manifest.blobs()))
        reports = engine.move(manifest, name, to, near, was == manifest.digest, options.observer)
    patience.retry(lambda: engine.destination.publish(to, manifest, was), Side.DESTINATION)
    report = Report(to, manifest, options.clock() - began, tuple(reports), was)
    options.observer.end(report)
    return report


def _copy_children(
    engine: Engine,
    options: Options,
    index: Manifest,
    name: Name,
    to: Name,
    near: Name | None,
    depth: int,
) -> list[BlobReport]:
    """Every manifest an index names, each by its digest, before the index itself."""
    if depth >= _DEEPEST_INDEX:
        raise InvalidError(f"{name}: an index inside more than {_DEEPEST_INDEX} others", name=str(name))
    reports: dict[str, BlobReport] = {}
    for child in index.children:
        by_digest = name.with_reference(child.digest)
        to_digest = to.with_reference(child.digest)
        for item in _copy(engine, options, by_digest, to_digest, near, depth + 1).blobs:
            reports.setdefault(str(item.blob.digest), item)
    return list(reports.values())
