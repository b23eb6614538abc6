"""A second name for a local model, and the removal of models."""

from __future__ import annotations

import click

from cli import places
from cli.many import Document, each
from cli.options import STORE, Desk, command
from registry.errors import InvalidError
from registry.model.names import Name


@command(*STORE)
@click.argument("source")
@click.argument("destination")
def cp(desk: Desk, source: str, destination: str) -> None:
    """Give the local model SOURCE the second name DESTINATION; its blobs are shared.

    \b
      ferry cp tiny:1.0 models.acme.example/acme/tiny:1.0
      ferry cp tiny tiny:backup
    """
    name, to = desk.settings.name(source), desk.settings.name(destination)
    places.storable(desk, to, "choose another name for it")
    with places.store(desk) as store:
        store.copy_name(name, to)
        digest = store.resolve(to).digest
    if desk.terminal.json:
        desk.terminal.document({"name": str(to), "digest": str(digest)})
    else:
        desk.terminal.line(f"{to} is {name}, {digest.short}")


@command(*STORE, "yes")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def rm(desk: Desk, names: tuple[str, ...]) -> int:
    """Remove local models, and the blobs that no other model needs.

    \b
      ferry rm tiny
      ferry rm tiny:1.0 tiny:2.0 --format json
    """
    models = [desk.settings.name(name) for name in names]
    with places.store(desk) as store:

        def remove(name: Name) -> Document:
            if name.digest is not None:
                raise InvalidError(f"{name}: local models go by name and tag", hint="leave the digest out")
            digest = store.resolve(name).digest
            store.remove(name)
            return {"name": str(name), "digest": str(digest)}

        return each(desk, models, remove, lambda told: f"removed {told['name']}")
