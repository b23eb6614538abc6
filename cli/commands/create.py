"""A model made here, from a Modelfile and a GGUF file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import naming, sources
from cli.options import STORE, Invocation, command
from cli.render import Terminal, counted, size, visible
from cli.reports import document
from registry.errors import InvalidError, NotFoundError

if TYPE_CHECKING:  # only this command needs it, and it is imported when it runs
    from registry.publish.modelfile import Modelfile

_NOTE_EVERY = 5.0  # seconds


@command(*STORE)
@click.argument("name")
@click.option(
    "-f", "--file", "file", metavar="FILE", default="Modelfile", help="The Modelfile [./Modelfile]."
)
def create(invocation: Invocation, name: str, file: str) -> None:
    """Make the local model NAME from a Modelfile; no Ollama needed.

    \b
      ferry create tiny
      ferry create models.acme.example/acme/tiny:1.0 -f Modelfile
    """
    from registry.publish.build import build
    from registry.transfer.copy import copy
    from registry.transfer.options import Options

    to = naming.parse(invocation, name)
    sources.storable(invocation, to, "choose another name for it")
    modelfile, directory = _modelfile(file)
    built = build(modelfile, directory, invocation.settings.home, _Hashing(invocation.terminal).more)
    for warning in built.warnings:
        invocation.terminal.note(f"ferry: {visible(warning)}")
    with sources.store(invocation, invocation.terminal.note) as store:
        report = copy(built, store, to, to=to, options=Options())
        store.origins.put_made_here(to, report.manifest.digest)
    if invocation.terminal.json:
        invocation.terminal.document({**document(report), "warnings": list(built.warnings)})
    elif not invocation.settings.on("quiet"):
        made = f"made of {counted(len(report.manifest.layers), 'layer')}"
        invocation.terminal.line(
            visible(f"{to}  {report.manifest.digest.short}  {size(report.size)}, {made}")
        )


def _modelfile(file: str) -> tuple[Modelfile, Path]:
    """The Modelfile that `file` names, `-` on standard input; and what its paths are relative to.

    InvalidError, also where there is none.
    """
    from registry.disk import files
    from registry.publish import formats
    from registry.publish.gguf import MAGIC
    from registry.publish.modelfile import MODELFILE_BYTES, Modelfile

    path = Path("/dev/stdin" if file == "-" else file)
    try:
        given = files.read_given(path, MODELFILE_BYTES + 1)
    except NotFoundError:
        raise InvalidError(
            f"there is no Modelfile at {file}",
            hint="write one, at least the line FROM ./weights.gguf, or name another with -f FILE",
        ) from None
    if given.data.startswith(MAGIC):
        hint = f"write a Modelfile with the line FROM {path.resolve()}"
        raise InvalidError(f"{file} is a GGUF file, not a Modelfile", hint=hint)
    if given.data and (found := formats.told_by(given.data[: formats.HEAD])) is not None:
        raise InvalidError(f"{file} is not a Modelfile but {found.name}", hint=found.way)
    passed_on = path.is_relative_to("/dev") or path.is_relative_to("/proc")
    return Modelfile.parse(given.data), path.parent if given.is_file and not passed_on else Path()


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
