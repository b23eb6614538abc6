"""The pages of teams: the namespaces one is in; of each its members, service accounts and immutable tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from registry.errors import DeniedError, InvalidError, NotFoundError, RegistryError
from registry.server.api_keys import DAY, USUAL_OVERLAP, ApiKeys, Made
from registry.server.credentials import CredentialStore, Listed
from registry.server.immutable import ImmutableTags
from registry.server.key_scopes import KeyScope
from registry.server.last_use import LastUse
from registry.server.namespaces import namespace_of
from registry.server.organisations import ROLES, Organisation, Organisations, parse_role, role_name
from registry.server.pages.forms import Form, session_form
from registry.server.pages.html import Templates, redirect
from registry.server.principal import SERVICE, Right, User
from registry.server.rights import Rights
from registry.server.services import ServiceAccount, Services
from registry.server.table import Need, Row
from registry.server.visitor import Visitor
from registry.wire.messages import Accept, Request, Response
from registry.wire.routes import Route

_DAYS = 90  # that a key made here is good for, where the administrator allows so many
_OVER = ("revoked", "expired")
_EVERYTHING = (KeyScope.parse("*:*"),)
_SAID = {
    "member": "Saved.",
    "out": "They are not in it any more: every right of theirs here has ended.",
    "left": "You are not in it any more.",
    "service": "The service account is there. It needs a key.",
    "revoked": "It is revoked. Nothing that was issued to it is good any more.",
    "immutable": "Saved. Tags that it covers stay where they are once they are made.",
    "movable": "Saved. These tags may move again.",
    "removed": "The organisation is no more. What was published stays, and belongs to nobody.",
}


@dataclass(frozen=True, slots=True)
class ShownKey:
    """A key of a service account: its state, whether it is over, and when it was last used (Unix seconds)."""

    credential: Listed
    state: str
    over: bool
    last_used: float | None


@dataclass(frozen=True, slots=True)
class ShownService:
    """A service account with its keys, the newest last."""

    service: ServiceAccount
    role: str
    keys: tuple[ShownKey, ...]


@dataclass(frozen=True, slots=True)
class Teams:
    """The pages over the teams of one registry; `api_keys` as its administrator has bounded them."""

    templates: Templates
    organisations: Organisations
    services: Services
    immutable: ImmutableTags
    rights: Rights
    credentials: CredentialStore
    api_keys: ApiKeys
    last_use: LastUse

    def rows(self) -> Mapping[Route, Mapping[str, Row]]:
        """Its part of the table."""
        need = Need.SESSION
        return {
            Route.TEAMS_PAGE: {"GET": Row(need, self.list), "POST": Row(Need.ADMINISTRATOR, self.make)},
            Route.TEAM_PAGE: {"GET": Row(need, self.show), "POST": Row(need, self.change)},
        }

    # --- the list ------------------------------------------------------------------------------------

    def list(self, request: Request, visitor: Visitor) -> Response:
        return self._list(visitor, said=_SAID.get(request.parameter("done") or "", ""))

    def make(self, request: Request, visitor: Visitor) -> Response | Accept:
        """An administrator makes an organisation."""

        def taken(form: Form) -> Response:
            name = form.text("name").lower()
            try:
                self.organisations.add(name, form.text("owner").lower(), visitor.actor)
            except (InvalidError, NotFoundError) as error:
                return self._list(visitor, error=error, form=form)
            return redirect(f"/teams/{name}")

        return session_form(request, visitor, taken)

    def _list(
        self,
        visitor: Visitor,
        *,
        error: RegistryError | None = None,
        said: str = "",
        form: Form | None = None,
    ) -> Response:
        user = _user(visitor)
        found = self.organisations.all() if user.admin else self.organisations.of(user.name)
        values = {
            "organisations": [(each, self._role(each, user)) for each in found],
            "own": user.name,
            "said": said,
            "typed": {name: form.text(name) if form else "" for name in ("name", "owner")},
        }
        return self.templates.page("teams.html", visitor, values, error=error)

    # --- one of them ---------------------------------------------------------------------------------

    def show(self, request: Request, visitor: Visitor) -> Response:
        return self._page(visitor, said=_SAID.get(request.parameter("done") or "", ""))

    def change(self, request: Request, visitor: Visitor) -> Response | Accept:
        def taken(form: Form) -> Response:
            do = form.exact("do")
            try:
                if do == "leave":
                    self._set_role(visitor, _user(visitor).name, Right.NONE)
                    return redirect("/teams?done=left")
                if do == "remove":
                    return self._removed(visitor)
                self._check_owner(visitor, _namespace(visitor))
                done = self._changes().get(do)
                if done is None:
                    raise InvalidError("the form does not say what to do")
                said = done(visitor, form)
            except (InvalidError, NotFoundError, DeniedError) as error:
                return self._page(visitor, error=error)
            if isinstance(said, Made):
                return self._page(visitor, made=said)
            return redirect(f"/teams/{_namespace(visitor)}?done={said}")

        return session_form(request, visitor, taken)

    def _changes(self) -> Mapping[str, Callable[[Visitor, Form], str | Made]]:
        """What each form of an owner does; the word for what was done, or a secret to show."""
        return {
            "member": self._member,
            "take-out": self._take_out,
            "service": self._service,
            "revoke-service": self._revoke_service,
            "key": self._key,
            "rotate": self._rotate,
            "revoke": self._revoke,
            "immutable": self._immutable,
            "movable": self._movable,
        }

    def _member(self, visitor: Visitor, form: Form) -> str:
        role = parse_role(form.text("role"))
        if role is Right.NONE:
            raise InvalidError("a member is a reader, writer or owner")
        self._set_role(visitor, form.text("user").lower(), role)
        return "member"

    def _take_out(self, visitor: Visitor, form: Form) -> str:
        self._set_role(visitor, form.text("user"), Right.NONE)
        return "out"

    def _set_role(self, visitor: Visitor, user: str, role: Right) -> None:
        by_admin = visitor.principal.is_admin
        self.organisations.set_role(_namespace(visitor), user, role, visitor.actor, ownerless=by_admin)

    def _service(self, visitor: Visitor, form: Form) -> str:
        name = f"{_namespace(visitor)}/{form.text('name').lower()}"
        self.services.add(name, parse_role(form.text("role")), form.text("note"), visitor.actor)
        return "service"

    def _revoke_service(self, visitor: Visitor, form: Form) -> str:
        self.services.revoke(f"{_namespace(visitor)}/{form.text('name')}", visitor.actor)
        return "revoked"

    def _key(self, visitor: Visitor, form: Form) -> Made:
        holder = self.services.one(f"{_namespace(visitor)}/{form.text('name')}")
        seconds = min(_DAYS * DAY, self.api_keys.most)
        note = form.text("note")
        return self.api_keys.create(holder, _EVERYTHING, seconds=seconds, note=note, actor=visitor.actor)

    def _rotate(self, visitor: Visitor, form: Form) -> Made:
        """A new secret; the old one is good for a day yet, or not at all if it has leaked."""
        overlap = 0 if form.exact("leaked") else USUAL_OVERLAP
        return self.api_keys.rotate(self._holder(visitor, form), form.text("id"), overlap, visitor.actor)

    def _revoke(self, visitor: Visitor, form: Form) -> str:
        self.credentials.revoke(self._holder(visitor, form), form.text("id"), visitor.actor)
        return "revoked"

    def _immutable(self, visitor: Visitor, form: Form) -> str:
        self.immutable.add(self._scope(visitor, form), form.text("pattern"), visitor.actor)
        return "immutable"

    def _movable(self, visitor: Visitor, form: Form) -> str:
        self.immutable.remove(self._scope(visitor, form), form.exact("pattern"), visitor.actor)
        return "movable"

    def _removed(self, visitor: Visitor) -> Response:
        if not visitor.principal.is_admin:
            raise DeniedError("only an administrator removes an organisation")
        self.organisations.remove(_namespace(visitor), visitor.actor)
        return redirect("/teams?done=removed")

    def _holder(self, visitor: Visitor, form: Form) -> str:
        """The service account of this namespace that a key belongs to. NotFoundError."""
        found = self.credentials.one(form.text("id"))
        if found.kind != SERVICE or namespace_of(found.user) != _namespace(visitor):
            raise NotFoundError(f"{_namespace(visitor)} has no such key")
        return found.user

    def _scope(self, visitor: Visitor, form: Form) -> str:
        """The namespace, or the model in it that the form names. DeniedError if that is not theirs."""
        namespace, model = _namespace(visitor), form.text("model").lower()
        where = f"{namespace}/{model}" if model else namespace
        self._check_owner(visitor, where)
        return where

    def _check_owner(self, visitor: Visitor, where: str) -> None:
        """DeniedError. Who owns a namespace may have been shut out of a model in it."""
        if not self.rights.owns(visitor.principal, where):
            raise DeniedError(f"{where} is not yours to share")

    def _page(
        self,
        visitor: Visitor,
        *,
        made: Made | None = None,
        error: RegistryError | None = None,
        said: str = "",
    ) -> Response:
        """One namespace. A secret that was just made stands on this one page, and on no other."""
        namespace, user = _namespace(visitor), _user(visitor)
        found = next((each for each in self.organisations.all() if each.name == namespace), None)
        owns = self.rights.owns(visitor.principal, namespace)
        if found is None and not owns:
            raise NotFoundError(f"{namespace} is no organisation, or not for you to see")
        patterns = [each for each in self.immutable.listed() if namespace_of(each.scope) == namespace]
        values = {
            "namespace": namespace,
            "organisation": found,
            "disabled": found.disabled if found else (),
            "members": {name: role_name(right) for name, right in found.members.items()} if found else {},
            "role": self._role(found, user) if found else "owner",
            "roles": tuple(ROLES),
            "owns": owns,
            "services": self._shown(namespace) if owns else (),
            "patterns": [(each.scope.partition("/")[2], each.pattern) for each in patterns],
            "made": made,
            "said": said,
        }
        return self.templates.page("team.html", visitor, values, error=error)

    def _shown(self, namespace: str) -> tuple[ShownService, ...]:
        now, known = self.services.clock(), self.last_use.known
        keys: dict[str, tuple[ShownKey, ...]] = {}
        for each in self.credentials.of_services([namespace]):
            state = each.state(now)
            key = ShownKey(each, state, state in _OVER, known.get(each.id, each.last_used))
            keys[each.user] = (*keys.get(each.user, ()), key)
        found = self.services.listed(namespace)
        return tuple(ShownService(each, role_name(each.right), keys.get(each.name, ())) for each in found)

    def _role(self, organisation: Organisation, user: User) -> str:
        """What somebody is in it; "" for an administrator who is not in it."""
        right = organisation.members.get(user.name)
        return role_name(right) if right else ""


def _user(visitor: Visitor) -> User:
    assert visitor.session is not None
    return visitor.session.user


def _namespace(visitor: Visitor) -> str:
    return visitor.place.repository.lower()
