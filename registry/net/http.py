"""Client sockets: a request goes out, an answer comes in, and nothing is done unasked.

Built on requests' adapter and urllib3's pools, with everything switched off that they do on their own:
no environment, no `.netrc`, no cookies, no redirects, no retries, no decompression, no rewritten URLs.
Knows nothing of registries or secrets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from typing import Any

import urllib3
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPHeaderDict, HTTPSConnectionPool, PoolManager

from registry.errors import InvalidError, ProtocolError, RegistryError
from registry.net.body import FAILURES, Body, Readers
from registry.net.connections import Outgoing, PlainConnection, SourceError, TlsConnection
from registry.net.failures import explain, is_tls_port
from registry.net.network import Network
from registry.net.pace import Pace
from registry.net.sockets import Sockets, TlsContext, tls_context
from registry.wire.headers import Headers
from registry.wire.messages import Origin, Request, Response
from registry.wire.redirects import shown

_POOLS = 32  # hosts whose connections are kept
_SHORT = 4096  # bytes of a refusal that are looked into
_LENGTH = re.compile(r"[0-9]{1,18}")
_WITH_BODY = ("POST", "PUT", "PATCH")
_FRAMING = frozenset({"host", "content-length", "transfer-encoding", "connection"})
_BODYLESS = (204, 304)
# What Go's and nginx's servers say in a 400 to plain HTTP on a TLS port.
_TLS_SPOKEN = (b"HTTP request to an HTTPS server", b"plain HTTP request was sent to HTTPS port")


class Http:
    """A Transport over sockets. Threads may share one."""

    def __init__(self, network: Network | None = None, trace: Callable[[str], None] | None = None) -> None:
        """`trace` gets one line per request and answer, without secrets."""
        self._network = network or Network()
        self._trace = trace or _silence
        self._sockets = Sockets()
        self._readers = Readers()
        self._adapter = _Adapter(self._network, self._sockets)
        self._proxy_for = cache(self._network.proxy_for)
        self._patience = {
            "": urllib3.Timeout(connect=self._network.connect, read=self._network.stall),
            "PUT": urllib3.Timeout(connect=self._network.connect, read=self._network.answer),
        }

    def __call__(self, request: Request) -> Response:
        """The answer to `request`, its body still to be read.

        TransientError if there is none (this time), DeniedError for a certificate, ProtocolError for what
        is not HTTP or a request body of another length than stated; the body's own errors unchanged.
        """
        self._trace(f"> {request.method} {shown(request.url)}")
        try:
            response = _receive(request, self._send(request), self._pace(), self._readers)
        except RegistryError as error:
            self._trace(f"! {error.message}")
            raise
        self._trace(f"< {response.status} {shown(request.url)}")
        return response

    def close(self) -> None:
        """Close the idle connections; answers that are being read go on."""
        self._adapter.close()

    def abort(self) -> None:
        """Shut every connection at once, from any thread: whoever waits gets a TransientError."""
        self._sockets.shut()
        self._adapter.close()

    def _send(self, request: Request) -> urllib3.HTTPResponse:
        network, origin = self._network, request.origin
        proxy = self._proxy_for(origin)
        patience = self._patience["PUT" if request.method == "PUT" else ""]
        try:
            answer = self._adapter.pool(origin, proxy).urlopen(
                request.method,
                f"{origin}/" if proxy else "/",  # for choosing a connection; what goes out is in Outgoing
                body=Outgoing(request, network.stall, self._pace()),  # type: ignore[arg-type]
                headers=_fields(request, network.agent),
                timeout=patience,
                redirect=False,
                assert_same_host=False,
                preload_content=False,
                decode_content=False,
                retries=False,
            )
        except SourceError as carried:
            raise carried.error from None
        except FAILURES as error:
            raise explain(error, origin, proxy=proxy) from error
        return answer  # type: ignore[return-value]

    def _pace(self) -> Pace:
        return Pace(self._network.floor, self._network.floor_window)


def _silence(line: str) -> None:
    """Nobody traces."""


def _receive(request: Request, raw: urllib3.HTTPResponse, pace: Pace, readers: Readers) -> Response:
    """The answer whose head was read; ProtocolError for one that cannot be read on."""
    origin = request.origin
    body = Body(raw, None, origin, pace, readers)
    try:
        headers = _headers(raw, origin)
        length = _length(headers, origin)
        if request.method == "HEAD" or raw.status in _BODYLESS or length == 0:
            raw.read()  # nothing, but the connection is free again
            return Response(raw.status, headers, b"", length if request.method == "HEAD" else 0)
        body = Body(raw, length, origin, pace, readers)
        if headers.get("Content-Encoding", "identity").lower() != "identity":
            return _undecoded(raw.status, headers, body, origin)
        if raw.status == 400 and origin.scheme == "http" and length is not None and length <= _SHORT:
            return _suspected(headers, body, origin)
    except RegistryError:
        body.give_up()
        raise
    return Response(raw.status, headers, body, length)


def _headers(raw: urllib3.HTTPResponse, origin: Origin) -> Headers:
    try:
        return Headers(raw.headers.items())
    except InvalidError as error:
        raise ProtocolError(
            f"the answer of {origin.netloc} cannot be read: {error.message}", host=origin.netloc
        ) from None


def _length(headers: Headers, origin: Origin) -> int | None:
    """The body's length as stated, None for a chunked or unstated one (RFC 9112 section 6.3)."""
    codings = [value.strip().lower() for value in headers.all("Transfer-Encoding")]
    if codings == ["chunked"]:
        return None
    stated = set(headers.all("Content-Length"))
    if codings or len(stated) > 1 or not all(_LENGTH.fullmatch(value) for value in stated):
        raise ProtocolError(
            f"the answer of {origin.netloc} does not say clearly where it ends", host=origin.netloc
        )
    return int(stated.pop()) if stated else None


def _undecoded(status: int, headers: Headers, body: Body, origin: Origin) -> Response:
    """A compressed answer that nobody asked for: a refusal counts without its words, anything else not."""
    if status < 400:
        raise ProtocolError(
            f"{origin.netloc} sent its answer compressed, though it was asked not to",
            host=origin.netloc,
            hint="a proxy on the way may do that; NO_PROXY goes around it",
        )
    body.close()
    return Response(status, headers.without("Content-Encoding", "Content-Length"))


def _suspected(headers: Headers, body: Body, origin: Origin) -> Response:
    """A 400 to plain HTTP: it may come from a server that expects TLS and says so."""
    said = b"".join(body)
    if any(words in said for words in _TLS_SPOKEN):
        raise is_tls_port(origin)
    return Response(400, headers, said)


def _fields(request: Request, agent: str) -> Mapping[str, str]:
    """The headers as they go out; framing is ours alone."""
    lines = [("Host", request.origin.netloc)]
    for name, default in (("User-Agent", agent), ("Accept-Encoding", "identity")):
        if name not in request.headers:
            lines.append((name, default))
    lines += [(name, value) for name, value in request.headers if name.lower() not in _FRAMING]
    if request.length or request.method in _WITH_BODY:
        lines.append(("Content-Length", str(request.length or 0)))
    fields = dict(lines)
    return fields if len(fields) == len(lines) else HTTPHeaderDict(lines)  # the latter is slow


class _Adapter(HTTPAdapter):
    """requests' pools with our connections in them; what it does to requests and answers is passed by."""

    def __init__(self, network: Network, sockets: Sockets) -> None:
        self._network = network
        self._sockets = sockets
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

    def pool(self, origin: Origin, proxy: str) -> HTTPConnectionPool:
        """The connections to `origin`, through `proxy` if that is not empty."""
        manager = self.proxy_manager_for(proxy) if proxy else self.poolmanager
        return manager.connection_from_host(origin.host, origin.port, origin.scheme)

    def _plain_pool(self, host: str, port: int, **options: Any) -> HTTPConnectionPool:
        pool = HTTPConnectionPool(host, port, **options)
        pool.ConnectionCls = self._plain
        return pool

    def _tls_pool(self, host: str, port: int, **options: Any) -> HTTPSConnectionPool:
        pool = HTTPSConnectionPool(host, port, **{**options, "ssl_context": self._context})
        pool.ConnectionCls = self._tls
        return pool

    @cached_property
    def _context(self) -> TlsContext:
        """Made when first needed: reading the system's CAs takes a while."""
        return tls_context(self._sockets, ca=self._network.ca, insecure=self._network.insecure)
