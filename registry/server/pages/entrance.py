"""The pages where people come in and go out: set-up, sign-in, invitation, one-time link, own account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from registry.errors import DeniedError, InvalidError, NotFoundError, RegistryError, TransientError
from registry.server.browser import cookie, secret_of
from registry.server.pages.forms import Form, open_form, page_of_ours, same, session_form
from registry.server.pages.html import Templates, redirect
from registry.server.passwords import SHORTEST
from registry.server.sessions import SECONDS, BrowserSession
from registry.server.sign_in import SignIn
from registry.server.table import Need, Row
from registry.server.visitor import Visitor
from registry.wire.messages import Accept, Request, Response
from registry.wire.routes import Route

HOME = "/models"


@dataclass(frozen=True, slots=True)
class Entrance:
    """The ways in, as pages over `sign_in`."""

    templates: Templates
    sign_in: SignIn

    def rows(self) -> Mapping[Route, Mapping[str, Row]]:
        """Its part of the table."""
        return {
            Route.SIGN_IN_PAGE: {
                "GET": Row(Need.PAGE, self.show_sign_in),
                "POST": Row(Need.PAGE, self.enter),
            },
            Route.SIGN_OUT_PAGE: {"POST": Row(Need.SESSION, self.leave)},
            Route.SET_UP_PAGE: {"GET": Row(Need.PAGE, self.show_set_up), "POST": Row(Need.PAGE, self.set_up)},
            Route.INVITATION_PAGE: {
                "GET": Row(Need.PAGE, self.show_invitation),
                "POST": Row(Need.PAGE, self.choose),
            },
            Route.LINK_PAGE: {"GET": Row(Need.PAGE, self.show_link), "POST": Row(Need.PAGE, self.by_link)},
            Route.ACCOUNT_PAGE: {
                "GET": Row(Need.SESSION, self.show_account),
                "POST": Row(Need.SESSION, self.change),
            },
        }

    # --- by password ---------------------------------------------------------------------------------

    def show_sign_in(self, request: Request, visitor: Visitor) -> Response:
        back = page_of_ours(request.parameter("next") or HOME)
        if visitor.session is not None:
            return redirect(back)
        return self._sign_in_page(visitor, back)

    def enter(self, request: Request, visitor: Visitor) -> Response | Accept:
        def taken(form: Form) -> Response:
            back, name = page_of_ours(form.exact("next") or HOME), form.text("name").lower()
            try:
                secret = self.sign_in.by_password(name, form.exact("password"), visitor.address)
            except (DeniedError, TransientError) as error:
                return self._sign_in_page(visitor, back, name=name, error=error)
            return self._entered(request, visitor, secret, back)

        return open_form(request, taken)

    def _sign_in_page(
        self, visitor: Visitor, back: str, name: str = "", error: RegistryError | None = None
    ) -> Response:
        first = not self.sign_in.has_administrator()
        values = {"next": back, "name": name, "first": first}
        return self.templates.page("sign_in.html", visitor, values, error=error)

    def leave(self, request: Request, visitor: Visitor) -> Response | Accept:
        def taken(_form: Form) -> Response:
            assert visitor.session is not None
            self.sign_in.sessions.end(visitor.session, visitor.actor)
            return redirect("/signin", cookie(visitor.here, "", 0))

        return session_form(request, visitor, taken)

    # --- by a link that is good once -----------------------------------------------------------------

    def show_set_up(self, _request: Request, visitor: Visitor) -> Response:
        return self._set_up_page(visitor)

    def set_up(self, request: Request, visitor: Visitor) -> Response | Accept:
        def taken(form: Form) -> Response:
            name = form.text("name").lower()
            try:
                password = _chosen(form)
                secret = self.sign_in.set_up(form.text("code"), name, password, visitor.address)
            except (InvalidError, DeniedError, TransientError) as error:
                return self._set_up_page(visitor, form, error)
            return self._entered(request, visitor, secret, HOME)

        return open_form(request, taken)

    def _set_up_page(
        self, visitor: Visitor, form: Form | None = None, error: RegistryError | None = None
    ) -> Response:
        values = {"done": self.sign_in.has_administrator(), "shortest": SHORTEST}
        typed = {key: form.text(key) if form else "" for key in ("code", "name")}
        return self.templates.page("set_up.html", visitor, {**values, **typed}, error=error)

    def show_invitation(self, _request: Request, visitor: Visitor) -> Response:
        return self._invitation_page(visitor)

    def choose(self, request: Request, visitor: Visitor) -> Response | Accept:
        def taken(form: Form) -> Response:
            try:
                secret = self.sign_in.by_invitation(form.text("code"), _chosen(form), visitor.address)
            except (InvalidError, DeniedError, TransientError) as error:
                return self._invitation_page(visitor, form.text("code"), error)
            return self._entered(request, visitor, secret, HOME)

        return open_form(request, taken)

    def _invitation_page(
        self, visitor: Visitor, code: str = "", error: RegistryError | None = None
    ) -> Response:
        values = {"code": code, "shortest": SHORTEST}
        return self.templates.page("invitation.html", visitor, values, error=error)

    def show_link(self, _request: Request, visitor: Visitor) -> Response:
        return self.templates.page("link.html", visitor, {"code": ""})

    def by_link(self, request: Request, visitor: Visitor) -> Response | Accept:
        def taken(form: Form) -> Response:
            try:
                secret = self.sign_in.by_page_link(form.text("code"), visitor.address)
            except (DeniedError, TransientError) as error:
                values = {"code": form.text("code")}
                return self.templates.page("link.html", visitor, values, error=error)
            return self._entered(request, visitor, secret, HOME)

        return open_form(request, taken)

    # --- one's own account ---------------------------------------------------------------------------

    def show_account(self, request: Request, visitor: Visitor) -> Response:
        return self._account_page(visitor, said=request.parameter("done") or "")

    def change(self, request: Request, visitor: Visitor) -> Response | Accept:
        def taken(form: Form) -> Response:
            session = _session(visitor)
            if form.exact("do") == "end-others":
                self.sign_in.sessions.end_others(session.user, session.id, visitor.actor)
                return redirect("/account?done=ended")
            try:
                if form.exact("do") == "end":
                    self.sign_in.sessions.end_one(session.user, form.text("id"), visitor.actor)
                    return redirect("/account?done=one")
                new, old = _chosen(form), form.exact("old")
                secret = self.sign_in.change(session.user, old, new, visitor.actor, browser=True)
            except (InvalidError, NotFoundError, DeniedError, TransientError) as error:
                return self._account_page(visitor, error)
            return redirect("/account?done=changed", cookie(visitor.here, secret, SECONDS))

        return session_form(request, visitor, taken)

    def _account_page(self, visitor: Visitor, error: RegistryError | None = None, said: str = "") -> Response:
        session = _session(visitor)
        values = {
            "has_password": self.sign_in.passwords.has(session.user.name),
            "sessions": self.sign_in.sessions.of(session.user),
            "said": said,
            "shortest": SHORTEST,
        }
        return self.templates.page("account.html", visitor, values, error=error)

    def _entered(self, request: Request, visitor: Visitor, secret: str, back: str) -> Response:
        """Give the browser its new session; the one it had before is over."""
        before = self.sign_in.sessions.find(secret_of(request, visitor.here))
        if before is not None:
            self.sign_in.sessions.end(before, visitor.actor)
        return redirect(back, cookie(visitor.here, secret, SECONDS))


def _session(visitor: Visitor) -> BrowserSession:
    """The session that the guard has let in."""
    assert visitor.session is not None
    return visitor.session


def _chosen(form: Form) -> str:
    """A new password, typed twice. InvalidError if not the same."""
    password = form.exact("password")
    if not same(password, form.exact("again")):
        raise InvalidError("the two passwords are not the same")
    return password
