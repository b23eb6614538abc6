"""What a page's form sends: at most 16 KiB within 5 s (DESIGN, rule 15)."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from registry.errors import DeniedError, InvalidError
from registry.server.visitor import Visitor
from registry.wire import routes
from registry.wire.messages import Accept, Request, Response, accept_small
from registry.wire.routes import Route

FORM_BYTES = 16 * 1024
FORM_SECONDS = 5.0
_MOST_FIELDS = 64
_FORM = "application/x-www-form-urlencoded"
TOKEN = "token"  # the field that says that a form comes out of a page of this very session
# Where one may be sent after signing in: to a page, and to nothing that changes anything.
_PAGES = frozenset(
    {
        Route.CONNECT_PAGE,
        Route.ACCOUNT_PAGE,
        Route.KEYS_PAGE,
        Route.MODELS_PAGE,
        Route.MODEL_PAGE,
        Route.SHARES_PAGE,
        Route.TEAMS_PAGE,
        Route.TEAM_PAGE,
        Route.PUBLISHERS_PAGE,
        Route.USERS_PAGE,
        Route.AUDIT_PAGE,
        Route.SYSTEM_PAGE,
    }
)


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form, each the first of its name."""

    fields: Mapping[str, str]

    @classmethod
    def parse(cls, body: bytes) -> Form:
        """InvalidError for what no browser sends."""
        try:
            pairs = parse_qsl(
                body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"
            )
        except ValueError:
            raise InvalidError("the form cannot be read") from None
        return cls(dict(reversed(pairs)))

    def text(self, name: str) -> str:
        """What was typed, without spaces around it."""
        return self.fields.get(name, "").strip()

    def exact(self, name: str) -> str:
        """What was typed, as it is: passwords."""
        return self.fields.get(name, "")


Taken = Callable[[Form], Response]


def open_form(request: Request, then: Taken) -> Accept:
    """Take a form of a page that anybody sees: the guard has seen that it comes out of one of ours."""
    return _form(request, then)


def session_form(request: Request, visitor: Visitor, then: Taken) -> Accept:
    """Take a form of somebody who is signed in, if it comes out of a page of the same session."""

    def checked(form: Form) -> Response:
        if visitor.session is None or not visitor.session.has_token(form.exact(TOKEN)):
            raise DeniedError(
                "this form is not from a page of this session", hint="go back, reload it, and send it again"
            )
        return then(form)

    return _form(request, checked)


def _form(request: Request, then: Taken) -> Accept:
    if request.headers.get("Content-Type").partition(";")[0].strip().lower() != _FORM:
        raise InvalidError("a form is sent as " + _FORM)
    return accept_small(lambda body: then(Form.parse(body)), FORM_BYTES, FORM_SECONDS)


def same(one: str, other: str) -> bool:
    """Whether two secrets that were typed are one."""
    return hmac.compare_digest(one.encode(), other.encode())


def page_of_ours(target: str) -> str:
    """`target` if it is one of our pages' path and query, else the page one begins at: no open redirect."""
    path = target.partition("?")[0]
    unfit = len(target) > 4096 or not target.isascii() or not target.isprintable() or "\\" in target
    if unfit or not path.startswith("/") or "//" in path or "//" in unquote(path):
        return "/models"
    place = routes.match(path)
    return target if place is not None and place.route in _PAGES else "/models"
