"""Signing in and out at ollama.com, and its API keys: at a pretended one behind a proxy and a certificate."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import write_certificate
from person import Ferry
from pretend_accounts import PretendAccounts
from spy import Spy, reply

from registry.auth.keys import load_key


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ollama")
    write_certificate(folder, "ollama.com", "registry.ollama.ai")
    return folder


@pytest.fixture
def ollama(certificate: Path) -> Iterator[PretendAccounts]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    with PretendAccounts(ollama=context) as made:
        yield made


@pytest.fixture
def outside(ferry: Ferry, ollama: PretendAccounts, certificate: Path) -> Ferry:
    """A person for whom ollama.com is the pretended one."""
    return Ferry(
        ferry.home,
        {"HTTPS_PROXY": f"http://{ollama.host}", "FERRY_TLS_CA": str(certificate / "cert.pem")},
    )


def test_ollama_com_is_signed_in_at_and_out_of(outside: Ferry, ollama: PretendAccounts) -> None:
    process = outside.start("signin")
    assert ollama.asked_me.wait(60)
    ollama.approve(load_key(outside.home / ".ollama" / "id_ed25519").public, "ada")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "https://ollama.com/connect?name=" in out and "as ada" in out
    calls = [seen.target for seen in ollama.spy.seen if seen.target.startswith("/api/me")]
    assert calls and all("code" not in target and "host" not in target for target in calls)

    assert "ada at ollama.com" in outside("whoami").well().out
    outside("signout").well()
    assert outside("whoami").code == 4


def test_an_api_key_of_ollama_com_is_checked_without_cost(outside: Ferry, ollama: PretendAccounts) -> None:
    good = ollama.make_api_key("ada").secret
    done = outside("whoami", "--format", "json", OLLAMA_API_KEY=good).well()
    assert (done.json["name"], done.json["credential"]["kind"]) == ("ada", "api")
    assert done.json["credential"]["shown"] == good[-4:] and "OLLAMA_API_KEY" in done.json["chosen"]
    asked = [seen for seen in ollama.spy.seen if "chat" in seen.target]
    assert [seen.body for seen in asked] == [b"{}"]

    bad = outside("whoami", OLLAMA_API_KEY="not-a-key")
    assert bad.code == 4 and "invalid or revoked" in bad.err and "not-a-key" not in bad.err


def test_signing_out_elsewhere_signs_nothing_that_could_be_passed_on(ferry: Ferry) -> None:
    """A host that answers 401 without a challenge is not handed what ollama.com would take."""
    with Spy((reply(401, b'{"error":"unauthorized"}'),)) as spy:
        ferry("signin", spy.netloc, "--give-up-after", "0")
        spy.seen.clear()
        assert ferry("signout", spy.netloc).code == 4
        assert all(seen.header("Authorization") is None for seen in spy.seen)


def test_an_api_key_of_ollama_com_is_tried_before_it_is_kept(outside: Ferry, ollama: PretendAccounts) -> None:
    good = ollama.make_api_key("ada").secret
    assert outside("login", "ollama.com", "--api-key-stdin", stdin="not-a-key").code == 4
    assert not (outside.home / ".config" / "ferry" / "credentials.toml").exists()
    outside("login", "ollama.com", "--api-key-stdin", stdin=good).well()
    assert "ada at ollama.com, with the API key that ends in" in outside("whoami", "ollama.com").well().out
    asked = [seen for seen in ollama.spy.seen if "/v1/" in seen.target]
    assert {(seen.target, seen.body) for seen in asked} == {("/v1/chat/completions", b"{}")}


def test_the_key_of_ollama_com_goes_to_no_other_host(ferry: Ferry) -> None:
    with Spy((reply(401, b'{"error":"unauthorized"}'),)) as spy:
        for words in (
            ("whoami", spy.netloc),
            ("tags", f"{spy.netloc}/acme/tiny"),
            ("keys", "list", "--host", spy.netloc),
        ):
            assert ferry(*words, OLLAMA_API_KEY="the-ollama-key").code == 4
        assert b"the-ollama-key" not in spy.everything and spy.seen
