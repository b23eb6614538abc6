"""Who may: every request passes here before anything else sees it, and one table says what it needs.

Knows hosts, tokens and rights; of blobs and manifests nothing. What one may not read answers exactly as
what is not there: what is kept is not even asked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import quote

from registry.errors import DeniedError, InvalidError, StorageError
from registry.server.browser import is_own_form, secret_of
from registry.server.documents import in_a_sentence
from registry.server.identity import Identity
from registry.server.links import Links
from registry.server.names import Known, Names
from registry.server.presented import Presented
from registry.server.principal import Right
from registry.server.receiving import bears_signed
from registry.server.sessions import BrowserSession, Sessions
from registry.server.table import Answer, Need, Row, Table, answered, not_done, nothing_here
from registry.server.visitor import Visitor
from registry.wire import routes
from registry.wire.faults import KEY_SCOPES, answer_to, fault, printable
from registry.wire.headers import Headers
from registry.wire.messages import Request, Response
from registry.wire.routes import Place, Route
from registry.wire.visibility import SUPPORTED

_SHOWN = 200  # characters of a host that is not ours

# A write grant allows deleting too: who may replace every tag of a repository can take it away already.
_RIGHTS = {Need.READ: Right.READ, Need.WRITE: Right.WRITE, Need.DELETE: Right.WRITE}
_ACTIONS = {Need.READ: "pull", Need.WRITE: "push", Need.DELETE: "delete"}
_ACCOUNT = ("registry", "account", "*")  # the token scope of what is somebody's own


@dataclass(frozen=True, slots=True)
class Guard:
    """An exchange in front of what `table` says; `names` are the only hosts it answers to.

    It decides from a request's head alone, and has the log say who asked. `sessions` are those of browsers,
    where there are pages for them.
    """

    table: Table
    names: Names
    identity: Identity
    links: Links
    sessions: Sessions | None = None

    def __call__(self, request: Request) -> Answer:
        answer = self._answer(request)
        if request.path.startswith("/api/"):
            answer = in_a_sentence(answer)
        if request.method == "HEAD" and isinstance(answer, Response) and isinstance(answer.body, bytes):
            return replace(answer, body=b"", length=answer.length)
        return answer

    def has(self, request: Request) -> bool:
        """Whether the table has something for this method at this path."""
        place = routes.match(request.path)
        return place is not None and request.method in self.table.get(place.route, ())

    def _answer(self, request: Request) -> Answer:
        place = routes.match(request.path)
        here = self._here(request)
        if place is not None:
            request.context.route, request.context.repository = place.route.name.lower(), place.repository
        if here is None and not (place and place.route is Route.HEALTH):
            return _misdirected(request)
        if place is None:
            return nothing_here(request.path)
        methods = self.table.get(place.route, {})
        row = methods.get(request.method)
        if row is None:
            return not_done(methods)
        known = here or self.names.first
        visitor = Visitor(place, known, address=request.context.address)
        # From here on the request is to the name we matched, whatever a proxy in front made of it.
        url = known.base + request.target
        request = request if request.url == url else replace(request, url=url)
        try:
            admitted = self._admit(request, visitor, row)
        except InvalidError as error:
            return answer_to(error)
        except StorageError:
            return fault("UNAVAILABLE", "the registry's database cannot be used just now")
        return admitted if isinstance(admitted, Response) else answered(row, request, admitted)

    def _here(self, request: Request) -> Known | None:
        """Which of the server's names the request is to; None if none, or if it says several."""
        try:
            hosts = request.headers.all("Host") or [request.origin.netloc]
        except InvalidError:
            return None
        return self.names.match(hosts[0]) if len(hosts) == 1 else None

    def _admit(self, request: Request, visitor: Visitor, row: Row) -> Visitor | Response:
        """Who comes, if they may; else the answer that says they may not."""
        match row.need:
            case Need.NOTHING:
                return replace(visitor, principal=self.identity.anybody())
            case Need.SIGNATURE:
                return visitor
            case Need.DOWNLOAD_LINK:
                return self._by_download_link(request, visitor)
            case Need.UPLOAD_LINK:
                return self._by_upload_link(request, visitor)
            case Need.IDENTITY | Need.ACCOUNT | Need.MANAGE | Need.OWN | Need.ADMINISTER:
                return self._by_account(request, visitor, row.need)
            case Need.PAGE | Need.SESSION | Need.ADMINISTRATOR:
                return self._by_browser(request, visitor, row.need)
        return self._by_token(request, visitor, row.need)

    def _by_download_link(self, request: Request, visitor: Visitor) -> Visitor | Response:
        """A blob by its link. Whatever is wrong with a link, it looks as if there had never been one."""
        gone = fault("BLOB_UNKNOWN", "this link is not good, or not any more")
        try:
            link = self.links.read_download(str(visitor.here.origin), visitor.place.reference)
            principal, right = self.identity.standing(link.credential, link.repository)
        except DeniedError:
            return gone
        place = Place(Route.BLOB, link.repository, str(link.digest))
        visitor = replace(visitor, place=place, principal=principal, right=right, link=request.path)
        visitor.note(request.context)
        return visitor if right >= Right.READ else gone

    def _by_upload_link(self, request: Request, visitor: Visitor) -> Visitor | Response:
        """An upload's bytes, by their link. Whatever is wrong with a link, it looks as if it had expired."""
        gone = fault("DENIED", "this link is not good, or not any more")
        try:
            link = self.links.read_upload(str(visitor.here.origin), visitor.place.reference)
            principal, right = self.identity.standing(link.credential, link.repository)
        except DeniedError:
            return gone
        place = Place(Route.CONTENT, link.repository, link.session)
        visitor = replace(visitor, place=place, principal=principal, right=right, link=request.path)
        visitor.note(request.context)
        if right < Right.WRITE or not self._allows(visitor, Need.WRITE) or not bears_signed(request):
            return gone
        if request.length != link.size:
            return fault("SIZE_INVALID", f"this link is for {link.size} bytes")
        return visitor

    def _by_browser(self, request: Request, visitor: Visitor, need: Need) -> Visitor | Response:
        """A page, for who is signed in there; a form only from a page of this server's own."""
        if request.method not in ("GET", "HEAD") and not is_own_form(request, visitor.here):
            return fault("DENIED", "this was sent by another site's page, or by no page at all")
        session, repository = self._session(request, visitor), visitor.place.repository
        visitor = self._in_session(visitor, session)
        visitor.note(request.context)
        hidden = bool(repository) and visitor.right < Right.READ
        if session is None and (hidden or need is not Need.PAGE):
            return _to_sign_in(request)
        if hidden:
            return fault("NAME_UNKNOWN", f"{repository} is not here, or not for you to see")
        if need is Need.ADMINISTRATOR and not (session and session.user.admin):
            return fault("DENIED", "this is for administrators")
        return visitor

    def _session(self, request: Request, visitor: Visitor) -> BrowserSession | None:
        """The session of a browser, if it is signed in."""
        return self.sessions.find(secret_of(request, visitor.here)) if self.sessions else None

    def _in_session(self, visitor: Visitor, session: BrowserSession | None) -> Visitor:
        """The visitor as a session says; without one, anybody."""
        principal = session.principal if session else self.identity.anybody()
        repository = visitor.place.repository
        right = self.identity.rights.right(principal, repository) if repository else Right.NONE
        return replace(visitor, principal=principal, right=right, session=session)

    def _by_token(self, request: Request, visitor: Visitor, need: Need) -> Visitor | Response:
        """What needs a token or a right: 401 where a token could help, 403 or 404 where none would."""
        place = visitor.place
        try:
            visitor = self._known(request, visitor)
        except DeniedError as error:
            return self._challenge(visitor, need, error.message)
        visitor.note(request.context)
        kind, name, action = _scope(place, need)
        if place.repository:
            if visitor.right < _RIGHTS[need] or not self._allows(visitor, need):
                return self._refused(visitor, need)
        elif visitor.could_sign_in:
            return self._challenge(visitor, need, "a token is needed")
        if action and not visitor.covers(kind, name, action):
            return self._challenge(visitor, need, "the token is for something else")
        return visitor

    def _by_account(self, request: Request, visitor: Visitor, need: Need) -> Visitor | Response:
        """What is somebody's own: 401 where saying who one is could help, else 403, or 404 as ever."""
        session = self._session(request, visitor) if "Authorization" not in request.headers else None
        if session is not None:
            asked_by_page = is_own_form(request, visitor.here) and session.has_token(
                request.headers.get("X-Ferry-Form")
            )
            if request.method not in ("GET", "HEAD") and not asked_by_page:
                return fault("DENIED", "this was sent by another site's page, or by no page at all")
            visitor = self._in_session(visitor, session)
        else:
            try:
                visitor = self._known(request, visitor)
            except DeniedError as error:
                return self._challenge(visitor, need, error.message)
        visitor.note(request.context)
        return self._own(visitor, need)

    def _own(self, visitor: Visitor, need: Need) -> Visitor | Response:
        """The same for whom the visitor turned out to be."""
        who, repository = visitor.principal, visitor.place.repository
        if who.floor > Right.NONE:
            return fault("DENIED", "this registry has no accounts")
        if who.workload is not None and need is not Need.IDENTITY:
            return fault("DENIED", f"{who.name} is no account: it has rights in {who.workload.scope} only")
        if who.credential is None or not visitor.covers(*_ACCOUNT):
            return self._challenge(visitor, need, "a token of the scope registry:account:* is needed")
        if need in (Need.MANAGE, Need.OWN, Need.ADMINISTER) and who.by_api_key:
            return fault("DENIED", "an API key cannot do that: sign in with a machine's key, or in a browser")
        if repository and visitor.right < Right.READ:
            return self._refused(visitor, Need.READ)
        if need is Need.ADMINISTER and not (who.user and who.user.admin):
            return fault("DENIED", "this is for administrators")
        if need is Need.OWN and not self.identity.rights.owns(who, repository):
            return fault("DENIED", f"{repository} is not yours to share")
        return visitor

    def _known(self, request: Request, visitor: Visitor) -> Visitor:
        """Who comes, by the token or API key they bring. DeniedError if it is not good, or not any more."""
        fields = request.headers.all("Authorization")
        repository = visitor.place.repository
        anybody = self.identity.anybody()
        if not fields or anybody.floor > Right.NONE:
            return replace(visitor, principal=anybody, right=self.identity.rights.right(anybody, repository))
        if len(fields) > 1:
            raise DeniedError("only one Authorization is taken")
        presented = Presented.parse(fields[0])
        if presented.secret:
            principal, right = self.identity.standing_by_secret(presented.secret, repository)
            return replace(visitor, principal=principal, right=right)
        if presented.job:
            principal, right, job = self.identity.standing_by_job(presented.job, visitor.here, repository)
            known = tuple(sorted(job.publishers))
            return replace(visitor, principal=principal, right=right, access=job.access, publishes=known)
        said = self.identity.tokens.read(str(visitor.here.origin), presented.token)
        principal, right = self.identity.standing(said.credential, repository)
        return replace(visitor, principal=principal, right=right, access=said.access)

    def _allows(self, visitor: Visitor, need: Need) -> bool:
        """Whether the credential is good for this change. Reading is a right, of all where it is public."""
        return need is Need.READ or visitor.principal.allows(visitor.place.repository, _ACTIONS[need])

    def _refused(self, visitor: Visitor, need: Need) -> Response:
        """The answer to a right that is not there; the same for a private repository and for none."""
        if visitor.could_sign_in:
            return self._challenge(visitor, need, "a token is needed")
        if need is Need.READ:
            said = f"{visitor.place.repository} is not here, or not for you to see"
            return fault("NAME_UNKNOWN", said, headers=dict((SUPPORTED,)))
        if not self._allows(visitor, need):
            what = f"{_ACTIONS[need]} in {visitor.place.repository}"
            said = KEY_SCOPES if visitor.principal.by_api_key else "the rights of this CI job do not cover"
            return fault("DENIED", f"{said} {what}")
        return fault("DENIED", f"you may not change {visitor.place.repository}")

    def _challenge(self, visitor: Visitor, need: Need, why: str) -> Response:
        """401, and where to get the token it takes (distribution specification, "token authentication")."""
        kind, name, action = _scope(visitor.place, need)
        actions = need.value if kind == "repository" else action
        wanted = f',scope="{kind}:{name}:{actions}"' if action else ""
        here = visitor.here
        bearer = f'Bearer realm="{here.base}/v2/token",service="{here.spelled}"{wanted}'
        return fault("UNAUTHORIZED", why, headers={"WWW-Authenticate": bearer})


def _misdirected(request: Request) -> Response:
    """421, with the name that arrived: mostly a proxy in front has put its own there."""
    arrived = printable(request.headers.get("Host", "none"))[:_SHOWN]
    return fault(
        "DENIED",
        f"this server does not go by the name {arrived}: start it with --public-url https://{arrived}, "
        "or have the proxy in front pass the Host header on (nginx: proxy_set_header Host $http_host)",
        status=421,
    )


def _to_sign_in(request: Request) -> Response:
    """Where one signs in, and afterwards is back at the page one asked for."""
    back = f"?next={quote(request.target, safe='')}" if request.method in ("GET", "HEAD") else ""
    return Response(303, Headers((("Location", f"/signin{back}"), ("Cache-Control", "no-store"))))


def _scope(place: Place, need: Need) -> tuple[str, str, str]:
    """Type, name and action of the token scope that `need` takes; the action is "" where any token does."""
    if need is Need.CATALOG:
        return "registry", "catalog", "*"
    if need in (Need.IDENTITY, Need.ACCOUNT, Need.MANAGE, Need.OWN, Need.ADMINISTER):
        return _ACCOUNT
    return "repository", place.repository, _ACTIONS.get(need, "")


def check_anonymous(floor: Right, *, accounts: bool, loopback: bool) -> None:
    """InvalidError where a lab registry (`--anonymous`) would lay open more than its owner means."""
    if floor > Right.NONE and accounts:
        raise InvalidError(
            "--anonymous is for a registry without accounts, and this data directory has some",
            hint="serve another directory with --data, or make single models public: ferry admin visibility",
        )
    if floor >= Right.WRITE and not loopback:
        raise InvalidError(
            "--anonymous write would let anybody on the network change everything",
            hint="listen on a loopback address, or make accounts: ferry admin user add",
        )
