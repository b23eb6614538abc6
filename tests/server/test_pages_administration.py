"""The administrators' pages: people, what happened, and how the registry is."""

from __future__ import annotations

import pytest
from guarded import ORIGIN, key
from pages_kit import PASSWORD, Browser, Page, PagesDoor

from registry.contracts import Actor
from registry.server.audit import record
from registry.server.database import writing


@pytest.fixture
def door() -> PagesDoor:
    return PagesDoor()


def link_on(page: Page) -> str:
    return next(each.text for each in page.top.all("code") if "/invitation#" in each.text)


def change(browser: Browser, name: str, do: str) -> Page:
    page = browser.get("/admin/users")
    token = page.form(having="invite").fields["token"]
    return browser.post("/admin/users", {"token": token, "name": name, "do": do})


def test_an_administrator_invites_somebody_who_then_chooses_a_password(door: PagesDoor) -> None:
    root = door.person("root", admin=True)

    page = root.get("/admin/users").form(having="invite").send(name="Ben")

    link = link_on(page)
    assert link.startswith(f"{ORIGIN}/invitation#")
    assert "invited until 2027-01-16" in page.text
    assert link not in root.get("/admin/users").html
    ben = Browser(door)
    typed = {"code": link.partition("#")[2], "password": PASSWORD, "again": PASSWORD}
    assert ben.get(link).form().send(**typed).path == "/models"
    assert not door.accounts.user("ben").admin
    assert ben.get("/admin/users").status == 403


def test_an_administrator_can_be_invited_too(door: PagesDoor) -> None:
    root = door.person("root", admin=True)
    root.get("/admin/users").form(having="invite").send(name="ada", admin="1")
    assert door.accounts.user("ada").admin


def test_what_cannot_be_a_name_is_said(door: PagesDoor) -> None:
    root = door.person("root", admin=True)
    page = root.get("/admin/users").form(having="invite").send(name="<b>x</b>")
    assert page.status == 400
    assert "cannot be an account's name" in page.text
    assert page.top.all("b") == []


def test_a_password_is_reset_by_a_link(door: PagesDoor) -> None:
    root, ben = door.person("root", admin=True), door.person("ben")
    link = link_on(change(root, "ben", "link"))
    typed = {
        "code": link.partition("#")[2],
        "password": "another one, longer",
        "again": "another one, longer",
    }
    Browser(door).get(link).form().send(**typed)
    assert ben.get("/account").path == "/signin"


def test_an_account_is_disabled_enabled_and_removed_and_never_ones_own(door: PagesDoor) -> None:
    root, ben = door.person("root", admin=True), door.person("ben")
    door.credentials.add_key("ben", key(3).public)

    assert "is disabled" in change(root, "ben", "disable").text
    assert ben.get("/account").path == "/signin"
    assert "is let in again" in change(root, "ben", "enable").text
    assert "is removed" in change(root, "ben", "remove").text
    assert [each.name for each in door.accounts.users()] == ["root"]
    for do in ("disable", "remove"):
        assert change(root, "root", do).status == 400
    assert change(root, "nobody", "disable").status == 404
    assert change(root, "root", "promote").status == 400
    assert door.accounts.user("root").disabled is False


def test_an_administrator_who_was_disabled_is_none_for_the_next_request(door: PagesDoor) -> None:
    root = door.person("root", admin=True)
    door.accounts.disable("root")
    assert root.get("/admin/users").path == "/signin"


def test_what_happened_is_listed_newest_first_by_pages_and_by_account_or_model(door: PagesDoor) -> None:
    root = door.person("root", admin=True)
    with writing(door.engine) as database:
        for number in range(150):
            actor = Actor("ben", "", "192.0.2.9")
            record(database, door.now + number, actor, "publish", f"v{number}", repository="ben/tiny")

    def listed(page: Page) -> list[str]:
        return [row.all("bdi")[0].text for row in page.top.all("tbody")[0].all("tr")]

    first = root.get("/admin/audit?user=ben")
    assert listed(first) == [f"v{number}" for number in range(149, 49, -1)]
    [older] = [each for each in first.top.all("a") if each.text == "Older changes"]
    assert listed(root.get(older.attributes["href"])) == [f"v{number}" for number in range(49, -1, -1)]
    assert listed(root.get("/admin/audit?repository=BEN/tiny"))[0] == "v149"
    assert "No change" in root.get("/admin/audit?user=nobody").text
    assert root.get("/admin/audit?before=x").status == 200


def test_what_others_wrote_into_the_audit_is_shown_escaped_and_visible(door: PagesDoor) -> None:
    root = door.person("root", admin=True)
    with writing(door.engine) as database:
        record(
            database, door.now, Actor("<i>x</i>", "", "\u202e1.2.3.4"), "<u>", "<script>alert(1)</script>\x07"
        )
    page = root.get("/admin/audit")
    assert page.top.all("main")[0].all("script", "i", "u") == []
    assert "<script>alert(1)</script>\\x07" in page.text
    assert "\\u202e1.2.3.4" in page.text


def test_how_the_registry_is_is_said_in_numbers_and_what_is_wrong_in_sentences(door: PagesDoor) -> None:
    root = door.person("root", admin=True)
    assert "Nothing is known to be wrong" in root.get("/admin/system").text
    door.numbers.update(
        ferry_blob_bytes=("Bytes of all blobs.", 4.7e9),
        ferry_scrub_damaged=("Damaged.", 2.0),
        ferry_log_lost=("Lines of the log that were lost.", 1234.0),
    )
    page = root.get("/admin/system")
    assert "2 blobs are missing or damaged" in page.text
    assert "Kept4.7 GB" in page.text
    assert "Lines of the log that were lost.1 234" in page.text
