"""Where a session sends what: spies record every byte, so that a secret elsewhere is seen."""

from __future__ import annotations

import pytest
from session_kit import BLOB, KEY, UPLOADS, Registry, session
from spy import Script, Seen, Spy, Talk, reply, whole

from registry.auth.credentials import Account
from registry.auth.keys import PrivateKey
from registry.auth.secrets import Login
from registry.auth.session import Session
from registry.errors import DeniedError, ProtocolError, Reason, RegistryError, TransientError
from registry.net.http import Http
from registry.wire.headers import Headers
from registry.wire.messages import Origin, Request, Response

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


def test_a_certificate_that_is_not_trusted_has_nothing_to_do_with_a_broken_login() -> None:
    origin = Origin.of("https://models.example")
    account = Account(faults=("config.json is not JSON",))

    def refuses(_request: Request) -> Response:
        raise DeniedError("not to be trusted", host=origin.netloc, reason=Reason.CERTIFICATE)

    talk = Session(refuses, origin, account, clock=lambda: 0.0, new_nonce=lambda: "n")

    with pytest.raises(DeniedError, match=r"^not to be trusted$"):
        talk(Request("GET", f"{origin}{BLOB}"))
