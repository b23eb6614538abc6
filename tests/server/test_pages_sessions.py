"""A browser that is signed in: how long it stays so, and what pages of others may not make it do."""

from __future__ import annotations

from urllib.parse import quote, urlencode

import pytest
from guarded import HOST, NOW, ORIGIN, text
from pages_kit import PASSWORD, Browser, PagesDoor

from registry.server.browser import cookie
from registry.server.names import Known, Names
from registry.server.sessions import IDLE_SECONDS
from registry.server.sessions import SECONDS as SESSION_SECONDS
from registry.wire.headers import Headers
from registry.wire.messages import Accept, Origin, Request
from registry.wire.routes import Route

OTHER = "eight white storks"


@pytest.fixture
def door() -> PagesDoor:
    return PagesDoor()


def token_of(browser: Browser) -> str:
    return browser.get("/account").form(having="old").fields["token"]


def signed_in(browser: Browser) -> bool:
    return browser.get("/account").path == "/account"


# --- sessions ----------------------------------------------------------------------------------------------


def test_signing_in_gives_another_session_and_ends_the_one_before(door: PagesDoor) -> None:
    browser = door.person("ada")
    before = dict(browser.cookies)

    browser.post("/signin", {"name": "ada", "password": PASSWORD})

    assert browser.cookies != before
    assert signed_in(browser)
    browser.cookies = before
    assert not signed_in(browser)


def test_a_session_planted_by_somebody_else_is_not_taken_over(door: PagesDoor) -> None:
    door.person("ada")
    browser = Browser(door)
    browser.cookies["ferry-5050"] = "secret-planted"
    browser.post("/signin", {"name": "ada", "password": PASSWORD})
    assert browser.cookies["ferry-5050"] != "secret-planted"


def test_a_session_ends_when_signed_out_also_for_who_has_kept_its_cookie(door: PagesDoor) -> None:
    browser = door.person("ada")
    before = dict(browser.cookies)
    browser.get("/account")
    assert browser.post("/signout", {"token": token_of(browser)}).path == "/signin"
    assert browser.cookies == {}
    browser.cookies = before
    assert not signed_in(browser)


def test_a_password_change_signs_every_other_browser_out_and_asks_for_the_old_one(door: PagesDoor) -> None:
    browser, other = door.person("ada"), Browser(door)
    other.post("/signin", {"name": "ada", "password": PASSWORD})
    form = browser.get("/account").form(having="old")
    refused = form.send(old=OTHER, password=OTHER, again=OTHER)
    assert refused.status == 403 and "That is not your password" in refused.text
    assert signed_in(other)

    page = form.send(old=PASSWORD, password=OTHER, again=OTHER)

    assert "Your password is changed" in page.text
    assert signed_in(browser)
    assert not signed_in(other)


def test_others_are_signed_out_by_one_button(door: PagesDoor) -> None:
    browser, other = door.person("ada"), Browser(door)
    other.post("/signin", {"name": "ada", "password": PASSWORD})
    page = browser.get("/account").form(having="end-others").send()
    assert "Every other browser is signed out" in page.text
    assert not signed_in(other)


def test_a_disabled_account_is_out_at_the_next_request_and_stays_out_when_enabled_again(
    door: PagesDoor,
) -> None:
    browser = door.person("ada")
    door.accounts.disable("ada")
    assert not signed_in(browser)
    door.accounts.enable("ada")
    assert not signed_in(browser)


def test_a_removed_account_is_out_too(door: PagesDoor) -> None:
    browser = door.person("ada")
    door.accounts.remove("ada")
    assert not signed_in(browser)


def test_a_session_ends_after_a_day_without_a_request_and_after_a_week(door: PagesDoor) -> None:
    idle, busy = door.person("ada"), door.person("ben")
    while door.now < NOW + SESSION_SECONDS - IDLE_SECONDS:
        door.now += IDLE_SECONDS - 1
        assert signed_in(busy)
    assert not signed_in(idle)
    door.now = NOW + SESSION_SECONDS
    assert not signed_in(busy)


def test_the_cookie_is_for_this_host_its_requests_and_no_script() -> None:
    plain = Known(Origin.of(ORIGIN), HOST)
    public = Known(Origin.of("https://models.acme.example"), "models.acme.example")
    assert cookie(public, "x", 5)[1] == ("__Host-ferry=x; Path=/; Max-Age=5; HttpOnly; SameSite=Lax; Secure")
    assert cookie(plain, "x", 5)[1] == "ferry-5050=x; Path=/; Max-Age=5; HttpOnly; SameSite=Lax"


def test_over_https_behind_a_proxy_the_cookie_is_bound_to_the_host_and_forms_to_its_origin() -> None:
    door = PagesDoor(names=Names.public(["https://models.acme.example"]))
    link = door.invitations.invite("ada")
    typed = {"code": link.partition("#")[2], "password": PASSWORD, "again": PASSWORD}
    here = {"Host": "models.acme.example", "Origin": "https://models.acme.example"}
    plain = {"Host": "models.acme.example", "Origin": "http://models.acme.example"}
    browser = Browser(door)
    body = urlencode(typed).encode()
    assert browser.answer("POST", "/invitation", body, **plain).status == 403
    assert browser.answer("POST", "/invitation", body, **here).status == 303
    assert list(browser.cookies) == ["__Host-ferry"]
    assert browser.answer("GET", "/account", **here).status == 200


# --- what others' pages may not do -------------------------------------------------------------------------


# What the browser says of where a form comes from: Origin, Sec-Fetch-Site, and whether it is one of ours.
FROM = (
    (ORIGIN, "", True),
    ("", "same-origin", True),
    ("", "", False),
    ("", "same-site", False),
    ("null", "", False),
    ("https://evil.example", "", False),
    ("http://127.0.0.1:5051", "", False),
    ("https://127.0.0.1:5050", "", False),
    ("http://localhost:5050", "", False),
    (f"{ORIGIN}.evil.example", "", False),
    ("https://evil.example", "same-origin", False),
)


ADDRESSES = {
    Route.MODEL_PAGE: "/models/acme/tiny",
    Route.TEAM_PAGE: "/teams/ada",
    Route.SHARES_PAGE: "/shares/ada",
    Route.PUBLISHERS_PAGE: "/publishers/ada",
    Route.TEAM_PAGE: "/teams/acme",
}


def test_a_form_is_taken_from_our_own_pages_only(door: PagesDoor) -> None:
    browser = door.person("ada")
    forms = [each for each, methods in door.guard.table.items() if "POST" in methods]
    posts = [each for each in forms if each.name.endswith("_PAGE")]
    assert len(posts) >= 7
    for route in posts:
        path = ADDRESSES.get(route, route.value)
        for origin, site, ours in FROM:
            answer = browser.answer("POST", path, Origin=origin, Sec_Fetch_Site=site)
            assert ("sent by another site" in text(answer)) == (not ours), (path, origin, site)


def test_a_form_without_this_sessions_token_changes_nothing(door: PagesDoor) -> None:
    browser, other = door.person("ada"), door.person("ben")
    for token in ("", "x" * 64, token_of(other)):
        fields = {"token": token, "old": PASSWORD, "password": OTHER, "again": OTHER}
        assert browser.post("/account", fields).status == 403
        assert browser.post("/signout", {"token": token}).status == 403
    assert signed_in(browser)


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "/%5cevil.example",
        "/%2f/evil.example",
        "/signout",
        "/api/me",
        "/v2/",
        "/models\r\nSet-Cookie: x=y",
        "javascript:alert(1)",
        " /models",
    ],
)
def test_signing_in_leads_to_a_page_of_ours_and_nowhere_else(door: PagesDoor, target: str) -> None:
    door.person("ada")
    browser = Browser(door)
    page = browser.get(f"/signin?next={quote(target, safe='')}")
    assert page.form().fields["next"] == "/models"
    answer = browser.answer(
        "POST", "/signin", urlencode({"name": "ada", "password": PASSWORD, "next": target}).encode()
    )
    assert (answer.status, answer.headers.get("Location")) == (303, "/models")


def test_two_cookies_of_one_name_are_none(door: PagesDoor) -> None:
    browser = door.person("ada")
    [(name, value)] = browser.cookies.items()
    both = browser.answer("GET", "/account", Cookie=f"{name}={value}; {name}={value}")
    assert both.headers.get("Location") == "/signin?next=%2Faccount"


def test_every_page_says_that_it_is_not_kept_framed_or_scripted(door: PagesDoor) -> None:
    browser = door.person("ada")
    for path in ("/signin?next=x", "/set-up", "/account", "/models", "/nowhere"):
        headers = browser.answer("GET", path).headers
        if headers.get("Location"):
            continue
        policy = headers.get("Content-Security-Policy")
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers.get("X-Frame-Options") == "DENY"
        assert headers.get("Cache-Control") == "no-store"
        assert headers.get("Referrer-Policy") == "same-origin"


def test_a_form_is_small_and_of_one_kind(door: PagesDoor) -> None:
    request = Request("POST", f"{ORIGIN}/signin", Headers({"Host": HOST, "Origin": ORIGIN}))
    other = Headers({"Host": HOST, "Origin": ORIGIN, "Content-Type": "multipart/form-data"})
    form = Headers({"Host": HOST, "Origin": ORIGIN, "Content-Type": "application/x-www-form-urlencoded"})

    accept = door.site(Request("POST", f"{ORIGIN}/signin", form))

    assert isinstance(accept, Accept)
    assert (accept.limit, accept.seconds) == (16 * 1024, 5.0)
    assert [door.send(each).status for each in (request, Request("POST", request.url, other))] == [400, 400]
    assert Browser(door).answer("POST", "/signin", b"name=%ff").status == 400
    assert Browser(door).answer("POST", "/signin", b"&".join([b"a=b"] * 65)).status == 400


def test_errors_are_pages_for_browsers_and_documents_for_programs(door: PagesDoor) -> None:
    browser = Browser(door)
    assert "Nothing here" in text(browser.answer("GET", "/nowhere"))
    assert '"NAME_UNKNOWN"' in text(browser.answer("GET", "/nowhere", Accept="application/json"))
    assert '"UNAUTHORIZED"' in text(browser.answer("GET", "/v2/"))
    refused = browser.answer("PUT", "/signin")
    assert refused.status == 405
    assert refused.headers.get("Allow") == "GET, HEAD, POST"
