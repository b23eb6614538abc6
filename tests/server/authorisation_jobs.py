"""The CI jobs of the authorisation table: what their publishers let them do, and the tokens they bring."""

from __future__ import annotations

from guarded import ORIGIN, Door
from identity_provider import JOB, Provider

from registry.server.job_tokens import JobClaims, JobTokens
from registry.server.tokens import Scope, Signer

ALL = ("acme/private", "acme/public", "acme/missing")
PUSH, PULL = ("pull", "push"), ("pull",)
_CLAIMS = {"repository": JOB["repository"], "repository_owner_id": JOB["repository_owner_id"]}


def tokens(door: Door) -> dict[str, str]:
    """By the name that the table has for each, the token that a job brings."""
    published = {name: door.trust(Provider("https://ci.example"), name, **_CLAIMS) for name in ALL}
    private = {"acme/private": published["acme/private"]}
    removed = door.trust(Provider("https://ci.example"), "acme/private", **_CLAIMS)
    door.publishers.remove(removed)
    here = door.jobs.tokens
    elsewhere = JobTokens(Signer(bytes(32), here.clock, lambda: "1"), here.clock)
    early = JobTokens(Signer(here.signer.secret, lambda: door.now - 900, lambda: "2"), here.clock)
    claims = {"acme/private": removed}
    return {
        "job of everything": _token(door, here, published, *_scopes(PUSH, ALL)),
        "job of acme/private": _token(door, here, private, *_scopes(PUSH, ALL[:1])),
        "job of everything, to pull": _token(door, here, published, *_scopes(PULL, ALL)),
        "job of everything, who it is": _token(
            door, here, published, *_scopes(PUSH, ALL), Scope("registry", "account", ("*",))
        ),
        "job of a removed publisher": _token(door, here, claims, *_scopes(PUSH, ALL[:1])),
        "job of another server": _token(door, elsewhere, published, *_scopes(PUSH, ALL)),
        "job, its token over": _token(door, early, published, *_scopes(PUSH, ALL)),
    }


def _scopes(actions: tuple[str, ...], names: tuple[str, ...]) -> tuple[Scope, ...]:
    return tuple(Scope("repository", name, actions) for name in names)


def _token(door: Door, tokens: JobTokens, publishers: dict[str, str], *access: Scope) -> str:
    return tokens.issue(ORIGIN, JobClaims(publishers, access, door.now))[0]
