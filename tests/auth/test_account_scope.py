"""A token for our account is asked for where a request is about it, and never because a peer says so."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from session_kit import READING, WRITING, Clock
from spy import Seen, Spy, Talk, reply

from registry.auth.credentials import Credentials
from registry.auth.keys import PrivateKey
from registry.auth.scopes import Scopes, Wanted
from registry.auth.session import Session
from registry.net.http import Http
from registry.wire.messages import ACCOUNT, Access, Origin, Request

KEY = PrivateKey(bytes(range(32)))
ALL = Scopes.parse("registry:account:*")


def test_it_is_a_scope_like_any_other() -> None:
    assert Scopes.of_repository(ACCOUNT) == ALL and ALL.texts == ["registry:account:*"]
    assert ALL.cover(Scopes.parse("registry:account:anything")) and not ALL.read_only
    assert not Scopes.parse("registry:catalog:*").cover(ALL)


@pytest.mark.parametrize(
    "challenge", ["", "registry:account:*", "registry:account:* repository:acme/tiny:pull"]
)
@pytest.mark.parametrize("access", [READING, WRITING, None])
def test_no_challenge_makes_it_one(challenge: str, access: Access | None) -> None:
    for scopes in Wanted(Scopes.of_repository(access)).tries(challenge):
        assert "registry:account" not in scopes.actions


@pytest.mark.parametrize("challenge", ["", "registry:account:*", "registry:catalog:*", "repository:x:pull"])
def test_what_is_about_the_account_asks_for_it(challenge: str) -> None:
    first = Wanted(ALL).tries(challenge)[0]
    assert challenge in ("registry:catalog:*", "repository:x:pull") or "registry:account" in first.actions


@pytest.mark.parametrize(
    ("access", "asked"),
    [
        (READING, ["repository:acme/tiny:pull"]),
        (WRITING, ["repository:acme/tiny:pull,push"]),
        (None, [""]),
        (ACCOUNT, ["registry:account:*"]),
    ],
)
def test_a_registry_that_wants_it_for_a_pull_is_not_given_it(
    access: Access | None, asked: list[str], http: Http
) -> None:
    def script(talk: Talk, seen: Seen) -> None:
        challenge = f'Bearer realm="{talk.spy.url}/token",service="s",scope="registry:account:*"'
        if seen.target.startswith("/token"):
            talk.send(reply(200, b'{"token":"T"}'))
        else:
            talk.send(reply(200) if seen.header("Authorization") else reply(401, WWW_Authenticate=challenge))

    with Spy((script,)) as spy:
        origin = Origin.of(spy.url)
        account = Credentials(key=KEY).account(origin)
        talk = Session(http, origin, account, clock=Clock(), new_nonce=lambda: "nonce")
        talk(Request("GET", f"{spy.url}/v2/acme/tiny/tags/list", access=access)).close()
        (token,) = [seen.target for seen in spy.seen if seen.target.startswith("/token")]
        assert parse_qs(urlsplit(token).query, keep_blank_values=True)["scope"] == asked
