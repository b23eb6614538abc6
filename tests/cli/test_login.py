"""`ferry login` and `logout`: a secret is tried, kept for its owner alone, used and forgotten."""

from __future__ import annotations

import json
import stat
import threading
import tomllib
from base64 import b64encode
from pathlib import Path

import pytest
from login_kit import docker, put_helper, toml_of
from person import Ferry
from real_accounts import AnyAccounts
from spy import Seen, Spy, Talk, reply

from cli.settings import credentials as kept
from registry.auth.credentials import StoredLogin
from registry.auth.secrets import ApiKey, IdentityToken, Login
from registry.errors import DeniedError, InvalidError


@pytest.mark.parametrize("place", ["{host}", "{host}/acme", "http://{host}"])
def test_an_api_key_is_tried_kept_for_its_owner_alone_used_and_forgotten(
    place: str, ferry: Ferry, accounts: AnyAccounts
) -> None:
    secret = accounts.make_api_key(accounts.ada).secret
    place = place.format(host=accounts.host)
    done = ferry("login", place, "--api-key-stdin", stdin=secret + "\n").well()
    assert str(toml_of(ferry)) in done.out and secret not in done.out + done.err
    assert stat.S_IMODE(toml_of(ferry).stat().st_mode) == 0o600
    assert stat.S_IMODE(toml_of(ferry).parent.stat().st_mode) == 0o700
    kept_for = place.removeprefix("http://")
    assert tomllib.loads(toml_of(ferry).read_text()) == {"host": {kept_for: {"api_key": secret}}}

    assert ferry("whoami", accounts.host).code == (4 if place.endswith("/acme") else 0)
    told = ferry("logout", place, "--format", "json").well().json
    assert told["forgotten"] == str(toml_of(ferry)) and secret not in toml_of(ferry).read_text()
    assert ferry("whoami", accounts.host).code == 4
    assert ferry("logout", place).code == 3


@pytest.mark.parametrize("words", [("--api-key-stdin",), ("-u", "me", "--password-stdin")])
def test_what_is_refused_is_not_kept(words: tuple[str, ...], ferry: Ferry, accounts: AnyAccounts) -> None:
    done = ferry("login", accounts.host, *words, stdin="not-the-secret", seconds=60)
    assert done.code == 4 and "not-the-secret" not in done.out + done.err
    assert not toml_of(ferry).exists()


def test_a_password_is_tried_as_docker_would(ferry: Ferry) -> None:
    good = "Basic " + b64encode(b'me:the pass\\word"').decode()

    def script(talk: Talk, seen: Seen) -> None:
        ok = seen.header("Authorization") == good
        talk.send(reply(200, b"{}") if ok else reply(401, WWW_Authenticate='Basic realm="x"'))

    with Spy((script,)) as spy:
        ferry("login", spy.netloc, "-u", "me", "--password-stdin", stdin='the pass\\word"\n').well()
        assert ferry("login", spy.netloc, "-u", "me", "--password-stdin", stdin="wrong").code == 4
        assert tomllib.loads(toml_of(ferry).read_text())["host"][spy.netloc]["password"] == 'the pass\\word"'


def test_a_registry_that_asks_nobody_is_said_as_that(ferry: Ferry) -> None:
    with Spy((reply(200, b"{}"),)) as spy:
        done = ferry("login", spy.netloc, "--api-key-stdin", stdin="any-key").well()
        assert "could not be tried" in done.err
        assert all(seen.header("Authorization") is None for seen in spy.seen)


@pytest.mark.parametrize(
    ("words", "stdin"),
    [
        ((), "x"),
        (("-u", "me"), "x"),
        (("--password-stdin",), "x"),
        (("-u", "me", "--password-stdin", "--api-key-stdin"), "x"),
        (("-u", "me", "--api-key-stdin"), "x"),
        (("--api-key-stdin",), ""),
        (("--api-key-stdin",), " \n"),
        (("--api-key-stdin",), "two words"),
        (("-u", "a:b", "--password-stdin"), "x"),
        (("--api-key-stdin",), "x" * 9000),
    ],
)
def test_what_is_no_login_is_refused_before_anything_is_asked(
    words: tuple[str, ...], stdin: str, ferry: Ferry
) -> None:
    with Spy((reply(500),)) as spy:
        done = ferry("login", spy.netloc, *words, stdin=stdin)
        assert done.code == 2 and not spy.seen and not toml_of(ferry).exists(), done.err


@pytest.mark.parametrize("namespace", ["../x", "acme:1.0", "a b", "acme@x", "%2e", "acme//tiny"])
def test_a_namespace_that_no_model_is_in_gets_no_login(namespace: str, ferry: Ferry) -> None:
    with Spy((reply(200),)) as spy:
        done = ferry("login", f"{spy.netloc}/{namespace}", "--api-key-stdin", stdin="a-key")
        assert done.code == 2 and "part of a name" in done.err
        assert not spy.seen and not toml_of(ferry).exists()


def test_a_helper_of_dockers_is_handed_the_login_and_gives_it_back(
    ferry: Ferry, accounts: AnyAccounts
) -> None:
    folder = put_helper(ferry)
    docker(ferry, {"credsStore": "test"})
    person = Ferry(ferry.home, {"PATH": f"{ferry.home / 'bin'}:{ferry.env()['PATH']}"})
    secret = accounts.make_api_key(accounts.ada).secret
    assert (
        "docker-credential-test" in person("login", accounts.host, "--api-key-stdin", stdin=secret).well().out
    )
    (stored,) = folder.iterdir()
    assert json.loads(stored.read_text())["Secret"] == secret and not toml_of(ferry).exists()
    assert person("whoami", accounts.host, "--format", "json").well().json["name"] == accounts.ada

    person("login", f"{accounts.host}/acme", "--api-key-stdin", stdin=secret).well()
    assert toml_of(ferry).exists()  # a helper knows hosts only

    person("logout", accounts.host).well()
    assert not list(folder.iterdir()) and person("logout", accounts.host).code == 3
    person("logout", f"{accounts.host}/acme").well()


def test_of_many_logins_at_once_none_is_lost(tmp_path: Path) -> None:
    folder = tmp_path / "ferry"
    threads = [
        threading.Thread(target=kept.keep, args=(folder, f"host{number}.example", ApiKey(f"key{number}")))
        for number in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kept.logins(folder)) == 16


def test_whatever_may_be_a_secret_is_read_as_it_was_written(tmp_path: Path) -> None:
    logins: dict[str, StoredLogin] = {
        "a.example": Login("me", '"\\ \u00fc\U0001f600 #]='),
        "b.example:5000/team": ApiKey("fry_x"),
        "http://c.example": IdentityToken("id"),
    }
    for place, login in logins.items():
        kept.keep(tmp_path, place, login)
    assert list(kept.logins(tmp_path).values()) == [logins[place] for place in sorted(logins)]


@pytest.mark.parametrize(
    ("text", "mode", "error"),
    [
        ("[host.a]\nuser =", 0o600, InvalidError),
        ('[host."a.example"]\nuser = "me"\n', 0o600, InvalidError),
        ('[host."a.example"]\napi_key = 7\n', 0o600, InvalidError),
        ("surprise = 1\n", 0o600, InvalidError),
        ("host = 1\n", 0o600, InvalidError),
        ('[host."a.example"]\napi_key = "k"\n', 0o644, DeniedError),
    ],
)
def test_a_file_that_cannot_be_used_is_said_and_not_written_over(
    text: str, mode: int, error: type[Exception], tmp_path: Path
) -> None:
    path = tmp_path / "credentials.toml"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(error, match=r"credentials\.toml"):
        kept.logins(tmp_path)
    with pytest.raises(error):
        kept.keep(tmp_path, "b.example", ApiKey("k"))
    assert path.read_text() == text


def test_a_secret_is_in_no_programs_arguments(ferry: Ferry) -> None:
    """Every option of `login` that could carry one is a yes or no."""
    refused = ferry("login", "a.example", "-u", "me", "--password", "pw")
    assert refused.code == 2
