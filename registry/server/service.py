"""The embedded registry as a whole: one data directory, one database, one guard, one listener."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from registry.disk import files
from registry.disk.data import DataFile, lock_file
from registry.errors import StorageError
from registry.net.listener.address import Address
from registry.net.listener.listener import Listener
from registry.net.listener.proxies import Proxies
from registry.net.listener.record import AccessRecord, Record
from registry.server.account_api import AccountApi
from registry.server.administration_api import AdministrationApi
from registry.server.app import App
from registry.server.approval import Approval
from registry.server.audit import last
from registry.server.connecting import Connecting
from registry.server.database import FILE, connect_at_once
from registry.server.directory import LOCK, check_servable, note_url
from registry.server.gauges import disk, kept, under_way
from registry.server.guard import Guard, check_anonymous
from registry.server.health import Health
from registry.server.identity import Identity
from registry.server.issuers import Issuers, TransportTo
from registry.server.job_tokens import JobTokens
from registry.server.links import DAY, Links
from registry.server.metrics import Gauges, Metrics
from registry.server.names import Names
from registry.server.overview import Overview
from registry.server.pages.errors import ForBrowsers
from registry.server.pages.html import Templates
from registry.server.pages.site import Site
from registry.server.people import People
from registry.server.person_api import PersonApi
from registry.server.principal import Right
from registry.server.prompt import Prompt
from registry.server.prompt_depot import PromptDepot
from registry.server.publisher_api import PublisherApi
from registry.server.registry import Registry, new_id
from registry.server.repository_api import RepositoryApi
from registry.server.scrub import Scrub
from registry.server.sign_in import SignIn
from registry.server.table import prompt_table, table, with_pages
from registry.server.team_api import TeamApi
from registry.server.token_exchange import TokenExchange
from registry.server.tokens import Nonces, Signer, Tokens, secret_in
from registry.wire.messages import is_loopback


def _untold(_record: AccessRecord) -> None:
    """Keeps no log."""


def _unheard(_sentence: str) -> None:
    """Listens to nothing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is served, and to whom.

    `public` are the server's own URLs; without any it goes by the loopback spellings of its address. No API
    key is good for longer than `max_key_days`. Below `min_free` bytes of free disk nothing is taken any more;
    None: the default of `Room.at`. `direct_upload` offers clients that ask for it one PUT of a whole blob to
    a link (PROTOCOL section 3). `record` is told of each request. `metrics`: an address of their own for the
    metrics, which then are at no other; `gauges` are shown among them. Each blob is read again within `scrub`
    seconds (0: never), `told` hears what is wrong with it, and `noted` the rest. `issuer_transport`: how
    those are asked for their keys who sign the ID tokens of CI jobs.
    """

    directory: Path
    address: Address = field(default_factory=Address)
    public: tuple[str, ...] = ()
    anonymous: Right = Right.NONE
    capability_days: int = 7
    max_key_days: int = 365
    record: Record = _untold
    direct_upload: bool = False
    min_free: int | None = None
    proxies: Proxies = field(default_factory=Proxies)
    metrics: Address | None = None
    gauges: tuple[Gauges, ...] = ()
    scrub: float = 0.0
    told: Callable[[str], None] = _unheard
    noted: Callable[[str], None] = _unheard
    issuer_transport: TransportTo | None = None


class Service:
    """A running registry, from `start` to `stop`."""

    def __init__(self, plan: Plan) -> None:
        """Take the data directory. StorageError if it is broken or in use, InvalidError for a bad plan."""
        self._plan = plan
        check_servable(plan.directory)
        self._lock = _taken(plan.directory)
        try:
            self.registry = Registry.prepare(plan.directory, plan.min_free)
            loopback = is_loopback(plan.address.host)
            check_anonymous(plan.anonymous, accounts=self.registry.accounts.any(), loopback=loopback)
            self._secret = secret_in(plan.directory, secrets.token_bytes(32))
        except BaseException:
            self._lock.close()
            raise
        self._scrub = Scrub(self.registry.depot, plan.scrub, plan.told, plan.noted) if plan.scrub else None
        self._gauges: tuple[Gauges, ...] = (
            partial(disk, plan.directory),
            partial(kept, self.registry.depot.engine, self.registry.depot.begun),
            partial(under_way, self._listeners),
            *((self._scrub.numbers,) if self._scrub else ()),
            *plan.gauges,
        )
        self._metrics = Metrics(*self._gauges, elsewhere=plan.metrics is not None)
        self._templates = Templates()
        self.set_up_url = ""  # where the first administrator is made, once it has started without accounts
        self._at_once = connect_at_once(plan.directory / FILE)
        self._running: list[Listener] = []
        self._issuers = Issuers(plan.issuer_transport, time.monotonic, plan.told)

    def start(self) -> str:
        """Begin to listen; the URL it is ready at. InvalidError if an address is taken."""
        plan = self._plan
        public = Names.public(plan.public) if plan.public else None  # refused before anything is bound
        bound = plan.address.bind()
        names = public or Names.loopback(plan.address.host, bound.port, plan.address.scheme)
        if plan.metrics is not None:
            self._run(Listener(self._metrics.alone, plan.metrics.bind()))
        identify = plan.proxies.identify
        guard = self._guard(names)
        prompt = self._prompt(guard)
        shown = ForBrowsers(guard, self._templates)
        self._run(Listener(shown, bound, prompt=prompt, record=self._record, identify=identify))
        if self._scrub is not None:
            self._scrub.start()
        self.look_at_issuers()
        base = names.first.base
        note_url(plan.directory, base)
        path = self.registry.invitations.set_up() if plan.anonymous is Right.NONE else None
        self.set_up_url = f"{base}{path}" if path else ""
        return str(names.origins[0])

    def stop(self) -> None:
        """Let running requests end, close everything, leave the data directory to others. May come twice."""
        while self._running:
            self._running.pop().stop()
        if self._scrub is not None:
            self._scrub.stop()
        self._at_once.dispose()
        with suppress(StorageError):  # it only says when something was last used
            self.registry.last_use.write()
        self.registry.close()
        self._lock.close()

    def look_at_issuers(self) -> None:
        """Have the keys of the issuers of ID tokens fetched that are not fresh; to be called now and then."""
        self._issuers.look(self.registry.publishers.issuers_in_use())

    def _run(self, listener: Listener) -> None:
        listener.start()
        self._running.append(listener)

    def _listeners(self) -> list[Listener]:
        return list(self._running)

    def _numbers(self) -> Mapping[str, tuple[str, float]]:
        """What is true of the registry just now."""
        return {name: each for gauge in self._gauges for name, each in gauge().items()}

    def _guard(self, names: Names) -> Guard:
        registry, plan = self.registry, self._plan
        signer = Signer(self._secret, time.time, new_id)
        links = Links(signer, plan.capability_days * DAY)
        restored = last(registry.depot.engine, "restore")
        nonces = Nonces(registry.depot.engine, time.time, restored)
        publishers = replace(registry.publishers, since=restored)
        jobs = TokenExchange(publishers, self._issuers, JobTokens(signer, time.time), names, time.time)
        connecting = Connecting(self._secret, time.time)
        identity = Identity(
            registry.accounts,
            registry.credentials,
            registry.rights,
            Tokens(signer),
            nonces,
            registry.last_use,
            time.time,
            plan.anonymous,
            connecting,
            jobs,
        )
        app = App(registry.depot, registry.rights, links, plan.direct_upload)
        api_keys = replace(registry.api_keys, most=plan.max_key_days * DAY)
        sign_in = SignIn.over(registry.accounts, registry.sessions, registry.invitations)
        approval = Approval(sign_in, registry.credentials, connecting)
        people = People(registry.accounts, sign_in.passwords, registry.invitations)
        health = Health(registry.depot.room, self._numbers)
        rows = {
            **AccountApi(
                registry.credentials, api_keys, registry.rights, registry.last_use, time.time
            ).rows(),
            **TeamApi(
                registry.organisations,
                registry.services,
                registry.immutable,
                registry.rights,
                registry.credentials,
                api_keys,
                registry.last_use,
            ).rows(),
            **PersonApi(sign_in, approval).rows(),
            **AdministrationApi(registry.depot.engine, people, health, time.time).rows(),
            **RepositoryApi(registry.depot, registry.rights, Overview(registry.depot.engine)).rows(),
            **PublisherApi(jobs).rows(),
        }
        site = Site(
            approval,
            people,
            health,
            api_keys,
            registry.last_use,
            self._templates,
            registry.depot,
            registry.rights,
            jobs,
        )
        everything = with_pages(table(app, identity, self._metrics.answer, rows), site.rows())
        return Guard(everything, names, identity, links, registry.sessions)

    def _prompt(self, guard: Guard) -> Prompt:
        """The same guard over a connection that never waits, in front of the little that the loop answers."""
        registry, engine = self.registry, self._at_once
        rights = replace(registry.rights, engine=engine)
        identity = replace(guard.identity, accounts=replace(registry.accounts, engine=engine), rights=rights)
        app = App(PromptDepot.before(registry.depot, engine), rights, guard.links, self._plan.direct_upload)
        return Prompt(replace(guard, table=prompt_table(app), identity=identity), time.monotonic)

    def _record(self, request: AccessRecord) -> None:
        self._metrics.count(request)
        self._plan.record(request)


def _taken(directory: Path) -> DataFile:
    """The lock of a data directory: one server holds it."""
    files.make_directory(directory, mode=0o700)
    lock = lock_file(directory / LOCK)
    if lock is None:
        raise StorageError(
            f"{directory} is being served by another process already",
            hint="stop that one first, or let an admin command end, or serve another directory with --data",
        )
    return lock
