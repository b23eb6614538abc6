"""What is where: the local store's models, a registry's models, a model's tags."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from cli import naming, sources, values
from cli.options import NETWORK, STORE, Invocation, command
from cli.render import age, date, size, visible
from registry.contracts import Entry, Publication, Target
from registry.errors import NotFoundError, ProtocolError
from registry.model.names import Name, split_scheme

if TYPE_CHECKING:
    from registry.targets.remote import Remote


@command(*STORE, *NETWORK, name="list")
@click.argument("place", metavar="[HOST[/NAMESPACE]]", required=False)
def list_models(invocation: Invocation, place: str | None) -> None:
    """List the local store's models, or those a registry lets you see.

    \b
      ferry list
      ferry list models.acme.example/acme
    """
    if place:
        found = _published(invocation, place)
        _show(invocation, found)
        if not found and not invocation.terminal.json:
            told = f"{place} shows you no models; ferry whoami {place} says who you are there"
            invocation.terminal.note(f"ferry: {visible(told)}")
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
            _entry(invocation, opened.remote(repository), name, said)
            for repository in repositories
            for name, said in _tags(opened.remote(repository), repository)
        ]
    return [entry for entry in found if entry is not None]


def _entry(invocation: Invocation, target: Target, name: Name, said: Publication | None) -> Entry | None:
    """What a tag stands for; None if it is gone meanwhile, or is nothing that can be read, which is said."""
    try:
        manifest = target.resolve(name)
    except NotFoundError:
        return None
    except ProtocolError as error:
        invocation.terminal.note(f"ferry: {visible(f'{name} is left out: {error.message}')}")
        return None
    if said is None or said.digest != manifest.digest:  # it was moved meanwhile
        return Entry(name, manifest.digest, manifest.total)
    return Entry(name, manifest.digest, manifest.total, said.moved, said.by)


def _tags(target: Remote, repository: Name) -> list[tuple[Name, Publication | None]]:
    """The tags of a repository, and what is said of them.

    None where a catalogue names one into which nothing was published yet.
    """
    try:
        said = target.publications(repository)
    except NotFoundError:
        return []
    return [(repository.with_reference(tag), each) for tag, each in said.items()]


def _show(invocation: Invocation, entries: Iterable[Entry]) -> None:
    found = sorted(entries, key=lambda entry: -(entry.modified or 0))
    now = time.time()
    who = any(entry.by for entry in found)
    rows = [
        (str(e.name), e.digest.short, size(e.size), age(e.modified, now), *((e.by or "-",) if who else ()))
        for e in found
    ]
    head = ("NAME", "ID", "SIZE", "MODIFIED", *(("BY",) if who else ()))
    invocation.terminal.listing([_document(entry) for entry in found], head, rows)


def _document(entry: Entry) -> dict[str, object]:
    return {
        "name": str(entry.name),
        "digest": str(entry.digest),
        "size": entry.size,
        "modified": date(entry.modified),
        **({"by": entry.by} if entry.by else {}),
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
        found = _published_tags(opened.remote(model), model)
    now = time.time()
    told = any(each.moved for _, each in found)
    rows = [
        (tag, each.digest.short, *((age(each.moved, now), each.by or "-") if told else ()))
        for tag, each in found
    ]
    head = ("TAG", "ID", *(("PUBLISHED", "BY") if told else ()))
    invocation.terminal.listing([_tag(tag, each) for tag, each in found], head, rows)


def _published_tags(remote: Remote, model: Name) -> list[tuple[str, Publication]]:
    """Every tag of a repository, and what it is; without those that are gone since they were listed."""
    from registry.targets.removal import digests_of

    said = remote.publications(model)
    asked = digests_of(remote, model, (tag for tag, each in said.items() if each is None))
    return [(tag, each or Publication(asked[tag])) for tag, each in said.items() if each or tag in asked]


def _tag(tag: str, said: Publication) -> dict[str, object]:
    known = {"modified": date(said.moved), "by": said.by or None} if said.moved is not None else {}
    return {"tag": tag, "digest": str(said.digest), **known}
