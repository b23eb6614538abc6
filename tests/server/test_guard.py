"""The guard: challenges, tokens, links and mounts, in front of a stand-in for the application."""

from __future__ import annotations

import pytest
from guarded import HOST, ORIGIN, PASSED, Door, document, key, text
from sqlalchemy import update

from registry.model.digests import Digest
from registry.server.links import DAY
from registry.server.names import Names
from registry.server.principal import Right
from registry.server.tables import CREDENTIALS
from registry.wire.challenges import parse_challenges
from registry.wire.headers import Headers
from registry.wire.messages import Request
from registry.wire.routes import Route

ALICE, BOB, EVE = key(1), key(2), key(9)
BLOB = Digest.of(b"blob")
PULL = "repository:alice/tiny:pull"
PUSH = "repository:alice/tiny:pull,push"
TAGS = "/v2/alice/tiny/tags/list"
UPLOADS = "/v2/alice/tiny/blobs/uploads/"


@pytest.fixture
def door() -> Door:
    door = Door()
    door.join("alice", ALICE)
    door.join("bob", BOB)
    return door


# --- a token, from challenge to answer -----------------------------------------------------------------


@pytest.mark.parametrize(
    "method, target, scope",
    [
        ("HEAD", f"/v2/alice/tiny/blobs/{BLOB}", PULL),
        ("GET", "/v2/alice/tiny/manifests/latest", PULL),
        ("GET", TAGS, PULL),
        ("POST", UPLOADS, PUSH),
        ("PUT", "/v2/alice/tiny/manifests/latest", PUSH),
        ("DELETE", "/v2/alice/tiny/manifests/latest", "repository:alice/tiny:delete"),
        ("GET", "/v2/_catalog", "registry:catalog:*"),
        ("GET", "/v2/", ""),
    ],
)
def test_a_challenge_leads_to_a_token_that_opens(door: Door, method: str, target: str, scope: str) -> None:
    refused = door.ask(method, target)
    (challenge,) = parse_challenges(refused.headers.all("WWW-Authenticate"))
    token = door.token(ALICE, *challenge.get("scope").split())
    opened = door.ask(method, target, token=token)
    assert refused.status == 401
    assert challenge.scheme == "bearer"
    assert challenge.parameters["realm"] == f"{ORIGIN}/v2/token"
    assert challenge.parameters["service"] == HOST
    assert challenge.get("scope") == scope
    assert opened.status == PASSED


def test_a_challenge_speaks_of_the_host_as_the_client_wrote_it() -> None:
    door = Door(names=Names.public(["https://models.acme.example"]))
    for host in ("models.acme.example", "Models.Acme.example", "models.acme.example:443"):
        value = door.ask("GET", TAGS, Host=host).headers.get("WWW-Authenticate")
        assert value == (f'Bearer realm="https://{host}/v2/token",service="{host}",scope="{PULL}"')


def test_a_realm_cannot_be_mistaken_for_service_or_scope(door: Door) -> None:
    value = door.ask("GET", TAGS).headers.get("WWW-Authenticate")
    realm = value.partition('realm="')[2].partition('"')[0]
    assert "service=" not in realm
    assert "scope=" not in realm


def test_a_token_answer_is_what_every_client_reads(door: Door) -> None:
    response = door.send(door.token_request(ALICE, PULL))
    answer = document(response)
    assert answer["token"] == answer["access_token"]
    assert answer["expires_in"] == 300
    assert answer["issued_at"] == "2027-01-15T08:00:00Z"
    assert response.headers.get("Cache-Control") == "no-store"


@pytest.mark.parametrize("scopes", [(), ("",), (f"{PULL} repository:bob/x:pull",)])
def test_a_token_may_be_asked_for_nothing_or_several_things(door: Door, scopes: tuple[str, ...]) -> None:
    assert door.ask("GET", "/v2/", token=door.token(ALICE, *scopes)).status == PASSED


def test_a_token_holds_only_what_may_be_had(door: Door) -> None:
    token = door.token(
        BOB,
        PUSH,
        "repository:bob/x:*",
        "registry:catalog:*",
        "plugin:x:pull",
        "repository(plugin):bob/x:pull",
    )
    claim = door.tokens.read(ORIGIN, token)
    assert [(access.name, access.actions) for access in claim.access] == [
        ("bob/x", ("pull", "push", "delete")),
        ("catalog", ("*",)),
    ]


def test_a_token_opens_only_what_it_was_asked_for(door: Door) -> None:
    token = door.token(ALICE, PULL)
    assert door.ask("GET", TAGS, token=token).status == PASSED
    wider = door.ask("POST", UPLOADS, token=token)
    other = door.ask("GET", "/v2/alice/other/tags/list", token=token)
    catalog = door.ask("GET", "/v2/_catalog", token=token)
    assert [wider.status, other.status, catalog.status] == [401] * 3
    assert f'scope="{PUSH}"' in wider.headers.get("WWW-Authenticate")


def test_who_holds_a_good_token_but_lacks_the_right_is_not_sent_for_another(door: Door) -> None:
    token = door.token(BOB, PULL)
    assert door.ask("GET", TAGS, token=token).status == 404
    assert door.ask("HEAD", f"/v2/alice/tiny/blobs/{BLOB}", token=token).status == 404
    assert door.ask("POST", UPLOADS, token=token).status == 403
    assert door.ask("DELETE", "/v2/alice/tiny/manifests/latest", token=token).status == 403


def test_anybody_may_read_what_is_public_with_a_token_or_without(door: Door) -> None:
    door.rights.set_public("alice/tiny", True)
    assert door.ask("GET", TAGS).status == PASSED
    assert door.ask("GET", TAGS, token=door.token(None, PULL)).status == PASSED
    assert door.ask("GET", TAGS, token=door.token(BOB, PULL)).status == PASSED
    assert door.ask("POST", UPLOADS).status == 401
    assert door.ask("POST", UPLOADS, token=door.token(None, PULL)).status == 403


def test_the_word_bearer_has_no_case(door: Door) -> None:
    token = door.token(ALICE, PULL)
    assert door.ask("GET", TAGS, Authorization=f"bearer {token}").status == PASSED


# --- what was given ends with what is behind it --------------------------------------------------------


def test_the_next_request_after_a_revocation_is_refused_also_with_an_older_token(door: Door) -> None:
    token = door.token(ALICE, PULL)
    door.credentials.revoke_key(ALICE.public.fingerprint)
    assert door.ask("GET", TAGS, token=token).status == 401
    assert door.send(door.token_request(ALICE, PULL)).status == 403


def test_the_next_request_after_a_withdrawal_is_refused_also_with_an_older_token(door: Door) -> None:
    door.rights.grant("bob", "alice", Right.WRITE)
    token = door.token(BOB, PUSH)
    before = door.ask("GET", TAGS, token=token).status, door.ask("POST", UPLOADS, token=token).status
    door.rights.grant("bob", "alice", Right.NONE)
    after = door.ask("GET", TAGS, token=token).status, door.ask("POST", UPLOADS, token=token).status
    assert (before, after) == ((PASSED, PASSED), (404, 403))


def test_a_right_won_is_there_for_the_next_request(door: Door) -> None:
    assert door.ask("GET", TAGS, token=door.token(BOB, PULL)).status == 404
    door.rights.grant("bob", "alice/tiny", Right.READ)
    assert door.ask("GET", TAGS, token=door.token(BOB, PULL)).status == PASSED


# --- links ---------------------------------------------------------------------------------------------


def link(door: Door, token: str = "") -> str:
    """The link that a blob's answer would carry."""
    assert door.ask("GET", f"/v2/alice/tiny/blobs/{BLOB}", token=token).status == PASSED
    return door.link(BLOB)


def test_a_link_opens_its_blob_without_a_token_for_days(door: Door) -> None:
    path = link(door, door.token(ALICE, PULL))
    door.now += 6 * DAY
    response = door.ask("GET", path, Range="bytes=1-2")
    passed = door.passed.requests[-1]
    assert response.status == PASSED
    place = door.passed.visitor.place
    assert (place.route, place.repository, place.reference) == (Route.BLOB, "alice/tiny", str(BLOB))
    assert passed.headers.get("Range") == "bytes=1-2"
    assert door.ask("HEAD", path).status == PASSED
    door.now += 2 * DAY
    assert door.ask("GET", path).status == 404


def test_a_link_does_not_make_another_one_that_lives_longer(door: Door) -> None:
    path = link(door, door.token(ALICE, PULL))
    door.now += DAY
    door.ask("GET", path)
    assert door.link(BLOB) == path


@pytest.mark.parametrize("end", ["key", "account", "right"])
def test_a_link_ends_with_what_is_behind_it(door: Door, end: str) -> None:
    door.rights.grant("bob", "alice", Right.READ)
    path = link(door, door.token(BOB, PULL))
    before = door.ask("GET", path).status
    if end == "key":
        door.credentials.revoke_key(BOB.public.fingerprint)
    elif end == "account":
        door.accounts.disable("bob")
    else:
        door.rights.grant("bob", "alice", Right.NONE)
    assert (before, door.ask("GET", path).status) == (PASSED, 404)


def test_a_link_given_to_anybody_ends_with_the_visibility(door: Door) -> None:
    door.rights.set_public("alice/tiny", True)
    path = link(door)
    before = door.ask("GET", path).status
    door.rights.set_public("alice/tiny", False)
    assert (before, door.ask("GET", path).status) == (PASSED, 404)


# --- what it says of whom it let in ---------------------------------------------------------------------


def test_the_log_is_told_who_asked_for_what(door: Door) -> None:
    token, link = door.token(ALICE, PULL), door.download_link(door.principal(ALICE), "alice/tiny", BLOB)
    credential = door.principal(ALICE).credential_id

    def told(target: str, token: str = "") -> tuple[str, str, str, str]:
        headers = {"Host": HOST, **({"Authorization": f"Bearer {token}"} if token else {})}
        request = Request("GET", ORIGIN + target, Headers(headers))
        door.send(request)
        context = request.context
        return context.route, context.repository, context.user, context.credential

    assert told(TAGS, token) == ("tags", "alice/tiny", "alice", credential)
    assert told(link) == ("capability", "alice/tiny", "alice", credential)
    assert told(TAGS) == ("tags", "alice/tiny", "", "")


def test_a_credential_may_do_no_more_than_its_cap(door: Door) -> None:
    with door.engine.begin() as database:
        database.execute(update(CREDENTIALS).values(cap="read"))
    token = door.token(ALICE, PUSH)
    assert door.ask("GET", TAGS, token=token).status == PASSED
    assert door.ask("POST", UPLOADS, token=token).status == 403


def test_a_credential_ends_when_it_says(door: Door) -> None:
    token = door.token(ALICE, PULL)
    with door.engine.begin() as database:
        database.execute(update(CREDENTIALS).values(expires=door.now + 60))
    assert door.ask("GET", TAGS, token=token).status == PASSED
    door.now += 60
    assert door.ask("GET", TAGS, token=token).status == 401
    assert "has expired" in text(door.send(door.token_request(ALICE, PULL)))


@pytest.mark.parametrize("end, said", [("key", "was revoked"), ("account", "account bob is disabled")])
def test_who_lost_their_say_hears_that_and_not_how_to_join(door: Door, end: str, said: str) -> None:
    if end == "key":
        door.credentials.revoke_key(BOB.public.fingerprint)
    else:
        door.accounts.disable("bob")
    for answer in (door.send(door.token_request(BOB, PULL)), door.call(BOB, "POST", "/api/me")):
        assert said in text(answer)
        assert "key add" not in text(answer)


@pytest.mark.parametrize(
    "path, code",
    [
        ("/v2/a..b/-c/manifests/latest", "NAME_INVALID"),
        ("/v2/a%20b/tags/list", "NAME_INVALID"),
        (f"/v2/-a/blobs/{BLOB}", "NAME_INVALID"),
        ("/v2/nowhere", "NAME_UNKNOWN"),
    ],
)
def test_a_name_that_is_none_is_said_to_be_none(door: Door, path: str, code: str) -> None:
    assert f'"{code}"' in text(door.ask("GET", path))
