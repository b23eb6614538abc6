"""The one verb: `copy(source, destination, name)`. Nothing else moves blobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from registry.contracts import Destination, Source
from registry.errors import MissingBlobsError, RegistryError, Side
from registry.model.manifests import Kind, Manifest
from registry.model.names import Name
from registry.model.nesting import check_nesting
from registry.transfer.engine import Engine
from registry.transfer.model import BlobSource, ModelTransfer
from registry.transfer.options import Options
from registry.transfer.progress import BlobReport, Report, replaced
from registry.transfer.retry import Stopped
from registry.transfer.schedule import move


def copy(
    source: Source,
    destination: Destination,
    name: Name,
    *,
    to: Name | None = None,
    near: Name | None = None,
    nearer: Sequence[BlobSource] = (),
    manifest: Manifest | None = None,
    new: bool = False,
    options: Options | None = None,
    engine: Engine | None = None,
    told: Callable[[Report], None] = lambda _report: None,
) -> Report:
    """Copy the model `name`, under the name `to` if given; its blobs first, its name last.

    `near` is a name at the destination that is known to hold the source's blobs, so that they are mounted.
    `nearer` are asked for blobs before the source is, the cheapest first; what they do not have, or send
    wrong, comes from the next. `manifest` is that of the model where it is known, whatever `name` stands for
    at the source. `new`: it was asked a moment ago, and nothing stands at `to`.
    `engine` is what earlier copies learned (then `options` are its own). `told` is called with each manifest
    that an index names, once it is there and before the index is.
    Blobs that are there already do not move. Raises what the two targets raise, TransientError once
    patience is over; what arrived is kept, and the same call goes on from there. An error's `side` says which
    of the two it comes from, its `moved` how many bytes moved all the same.
    """
    engine = engine or Engine(options)
    model = engine.model(source, destination, name, to or name, near=near, nearer=tuple(nearer))
    try:
        return _copy(engine, model, manifest, told, depth=0, new=new)
    except RegistryError as error:
        if engine.options.stop.is_set():  # peers that were interrupted say this and that
            raise Stopped from error
        error.moved = model.moved
        raise
    finally:
        engine.over(model.patience)


def _copy(
    engine: Engine,
    model: ModelTransfer,
    known: Manifest | None,
    told: Callable[[Report], None],
    *,
    depth: int,
    new: bool = False,
) -> Report:
    options, patience = engine.options, model.patience
    name, to = model.name, model.to
    began = options.clock()
    manifest = known or patience.retry(lambda: model.source.resolve(name), Side.SOURCE)
    was = None if new else patience.retry(lambda: model.destination.current(to), Side.DESTINATION)
    patience.retry(lambda: model.destination.prepare(to, manifest), Side.DESTINATION, answers=False)
    reports = _copy_children(engine, model, manifest, told, depth) if manifest.kind is Kind.INDEX else []
    blobs = tuple(manifest.blobs())
    if blobs or manifest.kind is Kind.IMAGE:
        options.observer.begin(to, blobs)
        model.unchanged = was == manifest.digest
        workers = engine.workers(model)
        reports += move(model, blobs, workers, options)
        engine.learn(model, workers)
    try:
        patience.retry(lambda: model.destination.publish(to, manifest, was), Side.DESTINATION)
    except MissingBlobsError as error:  # it said that it has them: a cache that passes questions on
        missing = [blob for blob in manifest.blobs() if str(blob.digest) in error.digests]
        if not missing:
            raise
        anew = model.anew()
        try:
            again = move(anew, missing, engine.workers(model), options)
        finally:
            model.count(anew.moved)
        reports = replaced(reports, again)
        patience.retry(lambda: model.destination.publish(to, manifest, was), Side.DESTINATION)
    report = Report(to, manifest, options.clock() - began, tuple(reports), was)
    options.observer.end(report)
    return report


def _copy_children(
    engine: Engine, model: ModelTransfer, index: Manifest, told: Callable[[Report], None], depth: int
) -> list[BlobReport]:
    """Every manifest an index names, each by its digest, before the index itself."""
    check_nesting(depth + 1, model.name)
    reports: dict[str, BlobReport] = {}
    for child in index.manifests:
        of_child = model.child(child.digest)
        try:
            report = _copy(engine, of_child, None, told, depth=depth + 1)
        finally:
            model.count(of_child.moved)
        told(report)
        for item in report.blobs:
            reports.setdefault(str(item.blob.digest), item)
    return list(reports.values())
