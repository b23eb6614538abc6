"""A push that says who may read: a registry that cannot be told so is sent nothing that anybody would see."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from registry_double import ORIGIN

from registry.errors import DeniedError, ProtocolError, Reason, RegistryError
from registry.model.manifests import DOCKER_MANIFEST, Manifest
from registry.model.names import Name
from registry.targets.manifest_push import PushOptions
from registry.targets.peer import Peer
from registry.targets.remote import Remote
from registry.wire.headers import Headers
from registry.wire.messages import Request, Response
from registry.wire.visibility import DENIED

NAME = Name.parse("models.example/acme/tiny:1")
CONFIG = {"mediaType": "x", "digest": f"sha256:{'0' * 64}", "size": 2}
DOCUMENT = {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": CONFIG, "layers": []}
MANIFEST = Manifest.parse(json.dumps(DOCUMENT).encode())


class Far:
    """A registry that answers by method, and keeps what it was asked."""

    def __init__(self, answers: Mapping[str, Response]) -> None:
        self.answers = answers
        self.asked: list[Request] = []

    def __call__(self, request: Request) -> Response:
        self.asked.append(request)
        return self.answers[request.method]


def says(status: int, visibility: str = "", body: bytes = b"") -> Response:
    return Response(status, Headers({"X-Ferry-Visibility": visibility} if visibility else {}), body)


def remote(far: Far, visibility: str = "private") -> Remote:
    return Remote(Peer(far, ORIGIN, now=lambda: 0.0), options=PushOptions(visibility))


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize(
    ("said", "kind", "reason"),
    [
        ("", ProtocolError, Reason.VISIBILITY_UNSUPPORTED),
        (DENIED, DeniedError, Reason.NOT_ALLOWED),
    ],
)
def test_a_registry_that_cannot_be_told_or_not_by_us_gets_nothing(
    status: int, said: str, kind: type[RegistryError], reason: Reason
) -> None:
    far = Far({"HEAD": says(status, said)})
    with pytest.raises(kind) as caught:
        remote(far).prepare(NAME, MANIFEST)
    assert caught.value.reason is reason
    assert [request.method for request in far.asked] == ["HEAD"]


@pytest.mark.parametrize("status", [200, 404])
def test_one_that_can_is_told_with_the_manifest_and_says_so_back(status: int) -> None:
    far = Far(
        {"HEAD": says(status, "supported"), "PUT": says(201, "private"), "GET": says(200, "", MANIFEST.raw)}
    )
    there = remote(far)
    there.prepare(NAME, MANIFEST)
    there.publish(NAME, MANIFEST)
    told = [request.headers.get("X-Ferry-Visibility") for request in far.asked]
    assert told == ["", "private", ""]


def test_what_is_there_already_is_put_again_for_its_visibility() -> None:
    far = Far({"PUT": says(201, "public"), "GET": says(200, "", MANIFEST.raw)})
    remote(far, "public").publish(NAME, MANIFEST, was=MANIFEST.digest)
    assert [request.method for request in far.asked] == ["PUT", "GET"]


@pytest.mark.parametrize("said", ["", "public", "supported"])
def test_one_that_does_not_confirm_it_is_said(said: str) -> None:
    far = Far({"PUT": says(201, said), "GET": says(200, "", MANIFEST.raw)})
    with pytest.raises(ProtocolError, match="does not say that it is private"):
        remote(far).publish(NAME, MANIFEST)


def test_who_may_not_write_hears_that_first() -> None:
    with pytest.raises(DeniedError):
        remote(Far({"HEAD": says(403)})).prepare(NAME, MANIFEST)


def test_without_the_option_nothing_is_asked_or_said() -> None:
    far = Far({"PUT": says(201), "GET": says(200, "", MANIFEST.raw)})
    there = remote(far, "")
    there.prepare(NAME, MANIFEST)
    there.publish(NAME, MANIFEST)
    assert [request.method for request in far.asked] == ["PUT", "GET"]
    assert all("X-Ferry-Visibility" not in request.headers for request in far.asked)
