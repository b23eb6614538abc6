"""A client with a key of its own: impatient, and with small parts.

Processes that are killed a hundred times start from this alone; it imports nothing that serves.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from registry.auth.credentials import Credentials
from registry.auth.keys import PrivateKey
from registry.connect import HostSettings, Registries
from registry.model.names import Name
from registry.net.network import Network
from registry.targets.remote import Remote
from registry.targets.sessions import Sessions
from registry.targets.store import Store
from registry.transfer.options import Options
from registry.transfer.retry import Patience, Rule

MiB = 1024 * 1024
SPAN = MiB
KEY = PrivateKey(bytes(32))
STALL = 1.0
PAUSE = 0.05


@contextlib.contextmanager
def remote(name: Name, key: PrivateKey = KEY, sessions: Sessions | None = None) -> Iterator[Remote]:
    """The registry as `name` reaches it, by a client that is impatient and sends small parts."""
    way = HostSettings(Network(stall=STALL, connect=STALL))
    opened = Registries(lambda _: way, Credentials(key=key), uploads=sessions)
    try:
        found = opened.remote(name)
        yield Remote(found.peer, found.sessions, first_part=SPAN)
    finally:
        opened.close()


def store(models: Path) -> Store:
    """A local store that notes what it has after each mebibyte."""
    return Store(models, grain=SPAN)


def options(jobs: int | None = None) -> Options:
    """Patient as a person is, but quick about it."""
    rule = Rule(give_up_after=60, first_pause=PAUSE, longest_pause=0.5)
    return Options(patience=lambda: Patience(rule), jobs=jobs)
