"""An ID token is taken only as its issuer signed it, in its time, and by no key that it names itself."""

from __future__ import annotations

import json
from collections.abc import Callable

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from guarded import NOW, ORIGIN
from identity_provider import Provider, as_text, described, ec_key, rsa_key

from registry.errors import DeniedError, InvalidError
from registry.server.id_tokens import (
    KeySet,
    UnknownKeyError,
    claimed_issuer,
    looks_like_one,
    verified,
)

ISSUER = "https://ci.example"
PROVIDER = Provider(ISSUER)
KEYS = KeySet.parse(PROVIDER.jwks())


def good(**claims: object) -> str:
    return PROVIDER.token(ORIGIN, NOW, "one", **claims)


def read(token: str, now: float = NOW) -> str:
    return verified(token, ISSUER, KEYS, now).subject


@pytest.mark.parametrize("key", [rsa_key(), ec_key()], ids=["RS256", "ES256"])
def test_a_good_token_says_what_its_issuer_signed(key: rsa.RSAPrivateKey) -> None:
    issuer = Provider(ISSUER, {"it": key})
    token = verified(issuer.token(ORIGIN, NOW), ISSUER, KeySet.parse(issuer.jwks()), NOW)
    assert (token.audience, token.jti, token.issuer) == (ORIGIN, "jti-1", ISSUER)
    assert token.text("repository_owner_id") == "65"
    assert (token.issued, token.expires) == (NOW, NOW + 300)


WRONG: dict[str, tuple[dict[str, object], str]] = {
    "another issuer": ({"iss": "https://evil.example"}, "iss"),
    "an issuer with a slash more": ({"iss": f"{ISSUER}/"}, "iss"),
    "no issuer": ({"iss": None}, "iss"),
    "expired": ({"exp": int(NOW) - 60}, "exp"),
    "no exp": ({"exp": None}, "exp"),
    "exp is text": ({"exp": "tomorrow"}, "exp|signed"),
    "exp is true": ({"exp": True}, "exp"),
    "exp in a year": ({"exp": int(NOW) + 366 * 86_400}, "exp"),
    "issued in the future": ({"iat": int(NOW) + 61}, "iat"),
    "good in the future only": ({"nbf": int(NOW) + 61}, "nbf"),
    "no iat": ({"iat": None}, "iat"),
    "no jti": ({"jti": None}, "jti"),
    "an empty jti": ({"jti": ""}, "jti"),
    "a jti that is a number": ({"jti": 7}, "jti"),
    "a jti of a kilobyte": ({"jti": "j" * 1024}, "jti"),
    "no sub": ({"sub": None}, "sub"),
    "a jti that no database can keep": ({"jti": "\ud800"}, "jti"),
    "a jti with a NUL": ({"jti": "a\0"}, "jti"),
    "a sub that no log can say": ({"sub": "\udfff"}, "sub"),
    "a sub of two lines": ({"sub": "job\nof another"}, "sub"),
    "no aud": ({"aud": None}, "aud is missing"),
    "several audiences": ({"aud": [ORIGIN, "https://other.example"]}, "aud"),
    "somebody's code with this repository's rights": ({"event_name": "pull_request_target"}, "event_name"),
    "the same after another run": ({"event_name": "workflow_run"}, "event_name"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_claim_that_is_wrong_is_named(case: str) -> None:
    claims, named = WRONG[case]
    with pytest.raises(DeniedError, match=named):
        read(good(**claims))


def test_a_clock_may_be_a_minute_wrong() -> None:
    assert read(good(exp=int(NOW) - 59))
    assert read(good(iat=int(NOW) + 59, nbf=int(NOW) + 59))


def test_an_audience_may_be_a_list_of_one() -> None:
    assert verified(good(aud=[ORIGIN]), ISSUER, KEYS, NOW).audience == ORIGIN


def test_claims_are_compared_exactly_numbers_as_they_are_written() -> None:
    token = verified(good(repository_id=74, private=True), ISSUER, KEYS, NOW)
    assert token.differing({"repository_id": "74", "private": "true", "repository": "acme/ml"}) == []
    wrong = {"repository_id": "7", "repository": "Acme/ml", "private": "True", "nothing": ""}
    assert token.differing(wrong) == list(wrong)


HEAD, BODY, SIGNATURE = good().split(".")
PUBLIC = rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def with_head(**head: object) -> str:
    """Signed by a stranger's key, which the head names in every way there is."""
    payload = PROVIDER.payload(ORIGIN, NOW)
    return jwt.encode(payload, rsa_key(9), algorithm="RS256", headers={"kid": "one", **head})


def by_public_key() -> str:
    """HS256, with the issuer's public key as the secret. The library refuses to make one: so by hand."""
    import base64
    import hashlib
    import hmac

    signed = f"{as_text({'alg': 'HS256', 'kid': 'one', 'typ': 'JWT'})}.{BODY}"
    mac = hmac.digest(PUBLIC, signed.encode(), hashlib.sha256)
    return f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


FORGED: dict[str, Callable[[], str]] = {
    "alg none": lambda: f"{as_text({'alg': 'none', 'kid': 'one'})}.{BODY}.",
    "alg None with a signature": lambda: f"{as_text({'alg': 'nOnE', 'kid': 'one'})}.{BODY}.{SIGNATURE}",
    "HS256 by the public key": by_public_key,
    "another algorithm of the same key": lambda: jwt.encode(
        PROVIDER.payload(ORIGIN, NOW), rsa_key(), algorithm="RS512", headers={"kid": "one"}
    ),
    "another key": with_head,
    "its own jku": lambda: with_head(jku="http://127.0.0.1:1/jwks"),
    "its own x5u": lambda: with_head(x5u="http://127.0.0.1:1/cert.pem"),
    "its own jwk": lambda: with_head(jwk=described("one", rsa_key(9))),
    "no signature": lambda: f"{HEAD}.{BODY}.",
    "another body": lambda: f"{HEAD}.{as_text({'iss': ISSUER})}.{SIGNATURE}",
    "no kid": lambda: jwt.encode(PROVIDER.payload(ORIGIN, NOW), rsa_key(), algorithm="RS256"),
}


@pytest.mark.parametrize("case", FORGED)
def test_what_the_issuer_did_not_sign_is_refused(case: str) -> None:
    with pytest.raises(DeniedError):
        read(FORGED[case]())


def test_a_key_that_the_issuer_has_not_shown_is_told_apart() -> None:
    other = Provider(ISSUER, {"two": rsa_key(9)})
    with pytest.raises(UnknownKeyError, match="two"):
        read(other.token(ORIGIN, NOW))


@pytest.mark.parametrize(
    "text", ["", "abc", "a.b.c", "eyJ.b.c", "eyJh." + "x" * 9000 + ".c", f"{HEAD}.W10.x"]
)
def test_what_is_no_token_is_refused_in_words(text: str) -> None:
    with pytest.raises(DeniedError):
        read(text)


def test_a_token_is_known_by_its_looks() -> None:
    assert looks_like_one(good())
    assert not looks_like_one("fry_abc")
    assert claimed_issuer(good()) == ISSUER


def keys(*described: object) -> bytes:
    return json.dumps({"keys": list(described)}).encode()


PRIVATE = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key()))
USELESS: dict[str, bytes] = {
    "not JSON": b"<html>",
    "a list": b"[]",
    "no keys": b'{"keys": []}',
    "keys are text": b'{"keys": "none"}',
    "a shared secret": keys({"kty": "oct", "k": "c2VjcmV0", "kid": "one"}),
    "a short key": keys(described("one", rsa_key(1, 1024))),
    "a key of 320,000 bits": keys({**described("one", rsa_key()), "n": "_" * 53_334}),
    "a key for encryption": keys({**described("one", rsa_key()), "use": "enc"}),
    "a key without a name": keys({**described("one", rsa_key()), "kid": None}),
    "a key for HS256": keys({**described("one", rsa_key()), "alg": "HS256"}),
    "another curve": keys({**described("one", ec_key()), "crv": "P-384"}),
    "a good key of another curve": keys(described("one", ec.generate_private_key(ec.SECP384R1()))),
    "half a key": keys({"kty": "RSA", "kid": "one", "n": "AQAB"}),
    "its private key": keys({**PRIVATE, "kid": "one"}),
    "too deep": b'{"keys": ' + b"[" * 100_000,
}


@pytest.mark.parametrize("case", USELESS)
def test_keys_that_cannot_be_used_are_no_keys(case: str) -> None:
    with pytest.raises(InvalidError):
        KeySet.parse(USELESS[case])


def test_one_bad_key_spoils_no_other() -> None:
    assert set(KeySet.parse(keys({"kty": "oct", "kid": "x"}, 7, described("one", rsa_key()))).keys) == {"one"}
