"""Signing: every known answer, letter by letter, and what a server refuses of it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.auth import signing
from registry.auth.keys import PrivateKey
from registry.errors import DeniedError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "signing.json").read_text())
KEY = PrivateKey(bytes.fromhex(VECTORS["private_key_seed_hex"]))
TOKENS = [case for case in VECTORS["cases"] if "url" in case]
CALLS = [case for case in VECTORS["cases"] if "request_uri" in case]
TEXT = "POST,/api/me?ts=1795421748"
GOOD = signing.authorization(KEY, TEXT)


def test_every_known_answer_is_used() -> None:
    assert len(TOKENS) + len(CALLS) == len(VECTORS["cases"]) >= 5


@pytest.mark.parametrize("case", TOKENS)
def test_a_token_request_is_what_an_ollama_client_sends(case: dict[str, str]) -> None:
    query = {key: values[0] for key, values in parse_qs(urlsplit(case["url"]).query).items()}
    url = signing.token_url(
        case["url"].partition("?")[0],
        query["service"],
        [query["scope"]],
        now=float(query["ts"]),
        nonce=query["nonce"],
    )
    text = signing.token_text(url)
    assert url == case["url"]
    assert text == case["signed_text"]
    assert signing.authorization(KEY, text) == case["authorization"]


@pytest.mark.parametrize("case", CALLS)
def test_a_signed_call_is_what_an_ollama_client_sends(case: dict[str, str]) -> None:
    path, _, query = case["request_uri"].partition("?")
    pairs = parse_qsl(query)
    target = signing.call_target(path, pairs[:-1], now=float(pairs[-1][1]))
    text = signing.call_text(case["method"], target)
    assert target == case["request_uri"]
    assert text == case["signed_text"]
    assert signing.authorization(KEY, text) == case["authorization"]


@pytest.mark.parametrize("case", VECTORS["cases"])
def test_every_known_answer_is_accepted_by_the_other_side(case: dict[str, str]) -> None:
    claim = signing.Signature.parse(case["authorization"])
    claim.check(case["signed_text"])
    assert claim.key == KEY.public


def test_service_and_scope_are_there_also_when_empty() -> None:
    url = signing.token_url("http://h/token", "", [], now=1.9, nonce="n")
    assert url == "http://h/token?nonce=n&scope=&service=&ts=1"


def test_several_scopes_keep_their_order_and_the_realms_own_query_stays() -> None:
    url = signing.token_url("http://h/t?z=1&account=me", "s", ["b", "a c"], now=1, nonce="n")
    assert url == "http://h/t?account=me&nonce=n&scope=b&scope=a+c&service=s&ts=1&z=1"


BROKEN = {
    "empty": "",
    "a bearer": "Bearer abc",
    "no signature": KEY.public.text,
    "an empty signature": KEY.public.text + ":",
    "a short signature": KEY.public.text + ":" + base64.b64encode(bytes(63)).decode(),
    "a long signature": KEY.public.text + ":" + base64.b64encode(bytes(65)).decode(),
    "unpadded": GOOD.rstrip("="),
    "the same bytes, spelled otherwise": GOOD[:-3] + chr(ord(GOOD[-3]) + 1) + "==",
    "url-safe": GOOD.replace("+", "-").replace("/", "_"),
    "spaces": GOOD + " ",
    "a scheme word": "Ed25519 " + GOOD,
    "another key type": "AAAAB3NzaC1yc2EAAAADAQAB:" + GOOD.partition(":")[2],
    "three parts": GOOD + ":x",
    "endless": GOOD + "A" * 100_000,
    "not ASCII": "é" + GOOD,
}


@pytest.mark.parametrize("header", BROKEN.values(), ids=BROKEN)
def test_a_malformed_signature_is_refused(header: str) -> None:
    with pytest.raises(DeniedError):
        signing.Signature.parse(header)


@pytest.mark.parametrize(
    "text", ["GET,/api/me?ts=1795421748", "POST,/api/me?ts=1795421749", "POST,/api/signout?ts=1795421748", ""]
)
def test_a_signature_is_good_for_its_own_text_only(text: str) -> None:
    with pytest.raises(DeniedError, match="does not match"):
        signing.Signature.parse(GOOD).check(text)


@given(st.integers(0, 511), st.text(max_size=40))
def test_no_flipped_bit_is_accepted(bit: int, text: str) -> None:
    raw = bytearray(KEY.sign(text.encode()))
    raw[bit // 8] ^= 1 << bit % 8
    assert not KEY.public.verifies(bytes(raw), text.encode())


@pytest.mark.parametrize("ts", ["1000", "1300", "700"])
def test_five_minutes_either_way_are_fresh(ts: str) -> None:
    signing.check_fresh(ts, now=1000.9)


@pytest.mark.parametrize("ts, apart", [("1301", 301), ("699", 301), ("4600", 3600), ("0", 1000)])
def test_a_clock_that_is_off_is_told_by_how_much(ts: str, apart: int) -> None:
    with pytest.raises(DeniedError, match=f"the clocks differ by {apart} s"):
        signing.check_fresh(ts, now=1000.0)


@pytest.mark.parametrize("ts", ["", "-1", "1e3", "x", "1.5", " 1000", "٣", "9" * 5000])
def test_a_time_that_is_none_is_refused(ts: str) -> None:
    with pytest.raises(DeniedError, match="does not say when"):
        signing.check_fresh(ts, now=1000.0)
