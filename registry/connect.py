"""Introduces the parts to each other: sockets to sessions, sessions to targets, depots to both."""

from __future__ import annotations

import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from registry.auth.credentials import Account, Credentials
from registry.auth.session import Session
from registry.contracts import Clock
from registry.disk import files
from registry.errors import ProtocolError
from registry.model.names import Name, asked_host
from registry.model.spans import FileSpan
from registry.net.http import Http
from registry.net.network import Network
from registry.targets.direct import Direct
from registry.targets.manifest_push import PushOptions
from registry.targets.methods import Methods, memory_methods
from registry.targets.peer import Peer
from registry.targets.refused import Refused
from registry.targets.remote import Remote
from registry.targets.sessions import Sessions, memory_sessions
from registry.targets.small_uploads import SinglePosts
from registry.wire.masking import Masking
from registry.wire.messages import (
    Accept,
    Exchange,
    Origin,
    Request,
    Response,
    Transport,
    is_loopback,
)

if TYPE_CHECKING:
    from registry.net.throttle import Meter


@dataclass(frozen=True, slots=True)
class HostSettings:
    """How one host is reached: over which network, by which scheme, and who else may ask for a signature.

    `plain_http`: HTTP though it is no loopback host; `https`: HTTPS though it is one.
    """

    network: Network = field(default_factory=Network)
    plain_http: bool = False
    https: bool = False
    realms: tuple[Origin, ...] = ()


class Registries:
    """Every registry this process speaks to.

    There is one pool of sockets a network, and one session an origin and account.
    """

    def __init__(
        self,
        host_settings: Callable[[str], HostSettings],
        credentials: Credentials,
        *,
        uploads: Sessions | None = None,
        methods: Methods | None = None,
        meter: Meter | None = None,
        trace: Callable[[str], None] | None = None,
        now: Clock = time.time,
        masking: Masking | None = None,
    ) -> None:
        """`host_settings(host)` says how a host is reached; `meter` is what bodies pass through, both ways.

        `uploads` and `methods` are what is remembered of registries; without them, for this process only.
        """
        self._host_settings = host_settings
        self.credentials = credentials
        self._uploads = uploads or memory_sessions()
        self._methods = methods or memory_methods()
        self._meter = meter
        self._mask = masking or Masking()
        self._trace = (lambda line: trace(self._mask(line))) if trace else None
        self._now = now
        self._pools: list[tuple[Network, Http]] = []
        self._sessions: dict[tuple[Origin, Account], Session] = {}
        self._refused: defaultdict[Origin, Refused] = defaultdict(Refused)
        self._single_posts: defaultdict[Origin, SinglePosts] = defaultdict(SinglePosts)
        self._lock = threading.Lock()

    def origin(self, name: Name) -> Origin:
        """Where a registry is: plain HTTP on the loopback, else HTTPS, unless something says otherwise."""
        return self.origin_of(name.host, name.scheme)

    def origin_of(self, host: str, scheme: str = "") -> Origin:
        """The origin of `host` (`name` or `name:port`); Docker's hub has three names and one origin."""
        host = asked_host(host)
        secure = Origin.of(f"https://{host}")
        if not scheme:
            settings = self._host_settings(host)
            plain = settings.plain_http or (is_loopback(secure.host) and not settings.https)
            scheme = "http" if plain else "https"
        return Origin.of(f"http://{host}") if scheme == "http" else secure

    def remote(self, name: Name, options: PushOptions | None = None) -> Remote:
        """The registry a name is in, asked as whom we are in its repository; `options` of what is pushed."""
        return self.remote_at(self.origin(name), name.repository, options)

    def remote_at(self, origin: Origin, repository: str = "", options: PushOptions | None = None) -> Remote:
        """The registry at `origin`, asked as whom we are in `repository` (or a namespace) there."""
        peer = Peer(self.session(origin, repository), origin, self._now)
        return Remote(
            peer,
            self._uploads,
            Direct(self.bare(origin)),
            methods=self._methods,
            options=options or PushOptions(),
            refused=self._refused[origin],
            single_posts=self._single_posts[origin],
        )

    def bare(self, origin: Origin) -> Transport:
        """The transport that says to nobody who we are, over the network that leads to `origin`."""
        return self._pool(self.network(origin))

    def session(self, origin: Origin, repository: str = "") -> Transport:
        """The transport that says to `origin` who we are in `repository`."""
        return self.session_as(origin, self.credentials.account(origin, repository))

    def session_as(self, origin: Origin, account: Account) -> Session:
        """The transport that says to `origin` that we are `account`."""
        settings = self._host_settings(origin.netloc)
        transport = self._transport(settings.network, account.provider)
        with self._lock:
            session = self._sessions.get((origin, account))
            if session is None:
                session = self._sessions[origin, account] = Session(
                    transport,
                    origin,
                    account,
                    clock=self._now,
                    new_nonce=lambda: secrets.token_urlsafe(16),
                    realms=settings.realms,
                    masking=self._mask,
                )
            return session

    def network(self, origin: Origin) -> Network:
        """How the settings say that `origin` is reached."""
        return self._host_settings(origin.netloc).network

    def interrupt(self) -> None:
        """Shut every socket: a thread that waits for a peer gets a TransientError within a moment."""
        for _, http in self._pools:
            http.abort()

    def close(self) -> None:
        """Close what is idle."""
        for _, http in self._pools:
            http.close()

    def _transport(self, network: Network, provider: Origin | None) -> Transport:
        """Over `network`, but over its own to where the CI system of this job gives ID tokens."""
        pool = self._pool(network)
        if provider is None:
            return pool
        other = self._pool(self._host_settings(provider.netloc).network)
        return lambda request: (other if request.origin == provider else pool)(request)

    def _pool(self, network: Network) -> Transport:
        with self._lock:
            http = next((http for known, http in self._pools if known == network), None)
            if http is None:
                http = Http(network, self._trace)
                self._pools.append((network, http))
        if self._meter is None:
            return http
        from registry.net.throttle import Throttled  # here, as most runs have no limit

        return Throttled(http, self._meter)


def transport(network: Network) -> Transport:
    """Sockets over `network`, without anybody's name: for what is no registry."""
    return Http(network)


def in_process(exchange: Exchange) -> Transport:
    """A whole system without a socket: the driver that the listener is on one, for requests made here."""

    def transport(request: Request) -> Response:
        streamed = not isinstance(request.body, bytes)
        shown = replace(request, body=b"") if streamed else request
        answer = exchange(shown)
        if isinstance(answer, Accept):
            answer = _fed(answer, request)
        return _readable(answer, request)

    return transport


def _fed(accept: Accept, request: Request) -> Response:
    body: Iterable[bytes] = (request.body,) if isinstance(request.body, bytes) else request.body
    left = request.length or 0
    try:
        for chunk in body:
            left -= len(chunk)
            if left < 0:
                break
            accept.intake.write(chunk)
        if left:
            raise ProtocolError("a request's body has another length than was stated")
        return accept.then()
    finally:
        accept.intake.close()


def _readable(response: Response, request: Request) -> Response:
    """The answer as a client sees it: no body to a HEAD, a file as a stream."""
    if request.method == "HEAD":
        return replace(
            response, headers=response.headers.with_("Content-Length", str(response.length)), body=b""
        )
    if isinstance(response.body, FileSpan):
        return replace(response, body=files.read_span(response.body), length=response.body.length)
    return response
