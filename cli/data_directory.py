"""The embedded registry's data directory, opened as the settings say: also while a server runs on it."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cli.extra import need_server
from cli.options import Invocation
from registry.contracts import Actor
from registry.errors import InvalidError, StorageError

if TYPE_CHECKING:
    from registry.server.registry import Registry


def directory(invocation: Invocation) -> Path:
    """Where the registry's data is: `--data`, else below the person's data home."""
    place = invocation.settings.get("data") or invocation.settings.serve_data
    if place is None:
        raise InvalidError("there is no home directory to keep the registry in", hint="say --data DIR")
    return Path(place)


@contextmanager
def registry(invocation: Invocation) -> Iterator[Registry]:
    """The registry of the settings' data directory. InvalidError if there is none.

    What was withdrawn is noted at once; where that fails the server does it, or the next command.
    """
    need_server("ferry admin")
    from registry.server import revocations
    from registry.server.registry import Registry

    opened = Registry.open(directory(invocation))
    try:
        yield opened
        with suppress(StorageError, InvalidError):
            revocations.keep(opened.depot.directory, opened.depot.engine, opened.depot.clock())
    finally:
        opened.close()


def actor() -> Actor:
    """Who works on it, for its record: the user of this machine."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a user number without a name, as in a container
        name = str(os.getuid())
    return Actor(address=f"{name} at the server")
