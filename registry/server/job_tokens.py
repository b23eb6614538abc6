"""Tokens of CI jobs, `fry_tp_…`: what a job gets for its ID token, signed by this server and kept nowhere.

A token names the publishers that it was given by; whether they are still there is looked up when it is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from registry.contracts import Clock
from registry.errors import DeniedError
from registry.server.principal import Claim
from registry.server.tokens import Scope, Signer, parse_access
from registry.wire.exchange import PATH

PREFIX = "fry_tp_"
TOKEN_SECONDS = 900
RENEWED_SECONDS = 6 * 3600  # from the first token on: uploads are long, and GitLab's ID tokens come once


@dataclass(frozen=True, slots=True)
class JobClaims:
    """What a job's token says: its `publishers` (their claims, by repository in lower case), the `access` it
    was asked for, and when the first of its tokens was issued (Unix seconds).
    """

    publishers: Mapping[str, str]
    access: tuple[Scope, ...]
    first: float

    def publisher_of(self, repository: str) -> str:
        """The claim of whose jobs may do something in `repository`; of "" the first one. "" for nobody's."""
        if not repository:
            return next(iter(self.publishers.values()), "")
        return self.publishers.get(repository.lower(), "")

    def narrowed(self, scopes: Sequence[Scope]) -> tuple[Scope, ...]:
        """`scopes` without the actions that the token was not asked for."""
        return tuple(Scope(each.type, each.name, self._among(each)) for each in scopes)

    def _among(self, scope: Scope) -> tuple[str, ...]:
        return tuple(
            action
            for action in scope.actions
            if any(each.covers(scope.type, scope.name, action) for each in self.access)
        )


@dataclass(frozen=True, slots=True)
class JobTokens:
    """Issues and reads them; `clock` in Unix seconds. They are no tokens of `/v2/token`, nor the other way:
    those are for the server's origin, these for its exchange.
    """

    signer: Signer
    clock: Clock

    def issue(self, origin: str, claims: JobClaims) -> tuple[str, int]:
        """A token to be used at `origin`, and for how many seconds it is good.

        Never until more than 6 hours after the first: so one that is good may be renewed.
        """
        seconds = min(TOKEN_SECONDS, int(claims.first + RENEWED_SECONDS - self.clock()))
        said = {
            "publishers": dict(claims.publishers),
            "access": [each.as_json() for each in claims.access],
            "first": claims.first,
        }
        return PREFIX + self.signer.sign(origin, _audience(origin), seconds, said), seconds

    def read(self, origin: str, token: str) -> JobClaims:
        """What a token says; DeniedError if it is forged, over, or for another server."""
        said = self.signer.verify(origin, _audience(origin), token.removeprefix(PREFIX))
        publishers, first, access = said.get("publishers"), said.get("first"), said.get("access")
        if not token.startswith(PREFIX) or not isinstance(publishers, dict):
            raise DeniedError("this is no token of a job")
        if not isinstance(first, int | float) or not isinstance(access, list):
            raise DeniedError("the token of a job cannot be read")
        known = {str(name): _claim(str(said)) for name, said in publishers.items()}
        return JobClaims(known, tuple(parse_access(each) for each in access), float(first))


def _claim(said: str) -> str:
    """A publisher's claim. A token of before revision 0008 has its identifier alone: it ends with the first
    time that the account is disabled.
    """
    claim = Claim.parse(said)
    return said if claim.closings else str(replace(claim, closings="0"))


def _audience(origin: str) -> str:
    return f"{origin}{PATH}"
