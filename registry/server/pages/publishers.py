"""The page of trusted publishers: whose CI jobs publish a model. The owner fills in a form of their forge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from registry.errors import DeniedError, InvalidError, NotFoundError, RegistryError
from registry.server.issuers import GITHUB, GITLAB, Issuer
from registry.server.pages.forms import Form, session_form
from registry.server.pages.html import Templates, redirect
from registry.server.publisher_api import add_publisher, remove_publisher
from registry.server.rights import Rights
from registry.server.table import Need, Row
from registry.server.token_exchange import TokenExchange
from registry.server.visitor import Visitor
from registry.wire.messages import Accept, Request, Response
from registry.wire.routes import Route

_SAID = {
    "added": "These jobs may publish it now.",
    "removed": "It is removed: its jobs may nothing any more, nor the tokens they have.",
}
_FORGES = ("github", "gitlab", "forgejo")
_FIELDS = ("model", "address", "project", "number", "ref", "environment", "protected")


@dataclass(frozen=True, slots=True)
class PublishersPage:
    """The page over the publishers of one registry: of one model, or of all in a namespace."""

    templates: Templates
    exchange: TokenExchange
    rights: Rights

    def rows(self) -> Mapping[Route, Mapping[str, Row]]:
        """Its part of the table."""
        return {
            Route.PUBLISHERS_PAGE: {
                "GET": Row(Need.SESSION, self.show),
                "POST": Row(Need.SESSION, self.change),
            }
        }

    def show(self, request: Request, visitor: Visitor) -> Response:
        self._check_owner(visitor, _where(visitor))
        said = _SAID.get(request.parameter("done") or "", "")
        return self._page(visitor, request.parameter("forge") or "", said=said)

    def change(self, request: Request, visitor: Visitor) -> Response | Accept:
        self._check_owner(visitor, _where(visitor))

        def taken(form: Form) -> Response:
            try:
                done = self._changed(visitor, form)
            except (InvalidError, NotFoundError, DeniedError) as error:
                return self._page(visitor, form.text("forge"), error, form=form)
            return redirect(f"/publishers/{_where(visitor)}?done={done}")

        return session_form(request, visitor, taken)

    def _changed(self, visitor: Visitor, form: Form) -> str:
        """Do what the form says; what was done, in a word."""
        match form.exact("do"):
            case "add":
                issuer, claims = described(form)
                model = _model(visitor, form)
                self._check_owner(visitor, model)
                add_publisher(self.exchange, visitor, model, issuer, claims)
                return "added"
            case "remove":
                remove_publisher(self.exchange, visitor, form.text("id"))
                return "removed"
        raise InvalidError("the form does not say what to do")

    def _check_owner(self, visitor: Visitor, where: str) -> None:
        """DeniedError. Who owns a namespace may have been shut out of a model in it."""
        if not self.rights.owns(visitor.principal, where):
            raise DeniedError(f"{where} is not yours: its owner says who publishes it")

    def _page(
        self,
        visitor: Visitor,
        forge: str,
        error: RegistryError | None = None,
        said: str = "",
        form: Form | None = None,
    ) -> Response:
        where = _where(visitor)
        values = {
            "where": where,
            "is_model": "/" in where,
            "publishers": self.exchange.publishers.listed(where),
            "forge": forge if forge in _FORGES else _FORGES[0],
            "typed": {name: form.text(name) if form else "" for name in _FIELDS},
            "origin": str(visitor.here.origin),
            "said": said,
        }
        return self.templates.page("publishers.html", visitor, values, error=error)


def described(form: Form) -> tuple[Issuer, Mapping[str, str]]:
    """The issuer and the claims that a form means, by what each forge says of its jobs. InvalidError."""
    project, number = form.text("project").strip("/"), form.text("number")
    if "/" not in project or not (number.isascii() and number.isdigit()):
        raise InvalidError("the repository is OWNER/NAME, and its number has digits only")
    address = form.text("address").rstrip("/")
    match form.text("forge"):
        case "github":
            issuer, claims = GITHUB, {"repository": project, "repository_owner_id": number}
        case "gitlab":
            issuer, claims = address or GITLAB, {"project_path": project, "project_id": number}
        case "forgejo":
            if not address:
                raise InvalidError("the address of the Forgejo is missing")
            issuer = f"{address}/api/actions"
            claims = {"repository": project, "repository_owner_id": number}
        case _:
            raise InvalidError("the form does not say which forge it is about")
    more = {name: form.text(name) for name in ("ref", "environment")}
    if form.exact("protected"):
        more["ref_protected"] = "true"
    return Issuer.named(issuer), {**claims, **{name: value for name, value in more.items() if value}}


def _model(visitor: Visitor, form: Form) -> str:
    """The model that a form is about: the page's, or what is typed where the page is of a namespace."""
    where = _where(visitor)
    return where if "/" in where else f"{where}/{form.text('model').strip('/')}"


def _where(visitor: Visitor) -> str:
    return visitor.place.repository.lower()
