"""A host with several addresses is reached by the first that answers; a dead one costs a moment."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest
from network_kit import PATIENT, STALL, silent_address
from spy import Spy, reply

from registry.net.addresses import Address, alternating, connect
from registry.net.http import Http
from registry.wire.messages import Request


def address(host: str, port: int, family: int = socket.AF_INET) -> Address:
    return (family, socket.SOCK_STREAM, 0, "", (host, port))


@pytest.fixture
def alive() -> Iterator[Address]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield address(*listener.getsockname())


@pytest.fixture
def dead() -> Iterator[Address]:
    with silent_address() as nowhere:
        yield address(*nowhere)


REFUSING = address("127.0.0.1", 1)
UNREACHABLE = address("255.255.255.255", 1)  # the broadcast address: TCP refuses to try


def seen(_made: socket.socket) -> None:
    """Nobody shuts it."""


@pytest.mark.parametrize("before", [1, 2])
def test_a_dead_first_address_costs_a_moment(before: int, dead: Address, alive: Address) -> None:
    began = time.monotonic()
    with connect([dead] * before + [alive], PATIENT, seen) as connected:
        assert connected.getpeername() == alive[4]
        assert connected.gettimeout() == PATIENT
        assert time.monotonic() - began < PATIENT / 2


def test_an_address_that_refuses_or_cannot_be_reached_costs_nothing(alive: Address) -> None:
    with connect([REFUSING, UNREACHABLE, REFUSING, alive], PATIENT, seen) as connected:
        assert connected.getpeername() == alive[4]


def test_a_slow_address_is_not_given_up_for_the_next(dead: Address) -> None:
    """The second refuses while the first is being waited for: its answer would count still."""
    with pytest.raises((TimeoutError, ConnectionRefusedError)):
        began = time.monotonic()
        connect([dead, REFUSING], STALL, seen)
    assert time.monotonic() - began >= STALL


def test_where_all_refuse_that_is_said_at_once() -> None:
    began = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        connect([REFUSING, REFUSING], PATIENT, seen)
    assert time.monotonic() - began < PATIENT / 2


def test_where_nobody_answers_patience_ends(dead: Address) -> None:
    with pytest.raises(TimeoutError):
        connect([dead, dead], STALL, seen)


def test_families_take_turns_in_the_systems_order() -> None:
    six = [address(f"2001:db8::{n}", 1, socket.AF_INET6) for n in range(3)]
    four = [address(f"192.0.2.{n}", 1) for n in range(2)]

    assert alternating([*six, *four]) == [six[0], four[0], six[1], four[1], six[2]]
    assert alternating([four[0], *six]) == [four[0], *six]
    assert alternating([]) == []


def test_a_request_goes_to_the_address_that_lives(
    client: Callable[..., Http], dead: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Spy((reply(200),)) as spy:
        both = [dead, address("127.0.0.1", spy.port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: both)
        began = time.monotonic()

        assert client()(Request("GET", "http://models.example/x")).status == 200
        assert time.monotonic() - began < PATIENT / 2
