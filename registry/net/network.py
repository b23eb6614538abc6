"""How this machine reaches others: proxies, certificates, patience. Data only; nothing is read here."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from registry.errors import InvalidError
from registry.wire.messages import Origin, Request

_WHOLE = 1024**3  # bytes of a body that takes as long to hash as a blob


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What this machine shows a server that asks who is there before it says anything (mutual TLS).

    It goes to `origin` and to nobody else, wherever that leads. `chain` and `key` are files in PEM form;
    without `key`, that stands in `chain` too.
    """

    origin: Origin
    chain: Path
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Network:
    """What holds for every request; all times in seconds.

    `stall` is the longest time without a byte in either direction, and over `floor_window` seconds at least
    `floor` bytes a second must move while we wait; `answer` is the longest that a peer may
    think before the first byte of its answer, once it was sent a PUT or a GiB: it may hash a whole blob
    first, or what it was just sent. `proxies` has
    a proxy's URL per scheme; `no_proxy` names hosts, domains, addresses and networks reached directly.
    `ca` is PEM text trusted besides the system's CAs; `insecure` takes any certificate; `certificate` is our
    own, for one origin.
    """

    agent: str = "ferry"
    connect: float = 10.0
    stall: float = 30.0
    floor: float = 1000.0
    floor_window: float = 60.0
    answer: float = 300.0
    pool: int = 32
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold a password
    no_proxy: tuple[str, ...] = ()
    ca: str = field(default="", repr=False)
    insecure: bool = False
    certificate: ClientCertificate | None = None

    def __post_init__(self) -> None:
        if min(self.connect, self.stall, self.answer, self.floor_window) <= 0 or self.pool < 1:
            raise InvalidError("network: times and the pool's size must be positive")
        for scheme, url in self.proxies.items():
            if scheme not in ("http", "https") or not is_proxy(url):
                raise InvalidError(
                    f"the proxy for {scheme} has a wrong URL", hint="for example http://proxy.example:3128"
                )

    def time_to_answer(self, request: Request) -> float:
        """How long the peer may think over `request`: the longer the more it was sent."""
        share = 1.0 if request.method == "PUT" else min((request.length or 0) / _WHOLE, 1.0)
        return self.stall + max(self.answer - self.stall, 0.0) * share

    def proxy_for(self, origin: Origin) -> str:
        """The URL of the proxy on the way to `origin`, or "" for none; this machine never needs one."""
        if origin.loopback or any(_covers(entry, origin) for entry in self.no_proxy):
            return ""
        return self.proxies.get(origin.scheme, "")


def is_proxy(url: str) -> bool:
    """Whether `url` names a proxy's scheme and host, and a port that there is."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _covers(entry: str, origin: Origin) -> bool:
    """Whether a NO_PROXY entry means `origin`: `*`, a host or domain (with port), an address, a net."""
    entry = entry.strip().lower()
    if entry == "*":
        return True
    if "/" in entry:
        try:
            return ipaddress.ip_address(origin.host) in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    host, port = _split_port(entry)
    if port and port != str(origin.port):
        return False
    host = host.removeprefix("*").lstrip(".")
    return bool(host) and (origin.host == host or origin.host.endswith(f".{host}"))


def _split_port(entry: str) -> tuple[str, str]:
    """Host without brackets, and port or ""."""
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        return host, rest.removeprefix(":")
    if entry.count(":") == 1:
        host, _, port = entry.partition(":")
        return host, port
    return entry, ""
