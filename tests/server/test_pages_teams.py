"""The pages of teams: members and roles, service accounts and their keys, immutable tags."""

from __future__ import annotations

import pytest
from pages_kit import Browser, Page, PagesDoor

from registry.server.immutable import TagPattern
from registry.server.principal import Principal, Right

HOSTILE = '<img src=x onerror=alert(1)>"'


@pytest.fixture
def door() -> PagesDoor:
    return PagesDoor()


@pytest.fixture
def ada(door: PagesDoor) -> Browser:
    """Ada's browser; she owns the organisation acme, in which bob reads."""
    browser = door.person("ada")
    door.accounts.add_user("bob")
    door.organisations.add("acme", "ada")
    door.organisations.set_role("acme", "bob", Right.READ)
    return browser


def send(browser: Browser, do: str, path: str = "/teams/acme", **typed: str) -> Page:
    token = browser.get("/account").form(having="old").fields["token"]
    return browser.post(path, {"token": token, "do": do, **typed})


def secret_on(page: Page) -> str:
    found = [each.text for each in page.top.all("code") if each.text.startswith("fry_sa_")]
    return found[0] if found else ""


def tables(page: Page) -> list[list[str]]:
    return [
        [cell.text for cell in row.all("th", "td")]
        for body in page.top.all("tbody")
        for row in body.all("tr")
    ]


def test_an_owner_takes_people_in_and_out(door: PagesDoor, ada: Browser) -> None:
    assert [row[:3] for row in tables(ada.get("/teams"))] == [["acme", "owner", "2"]]
    page = ada.get("/teams/acme")
    assert [row[:2] for row in tables(page)] == [["ada", "owner"], ["bob", "reader"]]
    door.accounts.disable("bob")
    page = ada.get("/teams/acme")
    assert [row[:2] for row in tables(page)] == [["ada", "owner"], ["bob", "reader, disabled"]]
    door.accounts.enable("bob")
    saved = send(ada, "member", user="bob", role="writer")
    assert "Saved" in saved.text
    assert door.organisations.one("acme").members["bob"] is Right.WRITE
    assert "no account" in send(ada, "member", user="nobody", role="reader").text.lower()
    send(ada, "take-out", user="bob")
    assert door.organisations.one("acme").members == {"ada": Right.OWNER}
    last = send(ada, "leave")
    assert last.status == 403
    assert "Acme would have no owner any more" in last.text
    send(ada, "member", user="bob", role="owner")
    left = send(ada, "leave")
    assert left.url.endswith("/teams?done=left")
    assert ada.get("/teams/acme").status == 404


@pytest.mark.usefixtures("ada")
def test_a_member_sees_who_is_in_it_and_changes_nothing(door: PagesDoor) -> None:
    cleo = door.person("cleo")
    assert cleo.get("/teams/acme").status == 404
    door.organisations.set_role("acme", "cleo", Right.WRITE)
    door.service_key("acme/ci", Right.WRITE)
    door.immutable.add("acme/tiny", "v*")
    page = cleo.get("/teams/acme")
    assert "acme/ci" not in page.text
    assert "You are a writer in it." in page.text
    assert [row[0] for row in tables(page)] == ["ada", "bob", "cleo", "v*"]
    forms = {button.attributes["value"] for button in page.top.all("button") if "value" in button.attributes}
    assert forms == {"leave"}
    for do in ("member", "take-out", "service", "key", "immutable", "movable", "revoke-service"):
        assert send(cleo, do, user="cleo", role="owner", name="ci", pattern="v*", model="tiny").status == 403
    assert send(cleo, "remove").status == 403
    assert door.organisations.one("acme").members["cleo"] is Right.WRITE
    assert send(cleo, "leave").url.endswith("/teams?done=left")
    assert door.rights.right(Principal(door.accounts.user("cleo")), "acme/tiny") is Right.NONE


def test_a_service_account_gets_keys_that_are_shown_once(door: PagesDoor, ada: Browser) -> None:
    made = send(ada, "service", name="ci", role="writer", note=HOSTILE)
    assert "needs a key" in made.text
    assert "<img src=x" not in made.html
    first = send(ada, "key", name="ci", note="runner")
    secret = secret_on(first)
    assert door.by_secret(secret).name == "acme/ci"
    assert secret not in ada.get("/teams/acme").html
    id = door.by_secret(secret).credential_id
    again = secret_on(send(ada, "rotate", id=id, leaked="1"))
    assert again != secret
    assert [door.ask("GET", "/v2/", token=each).status for each in (secret, again)] == [401, 200]
    listed = next(row for row in tables(ada.get("/teams/acme")) if row[0] == "runner")
    assert listed[1:5] == [again[-4:], "2027-04-15", "2027-01-15 08:00 UTC", "active"]
    assert "It is revoked" in send(ada, "revoke", id=id).text
    assert door.ask("GET", "/v2/", token=again).status == 401
    assert "It is revoked" in send(ada, "revoke-service", name="ci").text
    assert door.services.listed() == []


def test_a_key_of_another_namespace_is_not_touched_from_here(door: PagesDoor, ada: Browser) -> None:
    door.organisations.add("other")
    id = door.by_secret(door.service_key("other/ci", Right.WRITE)).credential_id
    mine = door.api_keys.create(door.accounts.user("bob"), ()).id
    for each in (id, mine):
        assert send(ada, "rotate", id=each).status == 404
        assert send(ada, "revoke", id=each).status == 404
    assert [each.revoked for each in door.credentials.of_services(["other"])] == [None]


def test_tags_are_kept_and_let_go(door: PagesDoor, ada: Browser) -> None:
    assert "stay where they are" in send(ada, "immutable", pattern="v*", model="Tiny").text
    send(ada, "immutable", pattern="release-?", model="")
    assert door.immutable.listed() == [TagPattern("acme", "release-?"), TagPattern("acme/tiny", "v*")]
    assert [row[:2] for row in tables(ada.get("/teams/acme"))][-2:] == [
        ["release-?", "acme/*"],
        ["v*", "acme/tiny"],
    ]
    assert send(ada, "immutable", pattern="a b").status == 400
    door.rights.grant("ada", "acme/tiny", Right.NONE)
    assert send(ada, "movable", pattern="v*", model="tiny").status == 403
    door.rights.ungrant("ada", "acme/tiny")
    send(ada, "movable", pattern="v*", model="tiny")
    assert door.immutable.listed() == [TagPattern("acme", "release-?")]


def test_ones_own_namespace_has_service_accounts_too(door: PagesDoor, ada: Browser) -> None:
    page = ada.get("/teams/ada")
    assert "Your own namespace." in page.text
    assert "Members" not in page.text
    send(ada, "service", "/teams/ada", name="ci", role="reader")
    assert [each.name for each in door.services.listed("ada")] == ["ada/ci"]
    assert ada.get("/teams/bob").status == 404


def test_an_administrator_makes_and_ends_organisations(door: PagesDoor, ada: Browser) -> None:
    root = door.person("root", admin=True)
    assert [row[:2] for row in tables(root.get("/teams"))] == [["acme", "not in it"]]
    made = root.get("/teams").form(having="owner").send(name="Lab", owner="bob")
    assert made.path == "/teams/lab"
    taken = root.get("/teams").form(having="owner").send(name="ada", owner="bob")
    assert (taken.status, "Ada is an account" in taken.text) == (400, True)
    assert send(root, "remove", "/teams/lab").url.endswith("/teams?done=removed")
    assert [each.name for each in door.organisations.all()] == ["acme"]
    assert send(ada, "add", "/teams", name="mine", owner="ada").status == 403


def test_a_share_of_an_owner_is_shown(ada: Browser) -> None:
    assert "own: read, write and share" in ada.get("/shares/acme").text
