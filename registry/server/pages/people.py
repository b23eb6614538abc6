"""The administrators' page of accounts: who has one, invitations, and their end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from registry.errors import InvalidError, NotFoundError, RegistryError
from registry.server.accounts import Accounts
from registry.server.pages.forms import Form, session_form
from registry.server.pages.html import Templates, redirect
from registry.server.principal import User
from registry.server.sign_in import SignIn
from registry.server.table import Need, Row
from registry.server.visitor import Visitor
from registry.wire.messages import Accept, Request, Response
from registry.wire.routes import Route

_SAID = {
    "disabled": "The account is disabled: every browser and credential of it is refused.",
    "enabled": "The account is let in again.",
    "removed": "The account is removed. Its models stay.",
}


@dataclass(frozen=True, slots=True)
class Person:
    """An account in the list; `invited`: until when (Unix seconds) its link to choose a password is good."""

    user: User
    has_password: bool
    invited: float | None


@dataclass(frozen=True, slots=True)
class People:
    """The page over the accounts of one registry."""

    templates: Templates
    sign_in: SignIn
    accounts: Accounts

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
        invitations, actor, do = self.sign_in.invitations, visitor.actor, form.exact("do")
        if do == "invite":
            link = invitations.invite(name, actor, admin=bool(form.exact("admin")))
            return self._page(visitor, link=visitor.here.base + link, name=name)
        if do == "reset":
            return self._page(visitor, link=visitor.here.base + invitations.reset(name, actor), name=name)
        if name == visitor.principal.name and do in ("disable", "remove"):
            raise InvalidError("you cannot do that to your own account")
        match do:
            case "disable":
                self.accounts.disable(name, actor)
            case "enable":
                self.accounts.enable(name, actor)
            case "remove":
                self.accounts.remove(name, actor)
            case _:
                raise InvalidError("the form does not say what to do")
        return redirect(f"/admin/users?done={do}d")

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
        having, pending = self.sign_in.passwords.names(), self.sign_in.invitations.pending()
        people = [Person(each, each.name in having, pending.get(each.name)) for each in self.accounts.users()]
        values = {"people": people, "link": link, "name": name, "said": said}
        return self.templates.page("people.html", visitor, values, error=error)
