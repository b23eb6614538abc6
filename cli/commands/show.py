"""What a model is made of: its manifest, its layers, its Modelfile."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from cli import modelfile, naming, sources, weights
from cli.options import NETWORK, REMOTE, STORE, Invocation, command
from cli.render import Terminal, columns, date, shortened, size, visible
from cli.screen import window
from registry.contracts import Publication, Source, Target
from registry.errors import InvalidError, RegistryError
from registry.model.manifests import Descriptor, Kind, Manifest, decode_json
from registry.model.names import Name
from registry.targets.blob_files import file_name

if TYPE_CHECKING:
    from registry.targets.remote import Remote

Place = Callable[[Descriptor], str]

_FROM_NAME = (
    "FROM names a model: ollama create takes that, and ferry create needs the file; "
    "after ferry pull {name}, ferry show --modelfile names it"
)
_PLATFORM = ("os", "architecture", "variant")  # OCI image specification: image-index.md
_SHORTEST = 20  # characters that a value keeps in any terminal
_TEXT_BYTES = 4 * 1024 * 1024  # the longest template, licence or parameter list that is shown


@command(*STORE, *NETWORK)
@click.argument("name")
@click.option("--modelfile", "form", flag_value="modelfile", help="Only the Modelfile.")
@click.option("--manifest", "form", flag_value="manifest", help="Only the manifest, byte for byte.")
@click.option("--layers", "form", flag_value="layers", help="Only the layers.")
@REMOTE
def show(invocation: Invocation, name: str, form: str | None, remote: bool) -> int | None:
    """Show what the model NAME is made of.

    \b
      ferry show tiny --modelfile
      ferry show --remote models.acme.example/acme/tiny:1.0
    """
    model = naming.parse(invocation, name)
    if remote:
        with sources.connections(invocation) as opened:
            there = opened.remote(model)
            code = _show(
                invocation, there, model, form, lambda _: str(model), lambda: _published(there, model)
            )
            if form == "modelfile":
                invocation.terminal.note(f"ferry: {visible(_FROM_NAME.format(name=model))}")
            return code
    else:
        with sources.store(invocation) as store:
            return _show(
                invocation, store, model, form, lambda layer: str(store.blobs / file_name(layer.digest))
            )


def _nothing() -> Publication | None:
    """What the local store says of who published a model."""
    return None


def _published(remote: Remote, name: Name) -> Publication | None:
    """When the registry says that the tag was published; whatever goes wrong there, the model is shown."""
    with contextlib.suppress(RegistryError):
        return None if name.digest else remote.publication(name)
    return None


def _show(
    invocation: Invocation,
    source: Target,
    name: Name,
    form: str | None,
    place: Place,
    published: Callable[[], Publication | None] = _nothing,
) -> int | None:
    with sources.telling_tags(source, name):
        manifest = source.resolve(name)
    if form == "manifest":
        invocation.terminal.raw(manifest.raw)
    elif form == "modelfile":
        return _tell_modelfile(invocation, name, manifest, _modelfile(source, name, manifest, place))
    elif invocation.terminal.json:
        invocation.terminal.document(_document(invocation.terminal, source, name, manifest, published()))
    else:
        _tell(invocation, source, name, manifest, published() if form is None else None, whole=form is None)
    return None


def _tell_modelfile(invocation: Invocation, name: Name, manifest: Manifest, found: modelfile.Written) -> int:
    """Print it; exit code 2 where it makes another model."""
    if invocation.terminal.json:
        told = {"name": str(name), "digest": str(manifest.digest), "modelfile": found.text}
        invocation.terminal.document({**told, "lost": list(found.lost)})
    else:
        invocation.terminal.raw(found.text.encode())
    for problem in found.lost:
        invocation.terminal.complain(
            f"ferry: this Modelfile makes another model than {name}: {visible(problem)}"
        )
    return InvalidError.exit if found.lost else 0


def _document(
    terminal: Terminal, source: Source, name: Name, manifest: Manifest, said: Publication | None
) -> dict[str, object]:
    known = {"modified": date(said.moved), "by": said.by or None} if said else {}
    found = weights.of(terminal, source, name, manifest)
    return {
        "name": str(name),
        "digest": str(manifest.digest),
        "config": _config(source, name, manifest),
        "layers": [dict(layer.fields) for layer in manifest.layers],
        **({"manifests": [dict(child.fields) for child in manifest.children]} if _is_index(manifest) else {}),
        **known,
        **({"weights": weights.document(found)} if found is not None else {}),
    }


def _tell(
    invocation: Invocation,
    source: Source,
    name: Name,
    manifest: Manifest,
    said: Publication | None,
    *,
    whole: bool,
) -> None:
    terminal = invocation.terminal
    if whole:
        about = [("name", str(name)), ("digest", str(manifest.digest))]
        if not _is_index(manifest):
            about.append(("size", size(manifest.total)))
        if said is not None:
            about.append(("pushed", f"{date(said.moved)}{f' by {said.by}' if said.by else ''}"))
        width = window(terminal.out).columns if terminal.out.isatty() else None
        found = weights.of(terminal, source, name, manifest)
        inside = [] if found is None or isinstance(found, RegistryError) else weights.rows(found)
        for group in (about, columns(_config(source, name, manifest)), inside):
            for line in beside(group, width):
                terminal.line(line)
        terminal.line()
    if _is_index(manifest):
        found_there = [(_platform(child), str(child.digest), size(child.size)) for child in manifest.children]
        terminal.table(("MANIFEST", "DIGEST", "SIZE"), found_there)
        return
    rows = [
        (modelfile.kind(layer.media_type) or layer.media_type, layer.digest.short, size(layer.size))
        for layer in manifest.layers
    ]
    terminal.table(("LAYER", "ID", "SIZE"), rows)


def _is_index(manifest: Manifest) -> bool:
    return manifest.kind is Kind.INDEX


def _platform(child: Descriptor) -> str:
    """What an index says a manifest is for; without that, of which type it is."""
    platform = child.fields.get("platform")
    said = [platform.get(key) for key in _PLATFORM] if isinstance(platform, dict) else []
    named = "/".join(each for each in said if isinstance(each, str) and each)
    return named or str(child.fields.get("artifactType") or child.media_type)


def beside(rows: Sequence[tuple[str, str]], width: int | None) -> Iterator[str]:
    """Each key and its value on a line of `width` characters (None: any): of a name the end is kept."""
    indent = max((len(key) for key, _ in rows), default=0) + 2
    length = max(_SHORTEST, (width or sys.maxsize) - indent)
    for key, value in ((key, visible(value)) for key, value in rows):
        if len(value) > length and key != "digest":  # which is of no use but whole
            value = shortened(value, length, "…") if key == "name" else value[: length - 1] + "…"
        yield f"{key:<{indent}}{value}"


def _config(source: Source, name: Name, manifest: Manifest) -> Mapping[str, object]:
    """The config as JSON; what is no JSON object (artifacts have any) is told as its descriptor."""
    if manifest.config is None:
        return {}
    try:
        config = decode_json(sources.read(source, name, manifest.config, _TEXT_BYTES), "config")
    except InvalidError:
        config = None
    return config if isinstance(config, dict) else dict(manifest.config.fields)


def _modelfile(source: Source, name: Name, manifest: Manifest, place: Place) -> modelfile.Written:
    """The Modelfile that makes the same model; `place` says where a layer too big to be written out is.

    InvalidError for an index, which is none.
    """
    if _is_index(manifest):
        raise InvalidError(
            f"{name} is an index of other manifests, and no model that a Modelfile makes",
            hint="name one of them by its digest: NAME@sha256:…",
            name=str(name),
        )

    def part(layer: Descriptor) -> tuple[str, str]:
        kind = modelfile.kind(layer.media_type)
        if kind in modelfile.SMALL:
            return kind, modelfile.text(sources.read(source, name, layer, _TEXT_BYTES))
        return kind, place(layer)

    return modelfile.written(
        str(name), [part(layer) for layer in manifest.layers], _config(source, name, manifest)
    )
