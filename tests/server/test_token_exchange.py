"""A job's ID token for a token of the registry: once, for what its publisher may, and looked up each time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlencode

import pytest
from exchange_kit import CLAIMS, SCOPE, exchange, job, may_push, published, refusal
from guarded import NOW, ORIGIN, PASSED, Door, document, key, text
from identity_provider import Provider, ec_key

from registry.errors import DeniedError
from registry.server import audit
from registry.server.depot_memory import MemoryDepot
from registry.server.job_tokens import PREFIX, RENEWED_SECONDS, TOKEN_SECONDS
from registry.wire.exchange import ACCESS_TOKEN, GRANT


@pytest.fixture
def provider() -> Provider:
    return Provider("https://ci.example")


@pytest.fixture
def door(provider: Provider) -> Iterator[Door]:
    door = published(provider)
    yield door
    door.engine.dispose()


def test_a_job_exchanges_its_id_token_and_publishes(door: Door, provider: Provider) -> None:
    answer = exchange(door, provider.token(ORIGIN, NOW), SCOPE)
    assert answer.headers.get("Cache-Control") == "no-store"
    said = document(answer)
    token = str(said.pop("access_token"))
    assert said == {
        "issued_token_type": ACCESS_TOKEN,
        "token_type": "Bearer",
        "expires_in": TOKEN_SECONDS,
        "scope": SCOPE,
    }
    assert token.startswith(PREFIX)
    assert may_push(door, token) == PASSED
    visitor = door.passed.visitor
    publisher = door.publishers.listed()[0]
    assert visitor.actor.user == f"publisher:{publisher.id}"
    assert door.ask("GET", "/v2/acme/tiny/manifests/v1", token=token).status == PASSED
    deleted = door.ask("DELETE", "/v2/acme/tiny/manifests/v1", token=token)
    assert (deleted.status, "rights of this CI job" in text(deleted)) == (403, True)


def test_it_opens_nothing_else(door: Door, provider: Provider) -> None:
    token = job(door, provider)
    for other in ("acme/other", "acme/tiny/below", "acme/tin", "ben/tiny"):
        assert may_push(door, token, other) == 403
        assert door.ask("GET", f"/v2/{other}/manifests/v1", token=token).status == 404
    for path in ("/api/account", "/api/credentials", "/api/repositories", "/v2/_catalog"):
        assert door.ask("GET", path, token=token).status in (401, 403), path
    assert door.ask("POST", "/api/credentials", token=token).status in (401, 403)


def test_a_token_of_a_job_is_no_token_of_the_token_endpoint_nor_the_other_way(
    door: Door, provider: Provider
) -> None:
    token = job(door, provider)
    assert may_push(door, token.removeprefix(PREFIX)) == 401
    assert may_push(door, PREFIX + door.token(key(1), SCOPE)) == 401
    assert exchange(door, PREFIX + door.token(key(1), SCOPE), SCOPE, kind=ACCESS_TOKEN).status == 403
    assert door.ask("PUT", "/v2/acme/tiny/manifests/v1", token=token, Host="localhost:5050").status == 401
    with pytest.raises(DeniedError):  # whatever is in it: it is for another audience
        door.tokens.signer.verify(ORIGIN, ORIGIN, token.removeprefix(PREFIX))


@pytest.mark.parametrize("claim", [*CLAIMS, "aud"])
def test_a_refusal_names_the_claim_that_differs_and_is_in_the_audit_log(
    claim: str, door: Door, provider: Provider
) -> None:
    token = provider.token(ORIGIN, NOW, "one", **{claim: "other"})
    said = refusal(exchange(door, token, SCOPE))
    assert f"{claim} ('other')" in said
    assert [name for name in (*CLAIMS, "aud") if f"{name} (" in said] == [claim]
    assert "65" not in said  # what is wanted is the owner's business
    row = audit.latest(door.engine, limit=1)[0]
    assert (row.action, row.repository) == ("publisher.refuse", "acme/tiny")
    assert claim in row.subject


def test_a_claim_that_is_missing_is_named(door: Door, provider: Provider) -> None:
    token = provider.token(ORIGIN, NOW, "one", ref=None)
    assert "ref (missing)" in refusal(exchange(door, token, SCOPE))


def test_a_name_registered_anew_by_somebody_else_is_another_owner(door: Door, provider: Provider) -> None:
    token = provider.token(ORIGIN, NOW, "one", repository_owner_id="66")
    assert "repository_owner_id ('66')" in refusal(exchange(door, token, SCOPE))


def test_an_issuer_is_what_the_registry_knows_not_what_a_token_says(door: Door, provider: Provider) -> None:
    evil = Provider("https://evil.example", {"one": ec_key(5)})
    assert "iss" in refusal(exchange(door, evil.token(ORIGIN, NOW), SCOPE))
    pretended = Provider(provider.url, {"one": ec_key(5)})
    assert "not signed by" in refusal(exchange(door, pretended.token(ORIGIN, NOW), SCOPE))
    assert evil.asked == []
    door.trust(evil, "acme/other", **CLAIMS)  # known, but for another repository
    assert "no publisher of acme/tiny" in refusal(exchange(door, evil.token(ORIGIN, NOW), SCOPE))


@pytest.mark.parametrize("event", ["pull_request_target", "workflow_run"])
def test_a_run_with_anybodys_code_is_refused(event: str, door: Door, provider: Provider) -> None:
    assert "event_name" in refusal(
        exchange(door, provider.token(ORIGIN, NOW, "one", event_name=event), SCOPE)
    )


def test_an_id_token_is_exchanged_once(door: Door, provider: Provider) -> None:
    token = provider.token(ORIGIN, NOW)
    assert exchange(door, token, SCOPE).status == 200
    assert "jti" in refusal(exchange(door, token, SCOPE))
    again = provider.token(ORIGIN, NOW, "one", jti="jti-1", sub="another")
    assert "jti" in refusal(exchange(door, again, SCOPE))


def test_a_jti_is_its_issuers(door: Door, provider: Provider) -> None:
    other = Provider("https://ci2.example")
    door.trust(other, "acme/tiny", **CLAIMS)
    for each in (provider, other):
        assert exchange(door, each.token(ORIGIN, NOW, "one", jti="the same"), SCOPE).status == 200


def test_what_was_spent_is_forgotten_when_it_could_not_be_used_any_more(
    door: Door, provider: Provider
) -> None:
    token = provider.token(ORIGIN, NOW)
    assert exchange(door, token, SCOPE).status == 200
    door.now += 300 + 60
    assert "exp" in refusal(exchange(door, token, SCOPE))
    door.now += 2
    job(door, provider)
    with door.engine.connect() as database:
        assert database.exec_driver_sql("SELECT jti FROM spent_id_tokens").scalars().all() == ["jti-2"]


def test_a_refusal_does_not_use_the_token_up(door: Door, provider: Provider) -> None:
    token = provider.token(ORIGIN, NOW)
    assert refusal(exchange(door, token, SCOPE, "repository:acme/other:pull"))
    assert refusal(exchange(door, token, "repository:acme/tiny:delete"))
    assert refusal(exchange(door, token, "repository:acme/tiny:*"))
    assert exchange(door, token, SCOPE).status == 200


def test_of_several_scopes_one_that_is_not_allowed_refuses_all(door: Door, provider: Provider) -> None:
    door.trust(provider, "acme/other", **{**CLAIMS, "ref": "refs/tags/v1"})
    token = provider.token(ORIGIN, NOW)
    other = "repository:acme/other:pull"
    assert "acme/other" in refusal(exchange(door, token, SCOPE, other))
    assert "ref" in refusal(exchange(door, token, f"{SCOPE} {other}"))
    door.trust(provider, "acme/other", **CLAIMS)
    both = exchange(door, token, SCOPE, other)
    assert document(both)["scope"] == f"{SCOPE} {other}"
    granted = str(document(both)["access_token"])
    assert may_push(door, granted) == PASSED
    assert may_push(door, granted, "acme/other") == 401
    assert door.ask("GET", "/v2/acme/other/manifests/v1", token=granted).status == PASSED


def test_without_scopes_it_is_for_all_that_the_job_may(door: Door, provider: Provider) -> None:
    door.trust(provider, "acme/other", **CLAIMS)
    token = str(document(exchange(door, provider.token(ORIGIN, NOW)))["access_token"])
    assert [may_push(door, token, name) for name in ("acme/tiny", "acme/other", "acme/x")] == [
        PASSED,
        PASSED,
        403,
    ]


def test_the_audience_is_one_of_the_registrys_names_or_what_the_publisher_says(
    door: Door, provider: Provider
) -> None:
    assert exchange(door, provider.token("http://localhost:5050", NOW), SCOPE).status == 200
    door.trust(provider, "acme/other", "models", **CLAIMS)
    other = "repository:acme/other:pull,push"
    assert exchange(door, provider.token("models", NOW), other).status == 200
    said = refusal(exchange(door, provider.token("models", NOW), SCOPE))
    assert said.endswith(f"what differs is aud ('models'); this registry is {ORIGIN}")
    assert refusal(exchange(door, provider.token(ORIGIN, NOW), other)).endswith(f"aud ('{ORIGIN}')")


def test_a_token_is_renewed_for_six_hours_by_one_that_is_good(door: Door, provider: Provider) -> None:
    token = job(door, provider)
    assert door.now == NOW
    while door.now < NOW + RENEWED_SECONDS - 600:
        door.now += 600
        answer = exchange(door, token, kind=ACCESS_TOKEN)
        assert answer.status == 200, text(answer)
        assert document(answer)["scope"] == SCOPE
        token = str(document(answer)["access_token"])
        assert may_push(door, token) == PASSED
    assert document(answer)["expires_in"] == 600
    door.now += 600
    assert may_push(door, token) == 401
    assert exchange(door, token, kind=ACCESS_TOKEN).status == 403


def test_one_that_is_over_is_not_renewed(door: Door, provider: Provider) -> None:
    token = job(door, provider)
    door.now += TOKEN_SECONDS
    assert "expired" in refusal(exchange(door, token, SCOPE, kind=ACCESS_TOKEN))


def test_a_renewal_may_be_for_another_repository_of_the_same_job(door: Door, provider: Provider) -> None:
    """GitLab gives a job one ID token, and a job may publish two models."""
    token = job(door, provider)
    other = "repository:acme/other:pull,push"
    said = refusal(exchange(door, token, other, kind=ACCESS_TOKEN))
    assert said == "no publisher of acme/other fits the ID token that this job began with"
    door.trust(provider, "acme/other", **CLAIMS)
    token = job(door, provider)
    renewed = str(document(exchange(door, token, other, kind=ACCESS_TOKEN))["access_token"])
    assert may_push(door, renewed, "acme/other") == PASSED
    assert may_push(door, renewed) == 401
    beyond = "repository:acme/other:delete"
    assert "a publisher may not" in refusal(exchange(door, token, beyond, kind=ACCESS_TOKEN))
    [gone] = [each.id for each in door.publishers.listed() if each.repository == "acme/other"]
    door.publishers.remove(gone)
    removed = "the publisher of acme/other was removed"
    assert refusal(exchange(door, token, other, kind=ACCESS_TOKEN)) == removed


def test_a_publisher_that_is_removed_may_nothing_from_the_next_request_on(
    door: Door, provider: Provider
) -> None:
    token = job(door, provider)
    assert may_push(door, token) == PASSED
    door.publishers.remove(door.publishers.listed()[0].id)
    assert may_push(door, token) == 401
    assert exchange(door, token, kind=ACCESS_TOKEN).status == 403
    assert exchange(door, provider.token(ORIGIN, NOW), SCOPE).status == 403


def test_a_publisher_ends_with_its_owners_account(door: Door, provider: Provider) -> None:
    token = job(door, provider)
    door.accounts.disable("acme")
    assert may_push(door, token) == 401
    assert exchange(door, provider.token(ORIGIN, NOW), SCOPE).status == 403
    door.accounts.enable("acme")
    assert may_push(door, token) == 401
    assert may_push(door, job(door, provider)) == PASSED


# --- what comes with the request -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"grant_type": "password"},
        {"subject_token_type": "urn:x"},
        {"scope": "nonsense"},
        {"subject_token": ""},
    ],
    ids=str,
)
def test_a_form_that_makes_no_sense_is_refused(fields: dict[str, str], door: Door) -> None:
    answer = exchange(door, "eyJ.x.y", SCOPE, **fields)
    assert answer.status in (400, 403)
    assert document(answer)["error"] in ("invalid_request", "access_denied")


def test_too_many_scopes_and_fields_said_twice_are_refused(door: Door, provider: Provider) -> None:
    token = provider.token(ORIGIN, NOW)
    many = [f"repository:acme/m{number}:pull" for number in range(17)]
    assert exchange(door, token, *many).status == 400
    twice = urlencode([("grant_type", GRANT), ("grant_type", GRANT)])
    assert door.ask("POST", "/oauth/token", body=twice.encode()).status == 400


def test_a_token_stays_short_enough_to_be_taken_back(door: Door, provider: Provider) -> None:
    names = [f"acme/{number}{'m' * 120}" for number in range(16)]
    for name in names:
        door.trust(provider, name, **CLAIMS)
    many = [f"repository:{name}:pull,push" for name in names]
    token = provider.token(ORIGIN, NOW)
    refused = exchange(door, token, *many)
    assert (refused.status, "ask for fewer" in text(refused)) == (400, True)
    for scopes in ((), many[:11]):
        answer = exchange(door, token if scopes else provider.token(ORIGIN, NOW), *scopes)
        again = str(document(answer)["access_token"])
        assert exchange(door, again, kind=ACCESS_TOKEN).status == 200
    assert may_push(door, again, names[0]) == PASSED


def test_keys_that_are_being_fetched_are_a_503_that_says_when(provider: Provider) -> None:
    door = Door()
    door.join("acme", key(1))
    door.trust(provider, "acme/tiny", **CLAIMS)
    stranger = Provider(provider.url, {"two": ec_key(2)})
    door.now += 30
    answer = exchange(door, stranger.token(ORIGIN, door.now), SCOPE)
    assert (answer.status, answer.headers.get("Retry-After")) == (503, "1")
    assert document(answer)["error"] == "temporarily_unavailable"
    door.issuers.wait()
    door.engine.dispose()


def test_strangers_do_not_fill_the_disk_with_refusals(door: Door) -> None:
    statuses = {exchange(door, "eyJ.x.y", SCOPE).status for _ in range(80)}
    assert statuses == {403, 429}
    assert len(audit.latest(door.engine, limit=200)) < 70


def test_what_a_restored_database_has_forgotten_is_not_taken(door: Door, provider: Provider) -> None:
    door.jobs = replace(door.jobs, publishers=replace(door.publishers, since=NOW))
    door.serve(MemoryDepot())
    assert "restored" in refusal(exchange(door, provider.token(ORIGIN, NOW), SCOPE))
    assert exchange(door, provider.token(ORIGIN, NOW + 1), SCOPE).status == 200
