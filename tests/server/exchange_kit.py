"""A guarded registry with one trusted publisher, and what a job says to it."""

from __future__ import annotations

from urllib.parse import urlencode

from guarded import ORIGIN, Door, document, key, text
from identity_provider import Provider

from registry.wire.exchange import GRANT, ID_TOKEN
from registry.wire.messages import Response

CLAIMS = {"repository": "acme/ml", "repository_owner_id": "65", "ref": "refs/heads/main"}
SCOPE = "repository:acme/tiny:pull,push"


def published(provider: Provider) -> Door:
    """A registry where acme's jobs publish acme/tiny."""
    door = Door()
    door.join("acme", key(1))
    door.trust(provider, "acme/tiny", **CLAIMS)
    return door


def exchange(door: Door, token: str, *scopes: str, kind: str = ID_TOKEN, **fields: str) -> Response:
    form = {"grant_type": GRANT, "subject_token_type": kind, "subject_token": token, **fields}
    body = urlencode([*form.items(), *(("scope", scope) for scope in scopes)])
    return door.ask("POST", "/oauth/token", body=body.encode())


def job(door: Door, provider: Provider, *scopes: str) -> str:
    """A job's token."""
    answer = exchange(door, provider.token(ORIGIN, door.now), *(scopes or (SCOPE,)))
    assert answer.status == 200, text(answer)
    return str(document(answer)["access_token"])


def may_push(door: Door, token: str, repository: str = "acme/tiny") -> int:
    return door.ask("PUT", f"/v2/{repository}/manifests/v1", token=token).status


def refusal(answer: Response) -> str:
    assert answer.status == 403, text(answer)
    said = document(answer)
    assert said["error"] == "access_denied"
    return str(said["error_description"])
