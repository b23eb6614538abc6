"""The account API's part for administrators: people, what was changed, and how the registry is.

What their pages show and do, by the same functions. An API key does none of it (`Need.ADMINISTER`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlencode

from sqlalchemy import Engine

from registry.contracts import Clock
from registry.errors import InvalidError
from registry.server.audit import AuditEntry, latest
from registry.server.documents import accept_object, answer, check_known, flag_field, text_field
from registry.server.health import Health
from registry.server.invitations import SECONDS, Link
from registry.server.people import People, Person
from registry.server.reading import date, page_limit, parsed_date
from registry.server.table import Need, Row, Table
from registry.server.visitor import Visitor
from registry.wire.messages import Accept, Request, Response
from registry.wire.routes import Route


@dataclass(frozen=True, slots=True)
class AdministrationApi:
    """Over one registry; `clock` in Unix seconds."""

    engine: Engine
    people: People
    health: Health
    clock: Clock

    def rows(self) -> Table:
        """Its part of the table."""
        need = Need.ADMINISTER
        return {
            Route.USERS: {"GET": Row(need, self.users), "POST": Row(need, self.invite)},
            Route.USER: {
                "GET": Row(need, self.user),
                "PATCH": Row(need, self.change),
                "DELETE": Row(need, self.remove),
            },
            Route.USER_LINK: {"POST": Row(need, self.link), "DELETE": Row(need, self.take_back)},
            Route.AUDIT: {"GET": Row(need, self.audit)},
            Route.SYSTEM: {"GET": Row(need, self.system)},
        }

    # --- people --------------------------------------------------------------------------------------

    def users(self, _request: Request, _visitor: Visitor) -> Response:
        """Who has an account."""
        return answer(200, [_person(each) for each in self.people.listed()])

    def user(self, _request: Request, visitor: Visitor) -> Response:
        """One of them."""
        return answer(200, _person(self.people.one(visitor.place.reference)))

    def invite(self, _request: Request, visitor: Visitor) -> Accept:
        """A new account, and the link where its owner chooses a password; it is shown this once."""
        return accept_object(partial(self._invite, visitor))

    def _invite(self, visitor: Visitor, asked: Mapping[str, object]) -> Response:
        check_known(asked, "name", "admin")
        name, admin = text_field(asked, "name"), bool(flag_field(asked, "admin"))
        path = self.people.invite(name, visitor.actor, admin=admin)
        return self._link(visitor, name, path, 201)

    def link(self, _request: Request, visitor: Visitor) -> Response:
        """A link where somebody who has an account chooses a password; the one before is no good any more."""
        name = visitor.place.reference
        return self._link(visitor, name, self.people.link(name, visitor.actor), 201)

    def take_back(self, _request: Request, visitor: Visitor) -> Response:
        """That link is no good any more."""
        self.people.take_back(visitor.place.reference, visitor.actor)
        return Response(204)

    def change(self, _request: Request, visitor: Visitor) -> Accept:
        """Shut somebody out, or let them in again."""
        return accept_object(partial(self._change, visitor))

    def _change(self, visitor: Visitor, asked: Mapping[str, object]) -> Response:
        check_known(asked, "disabled")
        name, disabled = visitor.place.reference, flag_field(asked, "disabled")
        if disabled is None:
            raise InvalidError("disabled is missing: true or false")
        (self.people.disable if disabled else self.people.enable)(name, visitor.actor)
        return answer(200, _person(self.people.one(name)))

    def remove(self, _request: Request, visitor: Visitor) -> Response:
        """End an account; whether models of it stay, which then belong to nobody."""
        return answer(200, {"models_stay": self.people.remove(visitor.place.reference, visitor.actor)})

    def _link(self, visitor: Visitor, name: str, path: str, status: int) -> Response:
        until = date(self.clock() + SECONDS[Link.INVITE])
        return answer(status, {"name": name, "url": visitor.here.base + path, "expires": until})

    # --- what was done, and how it is ----------------------------------------------------------------

    def audit(self, request: Request, _visitor: Visitor) -> Response:
        """What was changed, the newest first: of one `repository` or `user`, `after` a time."""
        limit, before = max(1, page_limit(request)), request.parameter("before") or "0"
        if not (before.isascii() and before.isdigit() and len(before) < 16):
            raise InvalidError(f"before={before[:20]!r} is not the id of a change")
        of = {name: (request.parameter(name) or "").lower() for name in ("repository", "user")}
        after = request.parameter("after") or ""
        found = latest(
            self.engine,
            before=int(before),
            after=parsed_date(after) if after else 0.0,
            repository=of["repository"],
            user=of["user"],
            limit=limit + 1,
        )
        more = {"n": limit, "before": found[limit - 1].id, **of, "after": after} if len(found) > limit else {}
        query = urlencode({name: value for name, value in more.items() if value})
        link = (("Link", f'</api/audit?{query}>; rel="next"'),) if more else ()
        return answer(200, [_entry(each) for each in found[:limit]], link)

    def system(self, _request: Request, _visitor: Visitor) -> Response:
        """How much is kept, how much room is left, and what is wrong."""
        numbers = self.health.numbers()
        document = {
            "problems": self.health.problems(numbers),
            "min_free": self.health.room.least,
            "numbers": {name: value for name, (_, value) in numbers.items()},
        }
        return answer(200, document)


def _person(each: Person) -> dict[str, object]:
    return {
        "name": each.user.name,
        "admin": each.user.admin,
        "disabled": each.user.disabled,
        "created": date(each.user.created),
        "password": each.has_password,
        "invited_until": None if each.invited is None else date(each.invited),
    }


def _entry(each: AuditEntry) -> dict[str, object]:
    return {
        "id": each.id,
        "time": date(each.time),
        "user": each.user,
        "credential": each.credential,
        "address": each.address,
        "action": each.action,
        "repository": each.repository,
        "subject": each.subject,
        "digest": each.digest,
    }
