"""The authorisation table: every principal × repository × route and method, with its exact status.

`authorisation_table` is the table, `authorisation_world` a registry with everybody in it. A route that is
added to the registry without a row there fails, and so does a method that nobody expects.
"""

from __future__ import annotations

import json

import pytest
from authorisation_table import (
    ADMINISTRATION,
    BLOB,
    ELSEWHERE,
    IN_REPOSITORY,
    LOOSE,
    OWN_REPOSITORY,
    PRINCIPALS,
    REPOSITORIES,
    Who,
    cells,
)
from authorisation_teams import TEAM
from authorisation_world import KEYS, OTHER, World
from guarded import ORIGIN, Door, text

from registry.auth import signing
from registry.auth.keys import PrivateKey
from registry.model.digests import Digest
from registry.server.key_scopes import parse_scopes
from registry.server.principal import Credential, Principal
from registry.wire.messages import Response
from registry.wire.routes import Route

# Pages have a table of their own.
PAGES = {route for route in Route if route.name.endswith("_PAGE")} | {Route.ASSET}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.made(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Another one, to be changed: each test that does works in a repository of its own."""
    return World.made(tmp_path_factory.mktemp("fresh"))


@pytest.mark.parametrize("who", PRINCIPALS, ids=lambda who: who.name)
def test_every_request_of_a_principal_has_the_status_of_the_table(world: World, who: Who) -> None:
    wrong = []
    for cell in cells(who):
        answer = world.ask(cell)
        challenged = "WWW-Authenticate" in answer.headers
        if answer.status != cell.status or challenged is not (
            answer.status == 401 and "?ts=" not in cell.target
        ):
            wrong.append((cell, answer.status))
    assert wrong == []


def test_the_table_is_large_enough_to_mean_something() -> None:
    assert sum(1 for who in PRINCIPALS for _ in cells(who)) >= 2400


def test_every_route_has_a_row() -> None:
    elsewhere = {route for route, _ in (*ELSEWHERE, *ADMINISTRATION)}
    team = {route for route, _, _ in TEAM}
    assert {*IN_REPOSITORY, *OWN_REPOSITORY, *elsewhere, *team} == set(Route) - PAGES


# --- where a signature or a link says who one is -------------------------------------------------------

WHO: dict[str, tuple[int, int, int, int]] = {
    # principal: /v2/token signed, /api/me signed, a link to a blob given before, one into an upload
    "stranger": (200, 200, 404, 403),
    "reader": (200, 200, 200, 403),
    "writer": (200, 200, 200, 200),
    "acme": (200, 200, 200, 200),
    "admin": (200, 200, 200, 200),
    "heir": (200, 200, 404, 403),
    "disabled": (403, 401, 404, 403),
    "revoked": (403, 401, 404, 403),
    "disconnected": (403, 401, 404, 403),
    "former owner": (403, 401, 404, 403),
    "unknown": (403, 401, 404, 403),
}


@pytest.mark.parametrize("principal", [*WHO])
def test_every_signature_and_link(world: World, principal: str) -> None:
    door, who = world.door, KEYS[principal]
    held = {each.fingerprint: each.id for each in door.credentials.list_keys()}
    known = Principal(credential=Credential("key", held.get(who.public.fingerprint, "none")))
    link = door.links.download(ORIGIN, known, "acme/private", BLOB)
    upload = door.links.upload(ORIGIN, known, "acme/private", world.uploads["acme/private"], len(LOOSE))
    got = (
        door.send(door.token_request(who, "repository:acme/private:pull")).status,
        door.call(who, "POST", "/api/me").status,
        door.ask("GET", f"/v2/_capability/{link}").status,
        put(door, upload).status,
    )
    assert got == WHO[principal]
    assert door.call(who, "POST", "/api/signout").status == 200
    assert door.call(who, "HEAD", "/").status == 200


@pytest.mark.parametrize(
    "apart, status", [(0, 200), (-300, 200), (300, 200), (-301, 403), (301, 403), (-86_400, 403), (1e9, 403)]
)
def test_a_signature_is_good_while_the_clocks_agree_and_once(world: World, apart: float, status: int) -> None:
    door = world.door
    request = door.token_request(KEYS["acme"], "repository:acme/private:pull", ts=door.now + apart)
    assert door.send(request).status == status
    assert door.send(request).status == 403


@pytest.mark.parametrize("repository, status", [("acme/private", 404), ("acme/public", 200)])
def test_a_link_given_to_anybody(world: World, repository: str, status: int) -> None:
    link = world.door.links.download(ORIGIN, Principal(), repository, BLOB)
    assert world.door.ask("GET", f"/v2/_capability/{link}").status == status


@pytest.mark.parametrize("repository", ["acme/private", "acme/public"])
def test_a_storage_link_given_to_anybody_stores_nothing(world: World, repository: str) -> None:
    door, upload = world.door, world.uploads[repository]
    assert put(door, door.links.upload(ORIGIN, Principal(), repository, upload, len(LOOSE))).status == 403


def put(door: Door, link: str) -> Response:
    """A direct upload of LOOSE."""
    return door.ask("PUT", f"/v2/_storage/{link}", body=LOOSE, Content_Type="application/octet-stream")


@pytest.mark.parametrize("repository", REPOSITORIES)
@pytest.mark.parametrize("route", IN_REPOSITORY, ids=lambda route: route.name)
def test_a_bare_signature_of_the_owner_opens_no_repository(
    world: World, route: Route, repository: str
) -> None:
    rest, needs = IN_REPOSITORY[route]
    for method in needs:
        target = f"/v2/{repository}/{rest}"
        target += f"{'&' if '?' in target else '?'}ts={world.door.now:.0f}"
        value = signing.authorization(KEYS["acme"], signing.call_text(method, target))
        assert world.door.ask(method, target, Authorization=value).status == 401


@pytest.mark.parametrize("cell", ELSEWHERE, ids=lambda cell: cell[1])
def test_a_bare_signature_of_the_owner_opens_no_account(world: World, cell: tuple[Route, str]) -> None:
    """It would be good at every server for as long as it is fresh (PROTOCOL section 4)."""
    route, path = cell
    for method, statuses in ELSEWHERE[cell].items():
        if path.startswith("/api/") and route not in (Route.ME, Route.SIGNOUT, Route.REVOKE_SECRET):
            target = f"{path}?ts={world.door.now:.0f}"
            value = signing.authorization(KEYS["acme"], signing.call_text(method, target))
            assert world.door.ask(method, target, Authorization=value).status == 401 == statuses[0]


# --- what an upload and a mount may reach, with the real depot behind the guard -------------------------


def test_the_catalogue_lists_what_one_may_read(world: World) -> None:
    def listed(who: PrivateKey | None) -> object:
        token = world.door.token(who, "registry:catalog:*")
        return json.loads(text(world.door.ask("GET", "/v2/_catalog", token=token)))["repositories"]

    everything, public = ["acme/private", "acme/public"], ["acme/public"]
    assert listed(None) == listed(KEYS["stranger"]) == listed(KEYS["heir"]) == public
    assert listed(KEYS["reader"]) == listed(KEYS["admin"]) == everything


def test_an_upload_is_reached_through_its_own_repository_only(fresh: World) -> None:
    door, upload = fresh.door, fresh.uploads["acme/private"]
    owner = door.token(KEYS["acme"], "repository:acme/public:push", "repository:acme/private:push")
    stranger = door.token(KEYS["stranger"], "repository:stranger/x:push")
    for repository, token in (("acme/public", owner), ("stranger/x", stranger)):
        for method in ("GET", "PATCH", "PUT", "DELETE"):
            target = f"/v2/{repository}/blobs/uploads/{upload}?digest={Digest.of(b'other')}"
            assert door.ask(method, target, token=token).status == 404
    assert door.ask("GET", f"/v2/acme/private/blobs/uploads/{upload}", token=owner).status == 204


def test_a_blob_cannot_be_mounted_out_of_a_private_repository(fresh: World) -> None:
    door = fresh.door
    token = door.token(KEYS["stranger"], "repository:stranger/x:pull,push")
    for query in (f"mount={BLOB}&from=acme/private", f"mount={BLOB}&from=ACME/Private"):
        assert door.ask("POST", f"/v2/stranger/x/blobs/uploads/?{query}", token=token).status == 202
    assert door.ask("GET", f"/v2/stranger/x/blobs/{BLOB}", token=token).status == 404
    assert door.ask("POST", f"/v2/stranger/x/blobs/uploads/?mount={BLOB}", token=token).status == 201
    assert fresh.depot.blob("stranger/x", BLOB) is not None  # out of acme/public, which anybody may read


def test_a_program_mounts_out_of_what_its_scopes_allow_only(fresh: World) -> None:
    door = fresh.door
    made = door.api_keys.create(door.accounts.user("acme"), parse_scopes(["acme/new:push"]))
    private = f"/v2/acme/new/blobs/uploads/?mount={OTHER}&from=acme/private"
    for path in (private, f"/v2/acme/new/blobs/uploads/?mount={OTHER}"):
        assert door.ask("POST", path, token=made.secret).status == 202
    wider = door.api_keys.create(door.accounts.user("acme"), parse_scopes(["acme/*:push"]))
    assert door.ask("POST", private, token=wider.secret).status == 201
