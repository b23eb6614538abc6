"""A machine's key is approved in a browser, and nobody can be talked into approving a stranger's."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from guarded import HOST, ORIGIN, SECRET, Door, document, key
from pages_kit import HERE, PASSWORD, Browser, Page, PagesDoor

from registry.auth.keys import PrivateKey
from registry.server import audit
from registry.server.connecting import ASKED_SECONDS, Connecting

LAPTOP = key(7)
ELSEWHERE = "203.0.113.9"


@pytest.fixture
def door() -> PagesDoor:
    return PagesDoor()


def page_of(browser: Browser, who: PrivateKey = LAPTOP, name: str = "laptop") -> Page:
    return browser.get(f"/connect?name={quote(name, safe='')}&key={who.public.connect}")


def told(door: PagesDoor, who: PrivateKey = LAPTOP, **words: object) -> dict[str, object]:
    return document(door.me(who, **words))  # type: ignore[arg-type]


def test_a_signed_question_of_an_unknown_key_is_told_where_it_is_approved(door: PagesDoor) -> None:
    assert told(door, agent="ollama/0.17.4 (amd64 linux) Go/1.24") == {
        "error": "unauthorized",
        "signin_url": f"{ORIGIN}/connect?name=ollama&key={LAPTOP.public.connect}",
    }


def test_a_key_that_has_asked_is_approved_with_code_and_password_and_is_who_approved_it(
    door: PagesDoor,
) -> None:
    browser = door.person("ada")
    code = str(told(door, code=True)["code"])

    page = page_of(browser)
    approved = page.form().send("Connect it", code=code.lower().replace("-", " "), password=PASSWORD)

    facts = dict(zip((each.text for each in page.top.all("dt")), page.top.all("dd"), strict=True))
    assert facts["It asked from"].text == f"{HERE}, 2027-01-15 08:00 UTC"
    assert facts["It says it is called"].text == "laptop"
    assert LAPTOP.public.fingerprint in page.text
    assert "The machine is connected" in approved.text
    assert told(door)["name"] == "ada"
    assert door.principal(LAPTOP).name == "ada"
    assert "laptop SHA256:" in browser.get("/keys").text
    last = audit.entries(door.engine)[-1]
    assert (last.action, last.user, last.address) == ("key.add", "ada", HERE)


@pytest.mark.parametrize("code", [True, False])
def test_what_was_signed_for_another_server_makes_no_key_wait_here(door: PagesDoor, code: bool) -> None:
    browser = door.person("ada")
    assert told(door, code=code, host="evil.example") == {"error": "this call was signed for another server"}
    assert "within the last 10 minutes" in page_of(browser).text

    assert "signin_url" in told(door, code=code, host=HOST.upper())
    page_of(browser).form()


def test_whoever_is_not_signed_in_comes_back_to_the_same_key(door: PagesDoor) -> None:
    door.person("ada")
    told(door)
    browser = Browser(door)
    page = page_of(browser)
    assert page.path == "/signin"
    back = page.form().send(name="ada", password=PASSWORD)
    assert back.path == "/connect"
    assert LAPTOP.public.fingerprint in back.text


@pytest.mark.parametrize("do", ["", "other"])
def test_a_form_that_does_not_say_what_to_do_connects_nothing(door: PagesDoor, do: str) -> None:
    browser = door.person("ada")
    told(door)
    fields = page_of(browser).form().fields
    page = browser.post("/connect", {**fields, "password": PASSWORD, "do": do})
    assert page.status == 400
    assert told(door)["error"] == "unauthorized"


def test_a_key_that_never_asked_here_or_not_lately_cannot_be_approved(door: PagesDoor) -> None:
    browser = door.person("ada")
    assert page_of(browser).top.all("main")[0].all("form") == []
    assert "within the last 10 minutes" in browser.page.text

    told(door)
    form = page_of(browser).form()
    door.now += ASKED_SECONDS
    late = form.send("Connect it", password=PASSWORD)

    assert "within the last 10 minutes" in late.text
    assert told(door)["error"] == "unauthorized"


def test_an_unsigned_or_stale_question_makes_no_key_approvable(door: PagesDoor) -> None:
    browser = door.person("ada")
    Door.ask(door, "POST", f"/api/me?ts={door.now:.0f}")
    Door.call(door, LAPTOP, "POST", "/api/me", ts=door.now - 3600)
    assert "within the last 10 minutes" in page_of(browser).text


def test_a_code_that_was_shown_has_to_be_typed_also_when_the_client_asks_again_without_one(
    door: PagesDoor,
) -> None:
    browser = door.person("ada")
    code = str(told(door, code=True)["code"])
    told(door)
    form = page_of(browser).form()
    assert "Nothing proves whose machine" not in browser.page.text

    refused = [form.send("Connect it", code=typed, password=PASSWORD) for typed in ("", "AAAA-AAAA")]
    others = Connecting(SECRET, lambda: door.now).code(key(8).public)
    other = form.send("Connect it", code=others, password=PASSWORD)

    assert [page.status for page in (*refused, other)] == [403, 403, 403]
    assert "not the code" in other.text
    assert told(door)["error"] == "unauthorized"
    assert form.send("Connect it", code=code, password=PASSWORD).status == 200
    assert told(door)["name"] == "ada"


def test_a_stock_client_shows_none_and_the_page_says_that_nothing_proves_whose_machine_it_is(
    door: PagesDoor,
) -> None:
    browser = door.person("ada")
    assert "code" not in told(door)
    page = page_of(browser)
    assert "Nothing proves whose machine this is" in page.text
    page.form().send("Connect it", password=PASSWORD)
    assert told(door)["name"] == "ada"


def test_the_page_says_when_the_key_asks_from_elsewhere(door: PagesDoor) -> None:
    browser = door.person("ada")
    told(door)
    assert "not ask from where you are" not in page_of(browser).text
    told(door, address=ELSEWHERE)
    page = page_of(browser)
    assert f"{HERE}, {ELSEWHERE}" in page.text
    assert "not ask from where you are" in page.text


def test_the_password_is_asked_again_and_guesses_are_throttled(door: PagesDoor) -> None:
    browser = door.person("ada")
    told(door)
    form = page_of(browser).form()
    statuses = [form.send("Connect it", password=f"guess number {n}").status for n in range(6)]
    assert statuses == [403] * 5 + [429]
    assert told(door)["error"] == "unauthorized"


def test_codes_cannot_be_tried_for_long_either(door: PagesDoor) -> None:
    browser = door.person("ada")
    told(door, code=True)
    form = page_of(browser).form()
    statuses = [form.send("Connect it", code=f"AAAA-AAA{n}", password=PASSWORD).status for n in range(6)]
    assert statuses == [403] * 5 + [429]


def test_a_key_of_another_account_is_refused_and_whose_it_is_stays_unsaid(door: PagesDoor) -> None:
    browser = door.person("ada")
    door.join("ben", LAPTOP)
    told(door)
    page = page_of(browser)
    assert "belongs to another account" in page.text
    assert "ben" not in page.text
    fields = {"token": token_of(browser), "key": LAPTOP.public.connect, "name": "x", "password": PASSWORD}
    assert browser.post("/connect", {**fields, "do": "approve"}).status == 403
    assert door.principal(LAPTOP).name == "ben"


def test_a_key_that_became_somebodys_meanwhile_is_refused(door: PagesDoor) -> None:
    browser = door.person("ada")
    told(door)
    form = page_of(browser).form()
    door.join("ben", LAPTOP)
    page = form.send("Connect it", password=PASSWORD)
    assert page.status == 400
    assert "belongs to another account" in page.text
    assert door.principal(LAPTOP).name == "ben"


def test_a_revoked_key_cannot_be_approved_again(door: PagesDoor) -> None:
    browser = door.person("ada")
    door.credentials.add_key("ada", LAPTOP.public)
    door.credentials.revoke_key(LAPTOP.public.fingerprint)
    assert "signin_url" not in told(door)
    assert "was revoked" in page_of(browser).text


def test_ones_own_key_is_connected_already(door: PagesDoor) -> None:
    browser = door.person("ada")
    door.credentials.add_key("ada", LAPTOP.public)
    assert "connected to your account already" in page_of(browser).text


def test_nobody_can_refuse_the_key_of_another_person(door: PagesDoor) -> None:
    """It takes no more than the key, which is public: what nobody approves is forgotten by itself."""
    browser, stranger = door.person("ada"), door.person("eve", address="198.51.100.7")
    told(door)
    page = page_of(stranger)
    assert [each.text for each in page.top.all("button")] == ["Sign out", "Connect it"]
    for do in ("refuse", "deny", ""):
        fields = {"token": token_of(stranger), "key": LAPTOP.public.connect, "do": do}
        assert stranger.post("/connect", fields).status == 400
    code = str(told(door, code=True)["code"])
    page_of(browser).form().send(code=code, password=PASSWORD)
    assert door.principal(LAPTOP).name == "ada"


def test_without_a_password_nothing_is_approved(door: PagesDoor) -> None:
    user = door.accounts.add_user("ada")
    browser = Browser(door)
    browser.post("/page", {"code": door.invitations.page(user).partition("#")[2]})
    told(door)
    page = page_of(browser)
    assert "You have no password yet" in page.text
    fields = {"token": page.form().fields["token"], "key": LAPTOP.public.connect, "password": ""}
    assert browser.post("/connect", {**fields, "do": "approve"}).status == 403


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a\u202eb", "x\x1b[31m", '"><img src=x>', "ي"])
def test_the_name_is_shown_as_the_claim_it_is(door: PagesDoor, name: str) -> None:
    browser = door.person("ada")
    told(door)
    page = page_of(browser, name=name)
    [claim] = page.top.all("bdi")
    assert claim.all("script", "img") == []
    assert claim.text == name.replace("\u202e", "\\u202e").replace("\x1b", "\\x1b")


@pytest.mark.parametrize(
    "text", ["", "x", "%00", LAPTOP.public.text, LAPTOP.public.connect + "=", "A" * 9000]
)
def test_what_is_no_key_is_said(door: PagesDoor, text: str) -> None:
    browser = door.person("ada")
    assert browser.get(f"/connect?name=x&key={text}").status == 400


# --- what strangers can make it hold -----------------------------------------------------------------------


def waiting() -> tuple[Connecting, list[float]]:
    now = [0.0]
    return Connecting(SECRET, lambda: now[0]), now


def test_few_keys_are_remembered_of_one_address_and_some_thousand_of_all() -> None:
    connecting, _ = waiting()
    keys = [PrivateKey(number.to_bytes(32, "big")).public for number in range(1, 31)]
    for each in keys:
        connecting.note(each, "2001:db8::1", shows_code=False)
    assert [connecting.find(each) is not None for each in keys] == [False] * 10 + [True] * 20
    for number, each in enumerate(keys * 40):
        connecting.note(each, f"198.18.{number // 250}.{number % 250}", shows_code=False)
    assert len(connecting._asked) <= 1000


def test_a_code_is_good_for_its_hour_and_the_next_and_after_a_restart() -> None:
    connecting, now = waiting()
    code = connecting.code(LAPTOP.public)
    now[0] = 7199.0
    assert Connecting(SECRET, lambda: now[0]).is_code(LAPTOP.public, code)
    assert not Connecting(bytes(32), lambda: now[0]).is_code(LAPTOP.public, code)
    assert not connecting.is_code(key(8).public, code)
    now[0] = 7200.0
    assert not connecting.is_code(LAPTOP.public, code)


def token_of(browser: Browser) -> str:
    return browser.get("/account").form(having="old").fields["token"]
