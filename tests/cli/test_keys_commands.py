"""`ferry keys`: API keys and machines' keys, made, listed, rotated and revoked."""

from __future__ import annotations

import base64
import json
import os

import pytest
from login_kit import docker
from person import Ferry
from pretend_accounts import Credential
from real_accounts import AnyAccounts
from spy import Spy, reply

from registry.auth import api_keys
from registry.auth.keys import PrivateKey


def test_an_api_key_is_made_shown_once_listed_rotated_and_revoked(
    ferry: Ferry, accounts: AnyAccounts, machine: Credential
) -> None:
    at = ("--host", accounts.host)
    words = ("--scope", "acme/*:pull", "--scope", "acme/tiny:pull,push", "--note", "ci", "--expires", "30d")
    done = ferry("keys", "create", *words, *at).well()
    secret = done.out.strip()
    assert api_keys.is_api_key(secret) and "shown only this once" in done.err

    rows = ferry("keys", "list", *at, "--format", "json").well().json
    [made] = [row for row in rows if row["kind"] == "api"]
    assert machine.id in [row["id"] for row in rows if row["kind"] == "machine"]
    assert (made["note"], made["scopes"]) == ("ci", ["acme/*:pull", "acme/tiny:pull,push"])
    assert made["shown"] == secret[-4:] and secret not in json.dumps(rows)
    told = ferry("keys", "list", *at).well().out
    assert machine.id[:8] in told and "may acme/*:pull, acme/tiny:pull,push" in told and secret not in told
    assert max(map(len, told.splitlines())) <= 80

    rotated = ferry("keys", "rotate", made["id"], "--overlap", "1h", *at, "--format", "json").well().json
    assert rotated["secret"] != secret and rotated["old_until"] and rotated["id"] == made["id"]
    leaked = ferry("keys", "rotate", made["id"], "--overlap", "0", *at).well()
    assert "the old one is revoked" in leaked.err

    assert "the old secret" not in ferry("keys", "list", *at).well().out
    said = ferry("keys", "revoke", made["id"][:8], *at).well().out  # as the list shows it
    assert said == f"revoked {made['id']}: from now on nobody gets in with it\n"
    assert ferry("keys", "revoke", made["id"], *at).well().out == f"{made['id']} was revoked already\n"
    assert (
        ferry("whoami", accounts.host, FERRY_API_KEY=leaked.out.strip(), FERRY_REGISTRY=accounts.host).code
        == 4
    )


@pytest.mark.usefixtures("machine")
def test_a_stolen_laptop_is_a_line_to_revoke(ferry: Ferry, accounts: AnyAccounts) -> None:
    key = PrivateKey(os.urandom(32))
    stolen = accounts.approve(key.public, accounts.ada)
    ferry("keys", "revoke", stolen.id, "--host", accounts.host, "--format", "json").well()
    assert ferry("whoami", accounts.host, FERRY_KEY=key.openssh()).code == 4
    assert ferry("whoami", accounts.host).well()


@pytest.mark.usefixtures("machine")
def test_what_is_not_there_and_what_may_not_be_done(ferry: Ferry, accounts: AnyAccounts) -> None:
    at = ("--host", accounts.host)
    assert ferry("keys", "revoke", "nothing", *at).code == 3
    assert ferry("keys", "revoke", "", *at).code == 2  # not the beginning of the only one that there is
    secret = accounts.make_api_key(accounts.ada).secret
    environ = {"FERRY_API_KEY": secret, "FERRY_REGISTRY": accounts.host}
    program = Ferry(ferry.home, environ)
    done = program("keys", "create")
    assert done.code == 4 and "an API key cannot do that" in done.err
    assert f"ferry signin {accounts.host}" in done.err
    listed = program("keys", "list").well()
    assert "--key FILE" in listed.err and "machine" not in listed.out
    assert ferry("keys", "list", *at).well().err == ""


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("kept_by", ["docker", "ferry"])
def test_a_login_that_is_an_api_key_does_not_stand_before_the_machines_key(
    kept_by: str, ferry: Ferry, accounts: AnyAccounts
) -> None:
    """Which may change credentials; what the login may do, it may do with models."""
    secret = accounts.make_api_key(accounts.ada).secret
    if kept_by == "docker":
        pair = base64.b64encode(f"any:{secret}".encode()).decode()
        docker(ferry, {"auths": {accounts.host: {"auth": pair}}})
    else:
        ferry("login", accounts.host, "--api-key-stdin", stdin=secret).well()
    at = ("--host", accounts.host)
    assert "ends in" in ferry("whoami", accounts.host).well().out  # with models, it is the login that counts
    made = ferry("keys", "create", "--note", "ci", *at, "--format", "json").well().json
    listed = ferry("keys", "list", *at, "--format", "json").well()
    assert made["id"] in [row["id"] for row in listed.json] and listed.err == ""
    assert ferry("signin", accounts.host, "--page").well().out.startswith(f"http://{accounts.host}/page#")
    assert "/page#" in ferry("api", "POST", "/api/page", "-d", "{}", *at).well().out


@pytest.mark.parametrize("scope", ["acme", "acme/*", "acme/*:", ":pull", "acme/*:pull,write", "a:b:frob"])
def test_a_scope_that_is_none_is_refused_before_anything_is_asked(scope: str, ferry: Ferry) -> None:
    with Spy((reply(500),)) as spy:
        done = ferry("keys", "create", "--scope", scope, "--host", spy.netloc)
        assert done.code == 2 and "REPOSITORIES:ACTIONS" in done.err and not spy.seen


def test_a_list_is_as_short_as_tells_its_rows_apart(ferry: Ferry) -> None:
    ids = ["7f3a9d1e-0000-4f7e-9a35-2b8f6f0c1d11", "7f3a9d1e-1111-4f7e-9a35-2b8f6f0c1d11"]
    row: dict[str, object] = {
        "kind": "api",
        "note": "a note that is longer than a column",
        "scopes": ["*:pull"],
        "shown": "WXYZ",
        "created": None,
        "expires": "2026-11-30T00:00:00Z",
        "last_used": None,
        "state": "old secret until 2026-11-29T00:00:00Z",
    }
    rows = [{"id": id, **row} for id in ids]
    with Spy((reply(200, json.dumps(rows).encode()),)) as spy:
        at = ("--host", spy.netloc)
        told = ferry("keys", "list", *at).well().out
        ambiguous = ferry("keys", "revoke", "7f3a", *at)
    assert all(f"{id[:10]}  " in told and id[:11] not in told for id in ids)
    assert "may *:pull; old secret until 2026-11-29T00:00:00Z" in told and "a note that i…" in told
    assert max(map(len, told.splitlines())) <= 80
    assert ambiguous.code == 2 and "2 credentials begin with 7f3a" in ambiguous.err


@pytest.mark.parametrize("time", ["", "0", "90x", "-1d", "1000y"])
def test_an_odd_time_is_refused(time: str, ferry: Ferry) -> None:
    done = ferry("keys", "create", "--expires", time or "x", "--host", "127.0.0.1:1")
    assert done.code == 2 and "--expires" in done.err


def test_a_registry_without_the_account_api_is_said_as_that(ferry: Ferry) -> None:
    with Spy((reply(404, b'{"errors":[{"code":"NAME_UNKNOWN","message":"nothing"}]}'),)) as spy:
        done = ferry("keys", "list", "--host", spy.netloc)
    assert done.code == 3 and "no account API" in done.err
