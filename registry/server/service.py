"""The embedded registry as a whole: one data directory, one database, one guard, one listener."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from registry.contracts import Depot
from registry.disk import files
from registry.disk.data import DataFile, lock_file
from registry.errors import StorageError
from registry.model.digests import Digest
from registry.server.accounts import Accounts, Right
from registry.server.app import App
from registry.server.database import open_database
from registry.server.depot import DiskDepot
from registry.server.desk import Desk
from registry.server.guard import Guard, check_anonymous
from registry.server.listener import Address, Listener, Served
from registry.server.metrics import Metrics
from registry.server.names import Names
from registry.server.tokens import DAY, Nonces, Tokens, secret_in
from registry.wire.faults import fault
from registry.wire.messages import Accept, Exchange, Request, Response, is_loopback

_LOCK = "serving"


def new_id() -> str:
    """A fresh UUID."""
    return str(uuid.uuid4())


def open_accounts(directory: Path) -> Accounts:
    """The accounts of a data directory, also while a server runs on it. StorageError."""
    return Accounts(open_database(directory), time.time, new_id)


def open_depot(directory: Path) -> DiskDepot:
    """The depot of a data directory, also while a server runs on it. StorageError."""
    return DiskDepot.open(directory, time.time, new_id)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is served, and to whom.

    `public` are the server's own URLs; without any it goes by the loopback spellings of its address.
    `direct_upload` offers clients that ask for it one PUT of a whole blob to a link (PROTOCOL section 3).
    """

    directory: Path
    address: Address = field(default_factory=Address)
    public: tuple[str, ...] = ()
    anonymous: Right = Right.NONE
    capability_days: int = 7
    served: Callable[[Served], None] = lambda _: None
    direct_upload: bool = False


class Service:
    """A running registry, from `start` to `stop`."""

    def __init__(self, plan: Plan) -> None:
        """Take the data directory. StorageError if it is broken or in use, InvalidError for a bad plan."""
        self._plan = plan
        self._lock = _taken(plan.directory)
        try:
            self.depot = open_depot(plan.directory)
            self.accounts = Accounts(self.depot.engine, time.time, new_id)
            loopback = is_loopback(plan.address.host)
            check_anonymous(plan.anonymous, accounts=self.accounts.any(), loopback=loopback)
            self._secret = secret_in(plan.directory, secrets.token_bytes(32))
        except BaseException:
            self._lock.close()
            raise
        self._metrics = Metrics()
        self._listener: Listener | None = None

    def start(self) -> str:
        """Begin to listen; the URL it is ready at. InvalidError if the address is taken."""
        gate = _Gate()
        listener = Listener(gate, self._plan.address, served=self._served)
        port = listener.start()
        self._listener = listener
        names = self._names(port)
        gate.exchange = self._guard(names)
        return str(names.origins[0])

    def stop(self) -> None:
        """Let running requests end, close everything, leave the data directory to others. May come twice."""
        if self._listener is not None:
            self._listener.stop()
            self._listener = None
        self.depot.engine.dispose()
        self._lock.close()

    def _names(self, port: int) -> Names:
        if self._plan.public:
            return Names.public(self._plan.public)
        return Names.loopback(self._plan.address.host, port, self._plan.address.scheme)

    def _guard(self, names: Names) -> Guard:
        days = self._plan.capability_days
        tokens = Tokens(self._secret, time.time, new_id, capability_seconds=days * DAY)
        nonces = Nonces(self.depot.engine, time.time)
        desk = Desk(self.accounts, tokens, nonces, time.time, self._plan.anonymous)
        application = partial(_application, self.depot, self._metrics, self._plan.direct_upload)
        return Guard(self.depot, application, names, desk)

    def _served(self, request: Served) -> None:
        self._metrics.count(request)
        self._plan.served(request)


class _Gate:
    """Stands in for the guard until the port, and with it the server's name, is known."""

    def __init__(self) -> None:
        self.exchange: Exchange | None = None

    def __call__(self, request: Request) -> Response | Accept:
        if self.exchange is None:
            return fault("UNAVAILABLE", "the registry is starting")
        return self.exchange(request)


def _application(
    depot: Depot,
    metrics: Metrics,
    direct_upload: bool,
    *,
    readable: Callable[[str], bool],
    capability: Callable[[str, Digest], str],
    deposit: Callable[[str, str, int], str],
) -> Exchange:
    return metrics.beside(App(depot, readable, capability, deposit if direct_upload else None))


def _taken(directory: Path) -> DataFile:
    """The lock of a data directory: one server holds it."""
    files.make_directory(directory, mode=0o700)
    lock = lock_file(directory / _LOCK)
    if lock is None:
        raise StorageError(
            f"{directory} is being served by another process already",
            hint="stop that one first, or serve another directory with --data",
        )
    return lock
