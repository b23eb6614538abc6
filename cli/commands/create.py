"""A model made here, from a Modelfile and a GGUF file."""

from __future__ import annotations

import time
from pathlib import Path

import click

from cli import naming, places
from cli.options import STORE, Desk, command
from cli.render import Terminal, size, visible
from cli.reports import document

_NOTE_EVERY = 5.0  # seconds


@command(*STORE)
@click.argument("name")
@click.option(
    "-f", "--file", "file", metavar="FILE", default="Modelfile", help="The Modelfile [./Modelfile]."
)
def create(desk: Desk, name: str, file: str) -> None:
    """Make the local model NAME from a Modelfile; no Ollama needed.

    \b
      ferry create tiny
      ferry create models.acme.example/acme/tiny:1.0 -f Modelfile
    """
    from registry.disk import files
    from registry.publish.build import build
    from registry.publish.modelfile import MODELFILE_BYTES, Modelfile
    from registry.transfer.copy import Options, copy

    to = naming.parse(desk, name)
    places.storable(desk, to, "choose another name for it")
    path = Path(file)
    modelfile = Modelfile.parse(files.read_bounded(path, MODELFILE_BYTES))
    built = build(modelfile, path.parent, desk.settings.home, _Hashing(desk.terminal).more)
    for warning in built.warnings:
        desk.terminal.note(f"ferry: {visible(warning)}")
    with places.store(desk, desk.terminal.note) as store:
        report = copy(built, store, to, to=to, options=Options())
    if desk.terminal.json:
        desk.terminal.document({**document(report), "warnings": list(built.warnings)})
    else:
        layers = len(report.manifest.layers)
        told = f"{to}  {report.manifest.digest.short}  {size(report.size)}, made of {layers} layers"
        desk.terminal.line(visible(told))


class _Hashing:
    """Says now and then how far the reading of large weights has come."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._done = 0
        self._spoke = time.monotonic()

    def more(self, count: int) -> None:
        """`count` more bytes were read."""
        self._done += count
        now = time.monotonic()
        if now - self._spoke >= _NOTE_EVERY:
            self._spoke = now
            self._terminal.note(f"ferry: read {size(self._done)} of the weights")
