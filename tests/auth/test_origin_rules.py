"""Where a secret goes: one row for each place that a registry may send us to, for every kind of secret.

Every host there is is played by one proxy, which keeps each byte it is sent (`origin_world`).
"""

from __future__ import annotations

import ssl
from base64 import b64encode
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import pytest
from certificates import write_certificate
from origin_world import CI, World, everywhere, visit
from spy import Spy, reply

from registry.auth.ci import JobIdentity
from registry.auth.credentials import Credentials
from registry.auth.keys import PrivateKey
from registry.auth.prefixes import Prefix
from registry.auth.secrets import ApiKey, IdentityToken, Login
from registry.errors import InvalidError
from registry.net.network import ClientCertificate
from registry.wire.messages import Origin

KEY = PrivateKey(bytes(range(32)))
ACME = "https://models.acme.example"
MARKS = (
    KEY.public.text,
    "the-api-key",
    "the-password",
    b64encode(b"me:the-password").decode(),
    "the-identity",
    "the-runner-token",
    "the-id-token",
    "the-token",
    "the-cookie",
    "the-header",
)
KINDS = ("key", "API key", "login", "identity token", "job")


class Gets(Enum):
    """What a place gets."""

    SECRET = "what says who we are"
    NAMELESS = "a request that says nothing of us"
    NOTHING = "not one byte"


@dataclass(frozen=True)
class Row:
    """`writes`: the place is named while something is published."""

    via: str
    place: str
    gets: Gets
    registry: str = ACME
    allowed: tuple[str, ...] = ()
    writes: bool = False

    def __str__(self) -> str:
        at = "" if self.registry == ACME else f" at {self.registry}"
        allowed = f", allowed {self.allowed[0]}" if self.allowed else ""
        return f"{self.via}{' of a push' if self.writes else ''}{at}: {self.place}{allowed}"


OWN = (
    f"{ACME}/moved",
    "https://MODELS.ACME.EXAMPLE/moved",
    f"{ACME}:443/moved",
    "HTTPS://models.acme.example/moved",
)
# Other hosts, however like ours they look.
ELSEWHERE = (
    "https://elsewhere.example/moved",
    f"{ACME}:8443/moved",
    f"{ACME}.elsewhere.example/moved",
    "https://elsewhere-models.acme.example/moved",
    "https://acme.example/moved",
    "https://deeper.models.acme.example/moved",
    f"{ACME}./moved",
    "https://xn--mdels-jua.acme.example/moved",
    "https://elsewhere.example/moved?at=@models.acme.example",
    "https://elsewhere.example?@models.acme.example/moved",
)
# What is no place, or one that no registry on the internet may send anybody to.
NOWHERE = (
    "http://models.acme.example/moved",
    "http://elsewhere.example/moved",
    "https://models.acme.example@elsewhere.example/moved",
    "https://models.acme.example:pw@elsewhere.example/moved",
    "https://elsewhere.example\\@models.acme.example/moved",
    "https://m\u00f6dels.acme.example/moved",
    "https://models.acme.example:99999/moved",
    "https://models.acme.example:0/moved",
    "ftp://models.acme.example/moved",
    "https:///moved",
    "https://10.0.0.7/moved",
    "https://192.168.1.1/moved",
    "https://172.16.0.1:8443/moved",
    "https://100.64.0.1/moved",
    "https://[fd00::7]/moved",
    "https://169.254.169.254/latest/meta-data",
    "http://169.254.169.254/latest/meta-data",
    "https://[fe80::1]/moved",
    "https://[fd00:ec2::254]/latest/meta-data",
    "https://100.100.100.200/latest/meta-data",
    "https://metadata.google.internal/computeMetadata/v1",
    "https://metadata/computeMetadata/v1",
    "https://127.0.0.1:{port}/moved",
    "https://localhost:{port}/moved",
    "https://localhost.:{port}/moved",
    "https://models.localhost:{port}/moved",
    "https://[::1]:{port}/moved",
    "https://[::ffff:127.0.0.1]:{port}/moved",
    "https://0.0.0.0:{port}/moved",
    "https://127.1:{port}/moved",
    "https://0x7f000001:{port}/moved",
    "https://2130706433:{port}/moved",
    "http://127.0.0.1:{port}/moved",
)
PAIRS = (
    ("https://registry.ollama.ai", "https://ollama.com/moved"),
    ("https://hf.co", "https://huggingface.co/moved"),
    ("https://registry-1.docker.io", "https://auth.docker.io/moved"),
    ("https://registry.gitlab.com", "https://gitlab.com/moved"),
)
ID = "https://id.acme.example"
INSIDE = "https://10.0.0.1"
ROWS = [
    # Where a token is asked for. What is public may be read as nobody, with a token from anywhere public.
    *(Row("realm", place, Gets.SECRET) for place in OWN),
    *(Row("realm", place, Gets.NAMELESS) for place in ELSEWHERE),
    *(Row("realm", place, Gets.NOTHING) for place in (*NOWHERE, "/moved", "")),
    *(Row("realm", place, Gets.SECRET, writes=True) for place in OWN),
    *(Row("realm", place, Gets.NOTHING, writes=True) for place in (*ELSEWHERE, *NOWHERE)),
    *(Row("realm", place, Gets.SECRET, registry) for registry, place in PAIRS),
    *(Row("realm", place, Gets.SECRET, registry, writes=True) for registry, place in PAIRS),
    *(
        Row("realm", f"{registry}/moved", Gets.NAMELESS, Origin.of(place).__str__())
        for registry, place in PAIRS
    ),
    *(Row("realm", place.replace("https", "http"), Gets.NOTHING, registry) for registry, place in PAIRS),
    *(
        Row("realm", place.replace("/moved", ":8443/moved"), Gets.NAMELESS, registry)
        for registry, place in PAIRS
    ),
    Row("realm", "https://ollama.com/moved", Gets.NAMELESS),
    Row("realm", "https://ollama.com.elsewhere.example/moved", Gets.NAMELESS, "https://registry.ollama.ai"),
    # What the user has allowed, and only that.
    Row("realm", f"{ID}/moved", Gets.SECRET, allowed=(ID,)),
    Row("realm", f"{ID}/moved", Gets.SECRET, allowed=(ID,), writes=True),
    Row("realm", f"{ID}:8443/moved", Gets.NAMELESS, allowed=(ID,)),
    Row("realm", "http://id.acme.example/moved", Gets.NOTHING, allowed=(ID,)),
    Row("realm", "https://deeper.id.acme.example/moved", Gets.NAMELESS, allowed=(ID,)),
    Row("realm", "https://10.1.2.3/moved", Gets.SECRET, allowed=("https://10.1.2.3",)),
    Row("realm", "https://169.254.169.254/moved", Gets.NOTHING, allowed=("https://169.254.169.254",)),
    Row(
        "realm",
        "https://metadata.google.internal/x",
        Gets.NOTHING,
        allowed=("https://metadata.google.internal",),
    ),
    Row("realm", "https://127.0.0.1:{port}/moved", Gets.NOTHING, allowed=("https://127.0.0.1:{port}",)),
    # A token server that sends on is not followed, with or without a secret.
    *(Row("token", place, Gets.NOTHING) for place in (*OWN, *ELSEWHERE[:2], *NOWHERE[:2])),
    # Downloads: to storage anywhere public, with nothing of ours.
    *(Row("redirect", place, Gets.SECRET) for place in (*OWN, "/moved")),
    *(Row("redirect", place, Gets.NAMELESS) for place in (*ELSEWHERE, "//elsewhere.example/moved")),
    *(Row("redirect", place, Gets.NOTHING) for place in (*NOWHERE, "")),
    *(Row("redirect", f"{ID}/moved", Gets.NAMELESS, allowed=(ID,)) for _ in "1"),
    *(Row("redirect", place, Gets.NAMELESS, registry) for registry, place in PAIRS),
    # A registry inside of a network may send on inside of it, but not to this machine or its link.
    Row("redirect", "https://10.0.0.7/moved", Gets.NAMELESS, INSIDE),
    Row("redirect", "https://169.254.169.254/latest", Gets.NOTHING, INSIDE),
    Row("redirect", "https://metadata.google.internal/x", Gets.NOTHING, INSIDE),
    Row("redirect", "https://metadata.google.internal./x", Gets.NOTHING, INSIDE),
    Row("redirect", "https://100.100.100.200/latest", Gets.NOTHING, INSIDE),
    Row("redirect", "https://127.0.0.1:{port}/moved", Gets.NOTHING, INSIDE),
    Row("storage", "https://169.254.169.254/latest", Gets.NOTHING, INSIDE),
    # Uploads go on where they were begun, or past the registry with nothing of ours.
    *(Row("upload", place, Gets.SECRET) for place in (*OWN, "/moved")),
    *(
        Row("upload", place, Gets.NOTHING)
        for place in (*ELSEWHERE, *NOWHERE, "//elsewhere.example/moved", "")
    ),
    *(Row("upload", place, Gets.NOTHING, registry) for registry, place in PAIRS),
    *(Row("storage", place, Gets.NAMELESS) for place in ELSEWHERE),
    *(Row("storage", place, Gets.NOTHING) for place in NOWHERE),
    # The next page of a list.
    *(Row("link", place, Gets.SECRET) for place in (*OWN, "/moved")),
    *(Row("link", place, Gets.NOTHING) for place in (*ELSEWHERE, *NOWHERE, "//elsewhere.example/moved")),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a certificate, which every host has, and which ours is too."""
    made: Path = tmp_path_factory.mktemp("world")
    write_certificate(made)
    return made


@pytest.fixture(scope="module")
def tls(folder: Path) -> ssl.SSLContext:
    """Every host asks for a certificate of ours, and takes none too."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    context.load_verify_locations(folder / "cert.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def credentials(kind: str, registry: Origin) -> Credentials:
    """One secret of that kind, for the registry alone."""
    here = Prefix(registry.netloc)
    match kind:
        case "API key":
            return Credentials(api_keys={registry: ApiKey("the-api-key")})
        case "login":
            return Credentials(logins={here: Login("me", "the-password")})
        case "job":
            return Credentials(jobs={registry: JobIdentity("CI", f"{CI}/ask", "the-runner-token")})
        case "identity token":
            return Credentials(logins={here: IdentityToken("the-identity")})
    return Credentials(key=KEY)


def origin_of(place: str, registry: Origin) -> Origin | None:
    """The host that `place` leads to; None where it leads nowhere."""
    if place.startswith("/"):
        return registry if not place.startswith("//") else Origin.of(f"{registry.scheme}:{place}")
    try:
        return Origin.of(place)
    except InvalidError:
        return None


def test_the_table_is_as_long_as_it_should_be() -> None:
    assert len(set(map(str, ROWS))) == len(ROWS) >= 60


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each row with a key, and in turn with one of the other kinds; with `--runs`, each with all of them."""
    if {"row", "kind"} <= set(metafunc.fixturenames):
        every = metafunc.config.getoption("--runs") is not None
        cells = [(row, "key") for row in ROWS]
        cells += [
            (row, kind)
            for turn, row in enumerate(ROWS)
            for at, kind in enumerate(KINDS[1:])
            if every or turn % len(KINDS[1:]) == at
        ]
        metafunc.parametrize(("row", "kind"), cells, ids=str)


def test_every_place_gets_what_it_may(row: Row, kind: str, tls: ssl.SSLContext, folder: Path) -> None:
    registry = Origin.of(row.registry)
    ours = ClientCertificate(registry, folder / "cert.pem", folder / "key.pem")
    with Spy((reply(200, b'{"token":"the-token"}'),)) as machine:
        place = row.place.format(port=machine.port)
        allowed = tuple(realm.format(port=machine.port) for realm in row.allowed)
        world = World(registry, row.via, place, tls)
        with everywhere(world) as proxy:
            trace = visit(world, proxy.url, credentials(kind, registry), allowed, row.writes, ours)
        assert machine.connections == 0

    there = origin_of(place, registry)
    came = [
        seen for at, seen in world.seen if "/moved" in at or "/moved" in seen.target or Origin.of(at) == there
    ]
    came = [seen for seen in came if there != registry or "/moved" in seen.target]
    told = [mark for mark in MARKS for seen in came if mark.encode() in seen.head + seen.body]
    gets = Gets.NOTHING if kind == "job" and row.via == "realm" else row.gets
    assert (bool(came), bool(told)) == {
        Gets.SECRET: (True, True),
        Gets.NAMELESS: (True, False),
        Gets.NOTHING: (False, False),
    }[gets], [seen.line for seen in came]

    trusted = {registry, there} if row.gets is Gets.SECRET else {registry}
    for at, seen in world.seen:
        if Origin.of(at.lower()) == Origin.of(CI):
            shown = [mark for mark in MARKS if mark.encode() in seen.head + seen.body]
            assert (kind, shown) == ("job", ["the-runner-token"])
        elif Origin.of(at.lower()) not in trusted:
            assert not [mark for mark in MARKS if mark.encode() in seen.head + seen.body], at
    assert world.at(registry), "the registry itself was asked"
    assert world.shown and all(shown is (Origin.of(at) == registry) for at, shown in world.shown)
    assert not [mark for mark in MARKS if mark in "\n".join(trace)]
