"""Where one says who one is: the token endpoint, `/api/me` and `/api/signout` (PROTOCOL sections 3 and 4).

Signatures are checked against text built from the server's own name, never from what a request claims.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from registry.auth import signing
from registry.auth.keys import PublicKey
from registry.contracts import Clock
from registry.errors import DeniedError, InvalidError, Reason
from registry.server.accounts import Accounts
from registry.server.credentials import Credentials
from registry.server.names import Known
from registry.server.principal import ANYBODY, Principal, Right
from registry.server.rights import Rights
from registry.server.tokens import MOST_SCOPES, TOKEN_SECONDS, Nonces, Scope, Tokens
from registry.server.visitor import Visitor
from registry.wire.faults import fault
from registry.wire.headers import Headers
from registry.wire.messages import Request, Response

_NEEDED = {"pull": Right.READ, "push": Right.WRITE, "delete": Right.WRITE}
_PRIVATE = {"Content-Type": "application/json", "Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class Identity:
    """Checks signatures against the credentials that are known; `clock` in Unix seconds.

    `anonymous` is what anybody may do everywhere: more than NONE makes a lab registry, for as long as
    there are no accounts.
    """

    accounts: Accounts
    credentials: Credentials
    rights: Rights
    tokens: Tokens
    nonces: Nonces
    clock: Clock
    anonymous: Right = Right.NONE

    def anybody(self) -> Principal:
        """Who comes without a key. A lab registry closes by itself with its first account."""
        if self.anonymous > Right.NONE and not self.accounts.any():
            return Principal(floor=self.anonymous)
        return ANYBODY

    def standing(self, credential: str, repository: str) -> tuple[Principal, Right]:
        """Whom a credential means ("" is anybody), and their right in `repository` ("" is none), now.

        DeniedError if it is not good any more.
        """
        if not credential:
            anybody = self.anybody()
            return anybody, self.rights.right(anybody, repository)
        standing = self.rights.standing(credential, repository)
        if standing is None:
            raise DeniedError("the credential this was issued to is not good any more")
        return standing

    def token(self, request: Request, visitor: Visitor) -> Response:
        """A token for what was asked and may be had now: for a key (signed) or for anybody (unsigned).

        403 to a signature that does not hold, is stale, was used, or is of an unknown key: a 401 here
        would be asked again for ever.
        """
        here = visitor.here
        if _only(request, "service") not in ("", here.spelled):
            raise InvalidError(f"this server's service is {here.spelled}")
        asked = _scopes(request)
        principal = self.anybody()
        if "Authorization" in request.headers and principal == ANYBODY:
            try:
                principal = self._signer(request, here)
            except DeniedError as error:
                return fault("DENIED", _sentence(error))
        replace(visitor, principal=principal).note(request.context)
        granted = [access for access in (self._granted(principal, each) for each in asked) if access.actions]
        token = self.tokens.issue(str(here.origin), principal, granted)
        issued = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.clock()))
        body = {"token": token, "access_token": token, "expires_in": TOKEN_SECONDS, "issued_at": issued}
        return _json(200, body)

    def me(self, request: Request, visitor: Visitor) -> Response:
        """Who the key of a signed call belongs to; 401 with where to connect it, if to nobody."""
        here = visitor.here
        try:
            key = self._caller(request)
        except DeniedError as error:
            return _json(401, {"error": _sentence(error)})
        try:
            user = self.credentials.speaker(key).user
        except DeniedError as error:
            url = f"{here.base}/connect?key={key.connect}"
            said = "unauthorized" if error.reason is Reason.KEY_UNKNOWN else _sentence(error)
            return _json(401, {"error": said, "signin_url": url})
        if user is None:
            return _json(401, {"error": "unauthorized"})
        return _json(200, {"id": user.id, "email": f"{user.name}@{here.origin.host}", "name": user.name})

    def signout(self, request: Request, _visitor: Visitor) -> Response:
        """200 to whoever can sign, and nothing changes: the server keeps no sessions.

        It must not disconnect the key, as ollama.com does: a bare signed call is good at every server
        while it is fresh, so any other one could pass it on. Keys are revoked by `ferry admin key revoke`.
        """
        try:
            self._caller(request)
        except DeniedError as error:
            return _json(401, {"error": _sentence(error)})
        return _json(200, {})

    def root(self, _request: Request, _visitor: Visitor) -> Response:
        """200: what stock asks before it signs in."""
        return Response(200)

    def _signer(self, request: Request, here: Known) -> Principal:
        """Whose signature the token request bears: fresh, right, known, not seen before, in this order."""
        signature = signing.Signature.parse(request.headers.get("Authorization"))
        ts, now = _only(request, "ts"), self.clock()
        signing.check_fresh(ts, now=now)
        signature.check(signing.token_text(here.base + request.target))
        principal = self.credentials.speaker(signature.key)
        self.nonces.spend(principal.credential_id, _only(request, "nonce"), int(ts))
        return principal

    def _caller(self, request: Request) -> PublicKey:
        """The key that signed a bare call, whether or not anybody has it. DeniedError."""
        signature = signing.Signature.parse(request.headers.get("Authorization"))
        signing.check_fresh(_only(request, "ts"), now=self.clock())
        signature.check(signing.call_text(request.method, request.target))
        return signature.key

    def _right(self, principal: Principal, repository: str) -> Right:
        """What they may do there now."""
        if principal.credential is None:
            return self.rights.right(principal, repository)
        standing = self.rights.standing(principal.credential.id, repository)
        return standing[1] if standing else Right.NONE

    def _granted(self, principal: Principal, asked: Scope) -> Scope:
        """`asked` without the actions that may not be had now; unknown types get none."""
        if asked.type == "registry" and asked.name == "catalog":
            return asked
        if asked.type != "repository":
            return Scope(asked.type, asked.name, ())
        right = self._right(principal, asked.name)
        wanted = tuple(_NEEDED) if "*" in asked.actions else asked.actions
        allowed = tuple(each for each in wanted if each in _NEEDED and _NEEDED[each] <= right)
        return Scope(asked.type, asked.name, allowed)


def _sentence(error: DeniedError) -> str:
    return f"{error.message}; {error.hint}" if error.hint else error.message


def _scopes(request: Request) -> list[Scope]:
    values = (value for key, value in request.query if key == "scope")
    scopes = [scope for value in values for scope in value.split()]
    if len(scopes) > MOST_SCOPES:
        raise InvalidError(f"a token is good for at most {MOST_SCOPES} scopes, not {len(scopes)}")
    return [Scope.parse(scope) for scope in scopes]


def _only(request: Request, name: str) -> str:
    """The one value of a parameter, or ""; several would let two readers read it differently."""
    values = [value for key, value in request.query if key == name]
    if len(values) > 1:
        raise InvalidError(f"{name} is there {len(values)} times")
    return values[0] if values else ""


def _json(status: int, document: object, more: Iterable[tuple[str, str]] = ()) -> Response:
    return Response(status, Headers((*_PRIVATE.items(), *more)), json.dumps(document).encode() + b"\n")
