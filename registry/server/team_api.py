"""The account API's part for teams: organisations, service accounts, immutable tags.

The guard has looked at who asks: what an owner does, no API key does by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from registry.errors import DeniedError, InvalidError
from registry.server.account_api import credential_document, made_document
from registry.server.api_keys import ApiKeys
from registry.server.credentials import CredentialStore, Listed
from registry.server.documents import (
    accept_object,
    answer,
    check_known,
    number_field,
    text_field,
    texts_field,
)
from registry.server.immutable import ImmutableTags
from registry.server.key_scopes import parse_scopes
from registry.server.last_use import LastUse
from registry.server.organisations import Organisation, Organisations, parse_role, role_name
from registry.server.principal import Right
from registry.server.reading import date
from registry.server.rights import Rights
from registry.server.services import ServiceAccount, Services
from registry.server.table import Need, Row, Table
from registry.server.visitor import Visitor
from registry.wire.messages import Accept, Request, Response
from registry.wire.routes import Route

EVERYTHING = ("*:*",)  # the scopes of a key that may all its service account may


@dataclass(frozen=True, slots=True)
class TeamApi:
    """Over the organisations, service accounts and immutable tags of one registry."""

    organisations: Organisations
    services: Services
    immutable: ImmutableTags
    rights: Rights
    credentials: CredentialStore
    api_keys: ApiKeys
    last_use: LastUse

    def rows(self) -> Table:
        """Its part of the table."""
        return {
            Route.ORGANISATIONS: {
                "GET": Row(Need.ACCOUNT, self.listed),
                "POST": Row(Need.ADMINISTER, self.add),
            },
            Route.ORGANISATION: {
                "GET": Row(Need.ACCOUNT, self.one),
                "DELETE": Row(Need.ADMINISTER, self.remove),
            },
            Route.MEMBER: {"PUT": Row(Need.OWN, self.set_role), "DELETE": Row(Need.MANAGE, self.take_role)},
            Route.SERVICES: {
                "GET": Row(Need.OWN, self.service_accounts),
                "POST": Row(Need.OWN, self.add_service),
            },
            Route.SERVICE: {"DELETE": Row(Need.OWN, self.revoke_service)},
            Route.SERVICE_KEYS: {"POST": Row(Need.OWN, self.add_key)},
            Route.IMMUTABLE: {
                "GET": Row(Need.ACCOUNT, self.patterns),
                "POST": Row(Need.OWN, self.add_pattern),
                "DELETE": Row(Need.OWN, self.remove_pattern),
            },
        }

    # --- organisations -------------------------------------------------------------------------------

    def listed(self, _request: Request, visitor: Visitor) -> Response:
        """Those that one has a role in; all of them to an administrator."""
        who = visitor.principal
        found = self.organisations.all() if who.is_admin else self.organisations.of(who.name)
        return answer(200, [_organisation(each, who.name) for each in found])

    def one(self, _request: Request, visitor: Visitor) -> Response:
        """One of them, with its members."""
        found = self.organisations.one(_namespace(visitor))
        return answer(200, {**_organisation(found, visitor.principal.name), "members": found.documents})

    def add(self, _request: Request, visitor: Visitor) -> Accept:
        """A new organisation, with its first owner."""
        return accept_object(partial(self._add, visitor))

    def _add(self, visitor: Visitor, asked: Mapping[str, object]) -> Response:
        check_known(asked, "name", "owner")
        name = text_field(asked, "name")
        self.organisations.add(name, text_field(asked, "owner"), visitor.actor)
        return answer(201, _organisation(self.organisations.one(name), visitor.principal.name))

    def remove(self, _request: Request, visitor: Visitor) -> Response:
        """The end of an organisation and of every right in it."""
        self.organisations.remove(_namespace(visitor), visitor.actor)
        return Response(204)

    def set_role(self, _request: Request, visitor: Visitor) -> Accept:
        """What somebody is in an organisation."""
        return accept_object(partial(self._set_role, visitor))

    def _set_role(self, visitor: Visitor, asked: Mapping[str, object]) -> Response:
        check_known(asked, "role")
        role = parse_role(text_field(asked, "role", "nothing"))
        if role is Right.NONE:
            raise InvalidError("a member is a reader, writer or owner", hint="DELETE takes a role back")
        self._change(visitor, role)
        return Response(204)

    def take_role(self, _request: Request, visitor: Visitor) -> Response:
        """Every right of somebody in an organisation ends: its owner says so, or they leave."""
        who, name = visitor.principal, _namespace(visitor)
        if visitor.place.reference != who.name and not self.rights.owns(who, name):
            raise DeniedError(f"{name} is not yours to share")
        self._change(visitor, Right.NONE)
        return Response(204)

    def _change(self, visitor: Visitor, role: Right) -> None:
        self.organisations.set_role(
            _namespace(visitor),
            visitor.place.reference,
            role,
            visitor.actor,
            ownerless=visitor.principal.is_admin,
        )

    # --- service accounts ----------------------------------------------------------------------------

    def service_accounts(self, _request: Request, visitor: Visitor) -> Response:
        """Those of a namespace, with their keys."""
        namespace = _namespace(visitor)
        keys = self.credentials.of_services([namespace])
        return answer(200, [self._service(each, keys) for each in self.services.listed(namespace)])

    def add_service(self, _request: Request, visitor: Visitor) -> Accept:
        """A new one, without a key yet."""
        return accept_object(partial(self._add_service, visitor))

    def _add_service(self, visitor: Visitor, asked: Mapping[str, object]) -> Response:
        check_known(asked, "name", "role", "note")
        name, role = text_field(asked, "name"), parse_role(text_field(asked, "role", "reader"))
        note = text_field(asked, "note")
        made = self.services.add(f"{_namespace(visitor)}/{name}", role, note, visitor.actor)
        return answer(201, self._service(made, []))

    def revoke_service(self, _request: Request, visitor: Visitor) -> Response:
        """The end of one, and of all its keys."""
        self.services.revoke(_service_name(visitor), visitor.actor)
        return Response(204)

    def add_key(self, _request: Request, visitor: Visitor) -> Accept:
        """A new key of one, whose secret is shown this once; `/api/credentials/ID` rotates and ends it."""
        return accept_object(partial(self._add_key, visitor))

    def _add_key(self, visitor: Visitor, asked: Mapping[str, object]) -> Response:
        check_known(asked, "note", "scopes", "expires_in")
        texts = texts_field(asked, "scopes")
        made = self.api_keys.create(
            self.services.one(_service_name(visitor)),
            parse_scopes(EVERYTHING if texts is None else texts),
            seconds=number_field(asked, "expires_in"),
            note=text_field(asked, "note"),
            actor=visitor.actor,
        )
        return answer(201, {**made_document(made), "scopes": [str(each) for each in made.scopes]})

    def _service(self, each: ServiceAccount, keys: list[Listed]) -> dict[str, object]:
        now, known = self.services.clock(), self.last_use.known
        mine = [credential_document(key, known, now) for key in keys if key.user == each.name]
        used = [str(key["last_used"]) for key in mine if key["last_used"]]
        return {
            "name": each.name,
            "role": role_name(each.right),
            "note": each.note,
            "created": date(each.created),
            "last_used": max(used, default=None),
            "keys": mine,
        }

    # --- immutable tags ------------------------------------------------------------------------------

    def patterns(self, _request: Request, visitor: Visitor) -> Response:
        """The patterns that hold in a repository or namespace, its own and those around it."""
        found = self.immutable.listed(visitor.place.repository)
        return answer(200, [{"scope": each.scope, "pattern": each.pattern} for each in found])

    def add_pattern(self, _request: Request, visitor: Visitor) -> Accept:
        """From now on the tags that it covers stay where they are, once they are made."""
        return accept_object(partial(self._add_pattern, visitor))

    def _add_pattern(self, visitor: Visitor, asked: Mapping[str, object]) -> Response:
        check_known(asked, "pattern")
        where, pattern = visitor.place.repository.lower(), text_field(asked, "pattern")
        self.immutable.add(where, pattern, visitor.actor)
        return answer(201, {"scope": where, "pattern": pattern})

    def remove_pattern(self, request: Request, visitor: Visitor) -> Response:
        """They may move again."""
        pattern = request.parameter("pattern")
        if not pattern:
            raise InvalidError("pattern is missing", hint="it is a parameter: ?pattern=v*")
        self.immutable.remove(visitor.place.repository, pattern, visitor.actor)
        return Response(204)


def _namespace(visitor: Visitor) -> str:
    return visitor.place.repository.lower()


def _service_name(visitor: Visitor) -> str:
    return f"{_namespace(visitor)}/{visitor.place.reference}"


def _organisation(each: Organisation, user: str) -> dict[str, object]:
    return {
        "name": each.name,
        "role": role_name(each.members[user]) if user in each.members else None,
        "created": date(each.created),
    }
