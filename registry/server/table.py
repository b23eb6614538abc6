"""What the server answers: one table, route by method, of what each needs and who answers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from registry.errors import RegistryError
from registry.server.app import App
from registry.server.identity import Identity
from registry.server.names import Known
from registry.server.principal import Principal, Right
from registry.server.prompt_depot import ThreadNeededError
from registry.server.reading import MalformedError
from registry.server.visitor import Visitor
from registry.wire import routes
from registry.wire.faults import answer_to, fault
from registry.wire.messages import Accept, Request, Response
from registry.wire.routes import Place, Route

Answer = Response | Accept
Handler = Callable[[Request, Visitor], Answer]


class Need(Enum):
    """What a route asks of its client; the value is the token scope's actions for a repository."""

    NOTHING = ""
    SIGNATURE = "signature"  # the handler looks at it itself
    DOWNLOAD_LINK = "download"  # the path carries its own permission, to read
    UPLOAD_LINK = "upload"  # the path carries its own permission, to write
    TOKEN = "token"  # any good token, anybody's too
    IDENTITY = "identity"  # as ACCOUNT, or a namespace's program: to hear who one is
    ACCOUNT = "account"  # an account: by a token of scope `registry:account:*`, an API key, or a session
    MANAGE = "manage"  # the same by a machine's key or a session: never a program by itself
    SESSION = "session"  # a browser that is signed in
    OWN = "own"  # as MANAGE, by who owns the repository or namespace, or an administrator
    ADMINISTER = "administer"  # as MANAGE, by an administrator
    CATALOG = "*"
    READ = "pull"
    WRITE = "pull,push"
    DELETE = "delete"
    PAGE = "page"  # a browser, signed in or not; where there is a repository, who may read it
    ADMINISTRATOR = "administrator"  # the same of an administrator


@dataclass(frozen=True, slots=True)
class Row:
    """What one method at one route needs, and what answers it."""

    need: Need
    answer: Handler


Table = Mapping[Route, Mapping[str, Row]]


def table(app: App, identity: Identity, metrics: Handler, account: Table | None = None) -> Table:
    """The whole of it; `account` are the rows of the account API."""
    return {
        **(account or {}),
        Route.ROOT: {"HEAD": Row(Need.SIGNATURE, identity.root)},
        Route.ME: {"POST": Row(Need.SIGNATURE, identity.me)},
        Route.SIGNOUT: {"POST": Row(Need.SIGNATURE, identity.signout)},
        Route.TOKEN: {
            "GET": Row(Need.SIGNATURE, identity.token),
            "POST": Row(Need.SIGNATURE, identity.token_by_form),
        },
        Route.METRICS: {"GET": Row(Need.NOTHING, metrics)},
        Route.CAPABILITY: _read(Need.DOWNLOAD_LINK, app.blob),
        Route.STORAGE: {"PUT": Row(Need.UPLOAD_LINK, app.content)},
        **_application(app),
    }


def with_pages(rows: Table, pages: Table) -> Table:
    """The same with the rows of web pages, which may share a path with what programs ask for.

    HEAD is answered wherever a page is, as GET is but for the body.
    """
    return {route: {**_with_head(pages.get(route, {})), **rows.get(route, {})} for route in (*rows, *pages)}


def _with_head(methods: Mapping[str, Row]) -> Mapping[str, Row]:
    return {"GET": methods["GET"], "HEAD": methods["GET"], **methods} if "GET" in methods else methods


def prompt_table(app: App) -> Table:
    """What the event loop answers, as far as `app` can without a thread: who may not, it says in any case."""
    return {
        Route.BASE: _read(Need.TOKEN, app.base),
        Route.MANIFEST: {**_read(Need.READ, app.manifest), "PUT": Row(Need.WRITE, _by_a_thread)},
        Route.BLOB: _read(Need.READ, app.blob),
        Route.UPLOADS: {"POST": Row(Need.WRITE, app.begin)},
        Route.UPLOAD: {"PATCH": Row(Need.WRITE, app.patch), "PUT": Row(Need.WRITE, app.finish)},
    }


def _by_a_thread(_request: Request, _visitor: Visitor) -> Answer:
    raise ThreadNeededError


def _application(app: App) -> Table:
    return {
        Route.BASE: _read(Need.TOKEN, app.base),
        Route.HEALTH: _read(Need.NOTHING, app.health),
        Route.CATALOG: {"GET": Row(Need.CATALOG, app.catalog)},
        Route.MANIFEST: {
            **_read(Need.READ, app.manifest),
            "PUT": Row(Need.WRITE, app.put_manifest),
            "DELETE": Row(Need.DELETE, app.delete_manifest),
        },
        Route.BLOB: {**_read(Need.READ, app.blob), "DELETE": Row(Need.DELETE, app.delete_blob)},
        Route.UPLOADS: {"POST": Row(Need.WRITE, app.begin)},
        Route.UPLOAD: {
            "GET": Row(Need.WRITE, app.status),
            "PATCH": Row(Need.WRITE, app.patch),
            "PUT": Row(Need.WRITE, app.finish),
            "DELETE": Row(Need.WRITE, app.cancel),
        },
        Route.TAGS: {"GET": Row(Need.READ, app.tags)},
        Route.REFERRERS: {"GET": Row(Need.READ, app.referrers)},
    }


def _read(need: Need, answer: Handler) -> Mapping[str, Row]:
    return {"GET": Row(need, answer), "HEAD": Row(need, answer)}


def nothing_here(path: str) -> Response:
    """The answer to a path that is in no table."""
    if routes.is_repository_path(path):
        return fault("NAME_INVALID", "that is no repository's name")
    return fault("NAME_UNKNOWN", "there is nothing at this path")


def not_done(methods: Mapping[str, Row]) -> Response:
    """The answer to a method that a route does not have."""
    return fault("UNSUPPORTED", "that is not done here", headers={"Allow": ", ".join(methods)})


def answered(row: Row, request: Request, visitor: Visitor) -> Answer:
    """What the row answers, errors as their documents."""
    try:
        return row.answer(request, visitor)
    except MalformedError as error:
        return fault(error.code, error.message)
    except RegistryError as error:
        return answer_to(error)


class Unguarded:
    """An exchange over the application alone: every client may do everything. For laboratories and tests."""

    def __init__(self, app: App) -> None:
        content = {Route.CONTENT: {"PUT": Row(Need.NOTHING, app.content)}}
        self._table: Table = {**_application(app), **content}

    def __call__(self, request: Request) -> Answer:
        place = routes.match(request.path)
        if place is None:
            return nothing_here(request.path)
        methods = self._table.get(place.route, {})
        row = methods.get(request.method)
        if row is None:
            return not_done(methods)
        return answered(row, request, _everybody(request, place))


def _everybody(request: Request, place: Place) -> Visitor:
    spelled = request.url.partition("://")[2].partition("/")[0]
    principal = Principal(floor=Right.WRITE)
    return Visitor(place, Known(request.origin, spelled), principal, Right.WRITE)
