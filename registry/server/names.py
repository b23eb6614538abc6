"""The server's own names: the only hosts it answers to, and the only ones signatures are checked against.

CLI.md, "Serving"; PROTOCOL section 4. A request may pick one of these names, never add one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from registry.errors import InvalidError
from registry.wire.messages import Origin, is_loopback

_HOST_LENGTH = 512
_MOST_NAMES = 64


@dataclass(frozen=True, slots=True)
class Known:
    """One of the server's names; `spelled` is how the client wrote it (its case, a default port)."""

    origin: Origin
    spelled: str

    @property
    def base(self) -> str:
        """`scheme://host:port`, the host as the client wrote it: stock compares it letter by letter."""
        return f"{self.origin.scheme}://{self.spelled}"


@dataclass(frozen=True, slots=True)
class Names:
    """The origins this server is."""

    origins: tuple[Origin, ...]
    _spellings: Mapping[str, Origin] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.origins) <= _MOST_NAMES:
            raise InvalidError(f"a server has between 1 and {_MOST_NAMES} names")
        spellings: dict[str, Origin] = {}
        for origin in self.origins:
            for spelling in _spellings(origin):
                if spellings.setdefault(spelling, origin) != origin:
                    raise InvalidError(
                        f"{origin} and {spellings[spelling]} cannot both be this server's name: "
                        "a request does not say which of them it means"
                    )
        object.__setattr__(self, "_spellings", spellings)

    @classmethod
    def public(cls, urls: Iterable[str]) -> Names:
        """The names that `urls` (`scheme://host[:port]`) give; InvalidError for one with more in it."""
        return cls(tuple(dict.fromkeys(_public(url) for url in urls)))

    @classmethod
    def loopback(cls, host: str, port: int, scheme: str = "http") -> Names:
        """The loopback spellings of an address that is listened on; InvalidError if it is not one."""
        if not is_loopback(host):
            raise InvalidError(
                f"{host} is not a loopback address, so the server cannot know its own name",
                hint="say it: --public-url https://models.acme.example",
            )
        hosts = dict.fromkeys((host.lower(), "localhost", "127.0.0.1", "::1"))
        return cls(tuple(Origin(scheme, each, port) for each in hosts))

    @property
    def first(self) -> Known:
        """The name that is used where a request says none."""
        return Known(self.origins[0], self.origins[0].netloc)

    def match(self, host: str) -> Known | None:
        """The name that a `Host` header means, or None if it is not one of ours."""
        if len(host) > _HOST_LENGTH:
            return None
        origin = self._spellings.get(host.lower())
        return Known(origin, host) if origin else None


def _spellings(origin: Origin) -> set[str]:
    """How a client may write it in lower case: a default port may be there or not."""
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    return {origin.netloc, f"{host}:{origin.port}"}


def _public(url: str) -> Origin:
    origin = Origin.of(url)
    parts = urlsplit(url)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise InvalidError(
            f"{url[:80]!r} has more in it than a public URL may",
            hint="a public URL is https://host or https://host:port",
        )
    return origin
