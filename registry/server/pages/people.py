"""The administrators' page of accounts: who has one, invitations, and their end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from registry.errors import InvalidError, NotFoundError, RegistryError
from registry.server.pages.forms import Form, session_form
from registry.server.pages.html import Templates, redirect
from registry.server.people import People
from registry.server.table import Need, Row
from registry.server.visitor import Visitor
from registry.wire.messages import Accept, Request, Response
from registry.wire.routes import Route

_SAID = {
    "take-back": "The link is no good any more.",
    "disable": "The account is disabled: every browser and credential of it is refused.",
    "enable": "The account is let in again.",
    "remove": "The account is removed. Its models stay.",
}


@dataclass(frozen=True, slots=True)
class PeoplePage:
    """The page over the accounts of one registry."""

    templates: Templates
    people: People

    def rows(self) -> Mapping[Route, Mapping[str, Row]]:
        """Its part of the table."""
        need = Need.ADMINISTRATOR
        return {Route.USERS_PAGE: {"GET": Row(need, self.show), "POST": Row(need, self.change)}}

    def show(self, request: Request, visitor: Visitor) -> Response:
        return self._page(visitor, said=_SAID.get(request.parameter("done") or "", ""))

    def change(self, request: Request, visitor: Visitor) -> Response | Accept:
        def taken(form: Form) -> Response:
            try:
                return self._changed(visitor, form, form.text("name").lower())
            except (InvalidError, NotFoundError) as error:
                return self._page(visitor, error=error, name=form.text("name"))

        return session_form(request, visitor, taken)

    def _changed(self, visitor: Visitor, form: Form, name: str) -> Response:
        actor = visitor.actor
        match form.exact("do"):
            case "invite":
                link = self.people.invite(name, actor, admin=bool(form.exact("admin")))
                return self._page(visitor, link=visitor.here.base + link, name=name)
            case "link":
                return self._page(visitor, link=visitor.here.base + self.people.link(name, actor), name=name)
            case "take-back":
                self.people.take_back(name, actor)
            case "disable":
                self.people.disable(name, actor)
            case "enable":
                self.people.enable(name, actor)
            case "remove":
                self.people.remove(name, actor)
            case _:
                raise InvalidError("the form does not say what to do")
        return redirect(f"/admin/users?done={form.exact('do')}")

    def _page(
        self,
        visitor: Visitor,
        *,
        link: str = "",
        name: str = "",
        error: RegistryError | None = None,
        said: str = "",
    ) -> Response:
        """The list. A link that was just made stands on this one page, and on no other."""
        values = {"people": self.people.listed(), "link": link, "name": name, "said": said}
        return self.templates.page("people.html", visitor, values, error=error)
