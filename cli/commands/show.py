"""What a model is made of: its manifest, its layers, its Modelfile."""

from __future__ import annotations

from collections.abc import Mapping

import click

from cli import modelfile, places
from cli.options import STORE, Desk, command
from cli.render import columns, size, visible
from registry.errors import InvalidError
from registry.model.manifests import Descriptor, Manifest, decode_json
from registry.model.names import Name
from registry.targets.store import Store
from registry.targets.sweep import file_name

_TEXT_BYTES = 4 * 1024 * 1024  # the longest template, licence or parameter list that is shown


@command(*STORE)
@click.argument("name")
@click.option("--modelfile", "form", flag_value="modelfile", help="Only the Modelfile.")
@click.option("--manifest", "form", flag_value="manifest", help="Only the manifest, byte for byte.")
@click.option("--layers", "form", flag_value="layers", help="Only the layers.")
def show(desk: Desk, name: str, form: str | None) -> None:
    """Show what the local model NAME is made of.

    \b
      ferry show tiny
      ferry show tiny --modelfile
    """
    model = desk.settings.name(name)
    with places.store(desk) as store:
        manifest = store.resolve(model)
        if form == "manifest":
            desk.terminal.raw(manifest.raw)
        elif form == "modelfile":
            desk.terminal.raw(_modelfile(store, model, manifest).encode())
        elif desk.terminal.json:
            desk.terminal.document(_document(store, model, manifest))
        else:
            _show(desk, store, model, manifest, whole=form is None)


def _document(store: Store, name: Name, manifest: Manifest) -> dict[str, object]:
    return {
        "name": str(name),
        "digest": str(manifest.digest),
        "config": _config(store, name, manifest),
        "layers": [dict(layer.fields) for layer in manifest.layers],
    }


def _show(desk: Desk, store: Store, name: Name, manifest: Manifest, *, whole: bool) -> None:
    terminal = desk.terminal
    if whole:
        about = [("name", str(name)), ("digest", str(manifest.digest)), ("size", size(manifest.total))]
        for key, value in [*about, *columns(_config(store, name, manifest))]:
            terminal.line(f"{key:<18} {visible(value)}")
        terminal.line()
    rows = [
        (modelfile.kind(layer.media_type) or layer.media_type, layer.digest.short, size(layer.size))
        for layer in manifest.layers
    ]
    terminal.table(("LAYER", "ID", "SIZE"), rows)


def _config(store: Store, name: Name, manifest: Manifest) -> Mapping[str, object]:
    """The config as JSON; what is no JSON object (artifacts have any) is told as its descriptor."""
    if manifest.config is None:
        return {}
    try:
        config = decode_json(places.read(store, name, manifest.config, _TEXT_BYTES), "config")
    except InvalidError:
        config = None
    return config if isinstance(config, dict) else dict(manifest.config.fields)


def _modelfile(store: Store, name: Name, manifest: Manifest) -> str:
    """The Modelfile that makes the same model from the files in this store."""

    def part(layer: Descriptor) -> tuple[str, str]:
        kind = modelfile.kind(layer.media_type)
        if kind in modelfile.SMALL:
            return kind, places.read(store, name, layer, _TEXT_BYTES).decode("utf-8", "replace")
        return kind, str(store.blobs / file_name(layer.digest))

    return modelfile.written(
        str(name), [part(layer) for layer in manifest.layers], _config(store, name, manifest)
    )
