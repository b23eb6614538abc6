"""requests' pools make our connections, kept here: the one file that touches what urllib3 does not promise.

Everything else of the client's network uses the public parts of requests, urllib3 and http.client. `PRIVATE`
lists what is used of the rest; `tests/net/test_private_parts.py` runs the tests of this room with the oldest
and the newest urllib3 that pyproject.toml allows.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Mapping
from functools import cached_property
from http.client import BadStatusLine, RemoteDisconnected
from typing import Any, cast

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Retry, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from registry.net.answers import Answer, Incoming
from registry.net.network import Network
from registry.net.outgoing import EarlyAnswer, Outgoing
from registry.net.sockets import Sockets
from registry.net.tls import TlsContext, TlsSocket, tls_context
from registry.wire.messages import Origin

PRIVATE = {
    "urllib3.connection.HTTPConnection": {
        "_new_conn": "overridden: opens the socket",
        "_dns_host": "read: the host's name with its last dot",
    },
}

_POOLS = 32  # hosts whose connections are kept
_NO_RETRIES = Retry(False, redirect=False)


class PooledAnswer(Answer):
    """An answer that knows where its connection goes when it was read."""

    # What urllib3's pool looks at.
    retries: Any = None
    version_string = "HTTP/1.1"
    length_remaining: int | None = None

    came_over: _Connection | None = None
    idle: IdleConnections

    def release(self) -> None:
        """Give the connection back: to be used again if the body was read to its end, closed otherwise."""
        connection, self.came_over = self.came_over, None
        if connection is None:
            return
        if self.reusable:
            self.idle.give(connection)
        else:
            connection.close()

    def __del__(self) -> None:
        """Nobody read it: its connection ends."""
        if self.came_over is not None:
            self.came_over.close()


class _Connection(HTTPConnection):
    """The part that plain and TLS connections share: urllib3 connects, and the messages are ours."""

    sockets: Sockets
    _poller: select.poll  # of what comes unasked
    _proxied: Mapping[str, str]
    _method = ""
    _heard = b""  # of an answer, while its request was being sent
    _early = False  # whether it came before its request was sent whole

    def _new_conn(self) -> socket.socket:
        """As urllib3's, but for the sockets being watched."""
        try:
            return self.sockets.connect(self._dns_host, self.port, cast(float, self.timeout))
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"no connection within {self.timeout} s") from error
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error

    def connect(self) -> None:
        """Connect; a TLS one shakes hands."""
        super().connect()
        self._poller = select.poll()
        self._poller.register(self.sock, select.POLLIN)

    @property
    def is_connected(self) -> bool:
        """Whether a request can go out: the peer has said nothing, nor hung up."""
        return self.sock is not None and not self._poller.poll(0)

    def request(  # type: ignore[override]
        self, method: str, url: str, body: Outgoing, headers: Mapping[str, str], **options: Any
    ) -> None:
        """Send the whole request, or as much as the peer takes before it answers.

        `headers` are those of the proxy; everything else is in `body`.
        """
        if self.sock is None:
            self.connect()
        self._proxied = headers
        self._method, self._heard, self._early = method, b"", False
        self._wait_at_most(body.stall)
        try:
            self._heard = body.send(self.sock, body.head(headers))
        except EarlyAnswer as early:
            self._heard, self._early = early.heard, True
        except (BrokenPipeError, ConnectionResetError):
            self._early = True  # what the peer said before it hung up can still be read

    def getresponse(self) -> PooledAnswer:  # type: ignore[override]
        """The answer, its head read."""
        self._wait_at_most(cast(float, self.timeout))
        answer = PooledAnswer(Incoming(self.sock, self._heard), self._method, last=self._early)
        answer.came_over = self
        return answer

    def _wait_at_most(self, seconds: float) -> None:
        """Tell the socket where it does not know: that is a system call, and lets other threads in."""
        if self.sock.gettimeout() != seconds:
            self.sock.settimeout(seconds)

    def ask_again(self, going: Outgoing, seconds: float) -> PooledAnswer:
        """The answer to one more request, which may take `seconds`; whatever breaks it ends the connection.

        What is no answer may be too much of the last one, a body behind a HEAD that came late: it breaks the
        connection, and says nothing about the peer. What urllib3's pool does for every request takes longer
        than all that is done for it here.
        """
        self.timeout = seconds
        try:
            self.request(going.request.method, "/", going, self._proxied)
            return self.getresponse()
        except BaseException as error:
            self.close()
            if type(error) is not BadStatusLine:
                raise
        raise RemoteDisconnected("behind the last answer came more than that")


class PlainConnection(_Connection):
    """HTTP over TCP."""


class TlsConnection(_Connection, HTTPSConnection):
    """HTTP over TLS; an `insecure` one does not ask who the peer is."""

    insecure = False

    def connect(self) -> None:
        """As urllib3's, but for one warning."""
        super().connect()
        # urllib3 warns on standard error about an unverified peer; here the command line already did.
        self.is_verified = self.is_verified or self.insecure

    @property
    def is_connected(self) -> bool:
        """The same, also where TLS holds back what was said."""
        return super().is_connected and not (isinstance(self.sock, TlsSocket) and self.sock.heard_more())


class IdleConnections:
    """The connections to one place that wait for a request; the one that came back last is taken first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._idle: list[_Connection] = []
        self._lock = threading.Lock()

    def take(self) -> _Connection | None:
        """One over which a request can go out, if there is one; those that ended meanwhile are closed."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if connection.is_connected:
                return connection
            connection.close()

    def give(self, connection: _Connection) -> None:
        """Keep `connection`, if there is room for it."""
        with self._lock:
            if has_room := len(self._idle) < self._most:
                self._idle.append(connection)
        if not has_room:
            connection.close()

    def __del__(self) -> None:
        """Nobody closed their client: they end with it."""
        self.close()

    def close(self) -> None:
        """Close those that wait, and each one that comes back."""
        with self._lock:
            self._most, idle = 0, self._idle[:]
            self._idle.clear()
        for connection in idle:
            connection.close()


class Adapter(HTTPAdapter):
    """requests' pools; what they do to requests and answers is passed by, and connections are kept here."""

    def __init__(self, network: Network, sockets: Sockets) -> None:
        self._network = network
        self._sockets = sockets
        self._idle: dict[tuple[Origin, str], IdleConnections] = {}
        self._lock = threading.Lock()
        self._pools = {"http": self._plain_pool, "https": self._tls_pool}
        self._plain = type("Plain", (PlainConnection,), {"sockets": sockets})
        self._tls = type("Tls", (TlsConnection,), {"sockets": sockets, "insecure": network.insecure})
        super().__init__(pool_connections=_POOLS, pool_maxsize=network.pool)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Also called by the constructor."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> PoolManager:
        """The pools behind a proxy."""
        if proxy.startswith("https:"):
            kwargs["proxy_ssl_context"] = self._context
        manager: PoolManager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = self._pools  # type: ignore[assignment]
        return manager

    def ask(self, going: Outgoing, proxy: str, seconds: float) -> PooledAnswer:
        """The answer to `going`, which may take `seconds`, through `proxy` if that is not empty.

        Raises what urllib3 raises; an OSError or an HTTPException too.
        """
        idle = self._idle_for(going.request.origin, proxy)
        connection = idle.take()
        if connection is not None:
            answer = connection.ask_again(going, seconds)
        else:
            answer = self._asked_first(going, proxy, seconds)
        answer.idle = idle
        return answer

    def close(self) -> None:
        """Close the connections that wait; others end when their answers were read."""
        with self._lock:
            every, self._idle = self._idle, {}
        for each in every.values():
            each.close()
        super().close()

    def _idle_for(self, origin: Origin, proxy: str) -> IdleConnections:
        found = self._idle.get((origin, proxy))
        if found is None:
            with self._lock:
                if len(self._idle) >= _POOLS:
                    self._idle.pop(next(iter(self._idle))).close()
                found = self._idle.setdefault((origin, proxy), IdleConnections(self._network.pool))
        return found

    def _asked_first(self, going: Outgoing, proxy: str, seconds: float) -> PooledAnswer:
        """The answer over a new connection."""
        origin = going.request.origin
        manager = self.proxy_manager_for(proxy) if proxy else self.poolmanager
        pool = manager.connection_from_host(origin.host, origin.port, origin.scheme)
        answer: object = pool.urlopen(
            going.request.method,
            f"{origin}/" if proxy else "/",  # for choosing a connection; what goes out is in `going`
            body=going,  # type: ignore[arg-type]
            headers={},
            timeout=Timeout(connect=self._network.connect, read=seconds),
            redirect=False,
            assert_same_host=False,
            preload_content=False,
            decode_content=False,
            retries=_NO_RETRIES,
        )
        return cast(PooledAnswer, answer)  # what our connections make

    def _plain_pool(self, host: str, port: int, **options: Any) -> HTTPConnectionPool:
        pool = HTTPConnectionPool(host, port, **options)
        pool.ConnectionCls = self._plain
        return pool

    def _tls_pool(self, host: str, port: int, **options: Any) -> HTTPSConnectionPool:
        ours = self._network.certificate
        shown = ours is not None and Origin("https", host, port) == ours.origin
        context = self._with_certificate if shown else self._context
        pool = HTTPSConnectionPool(host, port, **{**options, "ssl_context": context})
        pool.ConnectionCls = self._tls
        return pool

    @cached_property
    def _context(self) -> TlsContext:
        """Made when first needed: reading the system's CAs takes a while."""
        return tls_context(self._sockets, ca=self._network.ca, insecure=self._network.insecure)

    @cached_property
    def _with_certificate(self) -> TlsContext:
        """The same, for the one origin that is shown our own certificate."""
        network = self._network
        return tls_context(
            self._sockets, ca=network.ca, insecure=network.insecure, certificate=network.certificate
        )
