"""An account disabled and enabled again: its credentials are good, and what was issued to them stays dead."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from exchange_kit import SCOPE, exchange, job, may_push, published
from guarded import ORIGIN, Door, document, key
from identity_provider import Provider

from registry.model.digests import Digest
from registry.server.job_tokens import JobClaims
from registry.server.key_scopes import KeyScope
from registry.server.principal import Right
from registry.server.tokens import Scope
from registry.wire.exchange import ACCESS_TOKEN

Issue = Callable[[Door, Provider], Callable[[], int]]


def pushing(door: Door, token: str) -> Callable[[], int]:
    return lambda: may_push(door, token)


def with_a_key(door: Door, _ci: Provider) -> Callable[[], int]:
    return pushing(door, door.token(key(1), SCOPE))


def with_an_api_key(door: Door, _ci: Provider) -> Callable[[], int]:
    made = door.api_keys.create(door.accounts.user("acme"), (KeyScope.parse("*:*"),))
    return pushing(door, door.token_of(made.secret, SCOPE))


def with_a_service_account(door: Door, _ci: Provider) -> Callable[[], int]:
    return pushing(door, door.token_of(door.service_key("acme/ci", Right.WRITE), SCOPE))


def with_a_link(door: Door, _ci: Provider) -> Callable[[], int]:
    path = door.download_link(door.principal(key(1)), "acme/tiny", Digest.of(b"weights"))
    return lambda: door.ask("GET", path).status


def with_a_job(door: Door, ci: Provider) -> Callable[[], int]:
    return pushing(door, job(door, ci))


def with_a_job_that_renews(door: Door, ci: Provider) -> Callable[[], int]:
    token = job(door, ci)

    def renewed() -> int:
        answer = exchange(door, token, kind=ACCESS_TOKEN)
        return may_push(door, str(document(answer)["access_token"])) if answer.status == 200 else 401

    return renewed


def with_a_token_of_an_id_token(door: Door, ci: Provider) -> Callable[[], int]:
    return pushing(door, token_for(door, ci.token(ORIGIN, door.now)))


def token_for(door: Door, id_token: str) -> str:
    """As docker and crane ask, with an ID token where the password goes."""
    basic = f"Basic {base64.b64encode(f'job:{id_token}'.encode()).decode()}"
    return str(document(door.ask("GET", f"/v2/token?scope={SCOPE}", Authorization=basic))["token"])


@pytest.mark.parametrize(
    "issue",
    [
        with_a_key,
        with_an_api_key,
        with_a_service_account,
        with_a_link,
        with_a_job,
        with_a_job_that_renews,
        with_a_token_of_an_id_token,
    ],
)
def test_what_was_issued_before_stays_dead(issue: Issue) -> None:
    ci = Provider("https://ci.example")
    door = published(ci)
    before = issue(door, ci)
    good = before()
    refused = 404 if issue is with_a_link else 401
    assert good not in (401, 403, 404)
    for _ in range(2):
        door.accounts.disable("acme")
        assert before() == refused
        door.accounts.enable("acme")
        assert before() == refused
        again = issue(door, ci)
        assert again() == good
        before = again


def test_a_job_s_token_of_a_ferry_that_counted_nothing_ends_too() -> None:
    door = published(Provider("https://ci.example"))
    (publisher,) = door.publishers.listed()
    claims = JobClaims({"acme/tiny": publisher.id}, (Scope.parse(SCOPE),), door.now)
    token, _ = door.jobs.tokens.issue(ORIGIN, claims)
    assert may_push(door, token) not in (401, 403)
    door.accounts.disable("acme")
    door.accounts.enable("acme")
    assert may_push(door, token) == 401
    assert exchange(door, token, kind=ACCESS_TOKEN).status == 403
