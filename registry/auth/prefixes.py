"""What a login is for: a registry, or a namespace or repository of one. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from registry.errors import InvalidError
from registry.wire.messages import Origin, is_loopback

_SCHEMES = ("http", "https")


@dataclass(frozen=True, slots=True)
class Prefix:
    """`host` (with a port where one was written), and `path` below it: "", "acme" or "acme/tiny".

    Without a `scheme` it is for both.
    """

    host: str
    path: str = ""
    scheme: str = ""

    @classmethod
    def parse(cls, text: str) -> Prefix:
        """`[scheme://]host[:port][/namespace[/repository]]`; InvalidError for anything else."""
        scheme, separator, rest = text.rpartition("://")
        host, _, path = rest.partition("/")
        if separator and scheme not in _SCHEMES:
            raise InvalidError(f"{text[:80]!r} is not HOST or HOST/NAMESPACE")
        Origin.of(f"https://{host}")
        return cls(host.lower(), path.strip("/"), scheme)

    def __str__(self) -> str:
        return "/".join(filter(None, (self.host, self.path)))

    def fits(self, origin: Origin, repository: str) -> bool:
        """Whether it is about `repository` ("": none in particular) at `origin`."""
        same_host = self.host in (origin.netloc.lower(), f"{origin.netloc.lower()}:{origin.port}")
        below = not self.path or f"{repository}/".startswith(f"{self.path}/")
        return same_host and below and self.scheme in ("", origin.scheme)


def longest(prefixes: Iterable[Prefix], origin: Origin, repository: str) -> Prefix | None:
    """The one that fits best, if any does; of two that are as long, the first."""
    fitting = [prefix for prefix in prefixes if prefix.fits(origin, repository)]
    return max(fitting, key=lambda prefix: len(prefix.path), default=None)


def origin_of(host: str) -> Origin:
    """The origin a host stands for: as written with a scheme, plain HTTP on this machine, else HTTPS."""
    if "://" in host:
        return Origin.of(host)
    return Origin.of(f"{'http' if is_loopback(Origin.of(f'https://{host}').host) else 'https'}://{host}")
