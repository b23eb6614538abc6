"""The page of trusted publishers: a form for each forge says what that forge's tokens say."""

from __future__ import annotations

import pytest
from guarded import key
from identity_provider import Provider
from pages_kit import PagesDoor

from registry.server.issuers import GITHUB, GITLAB
from registry.server.principal import Right


@pytest.fixture
def door() -> PagesDoor:
    return PagesDoor()


FILLED: dict[str, tuple[dict[str, str], str, dict[str, str]]] = {
    "github": (
        {"project": "acme/ml", "number": "65", "ref": "refs/heads/main", "environment": "release"},
        GITHUB,
        {
            "repository": "acme/ml",
            "repository_owner_id": "65",
            "ref": "refs/heads/main",
            "environment": "release",
        },
    ),
    "gitlab": (
        {"project": "acme/deep/ml", "number": "74", "ref": "main", "protected": "1"},
        GITLAB,
        {"project_path": "acme/deep/ml", "project_id": "74", "ref": "main", "ref_protected": "true"},
    ),
    "forgejo": (
        {"address": "https://git.acme.example/", "project": "acme/ml", "number": "65"},
        "https://git.acme.example/api/actions",
        {"repository": "acme/ml", "repository_owner_id": "65"},
    ),
}


@pytest.mark.parametrize("forge", FILLED)
def test_a_form_says_what_the_tokens_of_its_forge_say(door: PagesDoor, forge: str) -> None:
    typed, issuer, claims = FILLED[forge]
    browser = door.person("ada", admin=True)
    page = browser.get(f"/publishers/ada/tiny?forge={forge}").form(having="add").send(**typed)
    assert (page.path, page.status) == ("/publishers/ada/tiny", 200)
    assert "These jobs may publish it now." in page.text
    [made] = door.publishers.listed()
    assert (made.repository, made.issuer, dict(made.claims)) == ("ada/tiny", issuer, claims)
    assert all(f"{name}={value}" in page.text for name, value in claims.items())
    door.issuers.wait()


def test_the_page_of_a_namespace_asks_for_the_model_too(door: PagesDoor) -> None:
    browser = door.person("ada")
    page = browser.get("/publishers/ada").form(having="add").send(model="new", project="a/b", number="1")
    assert [each.repository for each in door.publishers.listed()] == ["ada/new"]
    page.form(having="remove").send("Remove it")
    assert door.publishers.listed() == []


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"project": "ml", "number": "65"}, "repository is OWNER/NAME"),
        ({"project": "acme/ml", "number": "acme"}, "its number has digits only"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_and_what_was_typed_stays(
    door: PagesDoor, typed: dict[str, str], said: str
) -> None:
    page = door.person("ada").get("/publishers/ada/tiny").form(having="add").send(**typed)
    assert page.status == 400
    assert said in page.text
    assert page.form(having="add").fields["project"] == typed["project"]
    assert door.publishers.listed() == []


def test_a_gitlab_of_ones_own_is_named_by_an_administrator_first(door: PagesDoor) -> None:
    typed = {"address": "https://gitlab.acme.example", "project": "acme/ml", "number": "74"}
    browser = door.person("ada")
    page = browser.get("/publishers/ada/tiny?forge=gitlab").form(having="add").send(**typed)
    assert (page.status, "is no issuer that this registry knows" in page.text) == (400, True)
    door.publishers.add("x/y", door.publishers.issuers()[0], {"project_id": "1"})
    root = door.person("root", admin=True)
    root.get("/publishers/ada/big?forge=gitlab").form(having="add").send(**typed)
    page = browser.get("/publishers/ada/tiny?forge=gitlab").form(having="add").send(**typed)
    assert page.status == 200
    door.issuers.wait()


def test_who_does_not_own_it_sees_and_changes_nothing(door: PagesDoor) -> None:
    door.join("acme", key(1))
    id = door.trust(Provider("https://ci.example"), "acme/tiny", repository_id="74")
    browser = door.person("ben")
    door.rights.grant("ben", "acme", Right.WRITE)
    token = browser.get("/account").form(having="old").fields["token"]
    assert browser.get("/publishers/acme/tiny").status == 403
    for fields in (
        {"do": "remove", "id": id},
        {"do": "add", "forge": "github", "project": "a/b", "number": "1"},
    ):
        assert browser.post("/publishers/acme/tiny", {"token": token, **fields}).status == 403
    assert len(door.publishers.listed()) == 1


def test_an_owner_who_was_shut_out_of_a_model_lets_no_jobs_publish_it(door: PagesDoor) -> None:
    browser = door.person("ada")
    door.organisations.add("acme", "ada")
    door.rights.grant("ada", "acme/secret", Right.NONE)
    form = browser.get("/publishers/acme").form(having="add")
    page = form.send(model="Secret", project="a/b", number="1")
    assert (page.status, "acme/Secret is not yours" in page.text) == (403, True)
    page = page.form(having="add").send(model="other", project="a/b", number="²")
    assert (page.status, [*door.publishers.listed()]) == (400, [])


def test_what_a_token_says_is_shown_escaped(door: PagesDoor) -> None:
    door.join("acme", key(1))
    door.trust(Provider("https://ci.example"), "acme/tiny", repository_id="<b>74</b>")
    page = door.person("root", admin=True).get("/publishers/acme/tiny")
    assert "<b>74" not in page.html
    assert "repository_id=<b>74</b>" in page.text
