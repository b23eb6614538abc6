"""A private registry behind a line that breaks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from data_directory import prepared
from far_client import KEY, remote
from faultplan import Link, Plan
from faultproxy import FaultProxy
from peers import Registry, ferry_server, free_port
from sample_models import Model

from registry.auth.keys import PrivateKey
from registry.model.names import Name
from registry.server import registry as served
from registry.targets.remote import Remote
from registry.targets.sessions import Sessions

SMALL = (300_000, 70_000, 1_000, 10)  # bytes of the layers beside the weights


@dataclass
class Line:
    """A client at one end, a registry at the other, the proxy between them."""

    proxy: FaultProxy
    place: Path
    port: int
    key: PrivateKey = KEY
    _running: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _server: Registry | None = None

    @property
    def server(self) -> Registry:
        """The registry that runs."""
        assert self._server is not None
        return self._server

    def start(self, *program: str) -> None:
        """Start the registry, or start it again on what its data is now; `program` takes ferry's place."""
        urls = [f"http://127.0.0.1:{number}" for number in (self.port, self.proxy.port)]
        words = [word for url in urls for word in ("--public-url", url)]
        self._running.close()
        self._server = self._running.enter_context(
            ferry_server(self.place / "server", *words, port=self.port, program=program)
        )

    def kill(self) -> None:
        """SIGKILL the registry."""
        self.server.process.kill()
        self.server.process.wait()

    def stop(self) -> None:
        """End the registry."""
        self._running.close()

    @property
    def far(self) -> Name:
        """The model as the client names it: through the proxy."""
        return Name.parse(f"127.0.0.1:{self.proxy.port}/ada/carried:1")

    @property
    def near(self) -> Name:
        """The same model without the proxy."""
        return Name.parse(f"{self.server.host}/ada/carried:1")

    def remote(
        self, name: Name, sessions: Sessions | None = None
    ) -> contextlib.AbstractContextManager[Remote]:
        """The registry as `name` reaches it, by a client with ada's key."""
        return remote(name, self.key, sessions)


@contextlib.contextmanager
def line(place: Path, plan: Plan | None = None, link: Link | None = None) -> Iterator[Line]:
    """A registry in which only ada may do anything, behind a proxy that follows `plan`."""
    kept = served.Registry.open(prepared(place / "server" / "data"))
    kept.accounts.add_user("ada", key=KEY.public)
    kept.close()
    with FaultProxy(plan, link) as proxy:
        opened = Line(proxy, place, free_port())
        proxy.upstream = ("127.0.0.1", opened.port)
        opened.start()
        try:
            yield opened
        finally:
            opened.stop()


def model(seed: int, size: int) -> Model:
    """Weights of `size` bytes, and small layers beside them."""
    return Model.random(seed, size, *SMALL)


def total(carried: Model) -> int:
    """All its bytes."""
    return sum(blob.size for blob in carried.manifest.blobs())
