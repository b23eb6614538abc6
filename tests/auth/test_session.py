"""A session over real sockets: when a token is fetched, kept, replaced, and believed to be refused."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext

import pytest
from session_kit import BLOB, KEY, READING, UPLOADS, Clock, Registry, session
from spy import Seen, Spy, Talk, reply, whole

from registry.auth.secrets import Login
from registry.errors import DeniedError, ProtocolError, TransientError
from registry.net.http import Http
from registry.wire.headers import Headers
from registry.wire.messages import Access, Request, Response


def test_a_token_is_fetched_once_and_used_from_then_on(http: Http) -> None:
    with Spy((registry := Registry(),)) as spy:
        talk = session(http, spy)
        for _ in range(3):
            assert whole(talk(Request("GET", spy.url + BLOB))) == b"fine"

        assert [seen.target.partition("?")[0] for seen in spy.seen] == [BLOB, "/token", BLOB, BLOB, BLOB]
        assert (registry.given, spy.connections) == (1, 1)


@pytest.mark.parametrize(("short_lived", "status"), [(1, 200), (3, 200), (1000, 401)])
def test_a_token_that_served_another_request_and_ended_is_replaced_again(
    short_lived: int, status: int, http: Http
) -> None:
    other, ended = BLOB[:-1] + "1", 0
    with Spy((registry := Registry(),)) as spy:

        def meanwhile(request: Request) -> Response:
            """Each new token serves a request of another thread first; so many end right after it."""
            nonlocal ended
            if request.target == BLOB and "Authorization" in request.headers and ended < short_lived:
                ended += 1
                assert talk(Request("GET", spy.url + other)).status == 200
                registry.good.clear()
            return http(request)

        talk = session(meanwhile, spy)

        assert talk(Request("GET", spy.url + BLOB)).status == status
        assert registry.given == min(short_lived + 1, 4)


def test_a_token_is_not_begun_with_near_its_end(http: Http) -> None:
    clock = Clock()
    with Spy((registry := Registry(seconds=100),)) as spy:
        talk = session(http, spy, clock)
        talk(Request("GET", spy.url + BLOB)).close()
        clock.now += 79
        talk(Request("GET", spy.url + BLOB)).close()
        assert registry.given == 1
        clock.now += 2
        talk(Request("GET", spy.url + BLOB)).close()

        assert registry.given == 2
        assert [seen.target.partition("?")[0] for seen in spy.seen].count(BLOB) == 4


def test_a_token_that_ended_early_is_replaced(http: Http) -> None:
    with Spy((registry := Registry(),)) as spy:
        talk = session(http, spy)
        talk(Request("GET", spy.url + BLOB)).close()
        registry.good.clear()

        assert whole(talk(Request("GET", spy.url + BLOB))) == b"fine"
        assert registry.given == 2


# --- a streamed body is never replayed ----------------------------------------------------------------------


def test_an_upload_that_meets_a_401_is_gone_on_with_and_never_sent_again(http: Http) -> None:
    with Spy((registry := Registry(scope="repository:acme/tiny:pull,push"),)) as spy:
        talk = session(http, spy)
        url = spy.url + UPLOADS + "1"
        talk(Request("POST", spy.url + UPLOADS)).close()
        registry.good.clear()
        body = iter([b"abc"])

        with pytest.raises(TransientError, match="new token") as caught:
            talk(Request("PATCH", url, Headers(), body, 3))
        assert caught.value.answered
        assert whole(talk(Request("PATCH", url, Headers(), iter([b"abc"]), 3))) == b"fine"

        patches = [seen for seen in spy.seen if seen.method == "PATCH"]
        assert [seen.body for seen in patches] == [b"abc", b"abc"]
        assert patches[1].header("Authorization") == "Bearer T2"


def test_an_upload_after_a_post_needs_no_401_of_its_own(http: Http) -> None:
    with Spy((Registry(),)) as spy:
        talk = session(http, spy)
        talk(Request("POST", spy.url + UPLOADS)).close()
        talk(Request("PATCH", spy.url + UPLOADS + "1?state=a", Headers(), iter([b"abc"]), 3)).close()

        assert [seen.header("Authorization") for seen in spy.seen if seen.method == "PATCH"] == ["Bearer T1"]


def test_an_upload_that_is_gone_on_with_needs_no_401_of_its_own(http: Http) -> None:
    with Spy((registry := Registry("repository:acme/tiny:pull,push"),)) as spy:
        talk = session(http, spy)
        talk(Request("GET", spy.url + UPLOADS + "1")).close()
        talk(Request("PATCH", spy.url + UPLOADS + "1", Headers(), iter([b"x" * 1000]), 1000))

        assert registry.given == 1
        assert [seen.method for seen in spy.seen] == ["GET", "GET", "GET", "PATCH"]


# --- refusals come to an end --------------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
def test_an_endless_401_is_a_denial(streamed: bool, http: Http) -> None:
    class Never(Registry):
        def __call__(self, talk: Talk, seen: Seen) -> None:
            self.good.clear()
            super().__call__(talk, seen)

    with Spy((registry := Never(),)) as spy:
        talk = session(http, spy)

        def ask() -> Response:
            body = iter([b"abc"]) if streamed else b"abc"
            return talk(Request("PATCH", spy.url + UPLOADS + "1", Headers(), body, 3))

        if streamed:
            with pytest.raises(TransientError):
                ask()
        with pytest.raises(DeniedError, match="did not accept"):
            ask()

        assert registry.given == 1
        assert len(spy.seen) == 3


@pytest.mark.parametrize(
    ("refused", "opens", "given"), [({2}, True, 3), ({2, 4}, True, 5), ({2, 3}, False, 3)]
)
def test_where_a_token_opened_something_the_second_refusal_in_a_row_is_believed(
    refused: set[int], opens: bool, given: int, http: Http
) -> None:
    class Flickers(Registry):
        def __call__(self, talk: Talk, seen: Seen) -> None:
            if self.given in refused:
                self.good.clear()
            super().__call__(talk, seen)

    with Spy((registry := Flickers(),)) as spy:
        talk = session(http, spy)
        assert whole(talk(Request("GET", spy.url + BLOB))) == b"fine"
        with nullcontext() if opens else pytest.raises(DeniedError, match="did not accept"):
            while registry.given < given:
                registry.good.clear()
                assert whole(talk(Request("GET", spy.url + BLOB))) == b"fine"

        assert registry.given == given


def test_a_401_that_asks_for_nothing_is_handed_on(http: Http) -> None:
    with Spy((reply(401, b"who?"),)) as spy:
        answer = session(http, spy)(Request("GET", spy.url + BLOB))

        assert (answer.status, whole(answer), len(spy.seen)) == (401, b"who?", 1)


def test_a_garbled_challenge_is_the_registrys_fault(http: Http) -> None:
    with Spy((reply(401, WWW_Authenticate='Bearer realm="'),)) as spy, pytest.raises(ProtocolError):
        session(http, spy)(Request("GET", spy.url + BLOB))


@pytest.mark.parametrize(
    ("method", "status", "raises"),
    [("GET", 200, False), ("HEAD", 404, False), ("GET", 404, True), ("GET", 403, True), ("HEAD", 401, True)],
)
def test_an_unknown_key_reads_what_is_public_and_is_named_where_that_is_not_enough(
    method: str, status: int, raises: bool, http: Http
) -> None:
    def script(talk: Talk, seen: Seen) -> None:
        signed = seen.header("Authorization") or ""
        if seen.target.startswith("/token"):
            talk.send(reply(401, b'{"error":"key unknown"}') if signed else reply(200, b'{"token":"T"}'))
        elif signed == "Bearer T":
            talk.send(reply(status))
        else:
            talk.send(reply(401, WWW_Authenticate=f'Bearer realm="{talk.spy.url}/token",scope="r:x:pull"'))

    with Spy((script,)) as spy:
        try:
            answer = session(http, spy)(Request(method, spy.url + BLOB))
        except DeniedError as error:
            assert raises and KEY.public.fingerprint in error.message
        else:
            assert not raises and answer.status == status


def test_waiting_for_a_token_holds_up_only_its_own_scope(http: Http) -> None:
    gate = threading.Event()

    def script(talk: Talk, seen: Seen) -> None:
        if seen.target.startswith("/token"):
            gate.wait(5)
            talk.send(reply(200, b'{"token":"T"}'))
        elif "slow" in seen.target and not seen.header("Authorization"):
            talk.send(reply(401, WWW_Authenticate=f'Bearer realm="{talk.spy.url}/token"'))
        else:
            talk.send(reply(200, b"fine"))

    with Spy((script,)) as spy:
        talk = session(http, spy)
        slow: list[bytes] = []
        ask: Callable[[], None] = lambda: slow.append(  # noqa: E731
            whole(talk(Request("GET", spy.url + BLOB.replace("tiny", "slow"), access=Access("acme/slow"))))
        )
        thread = threading.Thread(target=ask)
        thread.start()
        time.sleep(0.1)

        assert whole(talk(Request("GET", spy.url + BLOB, access=Access("acme/tiny")))) == b"fine"
        assert slow == []
        gate.set()
        thread.join()
        assert slow == [b"fine"]


def test_harbor_wants_a_robots_password_on_one_route_and_a_token_on_another(http: Http) -> None:
    """Its catalogue asks for Basic, its repositories for Bearer; robots have a `$` in their names."""
    robot = Login("robot$acme+ci", "s3cret")
    basic = f"Basic {base64.b64encode(b'robot$acme+ci:s3cret').decode()}"

    class Harbor(Registry):
        def __call__(self, talk: Talk, seen: Seen) -> None:
            if not seen.target.startswith("/v2/_catalog"):
                super().__call__(talk, seen)
            elif seen.header("Authorization") == basic:
                talk.send(reply(200, b"a list"))
            else:
                talk.send(reply(401, WWW_Authenticate='Basic realm="harbor"'))

    with Spy((registry := Harbor(),)) as spy:
        talk = session(http, spy, secret=robot)
        for _ in range(2):
            assert whole(talk(Request("GET", f"{spy.url}/v2/_catalog"))) == b"a list"
            assert whole(talk(Request("GET", spy.url + BLOB, access=READING))) == b"fine"

        (asked,) = [seen for seen in spy.seen if seen.target.startswith("/token")]
        assert asked.header("Authorization") == basic
        assert "account=robot%24acme%2Bci" in asked.target
        assert registry.given == 1
        assert len(spy.seen) == 2 + 2 + 1 + 2  # a 401 each, and its token, only once
