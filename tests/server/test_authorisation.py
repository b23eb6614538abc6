"""The authorisation table: every principal × repository × route and method, with its exact status.

What is expected is written down here by hand, and never asked of the guard. A route that is added to the
registry without a row here fails, and so does a method that nobody expects.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from guarded import HOST, ORIGIN, Door, account_rows, database, key, text

from registry.auth import signing
from registry.model.digests import Digest
from registry.model.manifests import DOCKER_CONFIG, DOCKER_MANIFEST, Descriptor, Manifest
from registry.server.app import App
from registry.server.depot import DiskDepot
from registry.server.guard import Guard
from registry.server.metrics import Metrics
from registry.server.principal import Credential, Principal, Right
from registry.server.table import table
from registry.server.tokens import TOKEN_SECONDS
from registry.wire.messages import Response
from registry.wire.routes import Route

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW")
CONFIG, LOOSE = b"{}", b"a blob that no manifest names"
BLOB = Digest.of(LOOSE)
DESCRIPTOR = Descriptor(DOCKER_CONFIG, Digest.of(CONFIG), len(CONFIG))
MANIFEST = json.dumps(
    {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": DESCRIPTOR.as_json(), "layers": []}
).encode()

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

# Below a repository: the path, and for each method what it needs, and what it then gets where the
# repository is there, and where it is not.
IN_REPOSITORY: dict[Route, tuple[str, dict[str, tuple[str, int, int]]]] = {
    Route.MANIFEST: (
        "manifests/latest",
        {"GET": ("r", 200, 404), "HEAD": ("r", 200, 404), "PUT": ("w", 201, 404), "DELETE": ("w", 202, 404)},
    ),
    Route.BLOB: (
        f"blobs/{BLOB}",
        {"GET": ("r", 200, 404), "HEAD": ("r", 200, 404), "DELETE": ("w", 202, 404)},
    ),
    Route.UPLOADS: ("blobs/uploads/", {"POST": ("w", 202, 202)}),
    Route.UPLOAD: (
        f"blobs/uploads/UPLOAD?digest={BLOB}",
        {"GET": ("w", 204, 404), "PATCH": ("w", 202, 404), "PUT": ("w", 201, 404), "DELETE": ("w", 204, 404)},
    ),
    Route.CONTENT: ("blobs/uploads/UPLOAD/content", {}),  # only the guard goes there, by a storage link
    Route.TAGS: ("tags/list", {"GET": ("r", 200, 404)}),
    Route.REFERRERS: (f"referrers/{BLOB}", {"GET": ("r", 200, 200)}),
}

# Where there is no repository: the path, and the status for each method, one for everybody or by principal.
# 1: those whose token is good; 2: those who came without one; 3: those whose token is not good any more.
ELSEWHERE: dict[Route, tuple[str, dict[str, tuple[int, int, int]]]] = {
    Route.ROOT: ("/", {"HEAD": (200, 200, 200)}),
    Route.BASE: ("/v2/", {"GET": (200, 401, 401), "HEAD": (200, 401, 401)}),
    Route.CATALOG: ("/v2/_catalog", {"GET": (200, 401, 401)}),
    # A Bearer token is no signature; a form without fields asks for nothing.
    Route.TOKEN: ("/v2/token", {"GET": (403, 200, 403), "POST": (400, 400, 400)}),
    Route.ME: ("/api/me?ts=1", {"POST": (401, 401, 401)}),
    Route.SIGNOUT: ("/api/signout?ts=1", {"POST": (401, 401, 401)}),
    # None of these tokens is for the account.
    Route.ACCOUNT: ("/api/account", {"GET": (401, 401, 401)}),
    Route.CREDENTIALS: ("/api/credentials", {"GET": (401, 401, 401), "POST": (401, 401, 401)}),
    Route.REVOKE_SECRET: ("/api/credentials/revoke", {"POST": (400, 400, 400)}),
    Route.CREDENTIAL: ("/api/credentials/x", {"DELETE": (401, 401, 401)}),
    Route.ROTATE: ("/api/credentials/x/rotate", {"POST": (401, 401, 401)}),
    Route.MACHINE: ("/api/user/keys/x", {"DELETE": (401, 401, 401)}),
    Route.REPOSITORIES: ("/api/repositories", {"GET": (401, 401, 401)}),
    Route.REPOSITORY: ("/api/repositories/acme/x", {"GET": (401, 401, 401), "PATCH": (401, 401, 401)}),
    Route.SHARE: ("/api/repositories/acme/shares/x", {"PUT": (401, 401, 401), "DELETE": (401, 401, 401)}),
    Route.HEALTH: ("/healthz", {"GET": (200, 200, 200), "HEAD": (200, 200, 200)}),
    Route.METRICS: ("/metrics", {"GET": (200, 200, 200)}),
    Route.CAPABILITY: ("/v2/_capability/x", {"GET": (404, 404, 404), "HEAD": (404, 404, 404)}),
    Route.STORAGE: ("/v2/_storage/x", {"PUT": (403, 403, 403)}),
}


@dataclass(frozen=True)
class Cell:
    """One cell of the table."""

    principal: str
    repository: str
    method: str
    target: str
    status: int

    def __str__(self) -> str:
        return f"{self.principal}, {self.method} {self.target.replace(str(BLOB), 'DIGEST')}"


def in_repository(principal: str, may: str, row: tuple[str, int, int] | None, there: bool) -> int:
    """The status for somebody who `may` do this much, by the row of a route and method."""
    if row is None:
        return 405
    need, present, missing = row
    if may == "x":
        return 401
    if may == "w" or may == need:
        return present if there else missing
    if principal == "anonymous":
        return 401
    return 404 if need == "r" else 403


def cells() -> Iterator[Cell]:
    for principal, rights in MAY.items():
        for repository, may in zip(REPOSITORIES, rights, strict=True):
            for rest, needs in IN_REPOSITORY.values():
                for method in METHODS:
                    there = repository != "acme/missing"
                    status = in_repository(principal, may, needs.get(method), there)
                    yield Cell(principal, repository, method, f"/v2/{repository}/{rest}", status)
        column = 1 if principal == "anonymous" else 2 if rights == "xxx" else 0
        for target, statuses in ELSEWHERE.values():
            for method in METHODS:
                yield Cell(principal, "", method, target, statuses.get(method, (405,) * 3)[column])


KEYS = {name: key(number) for number, name in enumerate(MAY, 1) if "anonymous" not in name}


@dataclass(frozen=True)
class Stage:
    """What is there: two repositories with a tag, a blob that no manifest names, and an open upload each."""

    depot: DiskDepot
    uploads: dict[str, str]

    @classmethod
    def set(cls, directory: Path) -> Stage:
        numbers = itertools.count()
        depot = DiskDepot(directory, database(), lambda: 0.0, lambda: f"s{next(numbers)}")
        uploads = {"acme/missing": "s0"}
        for repository in ("acme/private", "acme/public"):
            for data in (CONFIG, LOOSE):
                upload = depot.begin(repository)
                upload.write(data)
                upload.commit(Digest.of(data))
                upload.close()
            depot.publish(repository, Manifest.parse(MANIFEST), "latest")
            upload = depot.begin(repository)
            upload.write(LOOSE)
            upload.close()
            uploads[repository] = upload.id
        return cls(depot, uploads)

    def behind(self, door: Door) -> Guard:
        """The guard, in front of this."""
        app = App(self.depot, door.rights, door.links, direct_upload=True)
        rows = account_rows(door.identity, self.depot)
        return replace(door.guard, table=table(app, door.identity, Metrics().answer, rows))


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """For requests that are refused, or only read."""
    return Stage.set(tmp_path_factory.mktemp("unchanged"))


@pytest.fixture(scope="module")
def door() -> Door:
    """Everybody of the table, with the accounts as they are when the requests come."""
    door = Door()
    for name, who in KEYS.items():
        door.join("acme" if name == "owner" else name.replace(" ", "-"), who, admin=name == "admin")
    door.rights.set_public("acme/public", True)
    for name in ("writer", "disabled", "revoked-key"):
        door.rights.grant(name, "acme", Right.WRITE)
    door.rights.grant("expired-token", "acme", Right.WRITE)
    for repository in ("acme/private", "acme/public"):
        door.rights.grant("reader", repository, Right.READ)
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
    door.credentials.revoke_key(KEYS["revoked key"].public.fingerprint)
    return held


@pytest.mark.parametrize("cell", [*cells()], ids=str)
def test_every_cell_of_the_table(
    door: Door,
    tokens: dict[str, str],
    unchanged: Stage,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    cell: Cell,
) -> None:
    changes = cell.method not in ("GET", "HEAD") and cell.status < 300
    stage = Stage.set(tmp_path_factory.mktemp("changed")) if changes else unchanged
    monkeypatch.setattr(door, "guard", stage.behind(door))
    target = cell.target.replace("UPLOAD", stage.uploads.get(cell.repository, ""))
    body = MANIFEST if cell.method == "PUT" and "manifests" in target else b""
    response = door.ask(cell.method, target, token=tokens.get(cell.principal, ""), body=body)
    assert response.status == cell.status
    assert ("WWW-Authenticate" in response.headers) is (cell.status == 401 and "?ts=" not in cell.target)


def test_every_route_has_a_row() -> None:
    pages = {route for route in Route if route.name.endswith("_PAGE")} | {Route.ASSET, Route.PAGE_LINK}
    assert set(IN_REPOSITORY) | set(ELSEWHERE) == set(Route) - pages


# --- where a signature or a link says who one is -------------------------------------------------------

WHO: dict[str, tuple[int, int, int, int]] = {
    # principal: /v2/token signed, /api/me signed, a link to a blob given before, one into an upload
    "stranger": (200, 200, 404, 403),
    "reader": (200, 200, 200, 403),
    "writer": (200, 200, 200, 200),
    "owner": (200, 200, 200, 200),
    "admin": (200, 200, 200, 200),
    "disabled": (403, 401, 404, 403),
    "revoked key": (403, 401, 404, 403),
    "expired token": (200, 200, 200, 200),  # only the token is over, not the key
    "unknown key": (403, 401, 404, 403),
}


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage.set(tmp_path)


@pytest.fixture
def ended(door: Door, stage: Stage, tokens: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Door:
    """The door to the real thing, after three of them lost their say."""
    assert tokens
    monkeypatch.setattr(door, "guard", stage.behind(door))
    return door


@pytest.mark.parametrize("principal", [*WHO])
def test_every_signature_and_link(ended: Door, stage: Stage, principal: str) -> None:
    who = KEYS.get(principal, key(99))
    held = {each.fingerprint: each.id for each in ended.credentials.list_keys()}
    known = Principal(credential=Credential("key", held.get(who.public.fingerprint, "none")))
    link = ended.links.download(ORIGIN, known, "acme/private", BLOB)
    upload = ended.links.upload(ORIGIN, known, "acme/private", stage.uploads["acme/private"], len(LOOSE))
    got = (
        ended.send(ended.token_request(who, "repository:acme/private:pull")).status,
        ended.call(who, "POST", "/api/me").status,
        ended.ask("GET", f"/v2/_capability/{link}").status,
        put(ended, upload).status,
    )
    assert got == WHO[principal]
    assert ended.call(who, "POST", "/api/signout").status == 200
    assert ended.call(who, "HEAD", "/").status == 200


@pytest.mark.parametrize("repository, status", [("acme/private", 404), ("acme/public", 200)])
def test_a_link_given_to_anybody(ended: Door, repository: str, status: int) -> None:
    link = ended.links.download(ORIGIN, Principal(), repository, BLOB)
    assert ended.ask("GET", f"/v2/_capability/{link}").status == status


@pytest.mark.parametrize("repository", ["acme/private", "acme/public"])
def test_a_storage_link_given_to_anybody_stores_nothing(ended: Door, stage: Stage, repository: str) -> None:
    upload = stage.uploads[repository]
    assert put(ended, ended.links.upload(ORIGIN, Principal(), repository, upload, len(LOOSE))).status == 403


def put(door: Door, link: str) -> Response:
    """A direct upload of LOOSE."""
    return door.ask("PUT", f"/v2/_storage/{link}", body=LOOSE, Content_Type="application/octet-stream")


@pytest.mark.parametrize("repository", REPOSITORIES)
@pytest.mark.parametrize("route", IN_REPOSITORY, ids=lambda route: route.name)
def test_a_bare_signature_of_the_owner_opens_no_repository(
    ended: Door, route: Route, repository: str
) -> None:
    rest, needs = IN_REPOSITORY[route]
    for method in needs:
        target = f"/v2/{repository}/{rest}"
        target += f"{'&' if '?' in target else '?'}ts={ended.now:.0f}"
        value = signing.authorization(KEYS["owner"], signing.call_text(method, target))
        assert ended.ask(method, target, Host=HOST, Authorization=value).status == 401


# --- what an upload and a mount may reach, with the real depot behind the guard -------------------------


def test_an_upload_is_reached_through_its_own_repository_only(ended: Door, stage: Stage) -> None:
    upload = stage.uploads["acme/private"]
    owner = ended.token(KEYS["owner"], "repository:acme/public:push", "repository:acme/private:push")
    stranger = ended.token(KEYS["stranger"], "repository:stranger/x:push")
    for repository, token in (("acme/public", owner), ("stranger/x", stranger)):
        for method in ("GET", "PATCH", "PUT", "DELETE"):
            target = f"/v2/{repository}/blobs/uploads/{upload}?digest={Digest.of(b'other')}"
            assert ended.ask(method, target, token=token).status == 404
    assert ended.ask("GET", f"/v2/acme/private/blobs/uploads/{upload}", token=owner).status == 204


def test_a_blob_cannot_be_mounted_out_of_a_private_repository(ended: Door, stage: Stage) -> None:
    token = ended.token(KEYS["stranger"], "repository:stranger/x:pull,push")
    for query in (f"mount={BLOB}&from=acme/private", f"mount={BLOB}&from=ACME/Private"):
        assert ended.ask("POST", f"/v2/stranger/x/blobs/uploads/?{query}", token=token).status == 202
    assert ended.ask("GET", f"/v2/stranger/x/blobs/{BLOB}", token=token).status == 404
    assert ended.ask("POST", f"/v2/stranger/x/blobs/uploads/?mount={BLOB}", token=token).status == 201
    assert stage.depot.blob("stranger/x", BLOB) is not None  # out of acme/public, which anybody may read


def test_the_catalogue_lists_what_one_may_read(ended: Door) -> None:
    def listed(token: str) -> object:
        return json.loads(text(ended.ask("GET", "/v2/_catalog", token=token)))["repositories"]

    everything, public = ["acme/private", "acme/public"], ["acme/public"]
    scope = "registry:catalog:*"
    assert listed(ended.token(None, scope)) == listed(ended.token(KEYS["stranger"], scope)) == public
    assert listed(ended.token(KEYS["reader"], scope)) == everything
    assert listed(ended.token(KEYS["admin"], scope)) == everything
