"""As whom the other end is asked, and what a program is told when no credential is good."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from door_kit import API_KEY, ASKED, KEY, SECRETS, House
from pretend_cloud import Cloud
from spy import reply

from registry.auth.keys import PrivateKey
from registry.auth.secrets import ApiKey, Secret
from registry.connect_gateway import usable
from registry.wire.messages import Origin

PATHS = ("/api/chat", "/v1/chat/completions", "/v1/messages")


@pytest.mark.parametrize("kind", SECRETS)
def test_the_first_credential_that_is_good_is_used(
    doors: Callable[..., House], cloud: Cloud, kind: str
) -> None:
    assert doors(secrets=SECRETS[kind]).ask("POST", "/api/generate", ASKED).status == 200

    (seen,) = cloud.asked
    assert (seen.header("Authorization") == f"Bearer {API_KEY}") == (kind != "key")
    assert ("ts=" in seen.target) == (kind == "key")


@pytest.mark.parametrize("why", ["unknown", "spent"])
def test_one_that_is_not_good_is_followed_by_the_next(
    doors: Callable[..., House], cloud: Cloud, why: str
) -> None:
    cloud.api_keys.clear()
    if why == "spent":
        cloud.spent.add(API_KEY)

    answer = doors(secrets=SECRETS["both"]).ask("POST", "/api/generate", ASKED)

    assert answer.status == 200
    assert [seen.header("Authorization") == f"Bearer {API_KEY}" for seen in cloud.asked] == [True, False]
    assert cloud.asked[0].body == cloud.asked[1].body


@pytest.mark.parametrize("path", PATHS)
def test_who_is_not_signed_in_is_told_where_to(door: House, cloud: Cloud, path: str) -> None:
    cloud.keys.clear()

    answer = door.ask("POST", path, ASKED)

    url = f"{cloud.spy.url}/connect?name=ada%27s%20laptop&key={KEY.public.connect}"
    error = answer.json["error"]
    sentence = error if path == "/api/chat" else error["message"]
    assert (answer.status, url in sentence, answer.json["signin_url"]) == (401, True, url)
    if path != "/api/chat":
        assert error["type"] == "authentication_error"
    assert (answer.json.get("type") == "error") == (path == "/v1/messages")


def test_a_key_that_was_replaced_is_the_one_to_approve_and_to_forget(
    doors: Callable[..., House], cloud: Cloud
) -> None:
    replaced: list[tuple[Secret, ...]] = []
    door = doors(newer=lambda: replaced.pop() if replaced else None)
    key = PrivateKey(bytes(range(1, 33)))
    cloud.keys.clear()
    replaced.append((key,))

    signin_url = door.ask("POST", "/api/chat", ASKED).json["signin_url"]

    assert signin_url == f"{cloud.spy.url}/connect?name=ada%27s%20laptop&key={key.public.connect}"
    cloud.keys.add(key.public.text)
    assert door.ask("POST", "/api/signout").status == 200
    assert cloud.asked[-1].target.startswith(f"/api/user/keys/{key.public.connect}?")


def test_a_bad_api_key_is_called_that_and_not_repeated(doors: Callable[..., House], cloud: Cloud) -> None:
    cloud.api_keys.clear()

    answer = doors(secrets=(ApiKey("sk-bad-99887766"),)).ask("POST", "/v1/chat/completions", ASKED)

    assert answer.status == 401
    assert "(unauthorized ***): it is invalid or revoked" in answer.json["error"]["message"]
    assert b"99887766" not in answer.body


@pytest.mark.parametrize("path", PATHS)
def test_a_used_up_account_is_said_with_when_to_come_again(
    doors: Callable[..., House], cloud: Cloud, path: str
) -> None:
    cloud.spent.update((API_KEY, KEY.public.text))

    answer = doors(secrets=SECRETS["both"]).ask("POST", path, ASKED)

    assert (answer.status, answer.headers["retry-after"]) == (429, "1200")
    assert b"weekly limit reached" in answer.body
    assert b"try again in 1200 s" in answer.body
    assert len(cloud.asked) == 2


def test_of_a_spent_and_an_unknown_one_the_spent_one_is_told(
    doors: Callable[..., House], cloud: Cloud
) -> None:
    cloud.spent.add(API_KEY)
    cloud.keys.clear()

    for secrets in (SECRETS["both"], SECRETS["both"][::-1]):
        assert doors(secrets=secrets).ask("POST", "/api/chat", ASKED).status == 429


def test_a_signature_goes_where_it_cannot_be_passed_on() -> None:
    both = SECRETS["both"]

    assert list(usable(both, Origin.of("https://ollama.com"))) == list(both)
    assert list(usable(both, Origin.of("http://127.0.0.1:8080"))) == list(both)
    assert list(usable(both, Origin.of("https://models.acme.example"))) == [both[0]]
    assert list(usable(both, Origin.of("https://ollama.com:8443"))) == [both[0]]
    assert list(usable(both, Origin.of("http://ollama.com"))) == [both[0]]


def test_nothing_of_a_callers_secrets_goes_on_and_nothing_meant_for_us_comes_back(
    door: House, cloud: Cloud
) -> None:
    cloud.answers["/v1/messages"] = reply(
        200,
        b"{}",
        Content_Type="application/json",
        Set_Cookie="a=b",
        Access_Control_Allow_Origin="*",
        Link="<x>",
        X_RateLimit_Limit="9",
        anthropic_ratelimit_requests_limit="8",
        Request_Id="req_1",
    )
    secret = "sk-of-the-caller-445566"

    answer = door.ask(
        "POST",
        "/v1/messages",
        ASKED,
        Authorization=f"Bearer {secret}",
        X_Api_Key=secret,
        Cookie=secret,
        X_Forwarded_For=secret,
        Referer=secret,
        Origin="http://localhost:1",
        Proxy_Authorization=secret,
        OpenAI_Organization=secret,
        User_Agent=secret,
        Content_Type="application/json",
        Accept="text/event-stream",
        Accept_Encoding="br",
        anthropic_version="2023-06-01",
        anthropic_beta="tools",
        openai_beta="assistants=v2",
    )

    (seen,) = cloud.asked
    names = {row.decode().partition(":")[0].lower() for row in seen.head.split(b"\r\n")[1:]}
    assert names == {
        "host",
        "content-type",
        "accept",
        "accept-encoding",
        "anthropic-version",
        "anthropic-beta",
        "openai-beta",
        "user-agent",
        "authorization",
        "content-length",
    }
    assert secret.encode() not in cloud.spy.everything
    assert seen.header("User-Agent") == "ferry-test"
    assert seen.header("Accept-Encoding") == "br"
    assert set(answer.headers) == {
        "server",
        "content-type",
        "content-length",
        "date",
        "x-request-id",
        "access-control-allow-origin",
        "vary",
        "x-ratelimit-limit",
        "anthropic-ratelimit-requests-limit",
        "request-id",
    }
