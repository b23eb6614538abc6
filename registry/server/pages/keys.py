"""The page of one's credentials: machines and API keys in one list, made, given a new secret, revoked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from registry.errors import InvalidError, NotFoundError, RegistryError
from registry.server.api_keys import DAY, USUAL_OVERLAP, ApiKeys, Made
from registry.server.credentials import CredentialStore, Listed
from registry.server.key_scopes import ACTIONS, parse_scopes
from registry.server.last_use import LastUse
from registry.server.pages.forms import Form, session_form
from registry.server.pages.html import Templates, redirect
from registry.server.principal import API_KEY, MACHINE_KEY, User
from registry.server.table import Need, Row
from registry.server.visitor import Visitor
from registry.wire.messages import Accept, Request, Response
from registry.wire.routes import Route

_DAYS = (7, 30, 90, 180, 365)  # that a key may be good for, where the administrator allows so many
_OVER = ("revoked", "expired")
_SAID = {"revoked": "It is revoked. Nothing that was issued to it is good any more."}


@dataclass(frozen=True, slots=True)
class Shown:
    """A credential in the list: its state, whether it is over, and when it was last used (Unix seconds)."""

    credential: Listed
    state: str
    over: bool
    last_used: float | None


@dataclass(frozen=True, slots=True)
class Keys:
    """The page over the credentials of one registry."""

    templates: Templates
    credentials: CredentialStore
    api_keys: ApiKeys
    last_use: LastUse

    def rows(self) -> Mapping[Route, Mapping[str, Row]]:
        """Its part of the table."""
        return {
            Route.KEYS_PAGE: {"GET": Row(Need.SESSION, self.show), "POST": Row(Need.SESSION, self.change)}
        }

    def show(self, request: Request, visitor: Visitor) -> Response:
        return self._page(visitor, said=_SAID.get(request.parameter("done") or "", ""))

    def change(self, request: Request, visitor: Visitor) -> Response | Accept:
        def taken(form: Form) -> Response:
            try:
                match form.exact("do"):
                    case "create":
                        return self._page(visitor, made=self._created(visitor, form))
                    case "rotate":
                        return self._page(visitor, made=self._rotated(visitor, form))
                    case "revoke":
                        self.credentials.revoke(_user(visitor).name, form.text("id"), visitor.actor)
                        return redirect("/keys?done=revoked")
                raise InvalidError("the form does not say what to do")
            except (InvalidError, NotFoundError) as error:
                return self._page(visitor, error=error, form=form)

        return session_form(request, visitor, taken)

    def _created(self, visitor: Visitor, form: Form) -> Made:
        actions = ",".join(each for each in ACTIONS if form.exact(each)) or ACTIONS[0]
        patterns = form.text("where").replace(",", " ").split()
        return self.api_keys.create(
            _user(visitor),
            parse_scopes(f"{pattern}:{actions}" for pattern in patterns),
            seconds=_days(form.text("days")) * DAY,
            note=form.text("note"),
            actor=visitor.actor,
        )

    def _rotated(self, visitor: Visitor, form: Form) -> Made:
        """A new secret; the old one is good for a day yet, or not at all if it has leaked."""
        overlap = 0 if form.exact("leaked") else USUAL_OVERLAP
        return self.api_keys.rotate(_user(visitor).name, form.text("id"), overlap, visitor.actor)

    def _shown(self, each: Listed, now: float) -> Shown:
        state = each.state(now)
        return Shown(each, state, state in _OVER, self.last_use.known.get(each.id, each.last_used))

    def _page(
        self,
        visitor: Visitor,
        *,
        made: Made | None = None,
        error: RegistryError | None = None,
        said: str = "",
        form: Form | None = None,
    ) -> Response:
        """The list. A secret that was just made stands on this one page, and on no other."""
        user, now = _user(visitor), self.credentials.clock()
        listed = self.credentials.listed(user.name)
        most = self.api_keys.most // DAY
        typed = {name: form.text(name) if form else "" for name in ("note", "where", "days", *ACTIONS)}
        values = {
            "machines": [self._shown(each, now) for each in listed if each.kind == MACHINE_KEY],
            "keys": [self._shown(each, now) for each in listed if each.kind == API_KEY],
            "made": made,
            "said": said,
            "typed": typed if form else {**typed, "where": f"{user.name}/*", "pull": "1", "days": "90"},
            "days": [*(each for each in _DAYS if each < most), most]
            if most not in _DAYS
            else [each for each in _DAYS if each <= most],
        }
        return self.templates.page("keys.html", visitor, values, error=error)


def _user(visitor: Visitor) -> User:
    assert visitor.session is not None
    return visitor.session.user


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        raise InvalidError("how long the key is good for is a number of days")
    return int(text)
