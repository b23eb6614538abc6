"""Which secret reached which host, for every kind of login: a spy at each place keeps all it is sent."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from spy import Seen, Spy, Talk, reply

from registry.auth.credentials import Credentials
from registry.auth.docker import DockerConfig
from registry.auth.keys import PrivateKey, ensure_key
from registry.auth.prefixes import Prefix
from registry.auth.secrets import ApiKey, IdentityToken, Login
from registry.connect import HostSettings, Registries
from registry.errors import RegistryError
from registry.wire.messages import Access, Origin, Request

KEY, OTHER = PrivateKey(bytes(range(32))), PrivateKey(bytes(32))
BASIC = base64.b64encode(b"me:the-password").decode()
# What would give each away, wherever it stood.
MARKS = {
    "signature": f"{KEY.public.text}:",
    "other signature": f"{OTHER.public.text}:",
    "password": BASIC,
    "bare password": "the-password",
    "API key": "the-api-key",
    "identity token": "the-identity",
    "token": "the-token",
}
ACME = Access("acme/tiny", ("pull", "push"))


@dataclass
class Places:
    """A registry, where it sends for tokens, and every other place that it sends us to."""

    registry: Spy
    realm: Spy
    storage: Spy  # a redirect of a download
    elsewhere: Spy  # the location of an upload

    def seen(self) -> dict[str, set[str]]:
        """What each was told."""
        return {
            place: {name for name, mark in MARKS.items() if mark.encode() in spy.everything}
            for place, spy in vars(self).items()
        }


def registry(scheme: str, own_realm: bool) -> Iterator[Places]:
    """A registry that wants `scheme`; its tokens come from itself, or from another place."""

    def answer(talk: Talk, seen: Seen) -> None:
        talk.body(seen)
        realm = f"{talk.spy.url if own_realm else places.realm.url}/token"
        if seen.target.startswith("/token"):
            talk.send(reply(200, b'{"token":"the-token"}'))
        elif not seen.header("Authorization"):
            scope = "repository:acme/tiny:pull,push"
            bearer = f'Bearer realm="{realm}",service="s",scope="{scope}"'
            talk.send(reply(401, WWW_Authenticate='Basic realm="x"' if scheme == "Basic" else bearer))
        elif seen.method == "POST":
            talk.send(reply(202, Location=f"{places.elsewhere.url}/upload/1"))
        else:
            talk.send(reply(307, Location=f"{places.storage.url}/blob?sig=x"))

    with ExitStack() as stack:
        spies = [
            stack.enter_context(Spy((script,))) for script in (answer, reply(200, b'{"token":"the-token"}'))
        ]
        others = [stack.enter_context(Spy((reply(200, b"bytes"),))) for _ in range(2)]
        places = Places(*spies, *others)
        yield places


def logins(places: Places, folder: Path) -> dict[str, Credentials]:
    """Every kind of login for that registry, beside one of another that must never be seen."""
    host, origin = places.registry.netloc, Origin.of(places.registry.url)

    def docker(entry: str, key: str = host, more: str = "") -> Credentials:
        text = f'{{"auths":{{"{key}":{entry},"other.example":{{"auth":"eDp5"}}}}{more}}}'
        return Credentials(key=OTHER, docker=(DockerConfig.parse(text, "config.json"),), run_helper=helper)

    def helper(program: str, server: str) -> str | None:
        known = (program, server) == ("docker-credential-x", host)
        return '{"Username":"me","Secret":"the-password"}' if known else None

    ensure_key(folder / "key", KEY.seed)
    pair = '{"username":"me","password":"the-password"}'
    return {
        "given key": Credentials(given=KEY, key=OTHER, docker=docker(pair).docker),
        "this machine's key": Credentials(key=KEY),
        "settings' key": Credentials(key=OTHER, keys={Prefix(host): folder / "key"}),
        "namespace's key": Credentials(key=OTHER, keys={Prefix(host, "acme"): folder / "key"}),
        "API key": Credentials(key=OTHER, api_keys={origin: ApiKey("the-api-key")}),
        "another's API key": Credentials(key=KEY, api_keys={Origin.of("https://a"): ApiKey("the-api-key")}),
        "own login": Credentials(key=OTHER, logins={Prefix(host): Login("me", "the-password")}),
        "own identity token": Credentials(key=OTHER, logins={Prefix(host): IdentityToken("the-identity")}),
        "docker auth": docker(f'{{"auth":"{BASIC}"}}'),
        "docker username": docker(pair),
        "docker URL": docker(pair, f"http://{host}/v1/"),
        "docker namespace": docker(pair, f"{host}/acme"),
        "docker repository": docker(pair, f"{host}/acme/tiny"),
        "another namespace": docker(pair, f"{host}/ben"),
        "docker identity": docker('{"identitytoken":"the-identity"}'),
        "helper": docker("{}", more=f',"credHelpers":{{"{host}":"x"}}'),
        "store": docker("{}", more=',"credsStore":"x"'),
        "nobody": Credentials(),
    }


SHOWN = {
    "given key": {"signature"},
    "this machine's key": {"signature"},
    "settings' key": {"signature"},
    "namespace's key": {"signature"},
    "API key": {"API key"},
    "another's API key": {"signature"},
    "own login": {"password"},
    "own identity token": {"identity token"},
    "docker auth": {"password"},
    "docker username": {"password"},
    "docker URL": {"password"},
    "docker namespace": {"password"},
    "docker repository": {"password"},
    "another namespace": {"other signature"},
    "docker identity": {"identity token"},
    "helper": {"password"},
    "store": {"password"},
    "nobody": set(),
}


def used(places: Places, credentials: Credentials, allowed: bool) -> dict[str, set[str]]:
    """Read a blob, begin an upload, and go where the registry says; what each place was told."""
    realms = (Origin.of(places.realm.url),) if allowed else ()
    opened = Registries(lambda _: HostSettings(realms=realms), credentials)
    try:
        talk = opened.session(Origin.of(places.registry.url), "acme/tiny")
        blob = f"{places.registry.url}/v2/acme/tiny/blobs/sha256:{'0' * 64}"
        for method, url in (
            ("GET", blob),
            ("POST", f"{places.registry.url}/v2/acme/tiny/blobs/uploads/"),
            ("PATCH", f"{places.elsewhere.url}/upload/1"),
            ("PUT", f"{places.storage.url}/direct"),
        ):
            try:
                talk(Request(method, url, access=ACME)).close()
            except RegistryError as error:
                assert not any(mark in str(error) for mark in MARKS.values())
    finally:
        opened.close()
    return places.seen()


@pytest.mark.parametrize("kind", SHOWN)
def test_a_realm_of_the_registrys_own(kind: str, tmp_path: Path) -> None:
    for places in registry("Bearer", own_realm=True):
        told = used(places, logins(places, tmp_path)[kind], allowed=False)

        assert told["registry"] == {*SHOWN[kind], "token"}
        assert told["realm"] == told["storage"] == told["elsewhere"] == set()


@pytest.mark.parametrize("kind", SHOWN)
@pytest.mark.parametrize("allowed", [True, False])
def test_a_realm_elsewhere(kind: str, allowed: bool, tmp_path: Path) -> None:
    for places in registry("Bearer", own_realm=False):
        told = used(places, logins(places, tmp_path)[kind], allowed)

        assert told["registry"] == ({"token"} if allowed else set())
        assert told["realm"] == (SHOWN[kind] if allowed else set())
        assert told["storage"] == told["elsewhere"] == set()


@pytest.mark.parametrize("kind", SHOWN)
def test_basic(kind: str, tmp_path: Path) -> None:
    for places in registry("Basic", own_realm=True):
        told = used(places, logins(places, tmp_path)[kind], allowed=True)

        basic = SHOWN[kind] & {"password"}
        assert told["registry"] == ({"password"} if kind == "given key" else basic)
        assert told["realm"] == told["storage"] == told["elsewhere"] == set()
