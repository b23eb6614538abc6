"""Logins as docker and Podman leave them: every key, every entry, helpers, and what is broken of it."""

from __future__ import annotations

import base64
import json

import pytest

from registry.auth.credentials import Credentials
from registry.auth.docker import DockerConfig
from registry.auth.keys import PrivateKey
from registry.auth.secrets import IdentityToken, Login, Secret
from registry.errors import InvalidError
from registry.wire.messages import Origin

KEY = PrivateKey(bytes(range(32)))
HUB = "https://registry-1.docker.io"


def pair(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


A, B = {"auth": pair("a:pw")}, {"auth": pair("b:pw")}


def docker(**document: object) -> DockerConfig:
    return DockerConfig.parse(json.dumps(document), "config.json")


def no_helper(program: str, host: str) -> str | None:
    raise AssertionError(f"{program} was asked for {host}")


def found(credentials: Credentials, origin: str, repository: str = "") -> list[Secret]:
    return list(credentials.account(Origin.of(origin), repository).secrets(lambda _: None))


@pytest.mark.parametrize(
    ("auths", "origin", "expected"),
    [
        ({"a.example": {"auth": pair("me:pw")}}, "https://a.example", Login("me", "pw")),
        ({"A.example": {"auth": pair("me:pw")}}, "https://a.example", Login("me", "pw")),
        ({"a.example": {"auth": pair("me:p:w")}}, "https://a.example", Login("me", "p:w")),
        ({"a.example": {"auth": pair("me:pw\0\0")}}, "https://a.example", Login("me", "pw")),
        ({"https://a.example/v1/": {"auth": pair("me:pw")}}, "https://a.example", Login("me", "pw")),
        ({"http://a.example/v2/": {"auth": pair("me:pw")}}, "https://a.example", Login("me", "pw")),
        ({"https://a.example": {"auth": pair("me:pw")}}, "https://a.example", Login("me", "pw")),
        ({"a.example:443": {"auth": pair("me:pw")}}, "https://a.example", Login("me", "pw")),
        ({"a.example:5000": {"auth": pair("me:pw")}}, "https://a.example:5000", Login("me", "pw")),
        ({"a.example:5000": {"auth": pair("me:pw")}}, "https://a.example", None),
        ({"a.example/team": {"auth": pair("me:pw")}}, "https://a.example", None),
        ({"https://a.example/team": {"auth": pair("me:pw")}}, "https://a.example", None),
        ({"b.a.example": {"auth": pair("me:pw")}}, "https://a.example", None),
        ({"a.example": {"auth": pair("me:pw")}}, "http://a.example", None),
        ({"localhost:5000": {"auth": pair("me:pw")}}, "http://localhost:5000", Login("me", "pw")),
        ({"a.example": {"username": "me", "password": "pw"}}, "https://a.example", Login("me", "pw")),
        ({"a.example": {"identitytoken": "I", "auth": ""}}, "https://a.example", IdentityToken("I")),
        ({"a.example": {"identitytoken": "I", "auth": pair("x:")}}, "https://a.example", IdentityToken("I")),
        ({"a.example": {}}, "https://a.example", None),
        ({"https://index.docker.io/v1/": A}, HUB, Login("a", "pw")),
        ({"https://index.docker.io/v1/": A}, "https://index.docker.io", Login("a", "pw")),
        ({"docker.io": A}, HUB, Login("a", "pw")),
        ({"index.docker.io": A}, HUB, Login("a", "pw")),
        ({"https://index.docker.io/v1/": A, "docker.io": B}, HUB, Login("a", "pw")),
        ({"docker.io": B, "https://index.docker.io/v1/": A}, HUB, Login("a", "pw")),
        ({"a.example": A, "http://a.example/v2/": B}, "https://a.example", Login("a", "pw")),
        ({"http://a.example/v2/": B, "a.example": A}, "https://a.example", Login("a", "pw")),
    ],
)
def test_logins_are_found_by_host(auths: dict[str, object], origin: str, expected: Secret) -> None:
    credentials = Credentials(docker=(docker(auths=auths),), run_helper=no_helper)

    assert found(credentials, origin) == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("repository", "user"),
    [("acme/tiny", "tiny"), ("acme/x", "acme"), ("acme", "acme"), ("acme2/x", "all"), ("", "all")],
)
def test_the_longest_key_that_fits_a_repository_wins(repository: str, user: str) -> None:
    keys = {"a.example": "all", "a.example/acme": "acme", "a.example/acme/tiny": "tiny"}
    config = docker(auths={key: {"auth": pair(f"{name}:pw")} for key, name in keys.items()})

    assert found(Credentials(docker=(config,)), "https://a.example", repository) == [Login(user, "pw")]


def test_a_namespace_of_the_hub_is_the_hubs() -> None:
    config = docker(auths={"docker.io/acme": A})

    assert found(Credentials(docker=(config,)), HUB, "acme/x") == [Login("a", "pw")]
    assert found(Credentials(docker=(config,)), HUB, "library/x") == []


# --- helpers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "origin", "asked"),
    [
        ({"credsStore": "desktop"}, "https://a.example", ("docker-credential-desktop", "a.example")),
        ({"credHelpers": {"a.example": "ecr"}}, "https://a.example", ("docker-credential-ecr", "a.example")),
        (
            {"credsStore": "x", "credHelpers": {"a.example:1": "ecr"}},
            "https://a.example:1",
            ("docker-credential-ecr", "a.example:1"),
        ),
        ({"credsStore": "x"}, HUB, ("docker-credential-x", "https://index.docker.io/v1/")),
        ({"credHelpers": {"docker.io": "x"}}, HUB, ("docker-credential-x", "https://index.docker.io/v1/")),
        (
            {"credHelpers": {"index.docker.io": "x"}, "credsStore": "y", "auths": {"docker.io": A}},
            HUB,
            ("docker-credential-x", "https://index.docker.io/v1/"),
        ),
        (
            {"credHelpers": {"https://index.docker.io/v1/": "x"}},
            HUB,
            ("docker-credential-x", "https://index.docker.io/v1/"),
        ),
        ({"credsStore": "x"}, "http://a.example", None),
    ],
)
def test_a_helper_is_asked_for_the_host(
    document: dict[str, object], origin: str, asked: tuple[str, str] | None
) -> None:
    calls: list[tuple[str, str]] = []

    def run(program: str, host: str) -> str:
        calls.append((program, host))
        return '{"ServerURL":"x","Username":"me","Secret":"pw"}'

    secrets = found(Credentials(docker=(docker(**document),), run_helper=run), origin)

    assert calls == ([asked] if asked else [])
    assert secrets == ([Login("me", "pw")] if asked else [])


def test_a_helper_is_asked_only_when_its_turn_comes() -> None:
    credentials = Credentials(given=KEY, docker=(docker(credsStore="x"),), run_helper=no_helper)

    assert next(credentials.account(Origin.of(HUB)).secrets(lambda _: None)) == KEY


def test_a_helpers_token_user_means_an_identity_token() -> None:
    run = lambda _program, _host: '{"Username":"<token>","Secret":"I"}'  # noqa: E731

    credentials = Credentials(docker=(docker(credsStore="x"),), run_helper=run)

    assert found(credentials, "https://a.example") == [IdentityToken("I")]


def test_a_helper_that_knows_nothing_leaves_the_file_and_then_the_key() -> None:
    config = docker(credsStore="x", auths={"b.example": A})
    credentials = Credentials(key=KEY, docker=(docker(), config))

    assert found(credentials, "https://b.example") == [Login("a", "pw"), KEY]
    assert found(credentials, "https://c.example") == [KEY]


@pytest.mark.parametrize(
    "said", ["", "nonsense", "[]", "{}", '{"Username":"me"}', '{"Username":1,"Secret":2}', None]
)
def test_a_broken_helper_is_told_and_then_as_if_it_were_not_there(said: str | None) -> None:
    def run(program: str, _host: str) -> str:
        if said is None:
            raise InvalidError(f"{program} cannot be run")
        return said

    notes: list[str] = []
    broken: list[str] = []
    config = docker(credsStore="x", auths={"a.example": A})
    account = Credentials(docker=(config,), run_helper=run, note=notes.append).account(
        Origin.of("https://a.example")
    )

    assert list(account.secrets(broken.append)) == [Login("a", "pw")]
    assert notes == broken and len(notes) == 1
    assert "docker-credential-x" in notes[0] and "config.json" in notes[0]


# --- broken files -------------------------------------------------------------------------------------------

GOOD = '"b.example":{"auth":"' + pair("b:pw") + '"}'


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("", False),
        (" \n", False),
        ("nonsense", False),
        ("[]", False),
        ("[" * 100_000, False),
        ('{"auths":[]}', False),
        ('{"auths":"x"}', False),
        ('{"auths":{"a.example":7,' + GOOD + "}}", True),
        ('{"auths":{"a.example":{"auth":"%%%"},' + GOOD + "}}", True),
        ('{"auths":{"a.example":{"auth":"' + pair("no colon") + '"},' + GOOD + "}}", True),
        (
            '{"auths":{"a.example":{"auth":"' + base64.b64encode(b"\xff:\xff").decode() + '"},' + GOOD + "}}",
            True,
        ),
        ('{"auths":{"a.example":{"auth":"' + pair("a:b\r\nX: y") + '"},' + GOOD + "}}", True),
        ('{"auths":{"a.example":{"auth":"' + pair("a:" + "x" * 10_000) + '"},' + GOOD + "}}", True),
        ('{"auths":{"a.example":{"username":"a:b","password":"c"},' + GOOD + "}}", True),
        ('{"auths":{"a b":{"auth":"' + pair("a:b") + '"},' + GOOD + "}}", True),
        ('{"auths":{"":{},' + GOOD + "}}", True),
        ('{"credHelpers":7,"auths":{' + GOOD + "}}", True),
        ('{"credHelpers":{"a.example":7},"auths":{' + GOOD + "}}", True),
        ('{"credHelpers":{"a.example":"../../bin/sh"},"auths":{' + GOOD + "}}", True),
        ('{"credsStore":"a b","auths":{' + GOOD + "}}", True),
        ('{"credsStore":7,"auths":{' + GOOD + "}}", True),
    ],
)
def test_what_is_broken_is_named_without_a_secret_and_the_rest_holds(text: str, good: bool) -> None:
    config = DockerConfig.parse(text, "config.json")
    credentials = Credentials(docker=(config,), run_helper=no_helper)

    (fault,) = config.faults
    assert fault.message.startswith("config.json") and len(fault.message) < 200
    assert pair("a:b") not in fault.message
    assert found(credentials, "https://b.example") == ([Login("b", "pw")] if good else [])
    about_b = credentials.account(Origin.of("https://b.example")).faults
    assert about_b == (() if fault.prefix else (fault.message,))


def test_empty_entries_and_empty_tables_are_no_faults() -> None:
    config = docker(auths={"a.example": {}}, credHelpers=None, credsStore="", HttpHeaders={"x": "y"})

    assert config.faults == () and found(Credentials(docker=(config,)), "https://a.example") == []
