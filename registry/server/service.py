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
from registry.server.gauges import disk, kept, under_way
from registry.server.guard import Guard, check_anonymous
from registry.server.http.address import Address
from registry.server.http.listener import Listener
from registry.server.http.proxies import Proxies
from registry.server.http.record import AccessRecord, Record
from registry.server.metrics import Gauges, Metrics
from registry.server.names import Names
from registry.server.tokens import DAY, Nonces, Tokens, secret_in
from registry.wire.messages import Exchange, is_loopback

_LOCK = "serving"


def _untold(_record: AccessRecord) -> None:
    """For whoever keeps no log."""


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
    `record` is told of each request. `metrics`: an address of their own for the metrics, which then are at
    no other; `gauges` are shown among them.
    """

    directory: Path
    address: Address = field(default_factory=Address)
    public: tuple[str, ...] = ()
    anonymous: Right = Right.NONE
    capability_days: int = 7
    record: Record = _untold
    direct_upload: bool = False
    proxies: Proxies = field(default_factory=Proxies)
    metrics: Address | None = None
    gauges: tuple[Gauges, ...] = ()


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
        self._metrics = Metrics(
            partial(disk, plan.directory),
            partial(kept, self.depot.engine),
            partial(under_way, self._listeners),
            *plan.gauges,
            elsewhere=plan.metrics is not None,
        )
        self._running: list[Listener] = []

    def start(self) -> str:
        """Begin to listen; the URL it is ready at. InvalidError if an address is taken."""
        plan = self._plan
        bound = plan.address.bind()
        names = self._names(bound.port)
        if plan.metrics is not None:
            self._run(Listener(self._metrics.alone, plan.metrics.bind()))
        identify = plan.proxies.identify
        self._run(Listener(self._guard(names), bound, record=self._record, identify=identify))
        return str(names.origins[0])

    def stop(self) -> None:
        """Let running requests end, close everything, leave the data directory to others. May come twice."""
        while self._running:
            self._running.pop().stop()
        self.depot.engine.dispose()
        self._lock.close()

    def _run(self, listener: Listener) -> None:
        listener.start()
        self._running.append(listener)

    def _listeners(self) -> list[Listener]:
        return list(self._running)

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

    def _record(self, request: AccessRecord) -> None:
        self._metrics.count(request)
        self._plan.record(request)


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
