"""The account API's part of what a person has beside credentials: password, browsers, machines that wait."""

from __future__ import annotations

import json

import pytest
from databases import begin_session
from guarded import ORIGIN, document, key, text
from pages_kit import HERE, PASSWORD, Browser, PagesDoor

from registry.errors import DeniedError
from registry.wire.headers import Headers
from registry.wire.messages import Context, Request, Response

LAPTOP, DESK = key(1), key(9)
NEW = f"{PASSWORD}, and more"
CONNECTION = f"/api/connections/{DESK.public.connect}"


@pytest.fixture
def door() -> PagesDoor:
    """`ada` with a password, a browser and a laptop."""
    door = PagesDoor()
    door.person("ada")
    door.credentials.add_key("ada", LAPTOP.public)
    return door


def call(door: PagesDoor, method: str, path: str, body: object = None) -> Response:
    """What ada's laptop is answered."""
    sent = b"" if body is None else json.dumps(body).encode()
    return door.ask(method, path, token=door.token(LAPTOP, "registry:account:*"), body=sent)


def listed(answer: Response) -> list[dict[str, object]]:
    found = json.loads(text(answer))
    assert isinstance(found, list)
    return found


# --- the password -----------------------------------------------------------------------------------------


def test_a_machine_changes_the_password_by_the_old_one_and_every_browser_is_signed_out(
    door: PagesDoor,
) -> None:
    browser = door.person("ben")
    door.credentials.add_key("ben", DESK.public)
    token = door.token(DESK, "registry:account:*")
    body = json.dumps({"old": PASSWORD, "new": NEW}).encode()
    answer = door.ask("PUT", "/api/password", token=token, body=body)
    assert (answer.status, "Set-Cookie" in answer.headers) == (200, False)
    assert browser.get("/account").path == "/signin"
    assert door.sign_in.by_password("ben", NEW, HERE)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"old": "not that one", "new": NEW}, 403),
        ({"new": NEW}, 403),
        ({"old": PASSWORD, "new": "short"}, 400),
        ({"old": PASSWORD, "new": "ada"}, 400),
        ({"old": "\ud800", "new": NEW}, 400),
        ({"old": PASSWORD, "new": f"{NEW}\ud800"}, 400),
        ({"old": PASSWORD}, 400),
        ({"old": PASSWORD, "new": NEW, "user": "ben"}, 400),
    ],
)
def test_what_does_not_change_it(door: PagesDoor, body: object, status: int) -> None:
    assert call(door, "PUT", "/api/password", body).status == status
    assert door.sign_in.by_password("ada", PASSWORD, HERE)


def test_guesses_are_counted_as_at_the_sign_in(door: PagesDoor) -> None:
    statuses = [
        call(door, "PUT", "/api/password", {"old": f"guess {n}", "new": NEW}).status for n in range(30)
    ]
    assert statuses[0] == 403 and statuses[-1] == 429


def test_who_has_no_password_is_sent_a_link_and_a_stolen_key_makes_none(door: PagesDoor) -> None:
    door.join("ben", DESK)
    body = json.dumps({"old": "", "new": NEW}).encode()
    answer = door.ask("PUT", "/api/password", token=door.token(DESK, "registry:account:*"), body=body)
    assert answer.status == 403 and "no password yet" in text(answer)
    assert not door.sign_in.passwords.has("ben")


def test_a_page_that_changes_it_stays_signed_in(door: PagesDoor) -> None:
    browser = door.person("ben")
    [session] = door.sessions.of(door.accounts.user("ben"))
    cookie = next(f"{name}={value}" for name, value in browser.cookies.items())
    found = door.sessions.find(cookie.partition("=")[2])
    assert found is not None and found.id == session.id
    headers = Headers(
        {"Host": "127.0.0.1:5050", "Cookie": cookie, "Origin": ORIGIN, "X-Ferry-Form": found.token}
    )
    body = json.dumps({"old": PASSWORD, "new": NEW}).encode()
    answer = door.send(Request("PUT", f"{ORIGIN}/api/password", headers, body, context=Context(address=HERE)))
    assert answer.status == 200
    given = answer.headers.get("Set-Cookie").partition(";")[0].partition("=")[2]
    again = door.sessions.find(given)
    assert again is not None and again.id != session.id
    assert [each.id for each in door.sessions.of(door.accounts.user("ben"))] == [again.id]


# --- browsers ---------------------------------------------------------------------------------------------


def test_a_machine_sees_the_browsers_and_signs_them_out(door: PagesDoor) -> None:
    ada = door.accounts.user("ada")
    begin_session(door.sessions, ada, "198.51.100.7")
    found = listed(call(door, "GET", "/api/sessions"))
    assert [each["this"] for each in found] == [False, False]
    [there] = [each for each in found if each["address"] == "198.51.100.7"]
    assert call(door, "DELETE", f"/api/sessions/{there['id']}").status == 204
    assert call(door, "DELETE", f"/api/sessions/{there['id']}").status == 404
    assert [each.address for each in door.sessions.of(ada)] == [HERE]
    assert call(door, "DELETE", "/api/sessions").status == 204
    assert door.sessions.of(ada) == []


def test_the_browser_of_somebody_else_is_not_there(door: PagesDoor) -> None:
    door.person("ben")
    [theirs] = door.sessions.of(door.accounts.user("ben"))
    assert call(door, "DELETE", f"/api/sessions/{theirs.id}").status == 404
    assert door.sessions.of(door.accounts.user("ben")) == [theirs]


# --- machines that wait -----------------------------------------------------------------------------------


def test_a_machine_connects_another_by_its_code_and_the_password(door: PagesDoor) -> None:
    code = document(door.me(DESK, code=True, address="198.51.100.7"))["code"]
    asked = document(call(door, "GET", CONNECTION))
    assert (asked["addresses"], asked["code"]) == (["198.51.100.7"], True)
    answer = call(door, "PUT", CONNECTION, {"name": "desk", "code": code, "password": PASSWORD})
    assert answer.status == 201 and document(answer)["fingerprint"] == DESK.public.fingerprint
    assert door.principal(DESK).name == "ada"
    assert call(door, "GET", CONNECTION).status == 404


@pytest.mark.parametrize(
    "wrong", [{"code": "AAAA-AAAA"}, {"password": "not that one"}, {"code": ""}, {"password": ""}]
)
def test_neither_is_enough_by_itself(door: PagesDoor, wrong: dict[str, str]) -> None:
    code = document(door.me(DESK, code=True))["code"]
    body = {"name": "desk", "code": code, "password": PASSWORD, **wrong}
    assert call(door, "PUT", CONNECTION, body).status == 403
    with pytest.raises(DeniedError):
        door.principal(DESK)


def test_a_key_that_shows_no_code_is_approved_in_a_browser_only(door: PagesDoor) -> None:
    """As a stock ollama's: nothing proves whose machine it is, and nobody is shown where it asked from."""
    door.me(DESK)
    body = {"name": "desk", "code": str(door.connecting.code(DESK.public)), "password": PASSWORD}
    answer = call(door, "PUT", CONNECTION, body)
    assert answer.status == 403 and "approve it in a browser" in text(answer)


def test_a_key_that_has_not_asked_is_not_there(door: PagesDoor) -> None:
    assert call(door, "GET", CONNECTION).status == 404
    body = {"code": str(door.connecting.code(DESK.public)), "password": PASSWORD}
    assert call(door, "PUT", CONNECTION, body).status == 403
    assert call(door, "GET", "/api/connections/none").status == 400


def test_a_link_into_the_pages_signs_a_browser_in(door: PagesDoor) -> None:
    url = str(document(call(door, "POST", "/api/page"))["url"])
    browser = Browser(door)
    browser.get(url.removeprefix(ORIGIN)).form().send(code=url.partition("#")[2])
    assert browser.page.path == "/models"
