"""What an owner says of whose jobs publish: claims that name somebody for good, issuers that are known."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from exchange_kit import published
from guarded import Door, document, key, text
from identity_provider import Provider

from registry.errors import InvalidError
from registry.server import audit
from registry.server.depot_memory import MemoryDepot
from registry.server.principal import Right
from registry.server.publishers import check_claims
from registry.wire.messages import Response


@pytest.fixture
def provider() -> Provider:
    return Provider("https://ci.example")


@pytest.fixture
def door(provider: Provider) -> Iterator[Door]:
    door = published(provider)
    yield door
    door.engine.dispose()


GITHUB = "https://token.actions.githubusercontent.com"
BAD_CLAIMS: dict[str, tuple[str, dict[str, str]]] = {
    "none": (GITHUB, {}),
    "only names": (GITHUB, {"repository": "acme/ml"}),
    "only a subject at a public forge": (GITHUB, {"sub": "repo:acme/ml:ref:refs/heads/main"}),
    "a subject and a name": ("https://git.acme.example", {"sub": "x", "repository": "acme/ml"}),
    "a name at GitLab": ("https://gitlab.com", {"project_path": "acme/ml"}),
    "an empty value": (GITHUB, {"repository_id": ""}),
    "what is looked at anyway": (GITHUB, {"repository_id": "1", "aud": "x"}),
    "too many": (GITHUB, {"repository_id": "1", **{f"c{number}": "x" for number in range(16)}}),
}


@pytest.mark.parametrize("case", BAD_CLAIMS)
def test_claims_that_would_let_others_in_are_refused(case: str) -> None:
    with pytest.raises(InvalidError):
        check_claims(*BAD_CLAIMS[case])


def test_claims_that_name_an_owner_for_good_are_taken() -> None:
    check_claims(GITHUB, {"repository_id": "74"})
    check_claims("https://gitlab.com", {"namespace_id": "12", "project_path": "acme/ml"})
    check_claims("https://kubernetes.default.svc", {"sub": "system:serviceaccount:ml:publisher"})


ROOT, OWNER, READER = key(7), key(1), key(3)
ACCOUNT = "registry:account:*"


def api(door: Door, who: object, method: str, path: str, asked: object = None) -> Response:
    token = door.token(who, ACCOUNT)  # type: ignore[arg-type]
    return door.ask(method, path, token=token, body=json.dumps(asked).encode() if asked else b"")


def test_an_owner_lists_adds_and_removes_in_the_account_api(door: Door, provider: Provider) -> None:
    door.serve(MemoryDepot())
    asked = {"issuer": provider.url, "claims": {"repository_id": "9"}}
    made = api(door, OWNER, "POST", "/api/publishers/acme/new", asked)
    assert made.status == 201, text(made)
    said = document(made)
    assert said == {
        "id": said["id"],
        "repository": "acme/new",
        "issuer": provider.url,
        "audience": None,
        "claims": {"repository_id": "9"},
        "created": "2027-01-15T08:00:00Z",
    }
    listed = json.loads(text(api(door, OWNER, "GET", "/api/publishers/acme")))
    assert [each["repository"] for each in listed] == ["acme/new", "acme/tiny"]
    assert json.loads(text(api(door, OWNER, "GET", "/api/publishers/acme/new"))) == [said]
    wrong = api(door, OWNER, "DELETE", f"/api/publishers/acme/tiny?id={said['id']}")
    assert wrong.status == 404
    assert api(door, OWNER, "DELETE", f"/api/publishers/acme/new?id={said['id']}").status == 204
    assert [row.action for row in audit.latest(door.engine, limit=2)] == ["publisher.remove", "publisher.add"]


def test_only_an_administrator_names_an_issuer(door: Door, provider: Provider) -> None:
    door.serve(MemoryDepot())
    door.join("root", ROOT, admin=True)
    door.join("ben", READER)
    door.rights.grant("ben", "acme", Right.WRITE)
    new = {"issuer": "https://git.acme.example", "claims": {"repository_id": "9"}}
    path = "/api/publishers/acme/new"
    assert api(door, READER, "POST", path, new).status == 403
    assert api(door, OWNER, "POST", path, new).status == 400
    own_ca = {**new, "issuer": provider.url, "ca": "x"}
    assert api(door, OWNER, "POST", path, own_ca).status == 403
    assert api(door, OWNER, "POST", path, {**new, "issuer": GITHUB}).status == 201
    assert api(door, ROOT, "POST", path, new).status == 201
    assert api(door, OWNER, "POST", path, new).status == 201  # it is known now
    assert api(door, OWNER, "POST", path, {**new, "issuer": "http://10.0.0.1"}).status == 400
    assert len(door.publishers.forget("https://git.acme.example")) == 2
    assert api(door, OWNER, "POST", path, new).status == 400  # no more
    assert [each.issuer for each in door.publishers.listed("acme/new")] == [GITHUB]
    door.issuers.wait()
