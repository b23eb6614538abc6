"""Whatever stands in an Authorization header, a token, an API key or a body: 4xx in shape, never 500."""

from __future__ import annotations

import base64
import json
import string
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import pytest
from guarded import HOST, Door, key, text
from hypothesis import given
from hypothesis import strategies as some

from registry.auth import api_keys
from registry.errors import DeniedError, InvalidError
from registry.server.depot_memory import MemoryDepot
from registry.server.key_scopes import KeyScope, parse_scopes
from registry.server.presented import Presented
from registry.wire.messages import Response

ADA = key(1)
SCOPES = ("repository:ada/tiny:pull,push,delete", "registry:account:*")
ASKED = (
    ("GET", "/v2/"),
    ("GET", "/v2/_catalog"),
    ("GET", "/v2/ada/tiny/manifests/v1"),
    ("POST", "/v2/ada/tiny/blobs/uploads/"),
    ("DELETE", "/v2/ada/tiny/manifests/v1"),
    ("GET", "/api/account"),
    ("POST", "/api/credentials"),
    ("PATCH", "/api/repositories/ada/tiny"),
)

# What a header may hold is what the engine in front lets through: Latin-1 without control characters.
letters = some.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x7f")
line = some.text(letters | some.just(" "), max_size=300)
schemes = some.sampled_from(
    ["Bearer", "bearer", "BEARER", "Basic", "Digest", "Negotiate", "", "Bearer Bearer"]
)
digits = some.text(string.ascii_letters + string.digits, max_size=60)
claims = some.recursive(
    some.none() | some.booleans() | some.integers() | some.text(max_size=20),
    lambda inner: (
        some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=8,
)


@dataclass
class Known:
    """A registry, and what is good there, to be bent."""

    door: Door
    token: str
    secret: str


@pytest.fixture(scope="module")
def known() -> Known:
    door = Door(depot=lambda _: MemoryDepot())
    door.join("ada", ADA)
    made = door.api_keys.create(door.accounts.user("ada"), parse_scopes(["*:*"]))
    return Known(door, door.token(ADA, *SCOPES), made.secret)


def check_refused(answer: Response, target: str) -> None:
    """A refusal as the specification, or the account API, has it; never a crash."""
    assert 400 <= answer.status < 500, answer
    said = json.loads(text(answer))
    if target.startswith("/api/"):
        assert isinstance(said["error"], str) and said["error"]
    else:
        (error,) = said["errors"]
        assert isinstance(error["message"], str) and error["code"].isupper()


def knock(known: Known, value: str) -> None:
    """Every route refuses the header, and so does the token endpoint."""
    for method, target in ASKED:
        answer = known.door.ask(method, target, Authorization=value)
        check_refused(answer, target)
        assert answer.status == 401
    token = known.door.ask("GET", f"/v2/token?scope={quote(SCOPES[0])}", Authorization=value)
    check_refused(token, "/v2/token")
    assert token.status in (400, 401, 403)


def fields(line: str) -> str:
    """As the engine hands it on: without white space around."""
    return line.strip(" \t")


@given(value=line)
def test_any_header_at_all(known: Known, value: str) -> None:
    knock(known, fields(value))


@given(scheme=schemes, rest=line)
def test_any_scheme_with_anything_behind_it(known: Known, scheme: str, rest: str) -> None:
    knock(known, fields(f"{scheme} {rest}"))


@given(user=line, password=line, padding=some.sampled_from(["", "=", "==", "===", " "]))
def test_any_password(known: Known, user: str, password: str, padding: str) -> None:
    encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
    knock(known, fields(f"Basic {encoded}{padding}"))
    knock(known, f"Basic {base64.b64encode(f'{user}:fry_{password}'.encode()).decode()}")


@given(body=digits, place=some.integers(0, 39), with_=letters)
def test_any_api_key_but_the_right_one(known: Known, body: str, place: int, with_: str) -> None:
    """One letter in another's place is found by the check sum, before a database is asked."""
    bent = f"{known.secret[:place]}{with_}{known.secret[place + 1 :]}"
    for secret in (f"fry_{body}", api_keys.make(body.encode().ljust(32)[:32]), bent):
        if secret == known.secret:
            continue
        knock(known, f"Bearer {secret}")
        form = urlencode({"grant_type": "password", "password": secret})
        answer = known.door.ask("POST", "/v2/token", body=form.encode())
        check_refused(answer, "/v2/token")
        assert answer.status == 401
    assert api_keys.is_api_key(bent) is (bent == known.secret)


@given(head=claims, body=claims, part=some.integers(0, 2), tail=digits)
def test_any_token_but_the_right_one(known: Known, head: object, body: object, part: int, tail: str) -> None:
    made = [base64.urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in (head, body)]
    parts = known.token.split(".")
    bent = ".".join([*parts[:part], tail, *parts[part + 1 :]])
    for token in (
        ".".join((*made, tail)),
        ".".join((parts[0], made[1], parts[2])),
        bent,
        f"{known.token}{tail}.",
    ):
        knock(known, f"Bearer {token}")


@given(body=some.binary(max_size=300) | claims.map(lambda value: json.dumps(value).encode()))
def test_any_body(known: Known, body: bytes) -> None:
    for method, target in (
        ("POST", "/api/credentials"),
        ("POST", "/api/credentials/none/rotate"),
        ("PATCH", "/api/repositories/ada/tiny"),
        ("PUT", "/api/repositories/ada/tiny/shares/bob"),
        ("POST", "/v2/token"),
    ):
        token = "" if target == "/v2/token" else known.token
        answer = known.door.ask(method, target, token=token, body=body)
        if answer.status != 201:  # an empty object makes a key
            check_refused(answer, target)


@given(form=some.dictionaries(some.text(max_size=12), some.text(max_size=40), max_size=6))
def test_any_form(known: Known, form: dict[str, str]) -> None:
    for more in ({}, {"grant_type": "password"}, {"grant_type": "refresh_token"}):
        sent = urlencode({**form, **more}, errors="replace").encode()
        check_refused(known.door.ask("POST", "/v2/token", body=sent), "/v2/token")


@given(text_=some.text(max_size=60) | digits)
def test_a_scope_is_one_or_none(text_: str) -> None:
    for written in (text_, f"{text_}:pull", f"ada/*:{text_}"):
        try:
            scope = KeyScope.parse(written)
        except InvalidError:
            continue
        assert KeyScope.parse(str(scope)) == scope
        assert "pull" in scope.actions


@given(value=line)
def test_what_is_presented_is_a_token_or_a_secret_never_both(value: str) -> None:
    try:
        shown = Presented.parse(value)
    except DeniedError as error:
        assert HOST not in error.message
        return
    assert not (shown.token and shown.secret)
    assert shown.secret == "" or shown.secret.startswith("fry_")
