"""The hops to a host before anything is asked of it: its name, the proxy, a connection, TLS."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urlsplit

from registry.diagnose.findings import Finding, Hops, failed, note, ok, skipped
from registry.errors import DeniedError
from registry.net.probe import Probe

_TOLD = 4  # addresses
_SLOW = 1.0  # seconds that a connection takes


class Reaching:
    """The way that `probe` goes; `insecure`: certificates are not checked. `clock` counts seconds."""

    def __init__(self, probe: Probe, *, insecure: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._probe = probe
        self._insecure = insecure
        self._clock = clock

    @property
    def hops(self) -> Hops:
        """In order."""
        return (("dns", self.dns), ("proxy", self.proxy), ("tcp", self.tcp), ("tls", self.tls))

    def dns(self) -> Finding:
        """Which addresses the name stands for; behind a proxy, its own name's."""
        found = self._probe.resolve()
        more = f" and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
        beyond = f"; the proxy looks {self._probe.origin.host} up" if self._probe.proxy else ""
        name = self._probe.first
        told = f"{name} is {', '.join(found[:_TOLD])}{more}" if found != [name] else f"{name} needs none"
        return ok("dns", f"{told}{beyond}")

    def proxy(self) -> Finding:
        """Whether one is on the way, and passes us on."""
        if not self._probe.proxy:
            return ok("proxy", f"none on the way to {self._probe.origin.netloc}")
        parts = urlsplit(self._probe.proxy)
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._probe.connect()
        if parts.scheme == "https":
            return note("proxy", f"{shown} took the connection; TLS within TLS is not looked into")
        if self._probe.origin.scheme == "http":
            return ok("proxy", f"{shown} took the connection")
        self._probe.tunnel()
        return ok("proxy", f"{shown} connects us to {self._probe.origin.netloc}")

    def tcp(self) -> Finding:
        """Whether somebody listens."""
        if self._probe.proxy:
            return skipped("tcp", "the proxy connects")
        began = self._clock()
        address = self._probe.connect()
        took = self._clock() - began
        port = self._probe.origin.port
        seen = f"{address} takes connections at port {port}, in {took * 1000:.0f} ms"
        return note("tcp", seen) if took > _SLOW else ok("tcp", seen)

    def tls(self) -> Finding:
        """Whether the host is who it says, and who vouches for it."""
        probe = self._probe
        if probe.origin.scheme == "http":
            where = "this machine" if probe.origin.loopback else "everybody on the way can read and change it"
            seen = f"plain HTTP ({where})"
            return ok("tls", seen) if probe.origin.loopback else note("tls", seen)
        if probe.proxy.startswith("https:"):
            return skipped("tls", "behind a proxy that speaks TLS itself, only a request shows it")
        try:
            found = probe.encrypt()
        except DeniedError as error:
            shown = probe.presented()
            return failed("tls", error, f"{error.message}; it is {shown}" if shown else error.message)
        seen = f"{found.version}, a certificate {found.certificate or 'that cannot be read'}"
        return note("tls", f"{seen}; it was not checked") if self._insecure else ok("tls", seen)
