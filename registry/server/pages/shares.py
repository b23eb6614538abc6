"""The page of a namespace's shares: who may read or write in all of it, which its owner says here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from registry.errors import DeniedError, InvalidError, NotFoundError, RegistryError
from registry.server.namespaces import namespace_of
from registry.server.pages.forms import Form, session_form
from registry.server.pages.html import Templates, redirect
from registry.server.principal import Right
from registry.server.rights import Rights
from registry.server.table import Need, Row
from registry.server.visitor import Visitor
from registry.wire.messages import Accept, Request, Response
from registry.wire.routes import Route

_SAID = {"shared": "Saved.", "back": "Taken back."}


@dataclass(frozen=True, slots=True)
class Shares:
    """The page over who may what in one registry."""

    templates: Templates
    rights: Rights

    def rows(self) -> Mapping[Route, Mapping[str, Row]]:
        """Its part of the table."""
        return {
            Route.SHARES_PAGE: {"GET": Row(Need.SESSION, self.show), "POST": Row(Need.SESSION, self.change)}
        }

    def show(self, request: Request, visitor: Visitor) -> Response:
        self._check_owner(visitor)
        return self._page(visitor, said=_SAID.get(request.parameter("done") or "", ""))

    def change(self, request: Request, visitor: Visitor) -> Response | Accept:
        self._check_owner(visitor)

        def taken(form: Form) -> Response:
            try:
                done = self._changed(visitor, form)
            except (InvalidError, NotFoundError, DeniedError) as error:
                return self._page(visitor, error)
            return redirect(f"/shares/{_namespace(visitor)}?done={done}")

        return session_form(request, visitor, taken)

    def _changed(self, visitor: Visitor, form: Form) -> str:
        """Do what the form says; what was done, in a word."""
        user, where = form.text("user").lower(), _namespace(visitor)
        by_admin = visitor.principal.is_admin
        match form.exact("do"):
            case "share":
                right = Right.parse(form.text("right"))
                self.rights.grant(user, where, right, visitor.actor, ownerless=by_admin)
                return "shared"
            case "take-back":
                self.rights.ungrant(user, where, visitor.actor, ownerless=by_admin)
                return "back"
        raise InvalidError("the form does not say what to do")

    def _check_owner(self, visitor: Visitor) -> None:
        where = _namespace(visitor)
        if not self.rights.owns(visitor.principal, where):
            raise DeniedError(f"{where} is not yours to share")

    def _page(self, visitor: Visitor, error: RegistryError | None = None, said: str = "") -> Response:
        where = _namespace(visitor)
        values = {"namespace": where, "shares": self.rights.grants_in(where), "said": said}
        return self.templates.page("shares.html", visitor, values, error=error)


def _namespace(visitor: Visitor) -> str:
    """The namespace that the page is about, also where its address names a model in it."""
    return namespace_of(visitor.place.repository.lower())
