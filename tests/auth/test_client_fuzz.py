"""Whatever a peer or a file says, a client of ours answers with one of its errors, and shows no secret.

Challenges, tokens, docker's configurations, `credentials.toml`, API keys, answers of the account API.
"""

from __future__ import annotations

import base64
import json
import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.auth import api_keys, signing
from registry.auth.account import AccountClient
from registry.auth.credentials import Credentials, parse_logins
from registry.auth.docker import DockerConfig
from registry.auth.flow import Asker, dance
from registry.auth.keys import PrivateKey
from registry.auth.prefixes import Prefix
from registry.auth.secrets import ApiKey, IdentityToken, Login, Secret
from registry.auth.signin import Caller, ollama_api_key
from registry.errors import DeniedError, InvalidError, RegistryError
from registry.wire.challenges import parse_challenges
from registry.wire.headers import Headers
from registry.wire.messages import Origin, Request, Response

ACME = Origin.of("https://models.acme.example")
KEY = PrivateKey(bytes(range(32)))
SECRETS: tuple[Secret, ...] = (
    KEY,
    ApiKey("the-api-key"),
    Login("me", "the-password"),
    IdentityToken("the-identity"),
)
MARKS = ("the-api-key", "the-password", "the-identity", base64.b64encode(b"me:the-password").decode())

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
PLACES = (f"{ACME}/token", "https://elsewhere.example/token", "http://models.acme.example/token", "//x", "")
SPOKEN = ("Bearer", "Basic", "Digest", "realm", "service", "scope", "=", '"', ",", " ", "\\", "\t")
WORDS = st.sampled_from(
    (*SPOKEN, *PLACES, "repository:acme/tiny:pull", "registry:account:*", "\u00e9", "\x7f")
)
CHALLENGES = st.lists(WORDS, max_size=24).map("".join) | st.text(max_size=200)
# A challenge that can be read, whose values are anything.
VALUE = st.text(st.characters(codec="latin-1", exclude_characters='"\\\r\n'), max_size=60)
READABLE = st.builds(
    lambda realm, service, scope: f'Bearer realm="{realm}",service="{service}",scope="{scope}"',
    st.sampled_from(PLACES) | VALUE,
    VALUE,
    st.sampled_from(("repository:acme/tiny:pull", "repository:acme/tiny:pull,push")) | VALUE,
)


def printed(error: RegistryError) -> str:
    return f"{error.message} {error.hint} {error.detail}"


@given(st.lists(CHALLENGES | READABLE, max_size=3), st.sampled_from(SECRETS), st.binary(max_size=200) | JSON)
def test_no_challenge_and_no_answer_of_a_token_server_is_too_odd(
    fields: list[str], secret: Secret, answer: object
) -> None:
    """Not one request with a secret leaves for another origin than the registry's."""
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    asker = Asker(ACME, (secret,), (), 1_000_000.0, "nonce")
    try:
        steps = dance(parse_challenges(fields), asker)
        request = next(steps)
        for status in (200, 403, 200):
            if request.origin != ACME:
                assert "Authorization" not in request.headers
                assert not any(mark.encode() in bytes(request.body) for mark in MARKS if request.body)  # type: ignore[arg-type]
            request = steps.send(Response(status, Headers(), body))
    except StopIteration:
        pass
    except RegistryError as error:
        assert not [mark for mark in MARKS if mark in printed(error)]


@given(st.text(max_size=400) | st.binary(max_size=300).map(lambda raw: base64.b64encode(raw).decode()))
def test_an_authorisation_header_is_a_signature_or_refused(header: str) -> None:
    try:
        claim = signing.Signature.parse(header)
    except DeniedError:
        return
    with pytest.raises(DeniedError):
        claim.check("GET,https://models.acme.example/token,x")


DOCKER = st.fixed_dictionaries(
    {},
    optional={
        "auths": JSON
        | st.dictionaries(
            st.text(max_size=30)
            | st.sampled_from(["models.acme.example", "https://models.acme.example/v1/"]),
            st.fixed_dictionaries(
                {},
                optional={
                    "auth": st.text(max_size=30)
                    | st.binary(max_size=30).map(lambda b: base64.b64encode(b).decode()),
                    "username": JSON,
                    "password": JSON,
                    "identitytoken": JSON,
                },
            ),
            max_size=3,
        ),
        "credHelpers": JSON | st.dictionaries(st.text(max_size=30), st.text(max_size=80), max_size=3),
        "credsStore": JSON,
    },
)


@given(
    DOCKER.map(json.dumps) | JSON.map(json.dumps) | st.text(max_size=200), JSON.map(json.dumps) | st.text()
)
def test_no_docker_configuration_and_no_helper_ends_a_command(text: str, said: str) -> None:
    asked: list[tuple[str, str]] = []

    def helper(program: str, server: str) -> str:
        asked.append((program, server))
        return said

    config = DockerConfig.parse(text, "config.json")
    account = Credentials(docker=(config,), run_helper=helper).account(ACME, "acme/tiny")
    broken: list[str] = []
    assert all(secret is not None for secret in account.secrets(broken.append))
    assert all(program.startswith("docker-credential-") and "/" not in program for program, _ in asked)


@given(JSON, st.text(max_size=30))
def test_a_document_of_logins_is_read_or_named(document: object, place: str) -> None:
    whole = {"host": {place: document}} if not isinstance(document, dict) else document
    try:
        found = parse_logins(whole, "credentials.toml")
    except InvalidError as error:
        assert error.message.startswith("credentials.toml: ")
        return
    assert all(isinstance(prefix, Prefix) for prefix in found)


@pytest.mark.parametrize(
    ("place", "table"),
    [
        ("acme.example", {"api_key": "two words"}),
        ("acme.example", {"user": "a:b", "password": "x"}),
        ("acme.example", {"user": "ada", "password": "\x00"}),
        ("acme.example:port", {"api_key": "x"}),
        ("", {"api_key": "x"}),
        ("acme.example", {"api_key": 1}),
        ("acme.example", {}),
    ],
)
def test_a_login_that_cannot_be_used_is_named_with_its_file(place: str, table: dict[str, object]) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_logins({"host": {place: table}}, "credentials.toml")
    assert caught.value.message.startswith(f'credentials.toml: host."{place}": ')


@given(st.text(max_size=300))
def test_a_file_of_logins_that_is_toml_is_read_or_named(text: str) -> None:
    try:
        document = tomllib.loads(text)
        parse_logins(document, "credentials.toml")
    except (tomllib.TOMLDecodeError, InvalidError):
        return


@given(st.text(max_size=60) | st.from_regex(r"fry_[0-9A-Za-z]{36}", fullmatch=True))
def test_what_is_called_an_api_key_is_one_that_could_have_been_made(text: str) -> None:
    if api_keys.is_api_key(text):
        assert api_keys.make(_bytes_of(text[4:34])) == text


def _bytes_of(body: str) -> bytes:
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    number = 0
    for character in body:
        number = number * 62 + digits.index(character)
    return number.to_bytes(32)


def calls(transport: object) -> Iterator[object]:
    """Every call of the account API, and what is signed."""
    assert callable(transport)
    api = AccountClient(transport, ACME, lambda: 0.0)
    yield api.me
    yield api.credentials
    yield lambda: api.create("ci", ["*:pull"], 60)
    yield lambda: api.rotate("id", 0)
    yield lambda: api.revoke("../../x?y#z")
    yield lambda: api.disconnect(KEY.public)
    yield api.page
    yield lambda: Caller(transport, ACME, KEY, lambda: 0.0).me()
    yield lambda: ollama_api_key(transport, ACME, ApiKey("the-api-key"), 0.0)


@given(st.sampled_from([200, 201, 204, 301, 400, 401, 403, 404, 429, 500]), JSON, st.binary(max_size=100))
def test_no_answer_of_the_account_api_is_too_odd(status: int, document: object, raw: bytes) -> None:
    for body in (raw, json.dumps(document).encode()):

        def transport(request: Request, body: bytes = body) -> Response:
            assert request.origin == ACME and "/../" not in request.target
            return Response(status, Headers(), body)

        for call in calls(transport):
            assert callable(call)
            try:
                call()
            except RegistryError as error:
                assert not [mark for mark in MARKS if mark in printed(error)]
                assert error.message.isprintable()
