"""Issuers' keys: fetched over a real socket in threads of their own; nobody waits for an issuer."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from certificates import write_certificate
from guarded import NOW, ORIGIN
from identity_provider import DISCOVERY, KEYS, Provider, ec_key, provider

from registry.errors import DeniedError, InvalidError, RegistryError, TransientError
from registry.net.http import Http
from registry.net.network import Network
from registry.server.id_tokens import KEYS_BYTES
from registry.server.issuers import (
    AGAIN_SECONDS,
    FRESH_SECONDS,
    GITLAB,
    KEPT_SECONDS,
    Issuer,
    Issuers,
    fetched,
    issuer_of,
)
from registry.wire.messages import Origin, Request, Response, Transport


def over_sockets(_origin: Origin, ca: str) -> Transport:
    return Http(Network(ca=ca, stall=5.0))


class Lab:
    """Issuers with a clock one can turn, and one provider."""

    def __init__(self, provider: Provider) -> None:
        self.now = 0.0
        self.provider = provider
        self.issuer = Issuer(provider.url)
        self.told: list[str] = []
        self.issuers = Issuers(over_sockets, lambda: self.now, self.told.append)

    def ask(self, token: str = "") -> str:
        """What is answered just now: a subject, or the first words of an error."""
        try:
            return self.issuers.verified(token or self.provider.token(ORIGIN, NOW), self.issuer, NOW).subject
        except TransientError as error:
            return f"later: {error.message}"
        except DeniedError as error:
            return f"no: {error.message}"

    def settled(self) -> None:
        """Wait until nothing is being fetched."""
        self.issuers.wait()


@pytest.fixture
def lab() -> Iterator[Lab]:
    with provider() as here:
        yield Lab(here)


SUBJECT = "repo:acme/ml:ref:refs/heads/main"


def test_the_first_question_is_answered_at_once_and_the_next_one_well(lab: Lab) -> None:
    lab.provider.hold = threading.Event()
    for _ in range(3):
        assert lab.ask().startswith("later: the keys of http://127.0.0.1:")  # while the issuer still thinks
    lab.provider.hold.set()
    lab.settled()
    assert lab.ask() == SUBJECT
    assert lab.provider.asked == [DISCOVERY, KEYS]  # once for all of them


def test_keys_are_fetched_anew_behind_the_backs_of_those_who_ask(lab: Lab) -> None:
    lab.issuers.look([lab.issuer])
    lab.settled()
    lab.now += FRESH_SECONDS - 1
    assert lab.ask() == SUBJECT
    lab.settled()
    assert lab.provider.asked == [DISCOVERY, KEYS]
    lab.now += 1
    assert lab.ask() == SUBJECT
    lab.settled()
    assert lab.provider.asked == [DISCOVERY, KEYS] * 2


def test_the_keys_of_an_issuer_that_is_down_are_good_for_an_hour(lab: Lab) -> None:
    lab.issuers.look([lab.issuer])
    lab.settled()
    lab.provider.down = True
    lab.now += KEPT_SECONDS - 1
    assert lab.ask() == SUBJECT
    lab.settled()
    lab.now += 1
    assert lab.ask().startswith("later: the keys of")
    lab.settled()
    lab.provider.down = False
    lab.now += AGAIN_SECONDS
    lab.ask()
    lab.settled()
    assert lab.ask() == SUBJECT


def test_a_key_that_is_not_known_is_asked_for_once_in_a_while(lab: Lab) -> None:
    lab.issuers.look([lab.issuer])
    lab.settled()
    lab.now += AGAIN_SECONDS
    lab.provider.keys = {"two": ec_key(2)}
    assert lab.ask().startswith("later")
    lab.settled()
    assert lab.ask() == SUBJECT
    stranger = Provider(lab.provider.url, {"three": ec_key(3)}).token(ORIGIN, NOW)
    before = len(lab.provider.asked)
    for _ in range(20):  # so many strangers make nobody ask more often
        assert lab.ask(stranger).startswith("no: ")
    assert len(lab.provider.asked) == before
    lab.now += AGAIN_SECONDS
    assert lab.ask(stranger).startswith("later")
    lab.settled()
    assert lab.ask(stranger).startswith("no: ")


def test_without_keys_a_dead_issuer_is_not_asked_by_every_request(lab: Lab) -> None:
    lab.provider.status = 500
    for _ in range(5):
        assert lab.ask().startswith("later")
        lab.settled()
    assert lab.provider.asked == [DISCOVERY]
    assert "answered 500" in lab.ask()
    lab.now += AGAIN_SECONDS
    lab.ask()
    lab.settled()
    assert lab.provider.asked == [DISCOVERY] * 2
    assert [each.partition(": ")[2] for each in lab.told] == [
        f"{lab.provider.url.partition('//')[2]} answered 500"
    ]


def test_an_issuer_is_one_that_is_known_never_what_a_token_says(lab: Lab) -> None:
    token = lab.provider.token(ORIGIN, NOW)
    assert issuer_of(token, [lab.issuer]) == lab.issuer
    assert issuer_of(token, [Issuer("https://ci.example")]) is None
    assert issuer_of(token, [Issuer(f"{lab.provider.url}/")]) is None
    assert lab.provider.asked == []


LIES: dict[str, Callable[[Provider], None]] = {
    "another's discovery": lambda it: setattr(
        it, "discovery", {"issuer": "https://evil.example", "jwks_uri": it.url + KEYS}
    ),
    "no discovery": lambda it: setattr(it, "discovery", b"<html>"),
    "keys over plain HTTP elsewhere": lambda it: setattr(
        it, "discovery", {"issuer": it.url, "jwks_uri": "http://keys.example/jwks"}
    ),
    "keys in a file": lambda it: setattr(
        it, "discovery", {"issuer": it.url, "jwks_uri": "file:///etc/passwd"}
    ),
    "a discovery without end": lambda it: setattr(it, "discovery", b" " * 70_000),
    "keys without end": lambda it: setattr(it, "shown", b" " * (KEYS_BYTES + 1)),
    "no keys": lambda it: setattr(it, "shown", {"keys": []}),
    "a redirect": lambda it: setattr(it, "status", 302),
}


@pytest.mark.parametrize("case", LIES)
def test_an_issuer_that_lies_gives_no_keys(case: str, lab: Lab) -> None:
    LIES[case](lab.provider)
    with pytest.raises(RegistryError):
        fetched(lab.issuer, over_sockets)


def test_an_issuer_that_was_named_with_a_slash_too_many_says_how_it_calls_itself(lab: Lab) -> None:
    with pytest.raises(RegistryError, match=f"it calls itself '{lab.provider.url}'"):
        fetched(Issuer(f"{lab.provider.url}/"), over_sockets)


def test_an_issuer_with_an_authority_of_its_own_is_known_by_that(tmp_path: Path) -> None:
    write_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with provider(tls=context) as here:
        with pytest.raises(DeniedError, match="certificate"):
            fetched(Issuer(here.url), over_sockets)
        known = Issuer.named(here.url, (tmp_path / "cert.pem").read_text())
        assert set(fetched(known, over_sockets).keys) == {"one"}


def test_where_the_keys_are_may_be_said_instead_of_discovered(lab: Lab) -> None:
    found = fetched(Issuer(lab.provider.url, jwks=lab.provider.url + KEYS), over_sockets)
    assert set(found.keys) == {"one"}
    assert lab.provider.asked == [KEYS]


def test_keys_of_a_public_issuer_are_not_looked_for_on_this_machine() -> None:
    told = Provider("https://ci.example")

    def pretended(_origin: Origin, _ca: str) -> Transport:
        def transport(request: Request) -> Response:
            status, body = told.answer(request.target, "")
            return Response(status, body=body)

        return transport

    for place in ("https://169.254.169.254/jwks", "https://localhost/jwks", "http://127.0.0.1:1/jwks"):
        told.discovery = {"issuer": told.url, "jwks_uri": place}
        with pytest.raises(InvalidError):
            fetched(Issuer(told.url), pretended)
    told.discovery = {"issuer": told.url, "jwks_uri": "https://keys.example/jwks"}
    assert fetched(Issuer(told.url), pretended).keys


@pytest.mark.parametrize(
    "url",
    [
        "http://ci.example",
        "ci.example",
        "https://u:p@ci.example",
        "https://ci.example/#x",
        "https://x/?a=b",
        "ftp://x",
    ],
)
def test_an_address_that_no_issuer_may_have_is_refused(url: str) -> None:
    with pytest.raises(InvalidError):
        Issuer.named(url)


def test_a_slash_behind_a_well_known_issuer_is_none_of_its_name() -> None:
    assert Issuer.named(f"{GITLAB}/") == Issuer.named(GITLAB) == Issuer(GITLAB)
    assert Issuer.named("https://tenant.auth0.example/").url == "https://tenant.auth0.example/"


def test_plain_http_is_for_this_machine_only() -> None:
    assert Issuer.named("http://127.0.0.1:8000").url == "http://127.0.0.1:8000"
    with pytest.raises(InvalidError):
        Issuer.named("https://ci.example", jwks="http://ci.example/jwks")
