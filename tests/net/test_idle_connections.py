"""A connection waits for the next request once its answer was read, as long as its client is there."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
from network_kit import Certificate
from spy import Spy, reply, whole

from registry.net import pools
from registry.net.http import Http
from registry.net.network import Network
from registry.net.outgoing import Outgoing
from registry.net.pace import Pace
from registry.net.pools import Adapter
from registry.net.sockets import Sockets
from registry.wire.messages import Request

Client = Callable[..., Http]
OK = reply(200, b"hello")


def test_a_connection_is_used_again_once_its_answer_was_read(
    client: Client, certificate: Certificate
) -> None:
    for tls in (None, certificate.server):
        with Spy((OK,), tls=tls) as spy:
            http = client(ca=certificate.pem)
            for method in ("GET", "HEAD", "PUT", "GET"):
                script = reply(200, Content_Length="5") if method == "HEAD" else OK
                spy.scripts = (script,)
                whole(http(Request(method, spy.url + "/x", body=b"abc" if method == "PUT" else b"")))

            assert (len(spy.seen), spy.connections) == (4, 1)


def test_a_short_unwanted_answer_does_not_cost_the_connection_a_long_one_does(client: Client) -> None:
    for size, connections in ((1000, 1), (64 * 1024, 1), (1024 * 1024, 2)):
        with Spy((reply(200, bytes(size)),)) as spy:
            http = client()
            http(Request("GET", spy.url + "/x")).close()
            http(Request("GET", spy.url + "/x")).close()

            assert spy.connections == connections


def test_thirty_two_connections_are_kept_for_one_host(client: Client) -> None:
    with Spy((OK,)) as spy:
        http = client()
        for _ in range(2):
            answers = [http(Request("GET", spy.url + "/x")) for _ in range(32)]
            assert all(whole(answer) == b"hello" for answer in answers)

        assert spy.connections == 32


def test_a_connection_whose_answer_is_read_after_the_end_is_closed_then() -> None:
    with Spy((OK,)) as spy:
        sockets = Sockets()
        adapter = Adapter(Network(), sockets)
        answer = adapter.ask(Outgoing(Request("GET", spy.url), "x", False, 5.0, Pace(1.0, 5.0)), "", 5.0)
        adapter.close()

        assert answer.fill(memoryview(bytearray(9))) == len(b"hello") and answer.reusable
        answer.release()
        idle = answer.idle
        del answer

        assert (idle.take(), sockets.count) == (None, 0)


def test_of_many_hosts_those_that_were_asked_first_lose_their_connections(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "_POOLS", 2)
    with Spy((OK,)) as first, Spy((OK,)) as second, Spy((OK,)) as third:
        http = client()
        for spy in (first, second, third, second, third, first):
            whole(http(Request("GET", spy.url)))

        assert (first.connections, second.connections, third.connections) == (2, 1, 1)


def test_the_connections_of_a_client_that_nobody_closed_end_with_it() -> None:
    """Python warns of each that does not, which fails this."""
    with Spy((OK,)) as spy:
        http = Http()
        whole(http(Request("GET", spy.url)))

        del http
        gc.collect()
