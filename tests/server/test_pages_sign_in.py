"""How people come in by a browser, and what is not let in."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Literal

import pytest
from argon2 import PasswordHasher
from guarded import ORIGIN, document, key
from pages_kit import HERE, PASSWORD, Browser, PagesDoor

from registry.contracts import NOBODY
from registry.errors import DeniedError, InvalidError, TransientError
from registry.server import audit
from registry.server.invitations import SECONDS, Link
from registry.server.key_scopes import KeyScope
from registry.server.passwords import Hashing
from registry.server.throttle import RateLimit, Throttle

OTHER = "eight white storks"


@pytest.fixture
def door() -> PagesDoor:
    return PagesDoor()


def secret(link: str | None) -> str:
    assert link is not None
    return link.partition("#")[2]


def token_of(browser: Browser) -> str:
    return browser.get("/account").form(having="old").fields["token"]


def signed_in(browser: Browser) -> bool:
    return browser.get("/account").path == "/account"


def actions(door: PagesDoor) -> list[str]:
    return [each.action for each in audit.entries(door.engine)]


# --- set-up ----------------------------------------------------------------------------------------------


def test_the_set_up_link_makes_the_first_administrator_and_signs_it_in(door: PagesDoor) -> None:
    link = door.invitations.set_up()
    browser = Browser(door)

    page = (
        browser.get(str(link)).form().send(code=secret(link), name="Ada", password=PASSWORD, again=PASSWORD)
    )

    assert page.path == "/models"
    assert "ada" in browser.get("/account").text
    assert door.accounts.user("ada").admin
    assert actions(door) == ["user.add", "password.set", "session.begin"]


def test_no_link_is_made_where_there_is_an_account_and_a_new_one_ends_the_old(door: PagesDoor) -> None:
    old, new = door.invitations.set_up(), door.invitations.set_up()
    form = Browser(door).get("/set-up").form()
    assert form.send(code=secret(old), name="eve", password=PASSWORD, again=PASSWORD).status == 403
    door.join("ada", key(1))
    assert door.invitations.set_up() is None
    assert (
        Browser(door)
        .get("/set-up")
        .form()
        .send(code=secret(new), name="root", password=PASSWORD, again=PASSWORD)
        .path
        == "/models"
    )


def test_the_set_up_link_is_dead_after_an_hour_after_its_use_and_once_there_is_an_administrator(
    door: PagesDoor,
) -> None:
    link = door.invitations.set_up()
    typed = {"code": secret(link), "name": "eve", "password": PASSWORD, "again": PASSWORD}
    door.now += SECONDS[Link.SET_UP]
    assert Browser(door).get("/set-up").form().send(**typed).status == 403

    again = door.invitations.set_up()
    door.accounts.add_user("ada", admin=True)
    page = Browser(door).get("/set-up")
    assert page.top.all("form") == []
    assert Browser(door).post("/set-up", {**typed, "code": secret(again)}).status == 403
    assert [user.name for user in door.accounts.users()] == ["ada"]


def test_what_is_typed_wrong_at_set_up_is_said_and_what_was_right_is_kept(door: PagesDoor) -> None:
    link = door.invitations.set_up()
    form = Browser(door).get("/set-up").form()

    short = form.send(code=secret(link), name="ada", password="short", again="short")
    other = form.send(code=secret(link), name="ada", password=PASSWORD, again=OTHER)
    named = form.send(code=secret(link), name="A d a", password=PASSWORD, again=PASSWORD)

    assert [page.status for page in (short, other, named)] == [400, 400, 400]
    assert "10 to 256 characters" in short.text
    assert "not the same" in other.text
    assert "cannot be an account" in named.text
    assert other.form().fields["code"] == secret(link)
    assert other.form().fields["password"] == ""
    assert other.form().send(password=PASSWORD, again=PASSWORD).path == "/models"


# --- passwords -------------------------------------------------------------------------------------------


def test_a_password_signs_in_and_leads_to_the_page_that_was_asked_for(door: PagesDoor) -> None:
    door.person("ada")
    browser = Browser(door)

    asked = browser.get("/account?done=no")
    page = asked.form().send(name="ada", password=PASSWORD)

    assert asked.path == "/signin"
    assert page.url == f"{ORIGIN}/account?done=no"


def test_unknown_wrong_disabled_and_without_password_get_the_same_words(door: PagesDoor) -> None:
    door.person("ada")
    door.person("ben")
    door.accounts.disable("ben")
    door.accounts.add_user("cleo")
    form = Browser(door).get("/signin").form()

    pages = [
        form.send(name=name, password=p)
        for name, p in (("ada", OTHER), ("nobody", PASSWORD), ("ben", PASSWORD), ("cleo", PASSWORD), ("", ""))
    ]

    assert {page.status for page in pages} == {403}
    assert len({page.text for page in pages}) == 1


def test_every_refused_sign_in_computes_one_hash(door: PagesDoor) -> None:
    door.person("ada")
    computed = list[str | bytes]()

    class Counting(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
            computed.append(hash)
            return super().verify(hash, password)

    counting = Hashing(Counting(time_cost=1, memory_cost=8, parallelism=1))
    sign_in = replace(door.sign_in, passwords=replace(door.sign_in.passwords, hashing=counting))

    for name in ("ada", "nobody"):
        with pytest.raises(DeniedError):
            sign_in.by_password(name, OTHER, HERE)

    assert len(computed) == 2
    assert all(str(hash).startswith("$argon2id$") for hash in computed)


def test_a_password_that_is_replaced_while_it_is_looked_at_is_wrong(
    door: PagesDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    door.person("ada")
    ada, matches = door.accounts.user("ada"), Hashing.matches

    def matches_and_is_replaced(hashing: Hashing, kept: str | None, password: str) -> bool:
        found = matches(hashing, kept, password)
        door.sign_in.by_invitation(secret(door.invitations.reset("ada")), OTHER, HERE)
        return found

    monkeypatch.setattr(Hashing, "matches", matches_and_is_replaced)
    with pytest.raises(DeniedError):
        door.sign_in.by_password("ada", PASSWORD, HERE)
    with pytest.raises(DeniedError):
        door.sign_in.change(ada, OTHER, "a third password", NOBODY, browser=True)
    monkeypatch.undo()
    assert door.sign_in.by_password("ada", OTHER, HERE)


def test_the_same_password_typed_on_another_keyboard_is_the_same(door: PagesDoor) -> None:
    link = door.invitations.invite("ada")
    Browser(door).get(link).form().send(code=secret(link), password="café au lait", again="café au lait")
    decomposed = Browser(door).get("/signin").form().send(name="ada", password="cafe\u0301 au lait")
    assert decomposed.path == "/models"


def test_guesses_are_throttled_per_account_and_address_and_also_the_right_one_then(door: PagesDoor) -> None:
    door.person("ada")
    guesser, owner = Browser(door, "198.51.100.7"), Browser(door, HERE)
    form = guesser.get("/signin").form()

    statuses = [form.send(name="ada", password=f"wrong guess {number}").status for number in range(6)]
    late = form.send(name="ada", password=PASSWORD)
    elsewhere = owner.get("/signin").form().send(name="ada", password=PASSWORD)

    assert statuses == [403] * 5 + [429]
    assert late.status == 429
    assert "too many failed attempts" in late.text.lower()
    assert 0 < int(late.response.headers.get("Retry-After")) <= 900
    assert elsewhere.path == "/models"


def test_one_address_cannot_try_many_accounts_and_an_ipv6_network_is_one_address() -> None:
    throttle = Throttle(address=RateLimit(3, 15))
    for number in range(9):
        throttle.guess("password", f"right-{number}", f"2001:db8::{number}")
        throttle.right("password", f"right-{number}", f"2001:db8::{number}")
    for number in range(3):
        throttle.guess("password", f"account-{number}", f"2001:db8::{number}")
        throttle.wrong("password", f"2001:db8::{number}")
    with pytest.raises(TransientError, match="too many failed attempts"):
        throttle.guess("password", "another", "2001:db8::ffff")
    throttle.guess("password", "another", "2001:db8:0:1::1")


def test_strangers_from_very_many_networks_do_not_fill_the_memory() -> None:
    throttle = Throttle(most=100)
    for number in range(1000):
        throttle.guess("password", "ada", f"2001:db8:{number:x}::1")
        throttle.wrong("password", f"2001:db8:{number:x}::1")
    assert len(throttle._counts) <= 101


def test_a_right_password_forgets_the_wrong_ones(door: PagesDoor) -> None:
    door.person("ada")
    for _ in range(3):
        form = Browser(door).get("/signin").form()
        for number in range(4):
            assert form.send(name="ada", password=f"wrong guess {number}").status == 403
        assert form.send(name="ada", password=PASSWORD).path == "/models"


def test_only_so_many_passwords_are_computed_at_once_and_the_others_are_told_to_wait() -> None:
    hashing = Hashing(at_once=1, waiting=1)
    with hashing._turn():
        waits = threading.Thread(target=hashing.hash, args=("x",))
        waits.start()
        while hashing._inside._value:  # until it stands in line
            waits.join(0.001)
        with pytest.raises(TransientError, match="at once"):
            hashing.hash("y")
    waits.join()


# --- invitations and links ---------------------------------------------------------------------------------


def test_an_invitation_is_used_once_and_ends_after_a_day(door: PagesDoor) -> None:
    link = door.invitations.invite("ada")
    late = door.invitations.invite("ben")
    form = Browser(door).get(link).form()
    typed = {"password": PASSWORD, "again": PASSWORD}

    assert form.send(code=secret(link), **typed).path == "/models"
    assert form.send(code=secret(link), **typed).status == 403
    door.now += SECONDS[Link.INVITE]
    assert form.send(code=secret(late), **typed).status == 403


def test_a_new_invitation_takes_the_place_of_the_old_one_and_who_has_a_password_gets_none(
    door: PagesDoor,
) -> None:
    old, new = door.invitations.invite("ada"), door.invitations.invite("ada")
    form = Browser(door).get(old).form()
    typed = {"password": PASSWORD, "again": PASSWORD}
    assert form.send(code=secret(old), **typed).status == 403
    assert form.send(code=secret(new), **typed).path == "/models"
    with pytest.raises(InvalidError, match="has a password already"):
        door.invitations.invite("ada")


def test_a_reset_ends_the_old_password_and_every_browser_of_the_account(door: PagesDoor) -> None:
    before = door.person("ada")
    link = door.invitations.reset("ada")
    assert signed_in(before)

    page = Browser(door).get(link).form().send(code=secret(link), password=OTHER, again=OTHER)

    assert page.path == "/models"
    assert not signed_in(before)
    form = Browser(door).get("/signin").form()
    assert form.send(name="ada", password=PASSWORD).status == 403
    assert form.send(name="ada", password=OTHER).path == "/models"


@pytest.mark.parametrize("other", [Link.SET_UP, Link.PAGE])
def test_a_link_is_good_for_nothing_but_its_own_kind(door: PagesDoor, other: Link) -> None:
    set_up = door.invitations.set_up()
    user = door.accounts.add_user("ada")
    link = set_up if other is Link.SET_UP else door.invitations.page(user)
    form = Browser(door).get("/invitation").form()
    assert form.send(code=secret(link), password=PASSWORD, again=PASSWORD).status == 403
    assert form.send(code="", password=PASSWORD, again=PASSWORD).status == 403


def test_a_page_link_signs_in_once_within_five_minutes(door: PagesDoor) -> None:
    user = door.accounts.add_user("ada")
    link, form = door.invitations.page(user), Browser(door).get("/page").form()
    assert form.send(code=secret(link)).path == "/models"
    assert Browser(door).get("/page").form().send(code=secret(link)).status == 403
    late = door.invitations.page(user)
    door.now += SECONDS[Link.PAGE]
    assert Browser(door).get("/page").form().send(code=secret(late)).status == 403


def test_a_machines_key_makes_such_a_link_and_an_api_key_does_not(door: PagesDoor) -> None:
    door.join("ada", key(1))
    made = door.ask("POST", "/api/page", token=door.token(key(1), "registry:account:*"))
    secret_of_ada = door.api_keys.create(door.accounts.user("ada"), (KeyScope.parse("*:*"),)).secret
    refused = door.ask("POST", "/api/page", Authorization=f"Bearer {secret_of_ada}")

    assert (made.status, refused.status) == (201, 403)
    link = str(document(made)["url"])
    assert link.startswith(f"{ORIGIN}/page#")
    browser = Browser(door)
    assert browser.get(link).form().send(code=secret(link)).path == "/models"
    assert "ada" in browser.get("/account").text


def test_links_of_an_account_that_was_disabled_or_removed_are_dead(door: PagesDoor) -> None:
    typed = {"password": PASSWORD, "again": PASSWORD}
    links = [door.invitations.invite(name) for name in ("ada", "ben")]
    door.accounts.disable("ada")
    door.accounts.enable("ada")
    door.accounts.remove("ben")
    form = Browser(door).get("/invitation").form()
    assert [form.send(code=secret(link), **typed).status for link in links] == [403, 403]


def test_argon2_takes_19_mib_twice_in_one_lane() -> None:
    assert Hashing().hash(PASSWORD).startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_a_disabled_account_is_sent_no_link(door: PagesDoor) -> None:
    door.person("ada")
    door.accounts.add_user("ben")
    for name in ("ada", "ben"):
        door.accounts.disable(name)
    with pytest.raises(InvalidError, match="ada is disabled"):
        door.invitations.reset("ada")
    with pytest.raises(InvalidError, match="ben is disabled"):
        door.invitations.invite("ben")


def test_no_secret_is_kept_as_it_is(door: PagesDoor) -> None:
    browser, link = door.person("ada"), door.invitations.reset("ada")
    [cookie] = browser.cookies.values()
    with door.engine.connect() as database:
        kept = "\n".join(database.connection.driver_connection.iterdump())  # type: ignore[union-attr]
    assert "$argon2id$" in kept
    assert not [each for each in (cookie, secret(link), PASSWORD) if each in kept]
