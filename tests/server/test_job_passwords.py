"""A job's ID token as docker's password: for one repository, until it is over."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from exchange_kit import CLAIMS, SCOPE, exchange, job, may_push, published, refusal
from guarded import HOST, NOW, ORIGIN, PASSED, Door, document, text
from identity_provider import Provider

from registry.server.job_tokens import PREFIX
from registry.wire.messages import Response


@pytest.fixture
def provider() -> Provider:
    return Provider("https://ci.example")


@pytest.fixture
def door(provider: Provider) -> Iterator[Door]:
    door = published(provider)
    yield door
    door.engine.dispose()


def with_password(door: Door, password: str, *scopes: str) -> Response:
    value = "Basic " + base64.b64encode(f"job:{password}".encode()).decode()
    query = urlencode([("service", HOST), *(("scope", scope) for scope in scopes)])
    return door.ask("GET", f"/v2/token?{query}", Authorization=value)


def test_an_id_token_is_a_password_for_the_first_repository_until_it_is_over(
    door: Door, provider: Provider
) -> None:
    door.trust(provider, "acme/other", **CLAIMS)
    password = provider.token(ORIGIN, NOW)
    for _ in range(3):  # docker asks anew for each blob
        answer = with_password(door, password, SCOPE)
        assert answer.status == 200, text(answer)
        assert document(answer)["scope"] == SCOPE
        assert may_push(door, str(document(answer)["token"])) == PASSED
    refused = with_password(door, password, "repository:acme/other:pull,push")
    assert (refused.status, "another repository" in text(refused)) == (403, True)
    assert "jti" in refusal(exchange(door, password, SCOPE))
    door.now += 299
    assert with_password(door, password, SCOPE).status == 200
    door.now += 61
    assert with_password(door, password, SCOPE).status == 403


def test_an_exchanged_id_token_is_no_password(door: Door, provider: Provider) -> None:
    token = provider.token(ORIGIN, NOW)
    assert exchange(door, token, SCOPE).status == 200
    refused = with_password(door, token, SCOPE)
    assert (refused.status, "exchanged" in text(refused)) == (403, True)


def test_a_mount_asks_for_two_repositories_and_gets_the_one(door: Door, provider: Provider) -> None:
    answer = with_password(door, provider.token(ORIGIN, NOW), SCOPE, "repository:acme/base:pull")
    assert document(answer)["scope"] == SCOPE
    door.trust(provider, "acme/own-base", **CLAIMS)
    password = provider.token(ORIGIN, NOW)
    for scopes in ((SCOPE,), ("repository:acme/own-base:pull", SCOPE)):  # in either order, once it is used
        assert document(with_password(door, password, *scopes))["scope"] == SCOPE
    door.rights.set_public("acme/base", True)
    answer = with_password(door, provider.token(ORIGIN, NOW), SCOPE, "repository:acme/base:pull")
    assert document(answer)["scope"] == f"{SCOPE} repository:acme/base:pull"


def test_a_password_that_fits_no_publisher_is_told_why(door: Door, provider: Provider) -> None:
    refused = with_password(door, provider.token(ORIGIN, NOW, "one", ref="refs/heads/x"), SCOPE)
    assert refused.status == 403
    assert "ref ('refs/heads/x')" in text(refused)
    pushed = with_password(door, provider.token(ORIGIN, NOW), "repository:acme/other:pull,push")
    assert "no publisher of acme/other" in text(pushed)
    assert with_password(door, provider.token(ORIGIN, NOW), "repository:acme/other:pull").status == 200


def test_what_was_used_for_one_repository_shows_no_name_of_another(door: Door, provider: Provider) -> None:
    door.trust(provider, "acme/other", **CLAIMS)
    password = provider.token(ORIGIN, NOW)
    assert with_password(door, password, SCOPE).status == 200
    listing = str(document(with_password(door, password, "registry:catalog:*"))["token"])
    assert door.ask("GET", "/v2/_catalog", token=listing).status == PASSED
    assert door.readable("acme/tiny")
    assert not door.readable("acme/other")
    door.publishers.remove(door.publishers.listed("acme/tiny")[0].id)
    assert with_password(door, password).status == 403


def test_logging_in_asks_for_nothing_and_uses_nothing_up(door: Door, provider: Provider) -> None:
    password = provider.token(ORIGIN, NOW)
    assert with_password(door, password).status == 200
    assert exchange(door, password, SCOPE).status == 200
    assert "exchanged" in text(with_password(door, password, "registry:catalog:*"))
    assert with_password(door, provider.token("https://other.example", NOW)).status == 403


def test_a_jobs_token_is_a_password_too(door: Door, provider: Provider) -> None:
    token = job(door, provider, "repository:acme/tiny:pull")
    answer = with_password(door, token, SCOPE)
    assert document(answer)["scope"] == "repository:acme/tiny:pull"
    assert with_password(door, PREFIX + "abc", SCOPE).status == 403
