"""The authorisation table as data: who may do what where, and the status of every request they can make.

Written down by hand and never asked of the server. `expected` is all the arithmetic there is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from authorisation_teams import team_cells
from authorisation_who import COMES, PRINCIPALS, PUBLIC, Who

from registry.model.digests import Digest
from registry.wire.routes import Route

__all__ = ["PRINCIPALS", "Who"]

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW")
REPOSITORIES = ("acme/private", "acme/public", "acme/missing")
LOOSE = b"a blob that no manifest names"
BLOB = Digest.of(LOOSE)

Row = tuple[str, int, int]

# Below a repository: the path, and for each method what it needs, and what it then gets where the
# repository is there, and where it is not.
IN_REPOSITORY: dict[Route, tuple[str, dict[str, Row]]] = {
    Route.MANIFEST: (
        "manifests/latest",
        {"GET": ("p", 200, 404), "HEAD": ("p", 200, 404), "PUT": ("w", 201, 404), "DELETE": ("d", 202, 404)},
    ),
    Route.BLOB: (
        f"blobs/{BLOB}",
        {"GET": ("p", 200, 404), "HEAD": ("p", 200, 404), "DELETE": ("d", 202, 404)},
    ),
    Route.UPLOADS: ("blobs/uploads/", {"POST": ("w", 202, 202)}),
    Route.UPLOAD: (
        f"blobs/uploads/UPLOAD?digest={BLOB}",
        {"GET": ("w", 204, 404), "PATCH": ("w", 202, 404), "PUT": ("w", 201, 404), "DELETE": ("w", 204, 404)},
    ),
    Route.CONTENT: ("blobs/uploads/UPLOAD/content", {}),  # only the guard goes there, by a storage link
    Route.TAGS: ("tags/list", {"GET": ("p", 200, 404)}),
    Route.REFERRERS: (f"referrers/{BLOB}", {"GET": ("p", 200, 200)}),
}

# The account API of a repository: what follows its name, and the status for who reads it where it is there,
# and where it is not; for the others of a row, who owns it.
OWN_REPOSITORY: dict[Route, tuple[str, dict[str, Row]]] = {
    Route.REPOSITORY: (
        "/api/repositories/{}",
        {"GET": ("read", 200, 404), "PATCH": ("own", 200, 200), "DELETE": ("write", 204, 404)},
    ),
    Route.SHARE: (
        "/api/repositories/{}/shares/friend",
        {"PUT": ("own", 204, 204), "DELETE": ("own", 204, 204)},
    ),
    Route.SHARES: ("/api/shares/{}", {"GET": ("own", 200, 200)}),
    Route.MANIFESTS: ("/api/manifests/{}", {"GET": ("read", 200, 404)}),
    # Without a body nothing is added, and without an identifier nothing is removed.
    Route.PUBLISHERS: (
        "/api/publishers/{}",
        {"GET": ("own", 200, 200), "POST": ("own", 400, 400), "DELETE": ("own", 404, 404)},
    ),
}

_ANY = (200,) * 9
_NO = (401,) * 4
# Where there is no repository: the path, and for each method the status by how the principal comes. MINE and
# THEIRS stand for an API key (a machine's key) of their own account, and of another one.
ELSEWHERE: dict[tuple[Route, str], dict[str, tuple[int, ...]]] = {
    (Route.ROOT, "/"): {"HEAD": _ANY},
    (Route.BASE, "/v2/"): dict.fromkeys(("GET", "HEAD"), (401, 200, 401, 401, 200, 200, 200, 200, 401)),
    (Route.CATALOG, "/v2/_catalog"): {"GET": (401, 200, 401, 401, 200, 401, 200, 200, 401)},
    # A token is no signature; a form without fields asks for nothing.
    (Route.TOKEN, "/v2/token"): {"GET": (200, 403, 403, 401, 403, 403, 200, 403, 200), "POST": (400,) * 9},
    (Route.EXCHANGE, "/oauth/token"): {"POST": (400,) * 9},
    (Route.ME, "/api/me?ts=1"): {"POST": (401,) * 9},
    (Route.SIGNOUT, "/api/signout?ts=1"): {"POST": (401,) * 9},
    (Route.HEALTH, "/healthz"): {"GET": _ANY, "HEAD": _ANY},
    (Route.METRICS, "/metrics"): {"GET": _ANY},
    (Route.CAPABILITY, "/v2/_capability/x"): {"GET": (404,) * 9, "HEAD": (404,) * 9},
    (Route.STORAGE, "/v2/_storage/x"): {"PUT": (403,) * 9},
    (Route.ACCOUNT, "/api/account"): {"GET": (*_NO, 200, 401, 200, 200, 200)},
    (Route.CREDENTIALS, "/api/credentials"): {
        "GET": (*_NO, 200, 401, 200, 200, 200),
        "POST": (*_NO, 201, 401, 403, 403, 201),
    },
    (Route.REVOKE_SECRET, "/api/credentials/revoke"): {"POST": (202,) * 9},
    (Route.CREDENTIAL, "/api/credentials/MINE"): {"DELETE": (*_NO, 204, 401, 403, 403, 204)},
    (Route.CREDENTIAL, "/api/credentials/THEIRS"): {"DELETE": (*_NO, 404, 401, 403, 403, 404)},
    (Route.ROTATE, "/api/credentials/MINE/rotate"): {"POST": (*_NO, 200, 401, 403, 403, 200)},
    (Route.ROTATE, "/api/credentials/THEIRS/rotate"): {"POST": (*_NO, 404, 401, 403, 403, 404)},
    (Route.MACHINE, "/api/user/keys/MINE"): {"DELETE": (*_NO, 403, 401, 403, 403, 200)},
    (Route.MACHINE, "/api/user/keys/THEIRS"): {"DELETE": (*_NO, 404, 401, 403, 403, 404)},
    (Route.REPOSITORIES, "/api/repositories"): {"GET": (*_NO, 200, 401, 200, 200, 200)},
    (Route.PAGE_LINK, "/api/page"): {"POST": (*_NO, 201, 401, 403, 403, 201)},
    # Nobody here has a password, and nothing proves whose machine it is that waits.
    (Route.PASSWORD, "/api/password"): {"PUT": (*_NO, 403, 401, 403, 403, 403)},
    (Route.CONNECTION, "/api/connections/WAITING"): {
        "GET": (*_NO, 200, 401, 403, 403, 200),
        "PUT": (*_NO, 403, 401, 403, 403, 403),
    },
    (Route.SESSIONS, "/api/sessions"): {
        "GET": (*_NO, 200, 401, 403, 403, 200),
        "DELETE": (*_NO, 204, 401, 403, 403, 204),
    },
    (Route.SESSION, "/api/sessions/MINE"): {"DELETE": (*_NO, 204, 401, 403, 403, 204)},
    (Route.SESSION, "/api/sessions/THEIRS"): {"DELETE": (*_NO, 404, 401, 403, 403, 404)},
}
# The same for a job, where it is not refused because it has no account (403).
JOBS_ELSEWHERE = {
    ("HEAD", "/"): 200,
    ("GET", "/v2/"): 200,
    ("HEAD", "/v2/"): 200,
    ("GET", "/v2/_catalog"): 401,
    ("GET", "/v2/token"): 200,
    ("POST", "/v2/token"): 400,
    ("POST", "/oauth/token"): 400,
    ("POST", "/api/me?ts=1"): 401,
    ("POST", "/api/signout?ts=1"): 401,
    ("GET", "/healthz"): 200,
    ("HEAD", "/healthz"): 200,
    ("GET", "/metrics"): 200,
    ("GET", "/v2/_capability/x"): 404,
    ("HEAD", "/v2/_capability/x"): 404,
    ("PUT", "/v2/_storage/x"): 403,
    ("POST", "/api/credentials/revoke"): 202,
    ("GET", "/api/account"): 401,
}
# What is for administrators, by a machine's key or a session, and their status. SOMEBODY is an account.
ADMINISTRATION: dict[tuple[Route, str], dict[str, int]] = {
    (Route.USERS, "/api/users"): {"GET": 200, "POST": 201},
    (Route.USER, "/api/users/SOMEBODY"): {"GET": 200, "PATCH": 200, "DELETE": 200},
    (Route.USER, "/api/users/nobody-here"): {"GET": 404, "PATCH": 404, "DELETE": 404},
    (Route.USER_LINK, "/api/users/SOMEBODY/link"): {"POST": 201, "DELETE": 204},
    (Route.USER_LINK, "/api/users/nobody-here/link"): {"POST": 404, "DELETE": 404},
    (Route.AUDIT, "/api/audit"): {"GET": 200},
    (Route.SYSTEM, "/api/system"): {"GET": 200},
}


@dataclass(frozen=True)
class Cell:
    """One request of one principal, and its status."""

    who: Who = field(repr=False)
    method: str
    target: str
    status: int
    repository: str = field(repr=False, default="")


def cells(who: Who) -> Iterator[Cell]:
    """Every request of a principal. What a route does not have is refused before anybody is looked at.

    An API key that comes as docker sends it is another way to say the same: it is tried where docker asks.
    """
    for cell in _all_cells(who):
        if who.name.endswith(", Basic") and not cell.target.startswith("/v2/"):
            continue
        if cell.status != 405 or who.name in ("nobody", "owner", "garbage"):
            yield cell


def _all_cells(who: Who) -> Iterator[Cell]:
    for method in METHODS:
        for repository, may, public in zip(REPOSITORIES, who.may, PUBLIC, strict=True):
            there = repository != "acme/missing"
            for rest, needs in IN_REPOSITORY.values():
                status = _in_repository(who, may, needs.get(method), public, there)
                yield Cell(who, method, f"/v2/{repository}/{rest}", status, repository)
            for target, needs in OWN_REPOSITORY.values():
                status = _own_repository(who, may, needs.get(method), there)
                yield Cell(who, method, target.format(repository), status, repository)
        for (_, target), rows in ELSEWHERE.items():
            yield Cell(who, method, target, _elsewhere(who, method, target, rows.get(method)))
        for (_, target), allowed in ADMINISTRATION.items():
            yield Cell(who, method, target, _administration(who, allowed.get(method)))
        for target, status in team_cells(who, method):
            yield Cell(who, method, target, status)


def _elsewhere(who: Who, method: str, target: str, statuses: tuple[int, ...] | None) -> int:
    if statuses is None:
        return 405
    if who.comes.startswith("service"):
        own = target.startswith("/api/") and statuses[0] == 401 and "?ts=" not in target
        column = statuses[COMES.index(who.comes.replace("service", "key"))]
        return 403 if own and target != "/api/account" else column
    if who.comes != "job":
        return statuses[COMES.index(who.comes)]
    if target == "/api/account" and "i" in who.asked:
        return 200
    return JOBS_ELSEWHERE.get((method, target), 403)


def _in_repository(who: Who, may: str, row: Row | None, public: str, there: bool) -> int:
    if row is None:
        return 405
    need, present, missing = row
    if who.comes in ("bad token", "bad key"):
        return 401
    if who.comes in ("nobody", "session"):  # the registry's API knows no cookies
        return present if need in public else 401
    if need not in may:
        return 404 if need == "p" else 403
    if who.comes == "job" and (need not in who.asked or "w" not in may):  # its token is for its own only
        return 401
    return 401 if who.comes == "astray" else present if there else missing


def _own_repository(who: Who, may: str, row: Row | None, there: bool) -> int:
    if row is None:
        return 405
    need, present, missing = row
    if who.comes == "job":  # where it has no publisher it is anybody
        return 403 if "w" in may else 401
    if who.comes.startswith("service"):
        return 403
    if who.comes not in ("machine", "key", "key token", "session"):
        return 401
    if need != "read" and who.comes in ("key", "key token"):
        return 403
    if "p" not in may:
        return 404
    if (need == "own" and not who.owns) or (need == "write" and "w" not in may):
        return 403
    return present if there else missing


def _administration(who: Who, status: int | None) -> int:
    if status is None:
        return 405
    if who.comes not in ("machine", "key", "key token", "session", "job", "service", "service token"):
        return 401
    return status if who.user == "admin" and who.comes in ("machine", "session") else 403
