"""`ferry admin org`, `service` and `immutable`: what an administrator types."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from data_directory import prepared
from house import House
from person import Ferry
from stored_models import put_model

from registry.auth.api_keys import is_api_key
from registry.server.registry import Registry

Admin = Callable[..., object]


@pytest.fixture
def data(ferry: Ferry) -> Path:
    """A data directory with the accounts ada and bob."""
    made = prepared(ferry.home / "data")
    for name in ("ada", "bob"):
        ferry("admin", "user", "add", name, "--data", made).well()
    return made


def test_an_organisation_from_its_beginning_to_its_end(ferry: Ferry, data: Path) -> None:
    def admin(*words: str) -> str:
        return ferry("admin", "org", *words, "--data", data).well().out

    assert admin("add", "acme", "--owner", "ada") == "acme is an organisation, owned by ada\n"
    assert admin("member", "acme", "bob", "writer") == "bob is a writer of acme\n"
    assert admin("member", "acme", "ada", "owner") == "ada is an owner of acme\n"
    assert "acme  ada (owner), bob (writer)" in admin("list")
    ferry("admin", "user", "disable", "bob", "--data", data).well()
    assert "acme  ada (owner), bob (writer, disabled)" in admin("list")
    listed = ferry("admin", "org", "list", "acme", "--data", data, "--format", "json").well().json
    ada = {"user": "ada", "role": "owner", "disabled": False}
    assert [(each["name"], each["members"]) for each in listed] == [
        ("acme", [ada, {"user": "bob", "role": "writer", "disabled": True}])
    ]
    assert admin("member", "acme", "bob", "none") == "bob is not in acme any more\n"
    assert admin("member", "acme", "ada", "none") == "ada is not in acme any more\n"  # an administrator may
    assert admin("remove", "acme") == "acme is no organisation any more\n"
    told = ferry("admin", "audit", "--data", data, "--format", "json").well().json
    assert [each["subject"] for each in told if each["action"] in ("org.add", "grant", "org.remove")] == [
        "acme",
        "ada owner acme",
        "bob write acme",
        "ada owner acme",
        "bob none acme",
        "ada none acme",
        "acme",
    ]
    kept = (data / "revocations").read_text()
    assert '"org.remove", "subject": "acme"' in kept


def test_names_that_are_taken_are_refused_both_ways(ferry: Ferry, data: Path) -> None:
    ferry("admin", "org", "add", "acme", "--data", data).well()
    for words, why in (
        (("org", "add", "ada"), "ada is an account's name"),
        (("org", "add", "acme"), "there is an organisation acme already"),
        (("user", "add", "acme"), "there is an organisation acme"),
        (("user", "invite", "acme"), "there is an organisation acme"),
    ):
        done = ferry("admin", *words, "--data", data)
        assert (done.code, why in done.err) == (2, True), done.err


def test_who_is_in_an_organisation_by_earlier_grants_is_told(ferry: Ferry, data: Path) -> None:
    ferry("admin", "grant", "bob", "lab", "write", "--data", data).well()
    made = ferry("admin", "org", "add", "lab", "--data", data).well()
    assert made.out == "lab is an organisation; in it by earlier grants: bob (writer)\n"


def test_a_service_account_and_its_keys(ferry: Ferry, data: Path) -> None:
    def admin(*words: str) -> str:
        return ferry("admin", *words, "--data", data).well().out

    first = admin("service", "add", "ada/ci", "--role", "writer", "--note", "builds").strip()
    made = ferry("admin", "service", "key", "ada/ci", "--expires", "30d", "--data", data, "--format", "json")
    second = made.well().json
    assert first.startswith("fry_sa_")
    assert is_api_key(first)
    assert is_api_key(second["secret"])
    assert "ada/ci  writer  2     never      builds" in admin("service", "list", "ada")
    rows = ferry("admin", "apikey", "list", "ada/ci", "--data", data, "--format", "json").well().json
    assert [(each["user"], each["shown"]) for each in rows] == [
        ("ada/ci", first[-4:]),
        ("ada/ci", second["secret"][-4:]),
    ]
    rotated = admin("apikey", "rotate", second["id"], "--overlap", "0").strip()
    registry = Registry.open(data)
    good = [bool(registry.rights.standing_by_secret(each, "")) for each in (first, second["secret"], rotated)]
    assert good == [True, False, True]
    assert admin("apikey", "revoke", second["id"]) == f"{second['id']} is revoked\n"
    assert registry.rights.standing_by_secret(rotated, "") is None
    assert admin("service", "revoke", "ada/ci") == "ada/ci is revoked, with all its keys\n"
    assert registry.rights.standing_by_secret(first, "") is None
    registry.close()
    assert ferry("admin", "service", "revoke", "ada/ci", "--data", data).code == 3


def test_immutable_tags_are_said_listed_and_taken_back(ferry: Ferry, data: Path) -> None:
    def admin(*words: str) -> str:
        return ferry("admin", "immutable", *words, "--data", data).well().out

    assert admin("ada/tiny", "v*") == "in ada/tiny, tags 'v*' stay where they are once they are made\n"
    assert "ada/tiny  v*" in admin("list")
    assert admin("ada/tiny", "v*", "--take-back") == "in ada/tiny, tags 'v*' may move again\n"
    assert ferry("admin", "immutable", "ada/tiny", "v*", "--take-back", "--data", data).code == 3
    assert ferry("admin", "immutable", "ada/tiny", "--data", data).code == 2
    assert ferry("admin", "immutable", "ada/tiny", "a b", "--data", data).code == 2


def test_a_push_that_would_move_an_immutable_tag_ends_with_the_registrys_words(
    house: House, people: Callable[[str], Ferry]
) -> None:
    owner = people("frozen")
    house.welcome(owner, "frozen")
    put_model(owner.models, f"{house.host}/frozen/tiny/v1")
    house("immutable", "frozen/tiny", "v*").well()
    owner("push", f"{house.host}/frozen/tiny:v1").well()
    again = owner("push", f"{house.host}/frozen/tiny:v1", "--format", "json").well().json
    assert again["tag"] == "unchanged"
    put_model(owner.models, f"{house.host}/frozen/tiny/v1", b"other weights")
    done = owner("push", f"{house.host}/frozen/tiny:v1")
    assert done.code == 7
    said = f"refuses it: frozen/tiny:v1 stays {again['digest']}: the tags 'v*' of frozen/tiny are immutable"
    assert f"{said}; nothing was sent" in done.err
    assert "publish under another tag" in done.err
    removed = owner("rm", "--remote", "--yes", f"{house.host}/frozen/tiny:v1")
    assert (removed.code, "immutable" in removed.err) == (7, True)
