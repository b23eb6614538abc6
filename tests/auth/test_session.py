"""A session over real sockets: spies record every byte, so that a secret elsewhere is seen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from spy import Script, Seen, Spy, Talk, reply

from registry.auth.credentials import Credentials
from registry.auth.keys import PrivateKey
from registry.auth.secrets import Login
from registry.auth.session import Session
from registry.errors import DeniedError, ProtocolError, RegistryError, TransientError
from registry.net.http import Http
from registry.net.network import Network
from registry.wire.headers import Headers
from registry.wire.messages import Origin, Request, Response

KEY = PrivateKey(bytes(range(32)))
BLOB = "/v2/acme/tiny/blobs/sha256:" + "0" * 64
UPLOADS = "/v2/acme/tiny/blobs/uploads/"


@pytest.fixture
def http() -> Iterator[Http]:
    made = Http(Network(stall=2, answer=2, connect=2))
    yield made
    made.abort()


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def session(
    http: Http, spy: Spy, clock: Clock | None = None, secret: PrivateKey | Login | None = KEY
) -> Session:
    origin = Origin.of(spy.url)
    logins = {origin: secret} if isinstance(secret, Login) else {}
    credentials = Credentials(key=secret if isinstance(secret, PrivateKey) else None, logins=logins)
    return Session(http, origin, credentials, clock=clock or Clock(), new_nonce=lambda: "nonce")


def whole(response: Response) -> bytes:
    return response.body if isinstance(response.body, bytes) else b"".join(response.body)  # type: ignore[arg-type]


class Registry:
    """A script: paths below /token give tokens, everything else wants one of those it calls `good`."""

    def __init__(self, scope: str = "repository:acme/tiny:pull", seconds: int = 60) -> None:
        self.scope = scope
        self.seconds = seconds
        self.given = 0
        self.good: set[str] = set()
        self.realm = ""

    def __call__(self, talk: Talk, seen: Seen) -> None:
        talk.body(seen)
        if seen.target.startswith("/token"):
            self.given += 1
            self.good.add(f"Bearer T{self.given}")
            talk.send(reply(200, f'{{"token":"T{self.given}","expires_in":{self.seconds}}}'.encode()))
        elif seen.header("Authorization") in self.good:
            talk.send(reply(200, b"fine"))
        else:
            realm = self.realm or f"{talk.spy.url}/token"
            talk.send(reply(401, WWW_Authenticate=f'Bearer realm="{realm}",service="s",scope="{self.scope}"'))


def test_a_token_is_fetched_once_and_used_from_then_on(http: Http) -> None:
    with Spy((registry := Registry(),)) as spy:
        talk = session(http, spy)
        for _ in range(3):
            assert whole(talk(Request("GET", spy.url + BLOB))) == b"fine"

        assert [seen.target.partition("?")[0] for seen in spy.seen] == [BLOB, "/token", BLOB, BLOB, BLOB]
        assert (registry.given, spy.connections) == (1, 1)


def test_reading_and_writing_have_tokens_of_their_own(http: Http) -> None:
    with Spy((registry := Registry(),)) as spy:
        talk = session(http, spy)
        talk(Request("HEAD", spy.url + BLOB))
        registry.scope, registry.good = "repository:acme/tiny:pull,push", set()
        talk(Request("POST", spy.url + UPLOADS))

        asked = [seen.target for seen in spy.seen if seen.target.startswith("/token")]
        assert ["push" in target for target in asked] == [False, True]


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


def test_many_threads_fetch_one_token(http: Http) -> None:
    with Spy((registry := Registry(),)) as spy:
        talk = session(http, spy)
        answers: list[bytes] = []

        def work() -> None:
            answers.append(whole(talk(Request("GET", spy.url + BLOB))))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert (answers, registry.given) == ([b"fine"] * 8, 1)


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


def test_odd_upload_locations_get_on_after_one_refusal(http: Http) -> None:
    with Spy((Registry(),)) as spy:
        talk = session(http, spy)
        with pytest.raises(TransientError):
            talk(Request("PATCH", spy.url + "/elsewhere/1", Headers(), iter([b"abc"]), 3))

        assert talk(Request("PATCH", spy.url + "/elsewhere/2", Headers(), iter([b"abc"]), 3)).status == 200


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


# --- I4: no secret reaches an origin it was not made for ----------------------------------------------------

SECRETS = (b"Bearer", b"Basic", b"AAAAC3NzaC1lZDI1NTE5", b"T1", b"cookie")


def no_secret_in(spy: Spy) -> bool:
    return not any(secret in spy.everything for secret in SECRETS)


@pytest.mark.parametrize("secret", [KEY, Login("me", "pw")])
def test_a_redirect_to_storage_carries_no_secret(secret: PrivateKey | Login, http: Http) -> None:
    with Spy((reply(200, b"bytes"),)) as storage:

        class Redirecting(Registry):
            def __call__(self, talk: Talk, seen: Seen) -> None:
                if seen.header("Authorization") in self.good:
                    talk.send(reply(307, Location=f"{storage.url}/store/%2f?sig=b&a=1"))
                else:
                    super().__call__(talk, seen)

        with Spy((Redirecting(),)) as spy:
            headers = Headers({"Range": "bytes=0-1", "Accept": "x", "Cookie": "cookie", "X-Own": "cookie"})
            answer = session(http, spy, secret=secret)(Request("GET", spy.url + BLOB, headers))

            assert whole(answer) == b"bytes"
            (seen,) = storage.seen
            assert seen.target == "/store/%2f?sig=b&a=1"
            assert (seen.header("Range"), seen.header("Accept")) == ("bytes=0-1", "x")
            assert no_secret_in(storage)


def test_a_redirect_and_back_carries_no_secret_either(http: Http) -> None:
    with Spy((registry := Registry(),)) as spy:
        talk = session(http, spy)
        talk(Request("GET", spy.url + BLOB)).close()
        with Spy((reply(307, Location=spy.url + BLOB),)) as middle:
            spy.scripts = (reply(307, Location=middle.url + "/x"), reply(200, b"end"))
            spy.seen.clear()

            assert whole(talk(Request("GET", spy.url + BLOB))) == b"end"
            assert [seen.header("Authorization") for seen in spy.seen] == ["Bearer T1", None]
            assert registry.given == 1


def test_a_request_to_another_origin_is_sent_bare(http: Http) -> None:
    with Spy((Registry(),)) as spy, Spy((reply(200),)) as storage:
        talk = session(http, spy)
        talk(Request("POST", spy.url + UPLOADS)).close()
        given = Headers({"Authorization": "Bearer T1", "Content-Type": "x"})
        talk(Request("PUT", storage.url + "/direct", given, iter([b"abc"]), 3)).close()

        (seen,) = storage.seen
        assert (seen.body, seen.header("Content-Type")) == (b"abc", "x")
        assert no_secret_in(storage)


def test_a_401_of_another_origin_starts_no_dance(http: Http) -> None:
    challenge = 'Bearer realm="http://127.0.0.1:1/token",scope="x:y:pull"'
    with Spy((Registry(),)) as spy, Spy((reply(401, WWW_Authenticate=challenge),)) as storage:
        assert session(http, spy)(Request("GET", storage.url + BLOB)).status == 401
        assert no_secret_in(storage) and not spy.seen


@pytest.mark.parametrize("scope", ["repository:acme/tiny:pull", "repository:acme/tiny:pull,push"])
def test_a_realm_elsewhere_gets_no_signature(scope: str, http: Http) -> None:
    with Spy((reply(200, b'{"token":"T"}'),)) as other, Spy((registry := Registry(scope),)) as spy:
        registry.realm = other.url + "/token"
        with pytest.raises(DeniedError, match="another place"):
            session(http, spy)(Request("GET", spy.url + BLOB))

        assert other.seen == []


def test_a_signed_call_is_sent_as_it_is(http: Http) -> None:
    with Spy((reply(401, WWW_Authenticate='Bearer realm="x"'),)) as spy:
        signed = Headers({"Authorization": "KEY:SIGNATURE"})

        assert session(http, spy)(Request("POST", spy.url + "/api/me?ts=1", signed)).status == 401
        assert [seen.header("Authorization") for seen in spy.seen] == ["KEY:SIGNATURE"]


# --- redirects ----------------------------------------------------------------------------------------------

HOPS: dict[str, tuple[Script, type[RegistryError], str]] = {
    "in a circle": (reply(307, Location=BLOB), ProtocolError, "more than 5"),
    "to nowhere": (reply(307), ProtocolError, "nowhere"),
    "to a file": (reply(302, Location="file:///etc/passwd"), ProtocolError, "not an absolute http"),
    "with a password": (reply(302, Location="http://a:b@127.0.0.1/"), ProtocolError, "user name"),
    "to a port that is none": (reply(302, Location="http://127.0.0.1:99999/"), ProtocolError, "redirects"),
    "to garbage": (reply(302, Location="http://[/"), ProtocolError, "redirects"),
    "to a dead port": (reply(302, Location="http://127.0.0.1:1/"), TransientError, "refused"),
}


@pytest.mark.parametrize("case", HOPS)
def test_a_redirect_that_leads_nowhere_is_one_error(case: str, http: Http) -> None:
    script, error, word = HOPS[case]
    with Spy((script,)) as spy, pytest.raises(error, match=word):
        session(http, spy)(Request("GET", spy.url + BLOB))


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE"])
def test_only_reads_are_redirected(method: str, http: Http) -> None:
    with Spy((reply(307, Location="/x"),)) as spy:
        assert session(http, spy)(Request(method, spy.url + UPLOADS)).status == 307
        assert len(spy.seen) == 1


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
            whole(talk(Request("GET", spy.url + BLOB.replace("tiny", "slow"))))
        )
        thread = threading.Thread(target=ask)
        thread.start()
        time.sleep(0.1)

        assert whole(talk(Request("GET", spy.url + BLOB))) == b"fine"
        assert slow == []
        gate.set()
        thread.join()
        assert slow == [b"fine"]
