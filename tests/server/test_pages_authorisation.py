"""The authorisation table of the pages: every kind of visitor × page and method, with its exact status.

What is expected is written down by hand. A page that is added without a row here fails.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from guarded import key
from pages_kit import Browser, PagesDoor

from registry.wire.routes import Route

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW")
VISITORS = ("nobody", "person", "administrator", "disabled", "signed out", "expired", "forged", "key's token")
IN = ("person", "administrator")

# Route: its path, and for each method the status for nobody, for a person and for an administrator. A POST
# brings no form here, so that what is let in is answered with 400.
PAGES: dict[Route, tuple[str, dict[str, tuple[int, int, int]]]] = {
    Route.SIGN_IN_PAGE: ("/signin", {"GET": (200, 303, 303), "POST": (400, 400, 400)}),
    Route.SIGN_OUT_PAGE: ("/signout", {"POST": (303, 400, 400)}),
    Route.SET_UP_PAGE: ("/set-up", {"GET": (200, 200, 200), "POST": (400, 400, 400)}),
    Route.INVITATION_PAGE: ("/invitation", {"GET": (200, 200, 200), "POST": (400, 400, 400)}),
    Route.LINK_PAGE: ("/page", {"GET": (200, 200, 200), "POST": (400, 400, 400)}),
    Route.CONNECT_PAGE: (
        f"/connect?key={key(9).public.connect}",
        {"GET": (303, 200, 200), "POST": (303, 400, 400)},
    ),
    Route.ACCOUNT_PAGE: ("/account", {"GET": (303, 200, 200), "POST": (303, 400, 400)}),
    Route.KEYS_PAGE: ("/keys", {"GET": (303, 200, 200), "POST": (303, 400, 400)}),
    Route.MODELS_PAGE: ("/models", {"GET": (200, 200, 200)}),
    Route.MODEL_PAGE: ("/models/acme/missing", {"GET": (303, 404, 404), "POST": (303, 404, 400)}),
    Route.SHARES_PAGE: ("/shares/person", {"GET": (303, 200, 200), "POST": (303, 400, 400)}),
    Route.TEAMS_PAGE: ("/teams", {"GET": (303, 200, 200), "POST": (303, 403, 400)}),
    Route.TEAM_PAGE: ("/teams/person", {"GET": (303, 200, 200), "POST": (303, 400, 400)}),
    Route.PUBLISHERS_PAGE: ("/publishers/person", {"GET": (303, 200, 200), "POST": (303, 400, 400)}),
    Route.USERS_PAGE: ("/admin/users", {"GET": (303, 403, 200), "POST": (303, 403, 400)}),
    Route.AUDIT_PAGE: ("/admin/audit", {"GET": (303, 403, 200)}),
    Route.SYSTEM_PAGE: ("/admin/system", {"GET": (303, 403, 200)}),
    Route.ASSET: ("/assets/style.css", {"GET": (200, 200, 200)}),
}
# A session opens the account API too, but changes nothing there without its form's token.
OF_PROGRAMS = {
    Route.ROOT: ("/", {"GET": (303, 303, 303), "HEAD": (200, 200, 200)}),
    Route.PAGE_LINK: ("/api/page", {"POST": (401, 403, 403)}),
    Route.ACCOUNT: ("/api/account", {"GET": (401, 200, 200)}),
}


@pytest.fixture(scope="module")
def door() -> PagesDoor:
    return PagesDoor()


@pytest.fixture(scope="module")
def visitors(door: PagesDoor) -> dict[str, Browser]:
    """Everybody's browser, then the changes that end some of their sessions."""
    expired = door.person("expired")
    door.now += 7 * 86_400
    people = {name: door.person(name.replace(" ", "-")) for name in ("person", "disabled", "signed out")}
    kept = dict(people["signed out"].cookies)
    token = people["signed out"].get("/account").form(having="old").fields["token"]
    people["signed out"].post("/signout", {"token": token})
    people["signed out"].cookies = kept
    door.accounts.disable("disabled")
    door.join("machine", key(5))
    forged = Browser(door)
    forged.cookies["ferry-5050"] = "x" * 32
    people |= {"expired": expired, "forged": forged, "nobody": Browser(door), "key's token": Browser(door)}
    return {**people, "administrator": door.person("administrator", admin=True)}


def cells() -> Iterator[tuple[str, str, str, int]]:
    for visitor in VISITORS:
        column = IN.index(visitor) + 1 if visitor in IN else 0
        pages = [
            (path, {"HEAD": statuses["GET"], **statuses})
            for path, statuses in PAGES.values()
            if "GET" in statuses
        ]
        forms = [row for row in PAGES.values() if "GET" not in row[1]]
        for path, statuses in (*pages, *forms, *OF_PROGRAMS.values()):
            for method in METHODS:
                yield visitor, method, path, statuses.get(method, (405,) * 3)[column]


@pytest.mark.parametrize(("visitor", "method", "path", "status"), [*cells()])
def test_every_cell_of_the_table(
    door: PagesDoor, visitors: dict[str, Browser], visitor: str, method: str, path: str, status: int
) -> None:
    headers: dict[str, str] = {"Content_Type": ""}
    if visitor == "key's token":  # what programs are let in by opens no page
        if path.startswith("/api/"):
            return
        headers["Authorization"] = f"Bearer {door.token(key(5), 'registry:account:*')}"
    answer = visitors[visitor].answer(method, path, **headers)
    assert answer.status == status
    if status == 303 and visitor not in IN and path != "/":
        assert answer.headers.get("Location").startswith("/signin")


def test_every_page_has_a_row() -> None:
    assert set(PAGES) == {each for each in Route if each.name.endswith("_PAGE")} | {Route.ASSET}
