"""The embedded registry's data directory, opened as the settings say: also while a server runs on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cli.extra import need_server
from cli.options import Desk
from registry.errors import InvalidError

if TYPE_CHECKING:
    from registry.server.accounts import Accounts


def directory(desk: Desk) -> Path:
    """Where the registry's data is: `--data`, else below the person's data home."""
    place = desk.settings.get("data") or desk.settings.served
    if place is None:
        raise InvalidError("there is no home directory to keep the registry in", hint="say --data DIR")
    return Path(place)


@contextmanager
def accounts(desk: Desk) -> Iterator[Accounts]:
    """Its accounts; the directory is made if there is none."""
    need_server("ferry admin")
    from registry.server.service import open_accounts

    opened = open_accounts(directory(desk))
    try:
        yield opened
    finally:
        opened.engine.dispose()


def collect(desk: Desk) -> int:
    """Reclaim what nothing needs; the bytes given back."""
    need_server("ferry admin")
    from registry.server.service import open_depot

    depot = open_depot(directory(desk))
    try:
        return depot.collect()
    finally:
        depot.engine.dispose()
