"""The token dance, step by step: what is asked of whom, and what is made of the answer."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl

import pytest

from registry.auth.flow import ANSWER_BYTES, Asker, Authorization, dance
from registry.auth.keys import PrivateKey
from registry.auth.secrets import ApiKey, IdentityToken, Login, Secret
from registry.errors import DeniedError, ProtocolError, Reason, RegistryError, TooLongError, TransientError
from registry.wire.challenges import Challenge, parse_challenges
from registry.wire.messages import Origin, Request, Response

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "signing.json").read_text())
KEY = PrivateKey(bytes.fromhex(VECTORS["private_key_seed_hex"]))
TOKENS = [case for case in VECTORS["cases"] if "url" in case]
HERE = Origin("https", "models.example", 443)
REALM = "https://models.example/token"
TOKEN = Response(200, body=b'{"token":"T"}')
REFUSED = Response(401, body=b'{"errors":[{"code":"UNAUTHORIZED","message":"key unknown"}]}')
PULL = "repository:acme/tiny:pull"
PUSH = "repository:acme/tiny:pull,push"


def asker(secret: Secret, origin: Origin = HERE, realms: tuple[Origin, ...] = ()) -> Asker:
    return Asker(origin, [secret] if secret else [], realms, 1_795_421_748.9, "nonce")


def bearer(realm: str = REALM, scope: str = PULL) -> list[Challenge]:
    return [Challenge("bearer", {"realm": realm, "service": "s", "scope": scope})]


def drive(challenges: list[Challenge], who: Asker, *answers: Response) -> tuple[Authorization, list[Request]]:
    """The grant, and every request that led to it."""
    steps, asked, left = dance(challenges, who), [], list(answers)
    try:
        request = next(steps)
        while True:
            asked.append(request)
            request = steps.send(left.pop(0))
    except StopIteration as done:
        return done.value, asked


@pytest.mark.parametrize("case", TOKENS)
def test_a_key_signs_exactly_what_an_ollama_client_signs(case: dict[str, str]) -> None:
    (challenge,) = parse_challenges([case["challenge"]])
    sent = parse_qs(case["url"].partition("?")[2])
    who = Asker(Origin.of(case["url"]), [KEY], (), float(sent["ts"][0]), sent["nonce"][0])

    grant, (request,) = drive([challenge], who, TOKEN)

    assert (request.method, request.url) == ("GET", case["url"])
    assert request.headers.get("Authorization") == case["authorization"]
    assert grant.authorization == "Bearer T"


def test_a_login_shows_its_password_and_account() -> None:
    _, (request,) = drive(bearer(), asker(Login("me", "pä:ss")), TOKEN)

    assert request.headers.get("Authorization") == "Basic " + base64.b64encode("me:pä:ss".encode()).decode()
    assert parse_qsl(request.target.partition("?")[2]) == [
        ("service", "s"),
        ("scope", PULL),
        ("account", "me"),
    ]


def test_an_api_key_goes_as_bearer_to_the_realm() -> None:
    _, (request,) = drive(bearer(), asker(ApiKey("K")), TOKEN)

    assert request.headers.get("Authorization") == "Bearer K"


def test_an_api_key_is_enough_where_there_is_no_realm() -> None:
    grant, asked = drive([Challenge("bearer", {})], asker(ApiKey("K")))

    assert (grant.authorization, grant.seconds, asked) == ("Bearer K", None, [])


def test_an_identity_token_is_exchanged_by_oauth2() -> None:
    answer = Response(200, body=b'{"access_token":"A","expires_in":300}')

    grant, (request,) = drive(bearer(scope=f"{PULL} {PUSH}"), asker(IdentityToken("I")), answer)

    assert (request.method, request.url) == ("POST", REALM)
    assert "Authorization" not in request.headers
    assert dict(parse_qsl(bytes(request.body).decode())) == {  # type: ignore[arg-type]
        "grant_type": "refresh_token",
        "service": "s",
        "scope": f"{PULL} {PUSH}",
        "client_id": "ferry",
        "refresh_token": "I",
    }
    assert (grant.authorization, grant.seconds) == ("Bearer A", 300)


def test_basic_needs_no_token() -> None:
    grant, asked = drive([Challenge("basic", {"realm": "x"})], asker(Login("me", "pw")))

    assert (grant.authorization, asked) == ("Basic bWU6cHc=", [])


def test_bearer_is_preferred_to_basic() -> None:
    grant, _ = drive([Challenge("basic", {}), *bearer()], asker(Login("me", "pw")), TOKEN)

    assert grant.authorization == "Bearer T"


def test_nobody_asks_for_a_token_without_a_name() -> None:
    _, (request,) = drive(bearer("https://elsewhere.example/token?a=b"), asker(None), TOKEN)

    assert len(request.headers) == 0
    assert parse_qsl(request.target.partition("?")[2]) == [("a", "b"), ("service", "s"), ("scope", PULL)]


PUBLIC = Origin("https", "registry.ollama.ai", 443)
# our origin | realm | allowed realms | shown the secret | asked at all
REALMS = [
    (HERE, REALM, (), True, True),
    (HERE, "https://models.example:443/t", (), True, True),
    (PUBLIC, "https://ollama.com/token", (), True, True),
    (Origin.of("https://hf.co"), "https://huggingface.co/t", (), True, True),
    (Origin.of("https://registry-1.docker.io"), "https://auth.docker.io/token", (), True, True),
    (Origin.of("https://registry.gitlab.com"), "https://gitlab.com/jwt/auth", (), True, True),
    (HERE, "https://id.example/t", (Origin.of("https://id.example"),), True, True),
    (HERE, "https://id.example/t", (), False, True),
    (HERE, "https://id.example:8443/t", (Origin.of("https://id.example"),), False, True),
    (HERE, "https://models.example:8443/t", (), False, True),
    (HERE, "https://models.example.evil.example/t", (), False, True),
    (HERE, "https://ollama.com/token", (), False, True),
    (Origin.of("https://registry.ollama.ai:8443"), "https://ollama.com/token", (), False, True),
    (Origin.of("http://registry.ollama.ai"), "https://ollama.com/token", (), False, True),
    (Origin.of("http://127.0.0.1:5000"), "http://127.0.0.1:5000/token", (), True, True),
    (Origin.of("http://127.0.0.1:5000"), "http://127.0.0.1:5001/token", (), False, False),
    (HERE, "http://models.example/token", (), False, False),
    (HERE, "http://id.example/token", (), False, False),
    (HERE, "https://127.0.0.1/token", (), False, False),
    (HERE, "https://localhost/token", (), False, False),
    (HERE, "https://169.254.169.254/token", (), False, False),
    (HERE, "https://10.0.0.1/token", (), False, False),
    (HERE, "https://[::1]/token", (), False, False),
]


@pytest.mark.parametrize(("origin", "realm", "allowed", "shown", "asked"), REALMS)
@pytest.mark.parametrize("secret", [KEY, Login("me", "pw"), ApiKey("K"), IdentityToken("I")])
def test_a_secret_is_shown_only_to_its_origin_and_its_pair(
    origin: Origin, realm: str, allowed: tuple[Origin, ...], shown: bool, asked: bool, secret: Secret
) -> None:
    try:
        grant, requests = drive(bearer(realm), asker(secret, origin, allowed), TOKEN)
    except DeniedError as error:
        assert not asked
        assert "another place" in error.message
        assert ("signature" in error.message) is isinstance(secret, PrivateKey)
        off_limits = any(host in realm for host in ("127.0.0.1/", "localhost/", "169.254.", "[::1]"))
        assert (error.reason is Reason.FOREIGN_REALM) is not off_limits
        return

    assert asked
    (request,) = requests
    carries = "Authorization" in request.headers or bool(request.body)
    assert (carries, request.origin) == (shown, Origin.of(realm))
    assert (grant.refusal is None) is shown


def test_nothing_is_asked_elsewhere_for_a_push() -> None:
    with pytest.raises(DeniedError, match="another place"):
        drive(bearer("https://id.example/t", PUSH), asker(KEY))


@pytest.mark.parametrize(
    "realm", ["", "token", "/token", "ftp://models.example/", "https://a:b@models.example/"]
)
def test_a_realm_that_is_no_url_is_the_registrys_fault(realm: str) -> None:
    with pytest.raises(ProtocolError, match=r"models\.example sends for a token"):
        drive(bearer(realm), asker(KEY))


# --- refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_key_that_is_not_known_reads_what_is_public(status: int) -> None:
    grant, (signed, nameless) = drive(bearer(), asker(KEY), Response(status, body=REFUSED.body), TOKEN)

    assert "Authorization" in signed.headers and "Authorization" not in nameless.headers
    assert isinstance(grant.refusal, DeniedError)
    assert KEY.public.fingerprint in grant.refusal.message and "key unknown" in grant.refusal.message
    assert grant.refusal.reason is Reason.KEY_UNKNOWN


@pytest.mark.parametrize(
    ("scope", "secret", "answers", "word", "reason"),
    [
        (PUSH, KEY, [REFUSED], "SHA256:", Reason.KEY_UNKNOWN),
        ("account", KEY, [REFUSED], "SHA256:", Reason.KEY_UNKNOWN),
        (PULL, KEY, [REFUSED, REFUSED], "SHA256:", Reason.KEY_UNKNOWN),
        (PULL, Login("me", "pw"), [REFUSED], "password of me", Reason.LOGIN_REFUSED),
        (PULL, ApiKey("K"), [REFUSED], "API key: it is invalid or revoked", Reason.API_KEY_REFUSED),
        (PULL, IdentityToken("I"), [REFUSED], "identity token", Reason.LOGIN_REFUSED),
        (PULL, None, [REFUSED], "no key or login", Reason.NOT_SIGNED_IN),
    ],
)
def test_a_refused_secret_is_named_and_never_shown(
    scope: str, secret: Secret, answers: list[Response], word: str, reason: Reason
) -> None:
    with pytest.raises(DeniedError, match=word) as caught:
        drive(bearer(scope=scope), asker(secret), *answers)

    assert "key unknown" in caught.value.message and caught.value.reason is reason
    assert caught.value.host == "models.example"
    assert "pw" not in caught.value.message + caught.value.hint


def test_what_a_registry_says_of_a_key_names_it_once() -> None:
    named = f"the key {KEY.public.fingerprint}"
    said = (
        f'{{"error":"{named} is not one this registry knows; connect it: ferry signin (or ollama signin)"}}'
    )
    with pytest.raises(DeniedError, match=f"accept {re.escape(named)}: it is not one this registry knows$"):
        drive(bearer(scope=PUSH), asker(KEY), Response(403, body=said.encode()))
    over = b'{"errors":[{"code":"UNAUTHORIZED","message":"this API key is invalid, revoked or over"}]}'
    with pytest.raises(DeniedError, match=r"the API key: it is invalid or revoked$"):
        drive(bearer(), asker(ApiKey("K")), Response(401, body=over))


def test_a_clock_that_is_off_is_said_in_the_servers_words() -> None:
    words = b'{"errors":[{"code":"DENIED","message":"the clocks differ by 3600 s"}]}'
    with pytest.raises(DeniedError, match="clocks differ by 3600 s") as caught:
        drive(bearer(scope=PUSH), asker(KEY), Response(401, body=words))

    assert caught.value.reason is Reason.CLOCK


def test_a_key_that_was_withdrawn_is_not_told_to_be_made_known() -> None:
    said = "the account ada is disabled; ask the registry's administrator about it"  # ferry serve's words
    body = json.dumps({"errors": [{"code": "DENIED", "message": said}]}).encode()
    with pytest.raises(DeniedError, match="the account ada is disabled") as caught:
        drive(bearer(scope=PUSH), asker(KEY), Response(403, body=body))

    assert caught.value.reason is Reason.WITHDRAWN


def test_control_characters_in_a_refusal_are_made_visible() -> None:
    with pytest.raises(DeniedError) as caught:
        drive(bearer(scope=PUSH), asker(KEY), Response(401, body=b"\x1b[31mred\r\n"))

    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Response(200, body=b""), ProtocolError),
        (Response(200, body=b"not JSON"), ProtocolError),
        (Response(200, body=b"[]"), ProtocolError),
        (Response(200, body=b"[" * 60_000), ProtocolError),
        (Response(200, body=b"{}"), ProtocolError),
        (Response(200, body=b'{"token":""}'), ProtocolError),
        (Response(200, body=b'{"token":7}'), ProtocolError),
        (Response(200, body=b'{"token":["T"]}'), ProtocolError),
        (Response(200, body=b'{"token":"T\\r\\nX: y"}'), ProtocolError),
        (Response(200, body=b'{"token":"T T"}'), ProtocolError),
        (Response(200, body='{"token":"ü"}'.encode()), ProtocolError),
        (Response(200, body=b'{"token":"' + b"T" * 40_000 + b'"}'), ProtocolError),
        (Response(200, body=b" " * (ANSWER_BYTES + 1)), TooLongError),
        (Response(200, body=iter([b"x" * 1024] * 1_000_000)), TooLongError),
        (Response(204), ProtocolError),
        (Response(302), ProtocolError),
        (Response(404), ProtocolError),
        (Response(410), ProtocolError),
        (Response(451), ProtocolError),
        (Response(429), TransientError),
        (Response(500), TransientError),
        (Response(503), TransientError),
    ],
)
def test_an_answer_without_a_token_is_one_error(answer: Response, error: type[RegistryError]) -> None:
    with pytest.raises(error) as caught:
        drive(bearer(), asker(KEY), answer)

    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("expires", "seconds"),
    [
        ("300", 300),
        ("0.5", 0.5),
        ("0", 60),
        ("-1", 60),
        ("true", 60),
        ('"9"', 60),
        ("1e99", 86400),
        ("NaN", 60),
        ("null", 60),
    ],
)
def test_a_tokens_life_has_bounds(expires: str, seconds: float) -> None:
    answer = Response(200, body=f'{{"token":"T","expires_in":{expires}}}'.encode())

    assert drive(bearer(), asker(KEY), answer)[0].seconds == seconds


def test_a_web_page_instead_of_a_token_is_called_one_and_from_which_host() -> None:
    page = Response(200, body=b"<!DOCTYPE html><title>Log in</title>")
    with pytest.raises(ProtocolError, match=r"^asking models\.example .*: models\.example sent a web page"):
        drive(bearer(), asker(KEY), page)


@pytest.mark.parametrize("scheme", ["negotiate", "digest", ""])
def test_another_scheme_is_said(scheme: str) -> None:
    with pytest.raises(ProtocolError, match=scheme or "nothing"):
        drive([Challenge(scheme, {})] if scheme else [], asker(KEY))


def test_basic_without_a_password_says_what_is_missing() -> None:
    with pytest.raises(DeniedError, match="user name and a password") as caught:
        drive([Challenge("basic", {})], asker(KEY))

    assert caught.value.reason is Reason.NOT_SIGNED_IN


# --- several secrets ------------------------------------------------------------------------------------


def of_many(*secrets: Secret) -> Asker:
    return Asker(HERE, secrets, (), 1_795_421_748.9, "nonce")


def test_where_a_key_does_not_fit_the_next_secret_is_tried() -> None:
    grant, (signed, shown) = drive(bearer(scope=PUSH), of_many(KEY, Login("me", "pw")), REFUSED, TOKEN)

    assert grant.authorization == "Bearer T" and grant.refusal is None
    assert signed.headers.get("Authorization").startswith(KEY.public.text)
    assert shown.headers.get("Authorization") == "Basic bWU6cHc="
    assert drive([Challenge("basic", {})], of_many(KEY, Login("me", "pw")))[1] == []


def test_a_key_that_fits_is_all_that_is_shown() -> None:
    _, (request,) = drive(bearer(), of_many(KEY, Login("me", "pw")), TOKEN)

    assert request.headers.get("Authorization").startswith(KEY.public.text)


def test_a_wrong_password_is_not_covered_up_by_another_secret() -> None:
    with pytest.raises(DeniedError, match="password of me"):
        drive(bearer(), of_many(Login("me", "pw"), KEY), REFUSED)


# --- where a token is asked for -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "realm", "goes"),
    [
        (HERE, "https://10.0.0.1/token", True),
        (HERE, "https://[fd00::1]/token", True),
        (HERE, "http://id.example/token", True),
        (HERE, "https://127.0.0.1/token", False),
        (HERE, "http://localhost:8080/token", False),
        (HERE, "https://[::1]/token", False),
        (HERE, "http://169.254.169.254/token", False),
        (HERE, "http://[::ffff:169.254.169.254]/token", False),
        (HERE, "http://[fe80::1]/token", False),
        (HERE, "http://[fd00:ec2::254]/token", False),
        (HERE, "http://metadata.google.internal/token", False),
        (Origin.of("http://127.0.0.1:5000"), "http://127.0.0.1:5001/token", True),
    ],
)
@pytest.mark.parametrize("secret", [KEY, Login("me", "pw"), None])
def test_a_private_realm_may_be_allowed_and_this_machines_link_may_not(
    origin: Origin, realm: str, goes: bool, secret: Secret
) -> None:
    who = asker(secret, origin, (Origin.of(realm),))
    if goes:
        _, (request,) = drive(bearer(realm), who, TOKEN)
        assert ("Authorization" in request.headers) is (secret is not None)
    else:
        with pytest.raises(DeniedError, match="another place"):
            drive(bearer(realm), who)


@pytest.mark.parametrize(
    ("secret", "word"), [(Login("me", "pw"), "password"), (IdentityToken("I"), "stored key")]
)
def test_a_foreign_realm_with_a_password_is_not_called_a_signature(secret: Secret, word: str) -> None:
    with pytest.raises(DeniedError, match=word) as caught:
        drive(bearer("https://id.example/t", PUSH), asker(secret))

    assert "signature" not in caught.value.message
    assert (caught.value.reason, caught.value.detail) == (Reason.FOREIGN_REALM, "https://id.example")
