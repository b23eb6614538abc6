"""A CI job's ID token as the password of the clients people have: crane, and skopeo (as podman and buildah).

It is sent at each token request, so that it is used several times: good for one repository until it is over.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from identity_provider import JOB, Provider, provider
from peers import Tool
from test_client_logins import Private, at, layer, sign_in_with_crane, sign_in_with_skopeo, words

from registry.net.http import Http
from registry.server.issuers import Issuer
from registry.server.service import Plan, Service
from registry.wire.messages import Origin, Transport

REPOSITORY = "acme/notes"


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Private, Provider]]:
    """A registry whose acme/notes and acme/other are published by one provider's jobs."""
    http = Http()

    def to_issuer(_origin: Origin, _ca: str) -> Transport:
        return http

    plan = Plan(tmp_path_factory.mktemp("jobs") / "data", issuer_transport=to_issuer)
    with provider() as here:
        service = Service(plan)
        service.registry.accounts.add_user("acme")
        claims = {"repository_owner_id": JOB["repository_owner_id"]}
        for name in (REPOSITORY, "acme/other"):
            service.registry.publishers.add(name, Issuer(here.url), claims, new_issuer=True)
        yield Private(service, service.start()), here
        service.stop()
    http.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where a client keeps its logins, and what it is to push."""
    (tmp_path / "notes.txt").write_bytes(b"about the model\n")
    layer(tmp_path / "layer.tar")
    return tmp_path


def test_crane_and_skopeo_publish_by_an_id_token(
    jobs: tuple[Private, Provider], crane: Tool, skopeo: Tool, home: Path
) -> None:
    private, here = jobs
    name, other = f"{private.host}/{REPOSITORY}:v1", f"{private.host}/acme/other:v1"
    mine = at(crane, home)
    sign_in_with_crane(mine, private, here.token(private.url))
    mine(*words("crane", "push", name))
    assert b"layers" in mine(*words("crane", "pull", name)).out
    assert mine.run(*words("crane", "push", other)).code != 0  # the token is the first repository's
    assert mine.run(*words("crane", "delete", name)).code != 0

    sign_in_with_skopeo(at(skopeo, home), private, here.token(private.url))
    at(skopeo, home)(*words("skopeo", "push", name))  # to another tag: it reads and writes
    assert b"layers" in at(skopeo, home)(*words("skopeo", "pull", f"{name}-copy")).out


def test_what_differs_is_said_by_the_client(jobs: tuple[Private, Provider], crane: Tool, home: Path) -> None:
    private, here = jobs
    token = here.token(private.url, None, "one", repository_owner_id="66")
    mine = at(crane, home)
    sign_in_with_crane(mine, private, token)
    refused = mine.run(*words("crane", "push", f"{private.host}/{REPOSITORY}:v2"))
    assert refused.code != 0
    assert "repository_owner_id ('66')" in refused.err
