"""Which secrets are for which repository, in which order, and that none of them shows itself."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from registry.auth.credentials import Credentials, parse_logins
from registry.auth.docker import DockerConfig
from registry.auth.keys import PrivateKey, ensure_key
from registry.auth.prefixes import Prefix, origin_of
from registry.auth.secrets import ApiKey, IdentityToken, Login, Secret
from registry.errors import InvalidError
from registry.wire.messages import Origin

KEY = PrivateKey(bytes(range(32)))
GIVEN = PrivateKey(bytes(32))
ACME = Origin.of("https://models.acme.example")
OLLAMA = Origin.of("https://ollama.com")


def pair(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def docker(**document: object) -> DockerConfig:
    return DockerConfig.parse(json.dumps(document), "config.json")


def found(credentials: Credentials, origin: Origin, repository: str = "") -> list[Secret]:
    return list(credentials.account(origin, repository).secrets(lambda _: None))


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
    credentials = Credentials(key=KEY, api_keys={ACME: ApiKey("K"), OLLAMA: ApiKey("O")})

    assert found(credentials, Origin.of(origin))[0] == expected


def test_who_we_are_first_that_fits(tmp_path: Path) -> None:
    named = ensure_key(tmp_path / "acme", bytes([7]) * 32)
    config = docker(auths={"models.acme.example": {"auth": pair("d:d")}})
    everything = Credentials(
        given=GIVEN,
        api_keys={ACME: ApiKey("a")},
        keys={Prefix("models.acme.example"): tmp_path / "acme"},
        logins={Prefix("models.acme.example"): Login("l", "l")},
        docker=(config,),
        key=KEY,
    )

    assert found(everything, ACME) == [GIVEN, ApiKey("a"), named, Login("d", "d"), KEY]
    assert found(everything, OLLAMA) == [GIVEN, KEY]
    assert found(Credentials(), ACME) == []


def test_where_keys_are_to_come_first_those_of_the_settings_do_too(tmp_path: Path) -> None:
    named = ensure_key(tmp_path / "acme", bytes([7]) * 32)
    config = docker(auths={"models.acme.example": {"auth": pair("d:d")}})
    where = Prefix("models.acme.example")
    by_key = Credentials(KEY, keys={where: tmp_path / "acme"}, docker=(config,))
    by_login = Credentials(KEY, logins={where: ApiKey("K")}, docker=(config,))

    for known, expected in ((by_key, [named, KEY]), (by_login, [KEY, ApiKey("K")])):
        secrets = known.account(ACME).keys_first.secrets(lambda _: None)
        assert list(secrets) == [*expected, Login("d", "d")]


def test_the_longest_prefix_wins_and_equal_accounts_are_one() -> None:
    credentials = Credentials(
        logins={
            Prefix("models.acme.example"): Login("all", "pw"),
            Prefix("models.acme.example", "acme"): Login("acme", "pw"),
            Prefix("models.acme.example", "acme/tiny"): Login("tiny", "pw"),
        }
    )

    who = {
        repository: [
            secret.user for secret in found(credentials, ACME, repository) if isinstance(secret, Login)
        ]
        for repository in ("", "other/x", "acme", "acme/x", "acme/tiny", "acme/tiny2", "acmeX/tiny")
    }

    assert who == {
        "": ["all"],
        "other/x": ["all"],
        "acme": ["acme"],
        "acme/x": ["acme"],
        "acme/tiny": ["tiny"],
        "acme/tiny2": ["acme"],
        "acmeX/tiny": ["all"],
    }
    assert credentials.account(ACME, "acme/x") == credentials.account(ACME, "acme/y")
    assert credentials.account(ACME, "acme/x") != credentials.account(ACME, "other/x")


# --- Ferry's own --------------------------------------------------------------------------------------------


def test_logins_are_kept_by_host_or_namespace() -> None:
    logins = parse_logins(
        {
            "host": {
                "models.acme.example": {"user": "me", "password": "pw"},
                "models.acme.example/acme": {"user": "we", "password": "pw"},
                "http://lab.example:5000": {"api_key": "K"},
                "localhost:5050": {"identity_token": "I"},
            }
        },
        "credentials.toml",
    )
    credentials = Credentials(logins=logins)

    assert found(credentials, ACME) == [Login("me", "pw")]
    assert found(credentials, ACME, "acme/tiny") == [Login("we", "pw")]
    assert found(credentials, Origin("http", "lab.example", 5000)) == [ApiKey("K")]
    assert found(credentials, Origin("http", "localhost", 5050)) == [IdentityToken("I")]
    assert found(credentials, Origin.of("http://models.acme.example")) == []
    assert found(credentials, Origin.of("https://lab.example:5000")) == []


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
        api_keys={ACME: ApiKey(hidden)},
        logins={Prefix("a"): Login("me", hidden)},
        docker=(docker(auths={"a": {"identitytoken": hidden}, "b": {"auth": pair(f"x:{hidden}")}}),),
    )
    account = everything.account(Origin.of("https://a"))

    shown = (
        repr(everything)
        + str(everything)
        + repr([account, *account.candidates])
        + repr([ApiKey(hidden), Login("me", hidden), IdentityToken(hidden)])
    )

    assert hidden not in shown and KEY.seed.hex() not in shown and repr(KEY.seed) not in shown


@pytest.mark.parametrize("name", ["docker.io", "index.docker.io", "registry-1.docker.io"])
def test_a_login_for_dockers_hub_is_found_whatever_it_is_called(name: str) -> None:
    logins = parse_logins({"host": {name: {"user": "me", "password": "pw"}}}, "credentials.toml")

    assert found(Credentials(logins=logins), Origin.of("https://registry-1.docker.io")) == [Login("me", "pw")]
