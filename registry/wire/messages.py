"""Request, Response and the one shape everything that answers has. No socket is known here."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

from registry.errors import InvalidError
from registry.model.spans import FileSpan
from registry.wire.headers import Headers

BODY_BYTES = 4 * 1024 * 1024  # the largest body that is held in memory,
SMALL_SECONDS = 60.0  # and how long it may take to arrive
_URL_LENGTH = 16 * 1024
_UNFIT = re.compile(r"[^!-~]")
_AUTHORITY = re.compile(r"[^/?#]*")  # RFC 3986, section 3.2
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """Scheme, host and port: what a secret is for (RFC 6454)."""

    scheme: str
    host: str
    port: int

    @staticmethod
    @lru_cache(maxsize=256)  # one request is looked at many times on its way
    def of(url: str) -> Origin:
        """The origin of an absolute http or https URL; InvalidError for anything else."""
        if len(url) > _URL_LENGTH or _UNFIT.search(url):
            raise InvalidError("a URL that is too long, or has spaces or control characters in it")
        return _origin(url[: _authority_end(url)])

    @property
    def netloc(self) -> str:
        """`host`, or `host:port` where the port is not the scheme's own; IPv6 in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether it is this machine, spelled as `localhost` or a loopback address."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}"


@lru_cache(maxsize=256)  # of two hosts, a mirror asks for each of its names
def is_loopback(host: str) -> bool:
    """Whether `host` (no port, no brackets) is `localhost` or in 127.0.0.0/8 or ::1."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=256)
def _origin(url: str) -> Origin:
    """The origin of a URL that has nothing behind its authority."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidError(f"{url[:80]!r} is not a URL") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise InvalidError(f"{url[:80]!r} is not an absolute http or https URL")
    if parts.username is not None or parts.password is not None:
        raise InvalidError("a URL with a user name in it")
    if port is None:
        port = _DEFAULT_PORTS[parts.scheme]
    if not 1 <= port <= 65535:
        raise InvalidError(f"{port} is not a port")
    return Origin(parts.scheme, parts.hostname, port)


@dataclass(frozen=True, slots=True)
class Access:
    """What a request is for: `actions` ("pull", "push", "delete") in `repository`.

    `mounted_from`: the repository that a blob is to be taken over from, or "".
    """

    repository: str
    actions: tuple[str, ...] = ("pull",)
    mounted_from: str = ""


ACCOUNT = Access("", ("*",))
"""What a request is for that is about our account and no repository: scope `registry:account:*`."""


@dataclass(slots=True)
class Context:
    """What a server knows of one request, filled in by those it passes: for the log, never a secret.

    `address` is who asked, `user` and `credential` the names of who they turned out to be.
    """

    id: str = ""
    address: str = ""
    route: str = "none"
    repository: str = ""
    user: str = ""
    credential: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. `url` is absolute and goes out byte for byte.

    `access` says what for (DESIGN, rule 12): its maker knows, and nobody guesses it from
    the URL. None where it is about no repository.

    `body` is bytes (at most BODY_BYTES) or, on the client's side only, an iterable of `length` bytes,
    which is sent once and never replayed. `length` is None only for a server's request whose sender
    did not say (chunked transfer coding). `context` is a server's only.
    """

    method: str
    url: str
    headers: Headers = field(default_factory=Headers)
    body: bytes | Iterable[bytes] = field(default=b"", repr=False)
    length: int | None = 0
    access: Access | None = None
    context: Context = field(default_factory=Context, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.body, bytes) and self.body:
            object.__setattr__(self, "length", len(self.body))

    @property
    def origin(self) -> Origin:
        """Where it goes."""
        return Origin.of(self.url)

    @property
    def target(self) -> str:
        """Path and query exactly as in `url`: what stands on the request line."""
        return _target(self.url)

    @property
    def path(self) -> str:
        """The path, still percent-encoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> list[tuple[str, str]]:
        """The query's decoded pairs, in order; empty values kept."""
        return list(_pairs(self.target.partition("?")[2]))

    def parameter(self, name: str) -> str | None:
        """The first value of a query parameter, or None."""
        text = self.target.partition("?")[2]
        return next((value for key, value in _pairs(text) if key == name), None)

    def with_header(self, name: str, value: str) -> Request:
        """The same request with exactly one header `name`."""
        return replace(self, headers=self.headers.with_(name, value))

    @property
    def replayable(self) -> bool:
        """Whether it may be sent a second time: a streamed body may not (DESIGN, rule 3)."""
        return isinstance(self.body, bytes)


def _authority_end(url: str) -> int:
    """Where the authority of a URL ends, which follows its `://`."""
    scheme = url.find("://")
    authority = _AUTHORITY.match(url, scheme + 3 if scheme >= 0 else len(url))
    assert authority is not None  # it may be empty
    return authority.end()


@lru_cache(maxsize=64)  # a request is asked for its path, query and parameters one after the other
def _target(url: str) -> str:
    """What stands on the request line for a URL."""
    target = url[_authority_end(url) :].partition("#")[0]
    return target if target.startswith("/") else f"/{target}"


@lru_cache(maxsize=16)
def _pairs(query: str) -> tuple[tuple[str, str], ...]:
    try:
        return tuple(parse_qsl(query, keep_blank_values=True, max_num_fields=64, errors="strict"))
    except ValueError:
        raise InvalidError("the query cannot be read") from None


@dataclass(frozen=True, slots=True)
class Response:
    """What is answered. `length` is the body's length in bytes; None only while a peer did not say.

    To a HEAD, `length` is what a GET would have, and the body is b"". An async iterable is a peer's answer
    that is passed on as it comes, by a server only.
    """

    status: int
    headers: Headers = field(default_factory=Headers)
    body: bytes | Iterable[bytes] | AsyncIterable[bytes] | FileSpan = field(default=b"", repr=False)
    length: int | None = None

    def __post_init__(self) -> None:
        if self.length is None and isinstance(self.body, bytes):
            object.__setattr__(self, "length", len(self.body))
        elif self.length is None and isinstance(self.body, FileSpan):
            object.__setattr__(self, "length", self.body.length)

    @property
    def pieces(self) -> Iterable[bytes]:
        """The body of an answer that a client reads: as it came, maybe in one piece."""
        body = self.body
        if isinstance(body, bytes):
            return (body,)
        if isinstance(body, FileSpan | AsyncIterable):
            raise TypeError("a client's answer has no file in it, and waits in no event loop")
        return body

    def close(self) -> None:
        """Give up what was not read."""
        close = getattr(self.body, "close", None)
        if close is not None:
            close()


class Feed(Protocol):
    """Where the driver puts a request's bytes as they arrive, one write of at most 1 MiB at a time.

    Each call may block on the disk, never on a peer. `close` is always called, after `then` or
    instead of it: what arrived is kept or dropped as the answerer sees fit.
    """

    def write(self, data: bytes, /) -> None: ...
    def close(self) -> None: ...


def _as_it_is(document: Response) -> Response:
    return document


@dataclass(frozen=True, slots=True)
class Accept:
    """The answer to a request that brings a body: feed `intake`, then call `then` for the response.

    `limit` is the most the body may have, in bytes; the driver refuses more with 413. `seconds`: the time
    for all of it, or None where only standing still is limited. `in_memory`: the intake keeps it there,
    and the driver sees to what all of them take. `hash_more` hashes some of what `then` needs hashed, in
    bounded time, and says whether some is left: called until it says no, before `then`. `told` writes
    an error document of the driver's as this client reads them.
    """

    intake: Feed
    then: Callable[[], Response]
    limit: int
    seconds: float | None = None
    in_memory: bool = False
    hash_more: Callable[[], bool] | None = None
    told: Callable[[Response], Response] = _as_it_is


@dataclass(frozen=True, slots=True)
class Later:
    """The answer of a server that has to wait for a peer of its own, and holds no thread for it.

    The driver takes a body of at most `limit` bytes into memory, within `seconds`, and awaits `answer` with
    it on its event loop. That is cancelled when the client goes. `told` writes an error document of the
    driver's (too much, too late, too busy) as this client reads them.
    """

    answer: Callable[[bytes], Awaitable[Response]]
    limit: int = 0
    seconds: float = SMALL_SECONDS
    told: Callable[[Response], Response] = _as_it_is


class Gathered:
    """A feed that keeps a small body in memory."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> None:
        self._data += data

    def close(self) -> None:
        self._data = bytearray()

    @property
    def body(self) -> bytes:
        """All that came."""
        return bytes(self._data)


def accept_small(
    then: Callable[[bytes], Response], limit: int = BODY_BYTES, seconds: float = SMALL_SECONDS
) -> Accept:
    """Ask for a body of at most `limit` bytes within `seconds`, and answer with `then(body)`."""
    gathered = Gathered()
    return Accept(gathered, lambda: then(gathered.body), limit, seconds, in_memory=True)


Exchange = Callable[[Request], Response | Accept]
"""Everything that answers has this shape, and never waits for a peer (DESIGN, "One shape")."""

Transport = Callable[[Request], Response]
"""An exchange whose blobs are driven already: what a client asks through."""
