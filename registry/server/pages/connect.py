"""Where a person lets a machine's key speak for their account, and cannot be talked into a stranger's.

Only a key that has signed a call here within minutes can be approved. The page shows from where that call
came, asks for the code that the machine shows, and for the password once more (PROTOCOL section 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from registry.auth.keys import PublicKey
from registry.errors import DeniedError, InvalidError, Reason, RegistryError, TransientError
from registry.server.approval import CLAIM, Approval
from registry.server.connecting import ASKED_SECONDS, Asked
from registry.server.pages.forms import Form, session_form
from registry.server.pages.html import Templates, redirect
from registry.server.table import Need, Row
from registry.server.visitor import Visitor
from registry.wire.messages import Accept, Request, Response
from registry.wire.routes import Route


@dataclass(frozen=True, slots=True)
class Connect:
    """The page of a key that asks to be connected."""

    templates: Templates
    approval: Approval

    def rows(self) -> Mapping[Route, Mapping[str, Row]]:
        """Its part of the table."""
        return {
            Route.CONNECT_PAGE: {"GET": Row(Need.SESSION, self.show), "POST": Row(Need.SESSION, self.decide)}
        }

    def show(self, request: Request, visitor: Visitor) -> Response:
        key, name = _asked_about(request.parameter("key") or "", request.parameter("name") or "")
        return self._page(visitor, key, name, done=request.parameter("done") or "")

    def decide(self, request: Request, visitor: Visitor) -> Response | Accept:
        def taken(form: Form) -> Response:
            key, name = _asked_about(form.text("key"), form.text("name"))
            try:
                if form.exact("do") != "approve":
                    raise InvalidError("the form does not say what to do")
                self._approve(visitor, form, key, name)
            except (InvalidError, DeniedError, TransientError) as error:
                return self._page(visitor, key, name, error)
            return _back(key, name, "approved")

        return session_form(request, visitor, taken)

    def _approve(self, visitor: Visitor, form: Form, key: PublicKey, name: str) -> None:
        """Let the key speak for the account that is signed in. InvalidError, DeniedError, TransientError."""
        assert visitor.session is not None
        code, password = form.text("code"), form.exact("password")
        user, actor = visitor.session.user, visitor.actor
        self.approval.approve(user, key, name, code=code, password=password, actor=actor)

    def _page(
        self,
        visitor: Visitor,
        key: PublicKey,
        name: str,
        error: RegistryError | None = None,
        done: str = "",
    ) -> Response:
        assert visitor.session is not None
        asked = self.approval.connecting.find(key)
        standing = self._standing(visitor, key, asked)
        values = {
            "key": key,
            "name": name,
            "asked": asked,
            "elsewhere": asked is not None and any(each != visitor.address for each in asked.addresses),
            "address": visitor.address,
            "standing": standing,
            "done": done,
            "minutes": int(ASKED_SECONDS // 60),
            "has_password": self.approval.sign_in.passwords.has(visitor.session.user.name),
        }
        return self.templates.page("connect.html", visitor, values, error=error)

    def _standing(self, visitor: Visitor, key: PublicKey, asked: Asked | None) -> str:
        """What can be done with the key: "mine", "somebody's", "over", "waits", "unasked"."""
        assert visitor.session is not None
        try:
            owner = self.approval.credentials.speaker(key).user
        except DeniedError as error:
            if error.reason is not Reason.KEY_UNKNOWN:
                return "over"
        else:
            return "mine" if owner and owner.id == visitor.session.user.id else "somebody's"
        return "unasked" if asked is None else "waits"


def _asked_about(key: str, name: str) -> tuple[PublicKey, str]:
    """The key, and what its machine says it is called. InvalidError."""
    return PublicKey.parse_connect(key), " ".join(name.split())[:CLAIM]


def _back(key: PublicKey, name: str, done: str) -> Response:
    query = urlencode({"name": name, "key": key.connect, "done": done}, quote_via=quote)
    return redirect(f"/connect?{query}")
