"""The account API: who one is, by what, and its end. Programs with an API key see and end themselves only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from databases import begin_session
from guarded import HOST, Door, key, text
from raw_sockets import Serve, head, rest
from sqlalchemy import select

from registry.auth import api_keys
from registry.errors import DeniedError
from registry.server.api_keys import DAY, Made
from registry.server.database import reading
from registry.server.depot_memory import MemoryDepot
from registry.server.key_scopes import parse_scopes
from registry.server.sessions import Sessions
from registry.server.tables import AUDIT
from registry.wire.messages import Accept, Request, Response

ADA, BOB, LAPTOP = key(1), key(2), key(3)
ACCOUNT = "registry:account:*"
JSON = {"Content_Type": "application/json"}


@pytest.fixture
def door() -> Door:
    """`ada` with two machines, and `bob`."""
    door = Door(depot=lambda _: MemoryDepot())
    door.join("ada", ADA)
    door.join("bob", BOB)
    door.credentials.add_key("ada", LAPTOP.public)
    return door


def call(door: Door, token: str, method: str, path: str, body: object = None) -> tuple[int, object]:
    """Status and document of a call with a token, or an API key in its place."""
    sent = b"" if body is None else json.dumps(body).encode()
    answer = door.ask(method, path, token=token, body=sent, **JSON)
    said = text(answer)
    return answer.status, json.loads(said) if said else None


def document(answered: tuple[int, object]) -> Mapping[str, object]:
    assert isinstance(answered[1], dict), answered
    return answered[1]


def ada(door: Door) -> str:
    return door.token(ADA, ACCOUNT)


def made(door: Door, user: str = "ada", scope: str = "ada/*:pull") -> Made:
    return door.api_keys.create(door.accounts.user(user), parse_scopes([scope]), note="ci")


# --- who one is -------------------------------------------------------------------------------------------


def test_a_machine_hears_who_it_is(door: Door) -> None:
    status, said = call(door, ada(door), "GET", "/api/account")
    assert status == 200
    assert said == {
        "id": door.accounts.user("ada").id,
        "name": "ada",
        "admin": False,
        "host": HOST,
        "credential": {
            "id": door.principal(ADA).credential_id,
            "kind": "machine",
            "note": "",
            "shown": ADA.public.fingerprint,
            "expires": None,
            "scopes": None,
        },
    }


def test_a_program_hears_who_it_is_by_its_api_key_or_a_token_for_it(door: Door) -> None:
    key = made(door)
    answer = door.ask("GET", f"/v2/token?service={HOST}&scope={ACCOUNT}", token=key.secret)
    token = str(json.loads(text(answer))["token"])
    for shown in (key.secret, token):
        assert document(call(door, shown, "GET", "/api/account"))["credential"] == {
            "id": key.id,
            "kind": "api",
            "note": "ci",
            "shown": key.secret[-4:],
            "expires": "2027-04-15T08:00:00Z",
            "scopes": ["ada/*:pull"],
        }


@pytest.mark.parametrize("method, path", [("GET", "/api/account"), ("POST", "/api/credentials")])
def test_who_says_nothing_is_told_where_to_get_a_token(door: Door, method: str, path: str) -> None:
    for token in ("", door.token(None, ACCOUNT), door.token(ADA, "repository:ada/tiny:pull"), "x"):
        answer = door.ask(method, path, token=token)
        assert answer.status == 401
        assert 'scope="registry:account:*"' in answer.headers.get("WWW-Authenticate")
        assert list(json.loads(text(answer))) == ["error"]
        assert answer.headers.get("Cache-Control") == "no-store"


def test_a_lab_has_no_accounts_to_speak_of() -> None:
    from registry.server.principal import Right

    lab = Door(anonymous=Right.WRITE)
    assert call(lab, "", "GET", "/api/account") == (403, {"error": "this registry has no accounts"})


# --- making, listing --------------------------------------------------------------------------------------


def test_a_key_is_made_listed_and_used(door: Door) -> None:
    wanted = {"note": "nightly", "scopes": ["ada/*:pull,push"], "expires_in": 3600}
    status, said = call(door, ada(door), "POST", "/api/credentials", wanted)
    assert isinstance(said, dict)
    assert status == 201
    assert said["scopes"] == ["ada/*:pull,push"]
    assert said["expires"] == "2027-01-15T09:00:00Z"
    assert api_keys.is_api_key(said["secret"])
    assert call(door, said["secret"], "GET", "/api/account")[0] == 200
    _, listed = call(door, ada(door), "GET", "/api/credentials")
    assert isinstance(listed, list)
    assert [each["kind"] for each in listed] == ["machine", "machine", "api"]
    assert listed[2] == {
        "id": said["id"],
        "kind": "api",
        "service": None,
        "note": "nightly",
        "scopes": ["ada/*:pull,push"],
        "created": "2027-01-15T08:00:00Z",
        "expires": "2027-01-15T09:00:00Z",
        "last_used": "2027-01-15T08:00:00Z",
        "shown": said["secret"][-4:],
        "state": "active",
    }


def test_without_a_word_a_key_may_pull_for_90_days(door: Door) -> None:
    for asked in ({}, {"expires_in": None}, {"note": ""}, None):
        said = document(call(door, ada(door), "POST", "/api/credentials", asked))
        assert (said["scopes"], said["expires"]) == (["*:pull"], "2027-04-15T08:00:00Z")


@pytest.mark.parametrize(
    "asked",
    [
        [],
        "x",
        {"scope": ["ada/*:pull"]},
        {"scopes": "ada/*:pull"},
        {"scopes": []},
        {"scopes": [1]},
        {"scopes": ["everything"]},
        {"scopes": ["a/b:pull"] + [f"a/{n}:pull" for n in range(16)]},
        {"expires_in": "90d"},
        {"expires_in": 1.5},
        {"expires_in": True},
        {"expires_in": 0},
        {"expires_in": 366 * DAY},
        {"note": 1},
        {"note": "x" * 201},
        {"note": "a\u001b[2J"},
        {"note": "\ud800"},
    ],
)
def test_a_key_that_cannot_be_is_refused_in_a_sentence(door: Door, asked: object) -> None:
    status, said = call(door, ada(door), "POST", "/api/credentials", asked)
    assert status == 400
    assert isinstance(said, dict) and list(said) == ["error"]
    assert door.credentials.listed("ada", "api") == []


def test_what_is_no_json_is_refused(door: Door) -> None:
    for body in (b"{", b"\xff", b"[" * 10_000, b'{"note":"a","note":"b"}'):
        assert door.ask("POST", "/api/credentials", token=ada(door), body=body).status == 400


@pytest.mark.parametrize("path, most", [("/api/credentials", 16 * 1024), ("/api/credentials/revoke", 4096)])
def test_what_the_listener_refuses_of_a_body_is_a_sentence_too(
    door: Door, serve: Serve, path: str, most: int
) -> None:
    """Whether its length was stated, or it comes in chunks; and where it does not come."""
    served, token = serve(door.guard, linger=0.05), ada(door)
    for words, body in (
        (f"Content-Length: {most + 1}", ""),
        ("Transfer-Encoding: chunked", f"{most + 1:x}\r\n{'x' * (most + 1)}\r\n"),
    ):
        request = head("POST", path, f"Authorization: Bearer {token}", "Connection: close", words)
        told = rest(served.connect(request.replace("Host: a", f"Host: {HOST}") + body))
        assert told.startswith(b"HTTP/1.1 413 ")
        said = json.loads(told.partition(b"\r\n\r\n")[2])
        assert said == {"error": f"this body may have at most {most} bytes"}


# --- a program by itself ----------------------------------------------------------------------------------


def test_a_program_sees_and_ends_itself_only(door: Door) -> None:
    mine, other = made(door), made(door)
    machine = door.principal(LAPTOP).credential_id
    _, listed = call(door, mine.secret, "GET", "/api/credentials")
    assert isinstance(listed, list)
    assert [each["id"] for each in listed] == [mine.id]
    for id in (other.id, machine):
        assert call(door, mine.secret, "DELETE", f"/api/credentials/{id}")[0] == 403
    assert call(door, mine.secret, "DELETE", f"/api/credentials/{mine.id}") == (204, None)
    assert call(door, mine.secret, "GET", "/api/account")[0] == 401
    assert call(door, other.secret, "GET", "/api/account")[0] == 200


def test_a_program_never_makes_or_widens_credentials(door: Door) -> None:
    key = made(door)
    answer = door.ask("GET", f"/v2/token?service={HOST}&scope={ACCOUNT}", token=key.secret)
    token = str(json.loads(text(answer))["token"])
    for shown in (key.secret, token):
        for method, path in (
            ("POST", "/api/credentials"),
            ("POST", f"/api/credentials/{key.id}/rotate"),
            ("DELETE", f"/api/user/keys/{LAPTOP.public.connect}"),
            ("PATCH", "/api/repositories/ada/tiny"),
            ("PUT", "/api/repositories/ada/shares/bob"),
            ("DELETE", "/api/repositories/ada/shares/bob"),
        ):
            status, said = call(door, shown, method, path)
            assert (method, path, status) == (method, path, 403)
            assert isinstance(said, dict) and "machine's key" in said["error"]
    assert len(door.credentials.listed("ada")) == 3


# --- a new secret, and the end ----------------------------------------------------------------------------


def test_a_key_gets_a_new_secret(door: Door) -> None:
    key = made(door)
    said = document(call(door, ada(door), "POST", f"/api/credentials/{key.id}/rotate", {"overlap": 60}))
    assert said == {
        "id": key.id,
        "secret": said["secret"],
        "expires": "2027-04-15T08:00:00Z",
        "old_until": "2027-01-15T08:01:00Z",
    }
    assert [call(door, each, "GET", "/api/account")[0] for each in (key.secret, str(said["secret"]))] == [
        200
    ] * 2
    again = document(call(door, ada(door), "POST", f"/api/credentials/{key.id}/rotate"))
    assert again["old_until"] == "2027-01-16T08:00:00Z"
    assert call(door, key.secret, "GET", "/api/account")[0] == 401  # never three at once


@pytest.mark.parametrize("asked", [{"overlap": -1}, {"overlap": "1h"}, {"overlap": 31 * DAY}, {"over": 1}])
def test_an_overlap_that_cannot_be_changes_nothing(door: Door, asked: object) -> None:
    key = made(door)
    assert call(door, ada(door), "POST", f"/api/credentials/{key.id}/rotate", asked)[0] == 400
    assert door.by_secret(key.secret).name == "ada"


def test_nobody_touches_what_is_somebody_elses(door: Door) -> None:
    theirs, machine = made(door, "bob"), door.principal(BOB).credential_id
    token = ada(door)
    assert call(door, token, "POST", f"/api/credentials/{theirs.id}/rotate")[0] == 404
    assert call(door, token, "DELETE", f"/api/credentials/{theirs.id}")[0] == 404
    assert call(door, token, "DELETE", f"/api/credentials/{machine}")[0] == 404
    assert call(door, token, "DELETE", f"/api/user/keys/{BOB.public.connect}")[0] == 404
    assert call(door, token, "DELETE", "/api/credentials/none-such")[0] == 404
    assert door.by_secret(theirs.secret).name == door.principal(BOB).name == "bob"


def test_a_stolen_laptop_is_revoked_for_ever(door: Door) -> None:
    stolen = door.token(LAPTOP, ACCOUNT)
    id = door.principal(LAPTOP).credential_id
    assert call(door, ada(door), "DELETE", f"/api/credentials/{id}") == (204, None)
    assert call(door, stolen, "GET", "/api/account")[0] == 401
    again = (200, {"revoked": "2027-01-15T08:00:00Z"})  # twice is no mistake
    assert call(door, ada(door), "DELETE", f"/api/credentials/{id}") == again
    _, listed = call(door, ada(door), "GET", "/api/credentials")
    assert isinstance(listed, list)
    assert [each["state"] for each in listed] == ["active", "revoked"]


# --- signing out ------------------------------------------------------------------------------------------


def test_signing_out_ends_this_key_and_what_was_issued_to_it(door: Door) -> None:
    token, before = door.token(LAPTOP, ACCOUNT), door.principal(LAPTOP).credential_id
    assert call(door, token, "DELETE", f"/api/user/keys/{LAPTOP.public.connect}") == (200, {})
    assert call(door, token, "GET", "/api/account")[0] == 401
    with pytest.raises(DeniedError):
        door.principal(LAPTOP)
    door.credentials.add_key("ada", LAPTOP.public)  # as connecting it again does
    assert door.principal(LAPTOP).credential_id != before
    assert call(door, token, "GET", "/api/account")[0] == 401  # what was issued before stays dead
    assert call(door, door.token(LAPTOP, ACCOUNT), "GET", "/api/account")[0] == 200


def test_a_key_signs_out_itself_only(door: Door) -> None:
    assert call(door, ada(door), "DELETE", f"/api/user/keys/{LAPTOP.public.connect}")[0] == 403
    assert door.principal(LAPTOP).name == "ada"


def test_a_revoked_key_cannot_sign_out_to_be_free_again(door: Door) -> None:
    door.credentials.revoke_key(LAPTOP.public.fingerprint)
    assert call(door, ada(door), "DELETE", f"/api/user/keys/{LAPTOP.public.connect}")[0] == 404
    assert door.credentials.listed("ada")[1].state(door.now) == "revoked"


@pytest.mark.parametrize("form", ["x", "AAAA", "c3NoLWVkMjU1MTkgQUFBQQ"])
def test_what_is_no_key_cannot_be_signed_out(door: Door, form: str) -> None:
    assert call(door, ada(door), "DELETE", f"/api/user/keys/{form}")[0] == 400


# --- whoever holds a secret -------------------------------------------------------------------------------


def revoke(door: Door, body: bytes) -> Response:
    return door.ask("POST", "/api/credentials/revoke", body=body, **JSON)


def test_whoever_finds_a_secret_ends_it_and_nobody_learns_whether_it_was_one(door: Door) -> None:
    key = made(door)
    for secret in (key.secret, key.secret, "fry_nothing", "a password", api_keys.make(bytes(32))):
        answer = revoke(door, json.dumps({"secret": secret}).encode())
        assert (answer.status, text(answer)) == (202, "{}\n")
    assert call(door, key.secret, "GET", "/api/account")[0] == 401
    with reading(door.engine) as database:
        told = database.execute(select(AUDIT).where(AUDIT.c.action == "apikey.revoke")).all()
    assert [(row.subject, row.user) for row in told] == [(key.id, "")]


@pytest.mark.parametrize("body", [b"", b"{}", b"x", b'{"secret":1}', b'{"secret":"x","more":1}'])
def test_a_secret_that_is_not_told_is_asked_for(door: Door, body: bytes) -> None:
    assert revoke(door, body).status == 400


def test_telling_secrets_is_bounded_in_size_and_number(door: Door) -> None:
    taken = door.guard(Request("POST", f"http://{HOST}/api/credentials/revoke", length=10))
    assert isinstance(taken, Accept)
    assert (taken.limit, taken.seconds) == (4096, 5.0)
    statuses = [revoke(door, b'{"secret":"x"}').status for _ in range(30)]
    assert statuses == [202] * 29 + [429]
    refused = revoke(door, b'{"secret":"x"}')
    assert int(refused.headers.get("Retry-After")) > 0
    assert list(json.loads(text(refused))) == ["error"]


# --- a browser --------------------------------------------------------------------------------------------


def test_a_session_of_the_owner_does_all_of_it_from_this_servers_pages_only(door: Door) -> None:
    sessions = Sessions(door.engine, lambda: door.now, lambda: "session", lambda: "cookie-secret")
    door.guard = replace(door.guard, sessions=sessions)
    user = door.accounts.user("ada")
    cookie = f"ferry-5050={begin_session(sessions, user, '127.0.0.1')}"
    found = sessions.find("cookie-secret")
    assert found is not None
    assert door.ask("GET", "/api/account", Cookie=cookie).status == 200
    assert json.loads(text(door.ask("GET", "/api/account", Cookie=cookie)))["credential"]["kind"] == "session"

    def disconnect(origin: str, form: str) -> int:
        path = f"/api/user/keys/{LAPTOP.public.connect}"
        return door.ask("DELETE", path, Cookie=cookie, Origin=origin, X_Ferry_Form=form).status

    assert disconnect("null", "") == 403
    assert disconnect("https://evil.example", found.token) == 403
    assert disconnect(f"http://{HOST}", "") == 403
    assert disconnect(f"http://{HOST}", "x") == 403
    assert disconnect(f"http://{HOST}", found.token) == 200
    door.accounts.disable("ada")
    assert door.ask("GET", "/api/account", Cookie=cookie).status == 401
