"""Every host there is, played by one proxy: what a client sends to each is told apart and kept.

Only hosts of this machine are reached without a proxy; for them there is a spy of its own.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sample_models import describe
from spy import Seen, Spy, Talk, reply

from registry.auth.credentials import Credentials
from registry.connect import HostSettings, Registries
from registry.errors import RegistryError
from registry.model.names import Name
from registry.model.spans import Span
from registry.net.network import ClientCertificate, Network
from registry.wire.headers import Headers
from registry.wire.messages import Access, Origin, Request

DATA = b"weights" * 50_000
SCOPE = "repository:acme/tiny:pull,push"
TOKEN = "the-token"
CI = "https://ci.forge.example"  # where the system that runs a job gives ID tokens
OWN_HEADERS = Headers({"Cookie": "the-cookie", "X-Own": "the-header"})


@dataclass
class World:
    """The registry at `registry`, which sends clients on to `place`, and every other host.

    `via` is how it does so: by the `realm` of its challenge, a `redirect` of a download, a redirect of its
    `token` server, the location of an `upload`, the offer of `storage`, or the `link` of a list.
    """

    registry: Origin
    via: str
    place: str
    tls: ssl.SSLContext
    seen: list[tuple[str, Seen]] = field(default_factory=list)
    shown: list[tuple[str, bool]] = field(default_factory=list)  # whether each host saw our certificate

    def __post_init__(self) -> None:
        self._told: dict[int, str] = {}

    def script(self, talk: Talk, seen: Seen) -> None:
        """What the proxy does."""
        talk.body(seen)
        if seen.method == "CONNECT":
            self._told[id(talk)] = f"https://{seen.target}"
            talk.send(b"HTTP/1.1 200 OK\r\n\r\n")
            talk.encrypt(self.tls)
            assert isinstance(talk.socket, ssl.SSLSocket)
            self.shown.append((f"https://{seen.target}", bool(talk.socket.getpeercert())))
            return
        place = self._told.get(id(talk)) or seen.target
        self.seen.append((place, seen))
        talk.send(self._answer(Origin.of(place.lower()), seen))

    def at(self, origin: Origin) -> list[Seen]:
        """What the host at `origin` was sent."""
        return [seen for place, seen in self.seen if Origin.of(place.lower()) == origin]

    def _answer(self, origin: Origin, seen: Seen) -> bytes:
        path = seen.target.partition("://")[2].partition("/")[2] if "://" in seen.target else seen.target[1:]
        if origin == Origin.of(CI):
            return reply(200, b'{"value":"the-id-token"}')
        if origin != self.registry or path == "oauth/token":
            return reply(200, b'{"token":"the-token"}')
        if path.startswith("token"):
            if self.via == "token":
                return reply(307, Location=self.place)
            return reply(200, b'{"token":"the-token"}')
        if path.startswith("moved"):
            return reply(200, b'{"tags":[]}' if self.via == "link" else DATA)
        if seen.header("Authorization") is None:
            return self._challenge(seen)
        return self._served(seen)

    def _challenge(self, seen: Seen) -> bytes:
        realm = self.place if self.via == "realm" else f"{self.registry}/token"
        scope = SCOPE if seen.method in ("POST", "PUT", "PATCH") else SCOPE.removesuffix(",push")
        return reply(401, WWW_Authenticate=f'Bearer realm="{realm}",service="s",scope="{scope}"')

    def _served(self, seen: Seen) -> bytes:
        digest = str(describe(DATA).digest)
        match self.via, seen.method:
            case "redirect", "GET":
                return reply(307, Location=self.place)
            case "link", "GET":
                return reply(200, b'{"tags":[]}', Link=f'<{self.place}>; rel="next"')
            case _, "HEAD":
                return reply(404)
            case "upload", "POST":
                return reply(202, Location=self.place)
            case "storage", "POST":
                own = f"{self.registry}/v2/acme/tiny/blobs/uploads/1"
                return reply(202, Location=own, X_Direct_Upload_URL=self.place)
            case _, "PATCH":
                return reply(202, Location=self.place, Range=f"0-{len(DATA) - 1}")
            case _, "PUT":
                return reply(201, Docker_Content_Digest=digest)
        return reply(200, DATA)


@contextmanager
def everywhere(world: World) -> Iterator[Spy]:
    """The proxy that plays `world`."""
    with Spy((world.script,)) as spy:
        yield spy


def visit(
    world: World,
    proxy: str,
    credentials: Credentials,
    realms: tuple[str, ...],
    writes: bool,
    certificate: ClientCertificate,
) -> list[str]:
    """Do what leads a client to where the registry sends it; the trace of it. How it ends does not matter."""
    trace: list[str] = []
    proxies = {"http": proxy, "https": proxy}
    network = Network(proxies=proxies, insecure=True, certificate=certificate)
    allowed = tuple(Origin.of(realm) for realm in realms)
    opened = Registries(lambda _host: HostSettings(network, realms=allowed), credentials, trace=trace.append)
    try:
        _ask(world, opened, writes)
    except RegistryError as error:
        trace.append(f"{error.message} {error.hint} {error.detail}")
    finally:
        opened.close()
    return trace


def _ask(world: World, opened: Registries, writes: bool) -> None:
    remote = opened.remote_at(world.registry, "acme/tiny")
    name = Name.parse(f"{world.registry.netloc}/acme/tiny:1")
    if world.via == "link":
        list(remote.tags(name))
    elif world.via in ("upload", "storage"):
        blob = describe(DATA)
        intake = remote.receive(name, blob, None)
        assert intake is not None
        intake.write(Span(0, blob.size), [DATA])
        intake.prove()
        intake.commit()
    else:
        access = Access("acme/tiny", ("pull", "push") if writes else ("pull",))
        url = f"{world.registry}/v2/acme/tiny/blobs/{'uploads/' if writes else describe(DATA).digest}"
        opened.session(world.registry, "acme/tiny")(
            Request("POST" if writes else "GET", url, OWN_HEADERS, access=access)
        ).close()
