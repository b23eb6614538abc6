"""Where one says who one is: the token endpoint, `/api/me` and `/api/signout` (PROTOCOL sections 3 and 4).

Signatures are checked against text built from the server's own name, never from what a request claims.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode

from registry.auth import signing
from registry.auth.api_keys import is_api_key
from registry.auth.keys import PublicKey
from registry.contracts import Clock
from registry.errors import DeniedError, InvalidError, Reason
from registry.server.accounts import Accounts
from registry.server.connecting import Connecting
from registry.server.credentials import CredentialStore
from registry.server.documents import STRANGERS_BYTES, STRANGERS_SECONDS, answer
from registry.server.issuers import KeysNotYetError
from registry.server.job_tokens import JobClaims
from registry.server.last_use import LastUse
from registry.server.names import Known
from registry.server.parameters import Pairs, only, parse_form, scopes_in
from registry.server.presented import Presented
from registry.server.principal import ANYBODY, Principal, Right
from registry.server.reading import date
from registry.server.rights import Rights
from registry.server.token_exchange import TokenExchange, keys_not_yet
from registry.server.tokens import TOKEN_SECONDS, Nonces, Scope, Tokens
from registry.server.visitor import Visitor
from registry.wire.faults import fault, printable
from registry.wire.messages import Accept, Request, Response, accept_small

_CLAIM = 80  # characters of what a machine says it is called
_NEEDED = {"pull": Right.READ, "push": Right.WRITE, "delete": Right.WRITE}
_INVALID_TOKEN = 'Bearer error="invalid_token"'  # RFC 6750: a 401 says by what scheme; nothing to ask again


@dataclass(frozen=True, slots=True)
class Identity:
    """Checks signatures against the credentials that are known; `clock` in Unix seconds.

    `anonymous` is what anybody may do everywhere: more than NONE makes a lab registry, for as long as
    there are no accounts. `connecting` remembers the keys that may be approved in a browser;
    `jobs` is who answers for CI jobs, where any may come.
    """

    accounts: Accounts
    credentials: CredentialStore
    rights: Rights
    tokens: Tokens
    nonces: Nonces
    last_use: LastUse
    clock: Clock
    anonymous: Right = Right.NONE
    connecting: Connecting | None = None
    jobs: TokenExchange | None = None

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
        self.last_use.note(standing[0].credential_id)
        return standing

    def standing_by_secret(self, secret: str, repository: str) -> tuple[Principal, Right]:
        """The same for the API key whose secret this is."""
        standing = self.rights.standing_by_secret(secret, repository) if is_api_key(secret) else None
        if standing is None:
            raise DeniedError("this API key is invalid, revoked or over", reason=Reason.API_KEY_REFUSED)
        self.last_use.note(standing[0].credential_id)
        return standing

    def standing_by_job(self, token: str, here: Known, repository: str) -> tuple[Principal, Right, JobClaims]:
        """The same for a job's token, and what that says. Where it has no publisher, it is anybody's."""
        claims = self._jobs().tokens.read(str(here.origin), token)
        publisher = claims.publisher_of(repository)
        if not publisher:
            self.standing(claims.publisher_of(""), "")  # refused with its publisher, wherever it comes
        principal, right = self.standing(publisher, repository)
        return principal, right, claims

    def _jobs(self) -> TokenExchange:
        if self.jobs is None:
            raise DeniedError("this registry takes no tokens of CI jobs")
        return self.jobs

    def token(self, request: Request, visitor: Visitor) -> Response:
        """A token for what was asked and may be had now: for a key (signed), an API key, or for anybody.

        403 to a signature that does not hold, is stale, was used, or is of an unknown key: stock would ask
        again for ever after a 401. 401 to an API key that is not good, as docker and its kin expect.
        """
        asked = _Asked.of(request.query, visitor.here)
        principal = self.anybody()
        if "Authorization" in request.headers and principal == ANYBODY:
            try:
                principal, asked = self._who(request, visitor, asked)
            except DeniedError as error:
                return _no_token(error)
            except KeysNotYetError as error:
                return keys_not_yet(error)
        return self._issued(request, visitor, principal, asked)

    def token_by_form(self, request: Request, visitor: Visitor) -> Response | Accept:
        """The same by OAuth2's form (distribution's "OAuth2 token authentication"): for an API key.

        It is the `password` of any user name, or the `refresh_token`, which docker calls an identity token.
        """

        def then(body: bytes) -> Response:
            pairs = parse_form(body)
            asked, principal = _Asked.of(pairs, visitor.here), self.anybody()
            if principal == ANYBODY:
                try:
                    presented = Presented.password(_granting(pairs))
                    principal, asked = self._by_password(presented, visitor, asked)
                except DeniedError as error:
                    return _no_token(error)
                except KeysNotYetError as error:
                    return keys_not_yet(error)
            return self._issued(request, visitor, principal, asked)

        return accept_small(then, STRANGERS_BYTES, STRANGERS_SECONDS)

    def _who(self, request: Request, visitor: Visitor, asked: _Asked) -> tuple[Principal, _Asked]:
        """Who asks for a token, by signature or password, and what of it they may be asking for."""
        fields = request.headers.all("Authorization")
        if len(fields) > 1:
            raise DeniedError("only one Authorization is taken")
        value = fields[0]
        if value.partition(" ")[0].lower() in ("basic", "bearer"):
            presented = Presented.parse(value)
            if not presented.token:
                return self._by_password(presented, visitor, asked)
        return self._signer(request, visitor.here), asked

    def _by_password(self, presented: Presented, visitor: Visitor, asked: _Asked) -> tuple[Principal, _Asked]:
        """The same by what stands in a password's place. A job gets what its own token was asked for."""
        if presented.secret:
            return self.standing_by_secret(presented.secret, "")[0], asked
        if presented.job:
            where = next(iter(asked.repositories), "")
            principal, _, claims = self.standing_by_job(presented.job, visitor.here, where)
            return principal, _Asked(claims.narrowed(asked.scopes))
        publisher = self._jobs().by_password(presented.id_token, asked.scopes, visitor)
        return self.standing(publisher, "")[0], asked

    def _issued(self, request: Request, visitor: Visitor, principal: Principal, asked: _Asked) -> Response:
        replace(visitor, principal=principal).note(request.context)
        self.last_use.note(principal.credential_id)
        granted = [self._granted(principal, each) for each in asked.scopes]
        granted = [each for each in granted if each.actions]
        token = self.tokens.issue(str(visitor.here.origin), principal, granted)
        body = {
            "token": token,
            "access_token": token,
            "expires_in": TOKEN_SECONDS,
            "issued_at": date(self.clock()),
            "scope": " ".join(map(str, granted)),
        }
        return answer(200, body)

    def me(self, request: Request, visitor: Visitor) -> Response:
        """Who the key of a signed call belongs to; 401 with where to connect it, if to nobody."""
        here = visitor.here
        try:
            key = self._caller(request, here)
        except DeniedError as error:
            return answer(401, {"error": _sentence(error)})
        try:
            speaker = self.credentials.speaker(key)
        except DeniedError as error:
            if error.reason is not Reason.KEY_UNKNOWN:
                return answer(401, {"error": _sentence(error)})
            return answer(401, self._unknown(request, here, key))
        self.last_use.note(speaker.credential_id)
        user = speaker.user
        if user is None:
            return answer(401, {"error": "unauthorized"})
        return answer(200, {"id": user.id, "email": f"{user.name}@{here.origin.host}", "name": user.name})

    def _unknown(self, request: Request, here: Known, key: PublicKey) -> dict[str, str]:
        """What the client of a key is told that nobody has: where a person may approve it, and the code."""
        name = request.parameter("name") or request.headers.get("User-Agent").partition("/")[0]
        claim = printable(name)[:_CLAIM] or "a machine"
        query = urlencode({"name": claim, "key": key.connect}, quote_via=quote)
        told = {"error": "unauthorized", "signin_url": f"{here.base}/connect?{query}"}
        if self.connecting is None:
            return told
        shows_code = request.parameter("code") == "show"
        self.connecting.note(key, request.context.address, shows_code=shows_code)
        return {**told, "code": self.connecting.code(key)} if shows_code else told

    def signout(self, request: Request, visitor: Visitor) -> Response:
        """200 to a client that can sign, and nothing changes: the server keeps no sessions.

        It must not disconnect the key, as ollama.com does: a bare signed call is good at every server
        while it is fresh, so any other one could pass it on. Keys are revoked by `ferry admin key revoke`.
        """
        try:
            self._caller(request, visitor.here)
        except DeniedError as error:
            return answer(401, {"error": _sentence(error)})
        return answer(200, {})

    def root(self, _request: Request, _visitor: Visitor) -> Response:
        """200: what stock asks before it signs in."""
        return Response(200)

    def _signer(self, request: Request, here: Known) -> Principal:
        """Whose signature the token request bears: fresh, right, known, not seen before, in this order."""
        signature = signing.Signature.parse(request.headers.get("Authorization"))
        ts, now = only(request.query, "ts"), self.clock()
        signing.check_fresh(ts, now=now)
        signature.check(signing.token_text(here.base + request.target))
        principal = self.credentials.speaker(signature.key)
        self.nonces.spend(principal.credential_id, only(request.query, "nonce"), int(ts))
        return principal

    def _caller(self, request: Request, here: Known) -> PublicKey:
        """The key that signed a bare call, whether or not anybody has it. DeniedError.

        Nothing in such a call says for which server it was signed, unless its client names that in `host`:
        then nobody can pass it on, and have a key that signed for them connected to their account here.
        """
        signature = signing.Signature.parse(request.headers.get("Authorization"))
        signing.check_fresh(only(request.query, "ts"), now=self.clock())
        signature.check(signing.call_text(request.method, request.target))
        meant = only(request.query, "host").lower()
        if meant and meant not in (here.spelled.lower(), here.origin.netloc):
            raise DeniedError("this call was signed for another server")
        return signature.key

    def _right(self, principal: Principal, repository: str) -> Right:
        """What they may do there now."""
        if principal.credential is None:
            return self.rights.right(principal, repository)
        standing = self.rights.standing(principal.claim, repository)
        return standing[1] if standing else Right.NONE

    def _granted(self, principal: Principal, asked: Scope) -> Scope:
        """`asked` without the actions that may not be had now; unknown types get none."""
        if asked.type == "registry" and asked.name == "catalog":
            return asked
        if asked.type == "registry" and asked.name == "account" and principal.credential is not None:
            return asked
        if asked.type != "repository":
            return Scope(asked.type, asked.name, ())
        right = self._right(principal, asked.name)
        wanted = tuple(_NEEDED) if "*" in asked.actions else asked.actions
        allowed = tuple(
            each
            for each in wanted
            if each in _NEEDED
            and _NEEDED[each] <= right
            and (each == "pull" or principal.allows(asked.name, each))
        )
        return Scope(asked.type, asked.name, allowed)


def _sentence(error: DeniedError) -> str:
    return f"{error.message}; {error.hint}" if error.hint else error.message


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a token is to be good for."""

    scopes: tuple[Scope, ...]

    @property
    def repositories(self) -> tuple[str, ...]:
        """The repositories among them."""
        return tuple(each.name for each in self.scopes if each.type == "repository")

    @classmethod
    def of(cls, pairs: Pairs, here: Known) -> _Asked:
        """What a query or a form asks for. InvalidError, also for another server's service."""
        if only(pairs, "service") not in ("", here.spelled):
            raise InvalidError(f"this server's service is {here.spelled}")
        return cls(scopes_in(pairs))


def _granting(pairs: Pairs) -> str:
    """The API key that a form grants a token by (RFC 6749, sections 4.3 and 6). InvalidError."""
    by = only(pairs, "grant_type")
    if by not in ("password", "refresh_token"):
        raise InvalidError(f"grant_type {by[:20]!r} is not password or refresh_token")
    return only(pairs, by)


def _no_token(error: DeniedError) -> Response:
    """The refusal of a token: what docker and its kin take for a wrong password, or what stock ends at."""
    if error.reason in (Reason.API_KEY_REFUSED, Reason.LOGIN_REFUSED):
        return fault("UNAUTHORIZED", error.message, headers={"WWW-Authenticate": _INVALID_TOKEN})
    return fault("DENIED", _sentence(error))
