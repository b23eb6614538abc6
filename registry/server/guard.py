"""Who may: every request passes here before the application sees it, and one table says what it needs.

Knows hosts, tokens and rights; of blobs and manifests only which repository holds what. What one may not
read answers exactly as what is not there: the depot is not even asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import Protocol
from urllib.parse import urlencode

from registry.contracts import Depot
from registry.errors import DeniedError, InvalidError, StorageError
from registry.model.digests import Digest
from registry.server.accounts import Principal, Right
from registry.server.desk import Desk, note, refusal
from registry.server.names import Known, Names
from registry.server.receiving import bears_signed
from registry.server.tokens import Claim
from registry.wire import routes
from registry.wire.faults import answer_to, fault, printable
from registry.wire.messages import Accept, Exchange, Request, Response
from registry.wire.routes import Place, Route

Answer = Response | Accept


class Need(Enum):
    """What a route asks of whoever comes; the value is the token scope's actions for a repository."""

    NOTHING = ""
    SIGNATURE = "signature"  # the desk looks at it itself
    LINK = "link"  # the path carries its own permission, to read
    DEPOSIT = "deposit"  # the path carries its own permission, to write
    TOKEN = "token"  # any good token, anybody's too
    CATALOG = "*"
    READ = "pull"
    WRITE = "pull,push"
    DELETE = "delete"


# A write grant allows deleting too: who may replace every tag of a repository can take it away already.
_RIGHTS = {Need.READ: Right.READ, Need.WRITE: Right.WRITE, Need.DELETE: Right.WRITE}
_ACTIONS = {Need.READ: "pull", Need.WRITE: "push", Need.DELETE: "delete"}

TABLE: Mapping[tuple[Route, str], Need] = {
    (Route.ROOT, "HEAD"): Need.SIGNATURE,
    (Route.ME, "POST"): Need.SIGNATURE,
    (Route.SIGNOUT, "POST"): Need.SIGNATURE,
    (Route.TOKEN, "GET"): Need.SIGNATURE,
    (Route.HEALTH, "GET"): Need.NOTHING,
    (Route.HEALTH, "HEAD"): Need.NOTHING,
    (Route.METRICS, "GET"): Need.NOTHING,
    (Route.BASE, "GET"): Need.TOKEN,
    (Route.BASE, "HEAD"): Need.TOKEN,
    (Route.CATALOG, "GET"): Need.CATALOG,
    (Route.CAPABILITY, "GET"): Need.LINK,
    (Route.CAPABILITY, "HEAD"): Need.LINK,
    (Route.STORAGE, "PUT"): Need.DEPOSIT,
    (Route.MANIFEST, "GET"): Need.READ,
    (Route.MANIFEST, "HEAD"): Need.READ,
    (Route.MANIFEST, "PUT"): Need.WRITE,
    (Route.MANIFEST, "DELETE"): Need.DELETE,
    (Route.BLOB, "GET"): Need.READ,
    (Route.BLOB, "HEAD"): Need.READ,
    (Route.BLOB, "DELETE"): Need.DELETE,
    (Route.UPLOADS, "POST"): Need.WRITE,
    (Route.UPLOAD, "GET"): Need.WRITE,
    (Route.UPLOAD, "PATCH"): Need.WRITE,
    (Route.UPLOAD, "PUT"): Need.WRITE,
    (Route.UPLOAD, "DELETE"): Need.WRITE,
    (Route.TAGS, "GET"): Need.READ,
    (Route.REFERRERS, "GET"): Need.READ,
}


class Application(Protocol):
    """Makes what answers one visitor: `readable` says which repositories there are for them at all,
    `capability(repository, digest)` is the path of a link to a blob that stays good without a token,
    `deposit(repository, session, size)` that of one where an upload's bytes can be put without a token.
    """

    def __call__(
        self,
        *,
        readable: Callable[[str], bool],
        capability: Callable[[str, Digest], str],
        deposit: Callable[[str, str, int], str],
    ) -> Exchange: ...


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whoever asks, their right in the repository asked for, and what their token is for, if there is one."""

    principal: Principal
    right: Right
    claim: Claim | None

    @property
    def could_sign_in(self) -> bool:
        """Whether asking for a token may change the answer."""
        return self.claim is None and self.principal.floor is Right.NONE


@dataclass(frozen=True, slots=True)
class Guard:
    """An exchange in front of the application over `depot`; `names` are the only hosts it answers to."""

    depot: Depot
    application: Application
    names: Names
    desk: Desk

    def __call__(self, request: Request) -> Answer:
        answer = self._answer(request)
        if request.method == "HEAD" and isinstance(answer, Response) and isinstance(answer.body, bytes):
            return replace(answer, body=b"", length=answer.length)
        return answer

    def _answer(self, request: Request) -> Answer:
        place = routes.match(request.path)
        here = self._here(request)
        if place is not None:
            request.context.route, request.context.repository = place.route.name.lower(), place.repository
        if here is None and not (place and place.route is Route.HEALTH):
            return self._misdirected(request)
        if place is None:
            return fault("NAME_UNKNOWN", "there is nothing at this path")
        need = TABLE.get((place.route, request.method))
        if need is None:
            allowed = ", ".join(method for route, method in TABLE if route is place.route)
            return fault("UNSUPPORTED", "that is not done here", headers={"Allow": allowed})
        try:
            if here is None or need is Need.NOTHING:
                return self._serve(request, self.desk.anybody(), here)
            # From here on the request is to the name we matched, whatever a proxy in front made of it.
            request = replace(request, url=here.base + request.target)
            if need is Need.SIGNATURE:
                return self._at_the_desk(request, place, here)
            if need is Need.LINK:
                return self._download(request, place, here)
            if need is Need.DEPOSIT:
                return self._store(request, place, here)
            return self._admitted(request, place, need, here)
        except InvalidError as error:
            return answer_to(error)
        except StorageError:
            return fault("UNAVAILABLE", "the registry's database cannot be used just now")

    def _here(self, request: Request) -> Known | None:
        """Which of the server's names the request is to; None if none, or if it says several."""
        try:
            hosts = request.headers.all("Host") or [request.origin.netloc]
        except InvalidError:
            return None
        return self.names.match(hosts[0]) if len(hosts) == 1 else None

    def _misdirected(self, request: Request) -> Response:
        """421, with the name that arrived: mostly a proxy in front has put its own there."""
        arrived = printable(request.headers.get("Host", "none"))[:200]
        return fault(
            "DENIED",
            f"this server does not go by the name {arrived}: start it with --public-url https://{arrived}, "
            "or have the proxy in front pass the Host header on (nginx: proxy_set_header Host $http_host)",
            status=421,
        )

    def _at_the_desk(self, request: Request, place: Place, here: Known) -> Response:
        desk: Mapping[Route, Callable[[Request, Known], Response]] = {
            Route.ROOT: self.desk.root,
            Route.TOKEN: self.desk.token,
            Route.ME: self.desk.me,
            Route.SIGNOUT: self.desk.signout,
        }
        try:
            return desk[place.route](request, here)
        except DeniedError as error:
            return refusal(error)

    def _download(self, request: Request, place: Place, here: Known) -> Answer:
        """A blob by its link. Whatever is wrong with a link, it looks as if there had never been one."""
        gone = fault("BLOB_UNKNOWN", "this link is not good, or not any more")
        try:
            link = self.desk.tokens.read_capability(str(here.origin), place.reference)
            principal, right = self.desk.standing(link.key, link.repository)
        except DeniedError:
            return gone
        note(request, principal, link.repository)
        if right < Right.READ:
            return gone
        blob = replace(request, url=here.base + routes.blob(link.repository, link.digest))
        return self._serve(blob, principal, here, link=request.path)

    def _store(self, request: Request, place: Place, here: Known) -> Answer:
        """An upload's bytes, by their link. Whatever is wrong with a link, it looks as if it had expired."""
        gone = fault("DENIED", "this link is not good, or not any more")
        try:
            link = self.desk.tokens.read_deposit(str(here.origin), place.reference)
            principal, right = self.desk.standing(link.key, link.repository)
        except DeniedError:
            return gone
        note(request, principal, link.repository)
        if right < Right.WRITE or not bears_signed(request):
            return gone
        if request.length != link.size:
            return fault("SIZE_INVALID", f"this link is for {link.size} bytes")
        content = replace(request, url=here.base + routes.content(link.repository, link.session))
        return self._serve(content, principal, here)

    def _admitted(self, request: Request, place: Place, need: Need, here: Known) -> Answer:
        """What needs a token or a right: 401 where a token could help, 403 or 404 where none would."""
        try:
            visitor = self._visitor(request, place.repository, here)
        except DeniedError as error:
            return self._challenge(place, need, here, error.message)
        note(request, visitor.principal)
        kind, name, action = _scope(place, need)
        if place.repository:
            if visitor.right < _RIGHTS[need]:
                return self._refused(visitor, place, need, here)
        elif visitor.could_sign_in:
            return self._challenge(place, need, here, "a token is needed")
        if action and visitor.claim and not visitor.claim.covers(kind, name, action):
            return self._challenge(place, need, here, "the token is for something else")
        if place.route is Route.UPLOADS:
            request = self._with_readable_source(request, visitor.principal)
        return self._serve(request, visitor.principal, here)

    def _visitor(self, request: Request, repository: str, here: Known) -> Visitor:
        """Who comes, by the Bearer token they bring; DeniedError if it is none of ours, or not any more."""
        fields = request.headers.all("Authorization")
        if not fields or self.desk.anybody().floor > Right.NONE:
            return Visitor(*self.desk.standing("", repository), None)
        scheme, _, token = fields[0].partition(" ")
        if len(fields) > 1 or scheme.lower() != "bearer":
            raise DeniedError("only Bearer tokens are taken here")
        claim = self.desk.tokens.read(str(here.origin), token.strip())
        return Visitor(*self.desk.standing(claim.key, repository), claim)

    def _refused(self, visitor: Visitor, place: Place, need: Need, here: Known) -> Response:
        """The answer to a right that is not there; the same for a private repository and for none."""
        if visitor.could_sign_in:
            return self._challenge(place, need, here, "a token is needed")
        if need is Need.READ:
            return fault("NAME_UNKNOWN", f"{place.repository} is not here, or not for you to see")
        return fault("DENIED", f"you may not change {place.repository}")

    def _challenge(self, place: Place, need: Need, here: Known, why: str) -> Response:
        """401, and where to get the token it takes (distribution specification, "token authentication")."""
        kind, name, action = _scope(place, need)
        wanted = f',scope="{kind}:{name}:{need.value}"' if action else ""
        bearer = f'Bearer realm="{here.base}/v2/token",service="{here.spelled}"{wanted}'
        return fault("UNAUTHORIZED", why, headers={"WWW-Authenticate": bearer})

    def _with_readable_source(self, request: Request, principal: Principal) -> Request:
        """A mount only from where one may read: another `from` is dropped, a missing one is found."""
        query = request.query
        mount = request.parameter("mount")
        if mount is None:
            return request
        kept = [(key, value) for key, value in query if key not in ("mount", "from")]
        source = self._source(mount, request.parameter("from"), principal)
        if source:
            kept += [("mount", mount), ("from", source)]
        path = request.url.partition("?")[0]
        return replace(request, url=f"{path}?{urlencode(kept)}" if kept else path)

    def _source(self, mount: str, source: str | None, principal: Principal) -> str | None:
        if source is not None:
            return source if self._reads(principal, source) else None
        readable = self.desk.accounts.reader(principal)
        return next(filter(readable, self.depot.holders(Digest.parse(mount))), None)

    def _reads(self, principal: Principal, repository: str) -> bool:
        return self.desk.accounts.right(principal, repository) >= Right.READ

    def _serve(self, request: Request, principal: Principal, here: Known | None, link: str = "") -> Answer:
        """Hand the request to the application as `principal` sees it; `link` is the one it came by."""

        def capability(repository: str, digest: Digest) -> str:
            audience = str(here.origin) if here else ""
            # A link names itself as its place again: a fresh one would let it outlive its days.
            return link or routes.capability(
                self.desk.tokens.capability(audience, principal, repository, digest)
            )

        def deposit(repository: str, session: str, size: int) -> str:
            audience = str(here.origin) if here else ""
            return routes.storage(self.desk.tokens.deposit(audience, principal, repository, session, size))

        place = routes.match(request.path)
        catalog = place is not None and place.route is Route.CATALOG
        readable = self.desk.accounts.reader(principal) if catalog else partial(self._reads, principal)
        return self.application(readable=readable, capability=capability, deposit=deposit)(request)


def _scope(place: Place, need: Need) -> tuple[str, str, str]:
    """Type, name and action of the token scope that `need` takes; the action is "" where any token does."""
    if need is Need.CATALOG:
        return "registry", "catalog", "*"
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
