"""The authorisation table: every principal × repository × route and method, with its exact status.

What is expected is written down here by hand, and never asked of the guard. A route that is added to the
registry without a row here fails, and so does a method that nobody expects.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from guarded import HOST, ORIGIN, PASSED, Door, key

from registry.auth import signing
from registry.auth.keys import PrivateKey
from registry.model.digests import Digest
from registry.server.accounts import Principal, Right
from registry.server.tokens import TOKEN_SECONDS
from registry.wire.routes import Route

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW")
BLOB = Digest.of(b"blob")

# Repository -> what each principal may do there. r: read, w: write too; a dash: nothing.
# `acme` is the owner's account; the reader was granted the two repositories, the writer the namespace.
REPOSITORIES = ("acme/private", "acme/public", "acme/missing")
MAY = {
    #                    private public missing
    "anonymous": "-r-",
    "anonymous token": "-r-",
    "stranger": "-r-",
    "reader": "rr-",
    "writer": "www",
    "owner": "www",
    "admin": "www",
    "disabled": "xxx",
    "revoked key": "xxx",
    "expired token": "xxx",
}

# What a route and method needs of a repository, and the path below it.
IN_REPOSITORY = {
    Route.MANIFEST: ("manifests/latest", {"GET": "r", "HEAD": "r", "PUT": "w", "DELETE": "w"}),
    Route.BLOB: (f"blobs/{BLOB}", {"GET": "r", "HEAD": "r", "DELETE": "w"}),
    Route.UPLOADS: ("blobs/uploads/", {"POST": "w"}),
    Route.UPLOAD: ("blobs/uploads/1", {"GET": "w", "PATCH": "w", "PUT": "w", "DELETE": "w"}),
    Route.TAGS: ("tags/list", {"GET": "r"}),
    Route.REFERRERS: (f"referrers/{BLOB}", {"GET": "r"}),
}

# Where there is no repository: the path, and the status for each method, one for everybody or by principal.
# 1: those whose token is good; 2: those who came without one; 3: those whose token is not good any more.
ELSEWHERE: dict[Route, tuple[str, dict[str, tuple[int, int, int]]]] = {
    Route.ROOT: ("/", {"HEAD": (200, 200, 200)}),
    Route.BASE: ("/v2/", {"GET": (PASSED, 401, 401), "HEAD": (PASSED, 401, 401)}),
    Route.CATALOG: ("/v2/_catalog", {"GET": (PASSED, 401, 401)}),
    Route.TOKEN: ("/v2/token", {"GET": (403, 200, 403)}),  # a Bearer token is no signature
    Route.ME: ("/api/me?ts=1", {"POST": (401, 401, 401)}),
    Route.SIGNOUT: ("/api/signout?ts=1", {"POST": (401, 401, 401)}),
    Route.HEALTH: ("/healthz", {"GET": (PASSED, PASSED, PASSED), "HEAD": (PASSED, PASSED, PASSED)}),
    Route.METRICS: ("/metrics", {"GET": (PASSED, PASSED, PASSED)}),
    Route.CAPABILITY: ("/v2/_capability/x", {"GET": (404, 404, 404), "HEAD": (404, 404, 404)}),
}


@dataclass(frozen=True)
class Cell:
    """One cell of the table."""

    principal: str
    method: str
    target: str
    status: int

    def __str__(self) -> str:
        return f"{self.principal}, {self.method} {self.target.replace(str(BLOB), 'DIGEST')}"


def in_repository(principal: str, may: str, need: str | None) -> int:
    """The status for somebody who `may` do this where that is needed."""
    if need is None:
        return 405
    if may == "x":
        return 401
    if (need == "r" and may in "rw") or need == may:
        return PASSED
    if principal == "anonymous":
        return 401
    return 404 if need == "r" else 403


def cells() -> Iterator[Cell]:
    for principal, rights in MAY.items():
        for repository, may in zip(REPOSITORIES, rights, strict=True):
            for rest, needs in IN_REPOSITORY.values():
                for method in METHODS:
                    status = in_repository(principal, may, needs.get(method))
                    yield Cell(principal, method, f"/v2/{repository}/{rest}", status)
        column = 1 if principal == "anonymous" else 2 if rights == "xxx" else 0
        for target, statuses in ELSEWHERE.values():
            for method in METHODS:
                yield Cell(principal, method, target, statuses.get(method, (405,) * 3)[column])


KEYS = {name: key(number) for number, name in enumerate(MAY, 1) if "anonymous" not in name}


@pytest.fixture(scope="module")
def door() -> Door:
    """Everybody of the table, with the accounts as they are when the requests come."""
    door = Door()
    for name, who in KEYS.items():
        door.join("acme" if name == "owner" else name.replace(" ", "-"), who, admin=name == "admin")
    door.accounts.set_public("acme/public", True)
    for name in ("writer", "disabled", "revoked-key"):
        door.accounts.grant(name, "acme", Right.WRITE)
    door.accounts.grant("expired-token", "acme", Right.WRITE)
    for repository in ("acme/private", "acme/public"):
        door.accounts.grant("reader", repository, Right.READ)
    return door


@pytest.fixture(scope="module")
def tokens(door: Door) -> dict[str, str]:
    """A token of everybody for everything they may do, then the changes that end three of them."""
    scopes = [f"repository:{name}:pull,push,delete" for name in REPOSITORIES] + ["registry:catalog:*"]
    door.now -= TOKEN_SECONDS
    held = {"expired token": door.token(KEYS["expired token"], *scopes)}
    door.now += TOKEN_SECONDS
    held |= {name: door.token(who, *scopes) for name, who in KEYS.items() if name not in held}
    held["anonymous token"] = door.token(None, *scopes)
    door.accounts.disable("disabled")
    door.accounts.revoke(KEYS["revoked key"].public.fingerprint)
    return held


@pytest.mark.parametrize("cell", [*cells()], ids=str)
def test_every_cell_of_the_table(door: Door, tokens: dict[str, str], cell: Cell) -> None:
    response = door.ask(cell.method, cell.target, token=tokens.get(cell.principal, ""))
    assert response.status == cell.status
    assert ("WWW-Authenticate" in response.headers) is (cell.status == 401 and "/api/" not in cell.target)


def test_every_route_has_a_row() -> None:
    assert set(IN_REPOSITORY) | set(ELSEWHERE) == set(Route)


# --- where a signature or a link says who one is -------------------------------------------------------

WHO: dict[str, tuple[int, int, int]] = {
    # principal: /v2/token signed, /api/me signed, a link given before
    "stranger": (200, 200, 404),
    "reader": (200, 200, PASSED),
    "writer": (200, 200, PASSED),
    "owner": (200, 200, PASSED),
    "admin": (200, 200, PASSED),
    "disabled": (403, 401, 404),
    "revoked key": (403, 401, 404),
    "expired token": (200, 200, PASSED),  # only the token is over, not the key
    "unknown key": (403, 401, 404),
}


@pytest.mark.usefixtures("tokens")
@pytest.mark.parametrize("principal", [*WHO])
def test_every_signature_and_link(door: Door, principal: str) -> None:
    who = KEYS.get(principal, key(99))
    holder = Principal(key=who.public.fingerprint)
    link = door.tokens.capability(ORIGIN, holder, "acme/private", BLOB)
    got = (
        door.send(door.token_request(who, "repository:acme/private:pull")).status,
        door.call(who, "POST", "/api/me").status,
        door.ask("GET", f"/v2/_capability/{link}").status,
    )
    assert got == WHO[principal]
    assert door.call(who, "POST", "/api/signout").status == 200
    assert door.call(who, "HEAD", "/").status == 200


@pytest.mark.usefixtures("tokens")
@pytest.mark.parametrize("repository, status", [("acme/private", 404), ("acme/public", PASSED)])
def test_a_link_given_to_anybody(door: Door, repository: str, status: int) -> None:
    link = door.tokens.capability(ORIGIN, Principal(), repository, BLOB)
    assert door.ask("GET", f"/v2/_capability/{link}").status == status


def stolen(who: PrivateKey, method: str, target: str) -> str:
    return signing.authorization(who, signing.call_text(method, target))


@pytest.mark.usefixtures("tokens")
@pytest.mark.parametrize("repository", REPOSITORIES)
@pytest.mark.parametrize("route", IN_REPOSITORY, ids=lambda route: route.name)
def test_a_bare_signature_of_the_owner_opens_no_repository(door: Door, route: Route, repository: str) -> None:
    rest, needs = IN_REPOSITORY[route]
    for method in needs:
        target = signing.call_target(f"/v2/{repository}/{rest}", now=door.now)
        value = stolen(KEYS["owner"], method, target)
        assert door.ask(method, target, Host=HOST, Authorization=value).status == 401
