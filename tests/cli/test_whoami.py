"""`ferry whoami`: who one is at a registry, by which credential, and why that one."""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path

import pytest
from login_kit import docker, put_helper
from person import Ferry
from pretend_accounts import Credential
from real_accounts import AnyAccounts
from spy import Spy, reply

from registry.auth import api_keys
from registry.auth.keys import ensure_key, load_key


def test_a_machine_is_told_its_account_credential_and_why(
    ferry: Ferry, accounts: AnyAccounts, machine: Credential
) -> None:
    told = ferry("whoami", accounts.host).well().out
    fingerprint = load_key(ferry.home / ".ollama" / "id_ed25519").public.fingerprint
    assert told.startswith(f"{accounts.ada} at {accounts.host}, with the key {fingerprint}")
    assert machine.id in told and "this machine's own key" in told

    document = ferry("whoami", accounts.host, "--format", "json").well().json
    assert (document["name"], document["host"], document["fingerprint"]) == (
        accounts.ada,
        accounts.host,
        fingerprint,
    )
    assert (document["credential"]["id"], document["credential"]["kind"]) == (machine.id, "machine")
    assert str(ferry.home / ".ollama" / "id_ed25519") in document["chosen"]


@pytest.mark.usefixtures("machine")
def test_who_one_is_in_a_namespace_may_be_another_account(ferry: Ferry, accounts: AnyAccounts) -> None:
    key = ferry.home / "api-key"
    key.write_text(accounts.make_api_key(accounts.ben).secret)
    key.chmod(0o600)
    ferry.settings(f'[host."{accounts.host}/acme"]\napi_key_file = "{key}"\n')
    told = [
        ferry("whoami", f"{accounts.host}{path}", "--format", "json").well().json
        for path in ("", "/acme", "/acme/tiny", "/other")
    ]
    assert [each["name"] for each in told] == [accounts.ada, accounts.ben, accounts.ben, accounts.ada]
    assert [each.get("namespace") for each in told] == [None, "acme", "acme/tiny", "other"]
    assert f'say of "{accounts.host}/acme"' in told[1]["chosen"]
    assert ferry("whoami", f"{accounts.host}/acme:1").code == 2


CHOSEN = {
    "FERRY_KEY": "the text in FERRY_KEY",
    "--key": "the key of this run: {home}/own",
    "FERRY_API_KEY": "in FERRY_API_KEY",
    "FERRY_API_KEY_FILE": "in FERRY_API_KEY_FILE",
    "settings key": 'say of "{host}"',
    "settings API key": 'say of "{host}"',
    "credentials.toml": 'say of "{host}"',
    "docker": "{home}/.docker/config.json",
    "helper": "{home}/.docker/config.json",
}


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("how", CHOSEN)
def test_why_an_identity_was_chosen_is_said(how: str, ferry: Ferry, accounts: AnyAccounts) -> None:
    """Each of these is asked before this machine's own key, which is known too, to ada."""
    home, host = ferry.home, accounts.host
    words: tuple[str | Path, ...] = ()
    environ: dict[str, str] = {}
    secret = accounts.make_api_key(accounts.ben).secret
    key = ensure_key(home / "own", os.urandom(32))
    if how in ("FERRY_KEY", "--key", "settings key"):
        accounts.approve(key.public, accounts.ben)
    (home / "api-key").write_text(secret + "\n")
    (home / "api-key").chmod(0o600)
    match how:
        case "FERRY_KEY":
            environ = {"FERRY_KEY": key.openssh()}
        case "--key":
            words = ("--key", home / "own")
        case "FERRY_API_KEY":
            environ = {"FERRY_API_KEY": secret + "\n", "FERRY_REGISTRY": host}
        case "FERRY_API_KEY_FILE":
            environ = {"FERRY_API_KEY_FILE": str(home / "api-key"), "FERRY_REGISTRY": host}
        case "settings key":
            ferry.settings(f'[host."{host}"]\nkey = "~/own"\n')
        case "settings API key":
            ferry.settings(f'[host."{host}"]\napi_key_file = "~/api-key"\n')
        case "credentials.toml":
            ferry("login", host, "--api-key-stdin", stdin=secret).well()
        case "docker":
            docker(ferry, {"auths": {host: {"auth": b64encode(f"any:{secret}".encode()).decode()}}})
        case "helper":
            put_helper(ferry, {host: ("any", secret)})
            docker(ferry, {"credsStore": "test"})
    person = Ferry(home, {**environ, "PATH": f"{home / 'bin'}:{ferry.env()['PATH']}"})
    document = person("whoami", host, "--format", "json", *words).well().json
    assert document["name"] == accounts.ben
    assert CHOSEN[how].format(home=home, host=host) in document["chosen"]
    shown = document["credential"]["shown"]
    assert shown == (key.public.fingerprint if document["fingerprint"] else secret[-4:])
    assert secret not in person("whoami", host, "--debug", *words).well().out


def test_nobody_is_told_so(ferry: Ferry, accounts: AnyAccounts) -> None:
    done = ferry("whoami", accounts.host)
    assert done.code == 4 and "there is no key at" in done.err and f"ferry signin {accounts.host}" in done.err
    ensure_key(ferry.home / ".ollama" / "id_ed25519", os.urandom(32))
    told = ferry("whoami", accounts.host, "--format", "json")
    assert told.code == 4 and told.json["error"]["reason"] == "key_unknown"


@pytest.mark.usefixtures("machine")
def test_a_refused_api_key_is_not_covered_up_by_the_machines_key(ferry: Ferry, accounts: AnyAccounts) -> None:
    dead = api_keys.make(os.urandom(32))
    done = ferry("whoami", accounts.host, FERRY_API_KEY=dead, FERRY_REGISTRY=accounts.host)
    assert done.code == 4 and "invalid or revoked" in done.err and dead not in done.err


def test_an_unknown_key_says_nothing_of_the_next_secret(ferry: Ferry, accounts: AnyAccounts) -> None:
    """A key that docker's login stands behind."""
    ensure_key(ferry.home / "own", os.urandom(32))
    ferry.settings(f'[host."{accounts.host}"]\nkey = "~/own"\n')
    secret = accounts.make_api_key(accounts.ben).secret
    docker(ferry, {"auths": {accounts.host: {"auth": b64encode(f"any:{secret}".encode()).decode()}}})
    assert ferry("whoami", accounts.host, "--format", "json").well().json["name"] == accounts.ben


def test_a_registry_without_accounts_is_said_as_that(ferry: Ferry) -> None:
    ensure_key(ferry.home / ".ollama" / "id_ed25519", os.urandom(32))
    with Spy((reply(404, b"404 page not found"),)) as spy:
        done = ferry("whoami", spy.netloc)
    assert done.code == 3 and "keeps no accounts of this kind" in done.err
