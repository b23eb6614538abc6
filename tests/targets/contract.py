"""The places that keep the contract of `registry.contracts.Target`.

A further place is one line in PLACES.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from sample_models import GRAIN

from registry.auth.credentials import Credentials
from registry.connect import HostSettings, Registries, in_process
from registry.contracts import Target
from registry.model.names import Name
from registry.server.app import App
from registry.server.depot_memory import MemoryDepot
from registry.server.principal import Right
from registry.server.service import Plan, Service
from registry.server.table import Unguarded
from registry.targets.direct import Direct
from registry.targets.memory import Memory
from registry.targets.peer import Peer
from registry.targets.remote import Remote
from registry.targets.sessions import file_sessions
from registry.targets.store import Store
from registry.wire.messages import Origin


@dataclass(frozen=True)
class Place:
    """A target under test, whose names are at `host`.

    `again`: the same place as a later process finds it. `shared`: whether a second intake for a blob is
    refused while the first is open. `keeps_blobs`: whether removing leaves blobs to a later collection.
    """

    target: Target
    again: Callable[[], Target]
    host: str = "models.example"
    shared: bool = True
    keeps_blobs: bool = False

    def name(self, text: str) -> Name:
        """A name at this place, `namespace/model:tag`."""
        return Name.parse(f"{self.host}/{text}")

    def remove(self, name: Name) -> None:
        """Take `name` away: a registry may delete by digest only."""
        if isinstance(self.target, Store | Memory):
            self.target.remove(name)
        elif isinstance(self.target, Remote) and not self.target.untag(name):
            self.target.untag(name.with_reference(self.target.digest(name)))


Open = Callable[[Path, contextlib.ExitStack], Place]


def memory(_directory: Path, _undo: contextlib.ExitStack) -> Place:
    target = Memory(grain=GRAIN)
    return Place(target, lambda: target)


def store(directory: Path, undo: contextlib.ExitStack, grain: int = GRAIN) -> Place:
    def again() -> Store:
        target = Store(directory / "models", grain=grain)
        undo.callback(target.close)
        return target

    return Place(again(), again)


def remote_in_process(directory: Path, undo: contextlib.ExitStack, direct: bool = False) -> Place:
    """A registry over its application, without a socket."""
    app = Unguarded(App(MemoryDepot(), direct_upload=direct))
    if direct:
        undo.enter_context(nothing_carried())

    def again() -> Remote:
        transport = in_process(app)
        peer = Peer(transport, Origin("https", "models.example", 443))
        return Remote(peer, file_sessions(directory / "state"), Direct(transport))

    return Place(again(), again, shared=False, keeps_blobs=True)


@contextlib.contextmanager
def nothing_carried() -> Iterator[None]:
    """Small blobs are worth a direct upload too."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("remote", "upload"):
            patch.setattr(f"registry.targets.{module}.SMALL_BYTES", 0)
        yield


def remote_over_sockets(directory: Path, undo: contextlib.ExitStack, direct: bool = False) -> Place:
    """The embedded registry as it is served, over loopback."""
    service = Service(Plan(directory / "data", anonymous=Right.WRITE, direct_upload=direct))
    undo.callback(service.stop)
    host = service.start().removeprefix("http://")

    def again() -> Remote:
        uploads = file_sessions(directory / "state")
        connections = Registries(lambda _: HostSettings(), Credentials(), uploads=uploads)
        undo.callback(connections.close)
        return connections.remote_at(Origin.of(f"http://{host}"))

    return Place(again(), again, host=host, shared=False, keeps_blobs=True)


PLACES: dict[str, Open] = {
    "memory": memory,
    "store": store,
    "store, nothing is small": partial(store, grain=1000),
    "remote in process": remote_in_process,
    "remote over sockets": remote_over_sockets,
    "remote in process, direct upload": partial(remote_in_process, direct=True),
    "remote over sockets, direct upload": partial(remote_over_sockets, direct=True),
}
