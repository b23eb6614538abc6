"""One's machines and API keys in the browser: made, shown once, given a new secret, revoked."""

from __future__ import annotations

import pytest
from guarded import key
from pages_kit import PASSWORD, Browser, Page, PagesDoor

from registry.server.api_keys import DAY

HOSTILE = '<img src=x onerror=alert(1)>\u202e"'


@pytest.fixture
def door() -> PagesDoor:
    return PagesDoor()


def make(browser: Browser, **typed: str) -> Page:
    return browser.get("/keys").form(having="create").send(**{"note": "build", **typed})


def secret_on(page: Page) -> str:
    """The secret that a page shows, "" for none."""
    found = [each.text for each in page.top.all("code") if each.text.startswith("fry_")]
    return found[0] if found else ""


def works(door: PagesDoor, secret: str) -> bool:
    return door.ask("GET", "/api/account", Authorization=f"Bearer {secret}").status == 200


def rows(page: Page) -> list[list[str]]:
    return [
        [cell.text for cell in row.all("th", "td")]
        for body in page.top.all("tbody")
        for row in body.all("tr")
    ]


def test_a_key_is_made_shown_once_and_works(door: PagesDoor) -> None:
    browser = door.person("ada")

    made = make(browser, push="1", where="ada/* acme/tiny", days="30")

    secret = secret_on(made)
    assert works(door, secret)
    assert made.response.headers.get("Cache-Control") == "no-store"
    later = browser.get("/keys")
    assert secret not in later.html
    [row] = rows(later)
    assert row[4] == "2027-01-15 08:00 UTC"
    said = ["build", secret[-4:], "ada/* pull, pushacme/tiny pull, push", "2027-02-14", "active"]
    assert [*row[:4], row[5]] == said


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"where": "no such scope!"}, "is not a scope"),
        ({"where": ""}, "between 1 and 16 scopes"),
        ({"days": "400"}, "at most 365 days"),
        ({"days": "0"}, "at most 365 days"),
        ({"days": "soon"}, "a number of days"),
        ({"note": "x" * 201}, "A note is one line"),
    ],
)
def test_what_cannot_be_is_said_and_what_was_typed_stays(
    door: PagesDoor, typed: dict[str, str], said: str
) -> None:
    page = make(door.person("ada"), **typed)
    assert page.status == 400
    assert said in page.text
    assert page.form(having="create").fields["note"] == typed.get("note", "build")


def test_the_choices_end_with_the_administrators_most(door: PagesDoor) -> None:
    page = door.person("ada").get("/keys")
    assert [each.text for each in page.top.all("option")] == [f"{n} days" for n in (7, 30, 90, 180, 365)]


def test_a_new_secret_leaves_the_old_one_a_day_or_not_at_all(door: PagesDoor) -> None:
    browser = door.person("ada")
    first = secret_on(make(browser))

    second = secret_on(browser.get("/keys").form(having="rotate").send())
    assert works(door, first)
    assert works(door, second)
    assert "old secret until 2027-01-16" in browser.get("/keys").text
    door.now += DAY
    assert not works(door, first)
    browser.post("/signin", {"name": "ada", "password": PASSWORD})

    third = secret_on(browser.get("/keys").form(having="rotate").send(leaked="1"))
    assert not works(door, second)
    assert works(door, third)


def test_a_key_and_a_machine_are_revoked_for_the_next_request(door: PagesDoor) -> None:
    browser = door.person("ada")
    secret = secret_on(make(browser))
    door.credentials.add_key("ada", key(3).public)
    token = door.token(key(3), "registry:account:*")

    for _ in range(2):
        forms = [each for each in browser.get("/keys").top.all("form") if "For ever" in each.text]
        fields = {
            each.attributes["name"]: each.attributes["value"] for each in forms[0].all("input", "button")
        }
        assert "It is revoked" in browser.post("/keys", fields).text

    assert not works(door, secret)
    assert door.ask("GET", "/api/account", token=token).status == 401
    assert [row[5] if len(row) > 6 else row[4] for row in rows(browser.page)] == ["revoked", "revoked"]
    assert [each for each in browser.get("/keys").top.all("form") if "For ever" in each.text] == []


def test_nobody_changes_another_accounts_credentials(door: PagesDoor) -> None:
    ada, ben = door.person("ada"), door.person("ben")
    secret = secret_on(make(ada))
    [mine] = door.credentials.listed("ada")
    token = ben.get("/keys").form(having="create").fields["token"]
    for do in ("revoke", "rotate"):
        assert ben.post("/keys", {"token": token, "do": do, "id": mine.id}).status == 404
    assert works(door, secret)
    assert rows(ben.get("/keys")) == []


def test_notes_are_shown_escaped_and_visible(door: PagesDoor) -> None:
    browser = door.person("ada")
    refused = make(browser, note=HOSTILE)
    assert refused.status == 400
    make(browser, note=HOSTILE.replace("\u202e", ""))
    page = browser.get("/keys")
    assert page.top.all("main")[0].all("img") == []
    assert rows(page)[0][0] == HOSTILE.replace("\u202e", "")
    assert "\u202e" not in refused.html
