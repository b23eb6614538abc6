"""Client sockets: a request goes out, an answer comes in, and nothing is done unasked.

Built on requests' adapter and urllib3's pools, with everything switched off that they do on their own:
no environment, no `.netrc`, no cookies, no redirects, no retries, no decompression, no rewritten URLs.
Knows nothing of registries or secrets.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from registry.errors import RegistryError
from registry.net.body import FAILURES, Body
from registry.net.failures import explain, is_tls_port, refused_by_proxy
from registry.net.network import Network
from registry.net.outgoing import Outgoing, SourceError
from registry.net.pace import Pace
from registry.net.pools import Adapter, PooledAnswer
from registry.net.sockets import Sockets
from registry.wire.bodies import encoding
from registry.wire.headers import Headers
from registry.wire.messages import Origin, Request, Response
from registry.wire.redirects import shown

_SHORT = 4096  # bytes of a refusal that are looked into
_PROXY_ASKS = 407  # RFC 9110 section 15.5.8: no registry says so
# What Go's and nginx's servers say in a 400 to plain HTTP on a TLS port.
_TLS_SPOKEN = (b"HTTP request to an HTTPS server", b"plain HTTP request was sent to HTTPS port")


class Http:
    """A Transport over sockets. Threads may share one."""

    def __init__(self, network: Network | None = None, trace: Callable[[str], None] | None = None) -> None:
        """`trace` gets one line per request and answer, without secrets."""
        self._network = network or Network()
        self._trace = trace or _silence
        self._traced = trace is not None
        self._sockets = Sockets()
        self._adapter = Adapter(self._network, self._sockets)
        self._proxy_for = cache(self._network.proxy_for)

    def __call__(self, request: Request) -> Response:
        """The answer to `request`, its body still to be read.

        TransientError if there is none (this time), DeniedError for a certificate, ProtocolError for what
        is not HTTP or a request body of another length than stated; the body's own errors unchanged.
        """
        if self._traced:
            self._trace(f"> {request.method} {shown(request.url)}")
        try:
            response = _receive(self._send(request), request.origin, self._pace)
        except RegistryError as error:
            self._trace(f"! {error.message}")
            raise
        if self._traced:
            self._trace(f"< {response.status} {shown(request.url)}")
        return response

    def close(self) -> None:
        """Close the idle connections; answers that are being read go on."""
        self._adapter.close()

    def abort(self) -> None:
        """Shut every connection there is, from any thread: a thread that waits gets a TransientError.

        What is asked afterwards gets new ones.
        """
        self._sockets.shut()
        self._adapter.close()

    def _send(self, request: Request) -> PooledAnswer:
        network, origin = self._network, request.origin
        proxy = self._proxy_for(origin)
        forwarding = bool(proxy) and origin.scheme == "http"
        going = Outgoing(request, network.agent, forwarding, network.stall, self._pace())
        try:
            answer = self._adapter.ask(going, proxy, network.time_to_answer(request))
        except SourceError as carried:
            raise carried.error from None
        except FAILURES as error:
            raise explain(error, origin, proxy=proxy) from error
        if answer.status == _PROXY_ASKS and forwarding:
            answer.release()
            raise refused_by_proxy(proxy, origin, str(answer.status))
        return answer

    def _pace(self) -> Pace:
        return Pace(self._network.floor, self._network.floor_window)


def _silence(line: str) -> None:
    """Nobody traces."""


def _receive(answer: PooledAnswer, origin: Origin, new_pace: Callable[[], Pace]) -> Response:
    """The answer whose head was read; ProtocolError for one that cannot be read on."""
    if answer.bodiless:
        answer.release()
        length = answer.length if answer.headed else 0
        return Response(answer.status, answer.headers, b"", length)
    body = Body(answer, origin, new_pace())
    if answer.status >= 400 and encoding(answer.headers):  # a refusal counts without its words
        body.close()
        return Response(answer.status, answer.headers.without("Content-Encoding", "Content-Length"))
    if answer.status == 400 and origin.scheme == "http" and answer.left and answer.left <= _SHORT:
        return _suspected(answer.headers, body, origin)
    return Response(answer.status, answer.headers, body, answer.length)


def _suspected(headers: Headers, body: Body, origin: Origin) -> Response:
    """A 400 to plain HTTP: it may come from a server that expects TLS and says so."""
    said = b"".join(body)
    if any(words in said for words in _TLS_SPOKEN):
        raise is_tls_port(origin)
    return Response(400, headers, said)
