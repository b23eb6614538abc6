"""API keys at the registry: as Bearer and as Basic's password, at the token endpoint and past it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from guarded import HOST, ORIGIN, PASSED, Door, document, key, text
from sqlalchemy import select

from registry.auth import api_keys
from registry.errors import DeniedError, InvalidError, NotFoundError, Reason
from registry.model.digests import Digest
from registry.server.api_keys import DAY, Made
from registry.server.database import reading
from registry.server.key_scopes import parse_scopes
from registry.server.principal import Right
from registry.server.tables import API_KEYS, AUDIT, CREDENTIALS, METADATA, RIGHTS_CHANGES
from registry.wire.faults import Refusal, error_of
from registry.wire.messages import Accept, Request, Response

ADA, BOB = key(1), key(2)
MODEL = "/v2/ada/tiny/manifests/v1"
UPLOADS = "/v2/ada/tiny/blobs/uploads/"
BLOB = Digest.of(b"blob")
FORM = {"Content_Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def door() -> Door:
    """`ada`, and `bob`, who may read what is ada's."""
    door = Door()
    door.join("ada", ADA)
    door.join("bob", BOB)
    door.rights.grant("bob", "ada", Right.READ)
    return door


def make(door: Door, *scopes: str, user: str = "ada", seconds: int | None = None) -> Made:
    """An API key of `user`."""
    wanted = parse_scopes(scopes or ("ada/*:pull,push",))
    return door.api_keys.create(door.accounts.user(user), wanted, seconds=seconds)


def basic(password: str, user: str = "anything at all") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def by_query(door: Door, authorization: str, *scopes: str) -> Response:
    query = urlencode([("service", HOST), ("account", "x"), *(("scope", each) for each in scopes)])
    return door.ask("GET", f"/v2/token?{query}", Authorization=authorization)


def by_form(door: Door, *scopes: str, **fields: str) -> Response:
    body = urlencode({"service": HOST, "client_id": "test", "scope": " ".join(scopes), **fields})
    return door.ask("POST", "/v2/token", body=body.encode(), **FORM)


TOKEN: dict[str, Callable[[Door, str, str], Response]] = {
    "Bearer": lambda door, secret, scope: by_query(door, f"Bearer {secret}", scope),
    "bearer": lambda door, secret, scope: by_query(door, f"bearer  {secret} ", scope),
    "Basic": lambda door, secret, scope: by_query(door, basic(secret), scope),
    "Basic of nobody": lambda door, secret, scope: by_query(door, basic(secret, ""), scope),
    "password": lambda door, secret, scope: by_form(
        door, scope, grant_type="password", username="x", password=secret
    ),
    "refresh token": lambda door, secret, scope: by_form(
        door, scope, grant_type="refresh_token", refresh_token=secret
    ),
}


@pytest.mark.parametrize("way", TOKEN)
def test_a_token_is_given_for_an_api_key(door: Door, way: str) -> None:
    answer = TOKEN[way](door, make(door).secret, "repository:ada/tiny:pull,push,delete")
    assert answer.status == 200
    assert answer.headers.get("Cache-Control") == "no-store"
    given = document(answer)
    assert given["token"] == given["access_token"]
    assert given["scope"] == "repository:ada/tiny:pull,push"
    assert door.ask("GET", MODEL, token=str(given["token"])).status == PASSED
    assert door.ask("POST", UPLOADS, token=str(given["token"])).status == PASSED
    assert door.ask("DELETE", MODEL, token=str(given["token"])).status == 403


@pytest.mark.parametrize("say", [lambda secret: f"Bearer {secret}", basic], ids=["Bearer", "Basic"])
def test_an_api_key_opens_by_itself_what_it_is_good_for(door: Door, say: Callable[[str], str]) -> None:
    def status(secret: str, method: str, target: str) -> int:
        return door.ask(method, target, Authorization=say(secret)).status

    mine, all_of_it = make(door).secret, make(door, "*:pull,delete").secret
    assert status(mine, "GET", MODEL) == PASSED
    assert status(mine, "POST", UPLOADS) == PASSED
    assert status(mine, "DELETE", MODEL) == 403
    assert status(all_of_it, "DELETE", MODEL) == PASSED
    assert status(all_of_it, "POST", UPLOADS) == 403
    assert status(mine, "GET", "/v2/bob/tiny/tags/list") == 404
    assert status(all_of_it, "GET", "/v2/bob/tiny/tags/list") == 404  # a scope gives nothing
    assert status(mine, "GET", "/v2/") == status(mine, "GET", "/v2/_catalog") == PASSED
    assert door.passed.visitor.principal.name == "ada"


BAD: dict[str, Callable[[Door], str]] = {
    "unknown": lambda _: api_keys.make(bytes(range(32))),
    "mistyped": lambda door: make(door).secret[:-1] + "?",
    "another check sum": lambda door: make(door).secret[:-6] + "000000",
    "short": lambda door: make(door).secret[:-1],
    "empty": lambda _: "fry_",
    "endless": lambda door: make(door).secret * 100,
    "revoked": lambda door: ended(door, lambda made: door.credentials.revoke("ada", made.id)),
    "over": lambda door: ended(door, lambda _: setattr(door, "now", door.now + 90 * DAY)),
    "of a disabled account": lambda door: ended(door, lambda _: door.accounts.disable("ada")),
    "of a removed account": lambda door: ended(door, lambda _: door.accounts.remove("ada")),
    "replaced": lambda door: ended(door, lambda made: door.api_keys.rotate("ada", made.id, 0)),
}


def ended(door: Door, end: Callable[[Made], object]) -> str:
    made = make(door)
    end(made)
    return made.secret


@pytest.mark.parametrize("why", BAD)
def test_an_api_key_that_is_not_good_is_refused_wherever_it_is_shown(door: Door, why: str) -> None:
    secret = BAD[why](door)
    for answer in [way(door, secret, "repository:ada/tiny:pull") for way in TOKEN.values()]:
        assert answer.status == 401
        assert answer.headers.get("WWW-Authenticate") == 'Bearer error="invalid_token"'
        assert secret not in text(answer)
    for value in (f"Bearer {secret}", basic(secret)):
        answer = door.ask("GET", MODEL, Authorization=value)
        assert answer.status == 401
        assert answer.headers.get("WWW-Authenticate").startswith("Bearer realm=")
    assert door.passed.requests == []


@pytest.mark.parametrize("value", [basic("a password"), basic(""), "Basic !", "Basic", f"Basic {'A' * 9999}"])
def test_basic_is_for_api_keys_only_and_never_offered(door: Door, value: str) -> None:
    refused = [door.ask("GET", MODEL, Authorization=value), by_query(door, value)]
    assert [answer.status for answer in refused] == [401, 401]
    for answer in refused:
        assert "basic" not in answer.headers.get("WWW-Authenticate").lower()


@pytest.mark.parametrize(
    "fields, status",
    [
        ({}, 400),
        ({"grant_type": "authorization_code"}, 400),
        ({"grant_type": "password"}, 401),
        ({"grant_type": "password", "refresh_token": "SECRET"}, 401),
        ({"grant_type": "password", "password": "a password"}, 401),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, 401),
        ({"grant_type": "password", "password": "SECRET", "service": "evil.example"}, 400),
        ({"grant_type": "password", "password": "SECRET", "scope": "everything"}, 400),
    ],
)
def test_a_form_that_grants_nothing(door: Door, fields: dict[str, str], status: int) -> None:
    secret = make(door).secret
    filled = {name: value.replace("SECRET", secret) for name, value in fields.items()}
    assert by_form(door, **filled).status == status


# --- scopes -----------------------------------------------------------------------------------------------


def test_what_is_public_is_read_by_any_key_and_changed_by_none_outside_its_scopes(door: Door) -> None:
    door.rights.set_public("ada/tiny", True)
    elsewhere = make(door, "ada/other:pull,push,delete").secret
    assert door.ask("GET", MODEL, token=elsewhere).status == PASSED
    for method, action in (("PUT", "push"), ("DELETE", "delete")):
        refused = door.ask(method, MODEL, token=elsewhere)
        told = error_of(Refusal.of(refused, text(refused).encode()), "changing it", host="models.example")
        assert f"do not cover {action} in ada/tiny" in told.message and told.reason is Reason.KEY_SCOPES
    assert door.ask("GET", "/v2/ada/more/tags/list", token=elsewhere).status == 404


def test_an_administrators_key_is_no_administrator_outside_its_scopes(door: Door) -> None:
    door.join("root", key(3), admin=True)
    secret = make(door, "ada/*:pull,push", user="root").secret
    assert door.ask("POST", UPLOADS, token=secret).status == PASSED
    assert door.ask("GET", "/v2/bob/tiny/tags/list", token=secret).status == 404
    assert door.readable("ada/tiny")
    assert not door.readable("bob/tiny")


def test_a_strangers_form_is_small_and_soon_there(door: Door) -> None:
    taken = door.guard(Request("POST", f"{ORIGIN}/v2/token", length=10))
    assert isinstance(taken, Accept)
    assert (taken.limit, taken.seconds, taken.in_memory) == (16 * 1024, 5.0, True)


# --- what is kept, and what is not ------------------------------------------------------------------------


def everything_kept(door: Door) -> str:
    with reading(door.engine) as database:
        tables = [database.execute(select(table)).all() for table in METADATA.tables.values()]
    return repr(tables)


def test_a_secret_is_kept_as_its_hash_and_shown_once(door: Door) -> None:
    made = make(door)
    assert api_keys.is_api_key(made.secret)
    assert made.secret not in repr(made)
    assert made.secret not in everything_kept(door)
    assert made.secret[4:34] not in everything_kept(door)
    (listed,) = door.credentials.listed("ada", "api")
    assert (listed.id, listed.shown, listed.state(door.now)) == (made.id, made.secret[-4:], "active")
    assert listed.expires == made.expires == door.now + 90 * DAY


@pytest.mark.parametrize("seconds", [0, -1, 365 * DAY + 1, 10**30])
def test_a_key_lasts_no_longer_than_the_administrator_allows(door: Door, seconds: int) -> None:
    with pytest.raises(InvalidError, match="365 days"):
        make(door, seconds=seconds)


def test_there_is_an_end_to_how_many_keys_one_account_has(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.server.api_keys.MOST_KEYS", 3)
    first = make(door)
    make(door)
    with pytest.raises(InvalidError, match="3 keys already"):
        make(door)
    door.credentials.revoke("ada", first.id)
    make(door)


@pytest.mark.parametrize("note", ["x" * 201, "a\nb", "\x1b[2J"])
def test_a_note_is_one_short_line(door: Door, note: str) -> None:
    with pytest.raises(InvalidError):
        door.api_keys.create(door.accounts.user("ada"), parse_scopes(["*:pull"]), note=note)


def test_everything_that_is_done_to_a_key_is_in_the_record(door: Door) -> None:
    made = make(door)
    door.api_keys.rotate("ada", made.id)
    door.credentials.revoke("ada", made.id)
    with reading(door.engine) as database:
        rows = database.execute(select(AUDIT.c.action, AUDIT.c.subject).where(AUDIT.c.action.like("apikey%")))
        assert [tuple(row) for row in rows] == [
            ("apikey.create", f"{made.id} ada ada/*:pull,push"),
            ("apikey.rotate", made.id),
            ("apikey.revoke", made.id),
        ]


# --- a new secret, and the end ----------------------------------------------------------------------------


def test_a_new_secret_keeps_the_key_and_the_old_one_for_the_overlap(door: Door) -> None:
    old = make(door, seconds=10 * DAY)
    door.now += 5 * DAY
    new = door.api_keys.rotate("ada", old.id, 3600)
    assert (new.id, new.scopes, new.expires) == (old.id, old.scopes, door.now + 10 * DAY)
    assert new.old_until == door.now + 3600
    assert door.credentials.one(old.id).state(door.now) == "old secret until 2027-01-20T09:00:00Z"
    for secret in (old.secret, new.secret):
        assert door.ask("GET", MODEL, token=secret).status == PASSED
    door.now += 3600
    assert door.ask("GET", MODEL, token=old.secret).status == 401
    assert door.ask("GET", MODEL, token=new.secret).status == PASSED
    assert door.credentials.one(old.id).state(door.now) == "active"


def test_the_old_secret_never_outlives_what_it_was_made_for(door: Door) -> None:
    old = make(door, seconds=100)
    assert door.api_keys.rotate("ada", old.id, 3600).old_until == door.now + 100


def test_what_a_leaked_secret_got_ends_with_it(door: Door) -> None:
    old = make(door)
    token = str(document(TOKEN["Bearer"](door, old.secret, "repository:ada/tiny:pull"))["token"])
    door.ask("GET", MODEL, token=token)
    link = door.link(BLOB)
    assert door.ask("GET", link).status == PASSED
    new = door.api_keys.rotate("ada", old.id, 0)
    assert door.ask("GET", MODEL, token=token).status == 401
    assert door.ask("GET", link).status == 404
    assert door.ask("GET", MODEL, token=new.secret).status == PASSED
    assert door.ask("GET", door.link(BLOB)).status == PASSED


def test_revoking_kills_both_secrets_and_what_was_issued_by_them(door: Door) -> None:
    old = make(door)
    new = door.api_keys.rotate("ada", old.id)
    tokens = [
        str(document(TOKEN["Basic"](door, each.secret, "repository:ada/tiny:pull"))["token"])
        for each in (old, new)
    ]
    door.credentials.revoke("ada", old.id)
    for shown in (old.secret, new.secret, *tokens):
        assert door.ask("GET", MODEL, token=shown).status == 401
    assert door.credentials.one(old.id).state(door.now) == "revoked"
    assert not door.credentials.revoke("ada", old.id)  # it was already
    for user, id in (("ben", old.id), ("ada", "none")):
        with pytest.raises(NotFoundError):
            door.credentials.revoke(user, id)


@pytest.mark.parametrize("overlap", [-1, 30 * DAY + 1])
def test_an_overlap_has_its_bounds(door: Door, overlap: int) -> None:
    made = make(door)
    with pytest.raises(InvalidError):
        door.api_keys.rotate("ada", made.id, overlap)


def test_only_a_living_key_of_ones_own_gets_a_new_secret(door: Door) -> None:
    made = make(door)
    with pytest.raises(NotFoundError):
        door.api_keys.rotate("bob", made.id)
    with pytest.raises(NotFoundError):
        door.api_keys.rotate("ada", door.principal(ADA).credential_id)
    door.credentials.revoke("ada", made.id)
    with pytest.raises(InvalidError, match="revoked"):
        door.api_keys.rotate("ada", made.id)
    other = make(door, seconds=5)
    door.now += 5
    with pytest.raises(InvalidError, match="expired"):
        door.api_keys.rotate("ada", other.id)


def test_whoever_holds_a_secret_may_revoke_its_key(door: Door) -> None:
    old = make(door)
    new = door.api_keys.rotate("ada", old.id, 60)
    assert not door.api_keys.revoke_by_secret("fry_nothing")
    door.accounts.disable("ada")  # its keys are refused, and would come back with it
    assert door.api_keys.revoke_by_secret(old.secret)
    door.accounts.enable("ada")
    with pytest.raises(DeniedError):
        door.by_secret(new.secret)


def test_a_secret_that_is_over_revokes_nothing(door: Door) -> None:
    old = make(door)
    new = door.api_keys.rotate("ada", old.id, 0)
    assert not door.api_keys.revoke_by_secret(old.secret)
    assert door.by_secret(new.secret).name == "ada"


# --- the count of changes ---------------------------------------------------------------------------------


def test_a_key_that_is_used_is_looked_up_once(door: Door) -> None:
    """Without a change the answer is what was found out, whatever the tables say."""
    secret = make(door).secret
    assert door.ask("GET", MODEL, token=secret).status == PASSED
    with door.engine.begin() as database:
        for event in ("insert", "update", "delete"):
            database.exec_driver_sql(f"DROP TRIGGER api_keys_{event}_changes_rights")
        database.execute(API_KEYS.delete())
    assert door.ask("GET", MODEL, token=secret).status == PASSED


@pytest.mark.parametrize(
    "change", ["secret_hash = 'x'", "scopes = 'a/b:pull'", "old_until = 1", "old_hash = 'y'"]
)
def test_every_change_of_a_key_is_counted(door: Door, change: str) -> None:
    make(door)
    with reading(door.engine) as database:
        before = database.execute(select(RIGHTS_CHANGES.c.count)).scalar_one()
    with door.engine.begin() as database:
        database.exec_driver_sql(f"UPDATE api_keys SET {change}")
    with reading(door.engine) as database:
        assert database.execute(select(RIGHTS_CHANGES.c.count)).scalar_one() > before


def test_a_narrowed_key_is_narrow_for_the_next_request_and_so_is_what_was_issued_to_it(door: Door) -> None:
    secret = make(door).secret
    token = str(document(TOKEN["Bearer"](door, secret, "repository:ada/tiny:pull,push"))["token"])
    upload = door.links.upload(ORIGIN, door.by_secret(secret), "ada/tiny", "session", 4)
    assert door.ask("POST", UPLOADS, token=token).status == PASSED
    with door.engine.begin() as database:
        database.execute(API_KEYS.update().values(scopes="ada/*:pull"))
    for shown in (secret, token):
        assert door.ask("POST", UPLOADS, token=shown).status == 403
        assert door.ask("GET", MODEL, token=shown).status == PASSED
    sent = door.ask("PUT", f"/v2/_storage/{upload}", body=b"blob", Content_Type="application/octet-stream")
    assert sent.status == 403


def test_a_claim_without_its_secret_opens_nothing(door: Door) -> None:
    made = make(door)
    for claim in (made.id, f"{made.id}.", f"{made.id}.0123456789abcdef"):
        assert door.rights.standing(claim, "ada/tiny") is None
    machine = door.principal(ADA).credential_id
    assert door.rights.standing(f"{machine}.0123456789abcdef", "ada/tiny") is None


def test_a_key_that_goes_with_its_account_is_gone(door: Door) -> None:
    make(door)
    door.accounts.remove("ada")
    with reading(door.engine) as database:
        assert database.execute(select(API_KEYS)).first() is None
        assert database.execute(select(CREDENTIALS).filter_by(kind="api")).first() is None
