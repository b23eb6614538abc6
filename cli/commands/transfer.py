"""Models on their way: from a registry into the local store, and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import click

from cli import places, progress
from cli.many import Document, each
from cli.options import MOVING, NETWORK, STORE, Desk, command
from cli.render import size, visible
from cli.reports import document, summary
from registry.connect import Connections
from registry.contracts import Destination, How, Source
from registry.errors import InvalidError
from registry.model.names import DEFAULT_TAG, Name, split_scheme
from registry.transfer.copy import Options, copy
from registry.transfer.progress import Observer


@command(*STORE, *NETWORK, *MOVING, goes_on=True)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--as", "other", metavar="NAME", help="Keep it under another name.")
def pull(desk: Desk, names: tuple[str, ...], other: str | None) -> int:
    """Fetch models into the local store; what is there already does not move.

    \b
      ferry pull models.acme.example/acme/tiny:1.0
      ferry pull models.acme.example/acme/tiny:1.0 --as tiny
    """
    if other and len(names) > 1:
        raise InvalidError("--as gives one model another name", hint="pull the models one after another")
    watcher = progress.observer(desk.terminal, desk.settings.get("progress", "auto"))
    with places.store(desk, watcher.note) as store, places.connections(desk) as opened:
        options = _options(desk, watcher, opened)

        def fetch(name: Name) -> Document:
            to = desk.settings.name(other) if other else name
            places.storable(desk, to, "give it a name of its own here: --as NAME")
            return _moved(desk, opened.remote(name), store, _Pair(name, to), options)

        return each(
            desk,
            [desk.settings.name(name) for name in names],
            fetch,
            partial(_said, verbose=desk.settings.on("verbose")),
        )


@command(*STORE, *NETWORK, *MOVING, goes_on=True)
@click.argument("names", metavar="NAME [DESTINATION]", nargs=-1, required=True)
@click.option("--to", "place", metavar="HOST/NAMESPACE", help="Where several models go.")
def push(desk: Desk, names: tuple[str, ...], place: str | None) -> int:
    """Publish a local model at its registry, or as DESTINATION (with its own tag, unless said).

    \b
      ferry push models.acme.example/acme/tiny:1.0
      ferry push tiny:1.0 models.acme.example/acme/tiny
    """
    watcher = progress.observer(desk.terminal, desk.settings.get("progress", "auto"))
    with places.store(desk, watcher.note) as store, places.connections(desk) as opened:
        options = _options(desk, watcher, opened)

        def publish(pair: _Pair) -> Document:
            return _moved(desk, store, opened.remote(pair.to), pair, options)

        return each(
            desk, _pairs(desk, names, place), publish, partial(_said, verbose=desk.settings.on("verbose"))
        )


@dataclass(frozen=True, slots=True)
class _Pair:
    """A model's name where it is, and where it goes."""

    name: Name
    to: Name
    near: Name | None = None  # what is known to hold the blobs at the destination already

    def __str__(self) -> str:
        return str(self.to)


def _pairs(desk: Desk, names: tuple[str, ...], place: str | None) -> list[_Pair]:
    if place is None and len(names) > 2:
        raise InvalidError(
            "several models need a place to go", hint="ferry push NAME NAME --to HOST/NAMESPACE"
        )
    first = desk.settings.name(names[0])
    if place is None:
        return [_to(first, _destination(desk, names[1], first) if len(names) == 2 else first)]
    scheme, rest = split_scheme(place)
    host, slash, namespace = rest.strip("/").partition("/")
    if not slash:
        raise InvalidError(f"--to {place}: no namespace", hint="for example --to models.acme.example/acme")
    models = [desk.settings.name(name) for name in names]
    return [
        _to(name, Name(host, f"{namespace}/{name.model}", name.tag or DEFAULT_TAG, scheme=scheme))
        for name in models
    ]


def _to(name: Name, to: Name) -> _Pair:
    """What was pulled from a registry lies there under that name, and need not be sent again."""
    return _Pair(name, to, name if name.host == to.host else None)


def _destination(desk: Desk, text: str, source: Name) -> Name:
    """What `text` says; the source's tag where it says none."""
    to = desk.settings.name(text)
    silent = to.digest is None and ":" not in text.rpartition("/")[2]
    return to.with_reference(source.tag or DEFAULT_TAG) if silent else to


def _options(desk: Desk, watcher: Observer, opened: Connections) -> Options:
    return Options(observer=watcher, jobs=desk.settings.get("jobs"), interrupt=opened.interrupt)


def _moved(desk: Desk, source: Source, destination: Destination, pair: _Pair, options: Options) -> Document:
    """Move it, or say what would move."""
    if desk.settings.on("dry_run"):
        return _planned(source, destination, pair)
    return document(copy(source, destination, pair.name, to=pair.to, near=pair.near, options=options))


def _planned(source: Source, destination: Destination, pair: _Pair) -> Document:
    """What would move, and how big it is; nothing does."""
    manifest = source.resolve(pair.name)
    blobs: list[Document] = []
    moving = 0
    for blob in manifest.blobs():
        there = destination.size(pair.to, blob) is not None
        moving += 0 if there else blob.size
        blobs.append(
            {
                "digest": str(blob.digest),
                "mediaType": blob.media_type,
                "size": blob.size,
                "transferred": 0,
                "how": str(How.PRESENT) if there else None,
            }
        )
    return {
        "name": str(pair.to),
        "digest": str(manifest.digest),
        "size": manifest.total,
        "transferred": 0,
        "seconds": 0,
        "blobs": blobs,
        "would_transfer": moving,
    }


def _said(told: Document, verbose: bool) -> str:
    """One line of what was done, or would be; with --verbose, and one a blob."""
    lines = [summary(told)]
    blobs = told["blobs"]
    if verbose and isinstance(blobs, list):
        lines += [
            f"  {blob['how'] or 'missing':<9} {blob['digest']}  {size(blob['size'])}  {blob['mediaType']}"
            for blob in blobs
        ]
    return "\n".join(visible(line) for line in lines)
