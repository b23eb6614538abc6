"""Who asks from where: what proxies in front say of it is believed only of those that are trusted."""

from __future__ import annotations

import ipaddress
import itertools
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from registry.errors import InvalidError
from registry.wire.headers import Headers
from registry.wire.messages import Context, is_loopback

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_OWN = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1"))
_MOST_HOPS = 32
_FOR = re.compile(r'(?:^|;)\s*for="?([^";]*)"?', re.IGNORECASE)  # RFC 7239 section 4
_TOKEN = re.compile(r"[A-Za-z0-9-]{1,64}")
_IDENTIFIER = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NUMBERS = itertools.count(secrets.randbits(63))


def new_identifier() -> str:
    """A name for one request. It is no secret: counted, as asking the system for chance costs much more."""
    return f"{next(_NUMBERS):016x}"


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies that are trusted, and the one header in which they say who asked them."""

    trusted: tuple[Network, ...] = ()
    header: str = "X-Forwarded-For"

    @classmethod
    def parse(cls, networks: Iterable[str], header: str = "X-Forwarded-For") -> Proxies:
        """`10.0.0.0/8` and the like; one address is a network too. InvalidError."""
        if not _TOKEN.fullmatch(header):
            raise InvalidError(f"{header[:40]!r} is not a header's name")
        try:
            return cls(tuple(ipaddress.ip_network(each) for each in networks), header)
        except ValueError as error:
            raise InvalidError(
                f"a trusted proxy: {error}", hint="for example 127.0.0.1, or 10.0.0.0/8"
            ) from None

    def may_come_to(self, host: str) -> bool:
        """Whether any of them may come to who listens at `host`: to a loopback address, only this machine."""
        if not is_loopback(host):
            return bool(self.trusted)
        return any(each.overlaps(own) for each in self.trusted for own in _OWN if each.version == own.version)

    def identify(self, peer: str, headers: Headers) -> Context:
        """The context of a request that came over a connection from `peer`."""
        address = _address(peer) if self.trusted else None
        if address is None or not self._trusts(address):
            return Context(id=new_identifier(), address=peer)
        asked = self._read(headers, address)
        given = headers.get("X-Request-ID")
        identifier = given if _IDENTIFIER.fullmatch(given) else new_identifier()
        return Context(id=identifier, address=str(asked))

    def _read(self, headers: Headers, nearest: Address) -> Address:
        """From the right, the first address that is no trusted proxy; the last one that could be read."""
        hops = [hop for value in headers.all(self.header) for hop in value.split(",")]
        for hop in reversed(hops[-_MOST_HOPS:]):
            address = _address(self._hop(hop))
            if address is None:
                break
            nearest = address
            if not self._trusts(address):
                break
        return nearest

    def _hop(self, text: str) -> str:
        if self.header.lower() != "forwarded":
            return text
        found = _FOR.search(text.strip())
        return found[1] if found else ""

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self.trusted)


def _address(text: str) -> Address | None:
    """`1.2.3.4`, `1.2.3.4:567`, `::1`, `[::1]:567`; an IPv4 address in IPv6 clothes is an IPv4 address."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
