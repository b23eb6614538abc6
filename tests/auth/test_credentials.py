"""Which secret is for which origin, and that none of them shows itself."""

from __future__ import annotations

import base64
import json

import pytest

from registry.auth.credentials import Credentials, DockerConfig, api_keys, origin_of, parse_logins
from registry.auth.keys import PrivateKey
from registry.auth.secrets import ApiKey, IdentityToken, Login, Secret
from registry.errors import InvalidError
from registry.wire.messages import Origin

KEY = PrivateKey(bytes(range(32)))
ACME = Origin.of("https://models.acme.example")


def pair(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def docker(**document: object) -> DockerConfig:
    return DockerConfig.parse(json.dumps(document), "config.json")


def no_helper(program: str, host: str) -> str | None:
    raise AssertionError(f"{program} was asked for {host}")


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("https://models.acme.example", ApiKey("K")),
        ("https://models.acme.example:443", ApiKey("K")),
        ("https://models.acme.example:8443", KEY),
        ("http://models.acme.example", KEY),
        ("https://acme.example", KEY),
        ("https://ollama.com", ApiKey("O")),
        ("https://registry.ollama.ai", KEY),
        ("https://evil.example", KEY),
    ],
)
def test_an_api_key_is_for_its_origin_alone(origin: str, expected: Secret) -> None:
    credentials = Credentials(key=KEY, api_keys=api_keys("K", ACME, "O"))

    assert credentials.for_origin(Origin.of(origin)) == expected


def test_an_api_key_without_its_registry_is_an_error() -> None:
    with pytest.raises(InvalidError, match="FERRY_API_KEY") as caught:
        api_keys("K", None, "")
    assert "FERRY_REGISTRY" in caught.value.hint


def test_no_keys_are_no_error() -> None:
    assert api_keys("", None, "") == api_keys("", ACME, "") == {}


def test_the_nearest_secret_wins() -> None:
    config = docker(auths={"models.acme.example": {"auth": pair("d:d")}})
    login, api = {ACME: Login("l", "l")}, {ACME: ApiKey("a")}

    found = [
        Credentials(KEY, api, login, (config,)).for_origin(ACME),
        Credentials(KEY, {}, login, (config,)).for_origin(ACME),
        Credentials(KEY, {}, {}, (config,)).for_origin(ACME),
        Credentials(KEY).for_origin(ACME),
        Credentials().for_origin(ACME),
    ]

    assert found == [ApiKey("a"), Login("l", "l"), Login("d", "d"), KEY, None]


# --- docker's and Podman's files ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auths", "origin", "expected"),
    [
        ({"a.example": {"auth": pair("me:pw")}}, "https://a.example", Login("me", "pw")),
        ({"a.example": {"auth": pair("me:p:w")}}, "https://a.example", Login("me", "p:w")),
        ({"a.example": {"auth": pair("me:pw\0\0")}}, "https://a.example", Login("me", "pw")),
        ({"https://a.example/v1/": {"auth": pair("me:pw")}}, "https://a.example", Login("me", "pw")),
        ({"a.example:5000": {"auth": pair("me:pw")}}, "https://a.example:5000", Login("me", "pw")),
        ({"a.example:5000": {"auth": pair("me:pw")}}, "https://a.example", None),
        ({"a.example/team": {"auth": pair("me:pw")}}, "https://a.example", None),
        ({"https://a.example/team": {"auth": pair("me:pw")}}, "https://a.example", None),
        ({"b.a.example": {"auth": pair("me:pw")}}, "https://a.example", None),
        ({"a.example": {"auth": pair("me:pw")}}, "http://a.example", None),
        ({"localhost:5000": {"auth": pair("me:pw")}}, "http://localhost:5000", Login("me", "pw")),
        ({"a.example": {"identitytoken": "I", "auth": ""}}, "https://a.example", IdentityToken("I")),
        ({"a.example": {"identitytoken": "I", "auth": pair("x:")}}, "https://a.example", IdentityToken("I")),
        ({"a.example": {}}, "https://a.example", None),
        (
            {"https://index.docker.io/v1/": {"auth": pair("a:b")}},
            "https://registry-1.docker.io",
            Login("a", "b"),
        ),
        ({"docker.io": {"auth": pair("a:b")}}, "https://registry-1.docker.io", Login("a", "b")),
    ],
)
def test_docker_logins_are_found_by_host(auths: dict[str, object], origin: str, expected: Secret) -> None:
    credentials = Credentials(docker=(docker(auths=auths),), run_helper=no_helper)

    assert credentials.for_origin(Origin.of(origin)) == expected


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
        (
            {"credsStore": "x"},
            "https://registry-1.docker.io",
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

    found = Credentials(docker=(docker(**document),), run_helper=run).for_origin(Origin.of(origin))

    assert calls == ([asked] if asked else [])
    assert found == (Login("me", "pw") if asked else None)


def test_a_helpers_token_user_means_an_identity_token() -> None:
    config = docker(credsStore="x")

    assert config.find("a.example", lambda _p, _h: '{"Username":"<token>","Secret":"I"}') == IdentityToken(
        "I"
    )


def test_a_helper_that_knows_nothing_leaves_the_file_and_then_the_key() -> None:
    config = docker(credsStore="x", auths={"b.example": {"auth": pair("me:pw")}})
    credentials = Credentials(key=KEY, docker=(docker(), config))

    assert credentials.for_origin(Origin.of("https://b.example")) == Login("me", "pw")
    assert credentials.for_origin(Origin.of("https://c.example")) == KEY


@pytest.mark.parametrize(
    "said", ["", "nonsense", "[]", "{}", '{"Username":"me"}', '{"Username":1,"Secret":2}']
)
def test_a_helper_that_answers_nonsense_is_named(said: str) -> None:
    with pytest.raises(InvalidError, match="docker-credential-x"):
        docker(credsStore="x").find("a.example", lambda _p, _h: said)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        "[" * 100_000,
        '{"auths":[]}',
        '{"auths":"x"}',
        '{"auths":{"a":7}}',
        '{"auths":{"a":{"auth":"%%%"}}}',
        '{"auths":{"a":{"auth":"' + pair("no colon") + '"}}}',
        '{"auths":{"a":{"auth":"' + base64.b64encode(b"\xff:\xff").decode() + '"}}}',
        '{"auths":{"a":{"auth":"' + pair("a:b\r\nX: y") + '"}}}',
        '{"auths":{"a":{"auth":"' + pair("a:" + "x" * 10_000) + '"}}}',
        '{"credHelpers":7}',
        '{"credHelpers":{"a":7}}',
        '{"credHelpers":{"a":"../../bin/sh"}}',
        '{"credsStore":"a b"}',
        '{"credsStore":7}',
    ],
)
def test_a_broken_docker_file_is_one_error_that_names_it_and_no_secret(text: str) -> None:
    with pytest.raises(InvalidError) as caught:
        DockerConfig.parse(text, "config.json")

    assert caught.value.message.startswith("config.json")
    assert len(caught.value.message) < 200


# --- Ferry's own --------------------------------------------------------------------------------------------


def test_logins_are_kept_by_origin() -> None:
    logins = parse_logins(
        {
            "host": {
                "models.acme.example": {"user": "me", "password": "pw"},
                "http://lab.example:5000": {"api_key": "K"},
                "localhost:5050": {"identity_token": "I"},
            }
        },
        "credentials.toml",
    )

    assert logins == {
        ACME: Login("me", "pw"),
        Origin("http", "lab.example", 5000): ApiKey("K"),
        Origin("http", "localhost", 5050): IdentityToken("I"),
    }


@pytest.mark.parametrize(
    "document",
    [
        {"hots": {}},
        {"host": 7},
        {"host": {"a": 7}},
        {"host": {"a": {}}},
        {"host": {"a": {"user": "me"}}},
        {"host": {"a": {"user": "me", "password": 7}}},
        {"host": {"a": {"user": "m:e", "password": "x"}}},
        {"host": {"a": {"api_key": "K", "user": "me"}}},
        {"host": {"a": {"api_key": ""}}},
        {"host": {"a": {"api_key": "two words"}}},
        {"host": {"a": {"api_key": "K\r\nX: y"}}},
        {"host": {"ftp://a": {"api_key": "K"}}},
        {"host": {"": {"api_key": "K"}}},
    ],
)
def test_broken_logins_are_one_error(document: dict[str, object]) -> None:
    with pytest.raises(InvalidError):
        parse_logins(document, "credentials.toml")


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("a.example", "https://a.example"),
        ("a.example:80", "https://a.example:80"),
        ("http://a.example", "http://a.example"),
        ("localhost:5000", "http://localhost:5000"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("127.0.0.2", "http://127.0.0.2"),
        ("https://localhost", "https://localhost"),
    ],
)
def test_a_host_means_https_but_for_this_machine(host: str, origin: str) -> None:
    assert str(origin_of(host)) == origin


def test_no_secret_shows_itself() -> None:
    hidden = "HIDDEN"
    everything = Credentials(
        KEY,
        {ACME: ApiKey(hidden)},
        {ACME: Login("me", hidden)},
        (docker(auths={"a": {"identitytoken": hidden}, "b": {"auth": pair(f"x:{hidden}")}}),),
    )

    shown = (
        repr(everything)
        + str(everything)
        + repr([ApiKey(hidden), Login("me", hidden), IdentityToken(hidden)])
    )

    assert hidden not in shown and KEY.seed.hex() not in shown and repr(KEY.seed) not in shown
