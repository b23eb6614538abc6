"""The page of a namespace's shares: everything in it is shared there, and taken back, by its owner."""

from __future__ import annotations

import pytest
from pages_kit import Browser, PagesDoor

from registry.server.principal import Principal, Right


@pytest.fixture
def door() -> PagesDoor:
    return PagesDoor()


def right(door: PagesDoor, user: str, where: str) -> Right:
    return door.rights.right(Principal(door.accounts.user(user)), where)


def test_everything_in_a_namespace_is_shared_and_taken_back_and_it_bites_at_once(door: PagesDoor) -> None:
    ada, _ = door.person("ada"), door.person("ben")
    page = ada.get("/shares/ada")
    assert "Nobody but its owner and administrators" in page.text
    page = page.form(having="share").send(user="Ben", right="write")
    assert "Saved." in page.text and "ada/*" in page.text
    assert right(door, "ben", "ada/anything") is Right.WRITE
    page = page.form(having="take-back").send()
    assert "Taken back." in page.text and right(door, "ben", "ada/anything") is Right.NONE


def test_what_is_wrong_with_it_is_said_on_the_page(door: PagesDoor) -> None:
    ada = door.person("ada")
    page = ada.get("/shares/ada").form(having="share").send(user="nobody-here")
    assert page.status == 404 and "no account" in page.text
    token = page.form(having="share").fields["token"]
    assert ada.post("/shares/ada", {"token": token, "do": "sell"}).status == 400


def test_it_is_its_owners_and_the_administrators_only(door: PagesDoor) -> None:
    ada, ben, root = door.person("ada"), door.person("ben"), door.person("root", admin=True)
    door.rights.grant("ben", "ada", Right.WRITE)
    assert ada.get("/shares/ada").status == root.get("/shares/ada").status == 200
    token = ben.get("/account").form(having="old").fields["token"]
    for page in (
        ben.get("/shares/ada"),
        ben.post("/shares/ada", {"token": token, "do": "share", "user": "ben"}),
    ):
        assert page.status == 403 and "not yours to share" in page.text
    assert ben.get("/shares/root").status == 404
    assert Browser(door).get("/shares/ada").path == "/signin"
