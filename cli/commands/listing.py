"""What is where: the local store's models, a registry's models, a model's tags."""

from __future__ import annotations

import time
from collections.abc import Iterable

import click

from cli import naming, sources, values
from cli.options import NETWORK, STORE, Invocation, command
from cli.render import age, date, size, visible
from registry.contracts import Entry, Target
from registry.errors import NotFoundError, ProtocolError
from registry.model.names import Name, split_scheme


@command(*STORE, *NETWORK, name="list")
@click.argument("place", metavar="[HOST[/NAMESPACE]]", required=False)
def list_models(invocation: Invocation, place: str | None) -> None:
    """List the local store's models, or those a registry lets you see.

    \b
      ferry list
      ferry list models.acme.example/acme
    """
    if place:
        _show(invocation, _published(invocation, place))
        return
    with sources.store(invocation) as store:
        _show(invocation, store.entries())


def _published(invocation: Invocation, place: str) -> list[Entry]:
    """What the registry lets this person see, each tag with its manifest's digest and size."""
    scheme, rest = split_scheme(place)
    host, _, namespace = rest.strip("/").partition("/")
    with sources.connections(invocation) as opened:
        catalogue = opened.remote_at(opened.origin_of(values.host(host), scheme), namespace)
        repositories = [
            Name(host, repository, scheme=scheme)
            for repository in catalogue.repositories()
            if f"{repository}/".lower().startswith(f"{namespace}/".lower() if namespace else "")
        ]
        found = [
            _entry(invocation, opened.remote(repository), name)
            for repository in repositories
            for name in map(repository.with_reference, _tags(opened.remote(repository), repository))
        ]
    return [entry for entry in found if entry is not None]


def _entry(invocation: Invocation, target: Target, name: Name) -> Entry | None:
    """What a tag stands for; None if it is gone meanwhile, or is nothing that can be read, which is said."""
    try:
        manifest = target.resolve(name)
    except NotFoundError:
        return None
    except ProtocolError as error:
        invocation.terminal.note(f"ferry: {visible(f'{name} is left out: {error.message}')}")
        return None
    return Entry(name, manifest.digest, manifest.total)


def _tags(target: Target, repository: Name) -> list[str]:
    """The tags of a repository; none where a catalogue names one into which nothing was published yet."""
    try:
        return list(target.tags(repository))
    except NotFoundError:
        return []


def _show(invocation: Invocation, entries: Iterable[Entry]) -> None:
    found = sorted(entries, key=lambda entry: -(entry.modified or 0))
    if invocation.terminal.json:
        invocation.terminal.document([_document(entry) for entry in found])
        return
    now = time.time()
    rows = [(str(e.name), e.digest.short, size(e.size), age(e.modified, now)) for e in found]
    invocation.terminal.table(("NAME", "ID", "SIZE", "MODIFIED"), rows)


def _document(entry: Entry) -> dict[str, object]:
    return {
        "name": str(entry.name),
        "digest": str(entry.digest),
        "size": entry.size,
        "modified": date(entry.modified),
    }


@command(*NETWORK)
@click.argument("name")
def tags(invocation: Invocation, name: str) -> None:
    """List the tags of NAME at its registry.

    \b
      ferry tags models.acme.example/acme/tiny
      ferry tags models.acme.example/acme/tiny --format json
    """
    model = naming.parse(invocation, name)
    with sources.connections(invocation) as opened:
        remote = opened.remote(model)
        found = [(tag, remote.digest(model.with_reference(tag))) for tag in remote.tags(model)]
    if invocation.terminal.json:
        invocation.terminal.document([{"tag": tag, "digest": str(digest)} for tag, digest in found])
    else:
        invocation.terminal.table(("TAG", "ID"), [(tag, digest.short) for tag, digest in found])
