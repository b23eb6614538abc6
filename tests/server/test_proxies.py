"""Who asks from where: only what a trusted proxy says is believed, from the right."""

from __future__ import annotations

import pytest

from registry.errors import InvalidError
from registry.net.listener.proxies import Proxies
from registry.wire.headers import Headers

TRUSTED = ("10.0.0.0/8", "::1", "192.0.2.1")
FOR = "X-Forwarded-For"


def asked(peer: str, *fields: tuple[str, str], header: str = FOR) -> str:
    return Proxies.parse(TRUSTED, header).identify(peer, Headers(fields)).address


@pytest.mark.parametrize(
    ("peer", "value", "address"),
    [
        ("203.0.113.9", "1.2.3.4", "203.0.113.9"),  # a stranger says what it likes
        ("10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"),  # the left one is the stranger's own invention
        ("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.9.9.9", "1.2.3.4"),
        ("10.0.0.1", "10.0.0.7, 10.0.0.8", "10.0.0.7"),
        ("10.0.0.1", "6.6.6.6, rubbish, 10.0.0.8", "10.0.0.8"),
        ("10.0.0.1", "1.2.3.4:5678", "1.2.3.4"),
        ("10.0.0.1", "[2001:db8::1]:5678", "2001:db8::1"),
        ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("::1", "::ffff:1.2.3.4", "1.2.3.4"),
        ("fe80::1%eth0", "1.2.3.4", "fe80::1%eth0"),
        ("10.0.0.1", ", ".join(["1.1.1.1", *["10.0.0.2"] * 40]), "10.0.0.2"),  # so far, and no farther
    ],
)
def test_the_first_address_from_the_right_that_is_no_proxy_asked(peer: str, value: str, address: str) -> None:
    assert asked(peer, (FOR, value)) == address


def test_several_fields_are_one_list() -> None:
    assert asked("10.0.0.1", (FOR, "6.6.6.6"), (FOR, "1.2.3.4"), (FOR, "10.1.1.1")) == "1.2.3.4"


def test_only_the_one_header_is_read() -> None:
    forwarded = ("Forwarded", 'for=6.6.6.6, for="[2001:db8::2]:80";proto=https')
    assert asked("10.0.0.1", forwarded) == "10.0.0.1"
    assert asked("10.0.0.1", forwarded, (FOR, "1.2.3.4"), header="Forwarded") == "2001:db8::2"
    assert asked("203.0.113.9", forwarded, header="Forwarded") == "203.0.113.9"


@pytest.mark.parametrize(
    ("peer", "given", "taken"),
    [("10.0.0.1", "abc-1", True), ("10.0.0.1", "a b\t", False), ("203.0.113.9", "abc-1", False)],
)
def test_a_trusted_proxys_request_id_is_kept(peer: str, given: str, taken: bool) -> None:
    identifier = Proxies.parse(TRUSTED).identify(peer, Headers({"X-Request-ID": given})).id
    assert (identifier == given) is taken
    assert len(identifier) == (5 if taken else 16)


@pytest.mark.parametrize("network", ["10.0.0.1/8", "example.com", "", "10.0.0.0/33"])
def test_what_is_no_network_is_refused(network: str) -> None:
    with pytest.raises(InvalidError, match="trusted proxy"):
        Proxies.parse([network])


def test_what_is_no_header_is_refused() -> None:
    with pytest.raises(InvalidError):
        Proxies.parse([], "X Forwarded")


@pytest.mark.parametrize(
    ("host", "networks", "may"),
    [
        ("127.0.0.1", ["127.0.0.1"], True),
        ("localhost", ["::1"], True),
        ("127.0.0.1", ["10.0.0.0/8", "0.0.0.0/0"], True),
        ("127.0.0.1", ["10.0.0.0/8", "fd00::/8"], False),
        ("127.0.0.1", [], False),
        ("0.0.0.0", ["10.0.0.0/8"], True),
        ("0.0.0.0", [], False),
    ],
)
def test_only_a_proxy_on_this_machine_comes_to_a_loopback_address(
    host: str, networks: list[str], may: bool
) -> None:
    assert Proxies.parse(networks).may_come_to(host) is may
