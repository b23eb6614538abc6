"""The way to one origin, a step at a time: its addresses, the proxy, a connection, TLS.

By the same parts as every request (`sockets`, `tls`, `failures`), so that what is found here is what a
request meets. Sends nothing but a CONNECT and a handshake.
"""

from __future__ import annotations

import base64
import contextlib
import re
import socket
from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

from urllib3.exceptions import ProxyError

from registry.errors import RegistryError
from registry.net.answers import HEAD_BYTES, Incoming
from registry.net.body import FAILURES
from registry.net.certificates import Certificate
from registry.net.failures import explain
from registry.net.network import Network
from registry.net.sockets import Sockets
from registry.net.tls import tls_context
from registry.wire.messages import Origin

_STATUS = re.compile(r"HTTP/1\.[01] +([0-9]{3})")


@dataclass(frozen=True, slots=True)
class Secured:
    """What TLS was agreed on, and with whom; `certificate` is None where it cannot be read."""

    version: str
    certificate: Certificate | None


class Probe:
    """Every method raises what a request would: DeniedError, TransientError, ProtocolError; InvalidError
    for certificates of authorities that cannot be read. Each takes at most `network.connect` seconds to
    connect, and `network.stall` to hear something.
    """

    def __init__(self, network: Network, origin: Origin) -> None:
        self.origin = origin
        self.proxy = network.proxy_for(origin)
        self._network = network
        self._sockets = Sockets()
        self._connection: socket.socket | None = None

    @property
    def first(self) -> str:
        """The host that is connected to: the proxy, or the origin itself."""
        return urlsplit(self.proxy).hostname or "" if self.proxy else self.origin.host

    def resolve(self) -> list[str]:
        """The addresses of `first`, in the system's order."""
        try:
            found = socket.getaddrinfo(self.first, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise self._explained(error) from error
        return list(dict.fromkeys(str(each[4][0]) for each in found))

    def connect(self) -> str:
        """Connect to `first`; the address that took the connection."""
        try:
            self._connection = self._sockets.connect(self.first, self._port, self._network.connect)
            self._connection.settimeout(self._network.stall)
            return str(self._connection.getpeername()[0])
        except FAILURES as error:
            raise self._explained(error) from error

    def tunnel(self) -> None:
        """Have the proxy, which was connected to, connect us on: only for an origin that speaks TLS."""
        assert self._connection is not None
        there = f"{self.origin.netloc.removesuffix(f':{self.origin.port}')}:{self.origin.port}"
        try:
            self._connection.sendall(
                f"CONNECT {there} HTTP/1.1\r\nHost: {there}\r\n{self._pass()}\r\n".encode()
            )
            head = Incoming(self._connection).head(HEAD_BYTES)
            status = _STATUS.match(head)
            if status is None or status[1] != "200":
                raise OSError(f"Tunnel connection failed: {status[1] if status else '???'}")
        except FAILURES as error:
            raise self._explained(error) from error

    def encrypt(self) -> Secured:
        """Agree on TLS with the origin over the connection that there is."""
        plain, self._connection = self._connection, None
        assert plain is not None
        network = self._network
        try:
            context = tls_context(self._sockets, ca=network.ca, insecure=network.insecure)
            secured = context.wrap_socket(plain, server_hostname=self.origin.host)
        except FAILURES as error:
            raise explain(error, self.origin, proxy=self.proxy) from error
        finally:
            plain.close()
        self._connection = secured
        return Secured(secured.version() or "TLS", Certificate.read(secured.getpeercert(True)))

    def presented(self) -> Certificate | None:
        """Which certificate the origin shows to who takes any; None where that cannot be found out."""
        trusting = Probe(replace(self._network, insecure=True, ca=""), self.origin)
        try:
            trusting.connect()
            if trusting.proxy:
                trusting.tunnel()
            return trusting.encrypt().certificate
        except RegistryError:
            return None
        finally:
            trusting.close()

    def close(self) -> None:
        """Shut what is open, also from another thread."""
        self._sockets.shut()
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()

    @property
    def _port(self) -> int:
        if not self.proxy:
            return self.origin.port
        parts = urlsplit(self.proxy)
        return parts.port or (443 if parts.scheme == "https" else 80)

    def _pass(self) -> str:
        """The field that tells a proxy who we are, where its URL does."""
        parts = urlsplit(self.proxy)
        if parts.username is None:
            return ""
        told = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        return f"Proxy-Authorization: Basic {base64.b64encode(told).decode()}\r\n"

    def _explained(self, error: Exception) -> RegistryError:
        if not self.proxy:
            return explain(error, self.origin)
        return explain(ProxyError("the proxy", error), self.origin, proxy=self.proxy)
