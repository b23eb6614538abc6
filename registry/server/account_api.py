"""The account API's half of who one is: the account, its credentials, and their end (README, "Account API").

The guard has looked at who asks. A program with an API key sees itself here, and may end itself, no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from registry.auth.keys import PublicKey
from registry.contracts import Actor, Clock
from registry.errors import DeniedError, InvalidError, NotFoundError
from registry.server.api_keys import USUAL_OVERLAP, ApiKeys, Made
from registry.server.bearers import PUBLISHED
from registry.server.credentials import CredentialStore, Listed
from registry.server.documents import (
    accept_object,
    answer,
    check_known,
    number_field,
    text_field,
    texts_field,
)
from registry.server.key_scopes import KeyScope, parse_scopes
from registry.server.last_use import LastUse
from registry.server.namespaces import namespace_of
from registry.server.principal import API_KEY, MACHINE_KEY, PUBLISHER, SERVICE, SESSION, User
from registry.server.reading import date
from registry.server.rights import Rights
from registry.server.table import Need, Row, Table
from registry.server.throttle import RateLimit, Throttle
from registry.server.visitor import Visitor
from registry.wire.messages import Accept, Request, Response
from registry.wire.routes import Route

# How each kind of credential is called where people read it.
KINDS = {
    MACHINE_KEY: "machine",
    API_KEY: "api",
    SESSION: "session",
    SERVICE: "service",
    PUBLISHER: "publisher",
}
_SECRET_BYTES = 4 * 1024  # of a body that tells a secret
_USUAL_SCOPES = ("*:pull",)
# Who cleans up after a leak has a few of them, and nobody has many.
_TOLD = RateLimit(30)


@dataclass(frozen=True, slots=True)
class AccountApi:
    """Over the credentials of one registry; `throttle` bounds how often a stranger may tell secrets."""

    credentials: CredentialStore
    api_keys: ApiKeys
    rights: Rights
    last_use: LastUse
    clock: Clock
    throttle: Throttle = field(default_factory=lambda: Throttle(_TOLD, _TOLD))

    def rows(self) -> Table:
        """Its part of the table."""
        return {
            Route.ACCOUNT: {"GET": Row(Need.IDENTITY, self.account)},
            Route.CREDENTIALS: {
                "GET": Row(Need.ACCOUNT, self.listed),
                "POST": Row(Need.MANAGE, self.create),
            },
            Route.REVOKE_SECRET: {"POST": Row(Need.NOTHING, self.revoke_secret)},
            Route.CREDENTIAL: {"DELETE": Row(Need.ACCOUNT, self.revoke)},
            Route.ROTATE: {"POST": Row(Need.MANAGE, self.rotate)},
            Route.MACHINE: {"DELETE": Row(Need.MANAGE, self.disconnect)},
        }

    def account(self, _request: Request, visitor: Visitor) -> Response:
        """Who asks, and by what."""
        who = visitor.principal
        known, credential = who.user or who.workload, who.credential
        assert known is not None and credential is not None  # the guard lets nobody else in
        listed = None if credential.kind in (SESSION, PUBLISHER) else self.credentials.one(credential.id)
        jobs = [str(KeyScope(each, PUBLISHED)) for each in visitor.publishes]
        document = {
            "id": known.id,
            "name": known.name,
            "admin": who.user is not None and who.user.admin,
            "host": visitor.here.spelled,
            "credential": {
                "id": credential.id,
                "kind": KINDS[credential.kind],
                "note": listed.note if listed else "",
                "shown": listed.shown if listed else "",
                "expires": _date(credential.expires),
                "scopes": jobs or _texts(credential.scopes),
            },
        }
        return answer(200, document)

    def listed(self, _request: Request, visitor: Visitor) -> Response:
        """The credentials of the account, revoked ones too, and of the service accounts in what it owns.

        To an API key only itself.
        """
        user, who = _user(visitor), visitor.principal
        found = self.credentials.listed(user.name)
        if who.by_api_key:
            found = [each for each in found if each.id == who.credential_id]
        else:
            found += self.credentials.of_services(self.rights.owned(user))
        known, now = self.last_use.known, self.clock()
        return answer(200, [credential_document(each, known, now) for each in found])

    def create(self, _request: Request, visitor: Visitor) -> Accept:
        """A new API key, whose secret is shown this once."""
        return accept_object(partial(self._create, visitor))

    def _create(self, visitor: Visitor, asked: Mapping[str, object]) -> Response:
        check_known(asked, "note", "scopes", "expires_in")
        texts = texts_field(asked, "scopes")
        made = self.api_keys.create(
            _user(visitor),
            parse_scopes(_USUAL_SCOPES if texts is None else texts),
            seconds=number_field(asked, "expires_in"),
            note=text_field(asked, "note"),
            actor=visitor.actor,
        )
        return answer(201, {**made_document(made), "scopes": _texts(made.scopes)})

    def rotate(self, _request: Request, visitor: Visitor) -> Accept:
        """A new secret for an API key; the one before is good for a while yet, or not at all."""
        return accept_object(partial(self._rotate, visitor))

    def _rotate(self, visitor: Visitor, asked: Mapping[str, object]) -> Response:
        check_known(asked, "overlap")
        overlap = number_field(asked, "overlap")
        made = self.api_keys.rotate(
            self._holder(visitor),
            visitor.place.reference,
            USUAL_OVERLAP if overlap is None else overlap,
            visitor.actor,
        )
        return answer(200, {**made_document(made), "old_until": _date(made.old_until)})

    def revoke(self, _request: Request, visitor: Visitor) -> Response:
        """The end of a credential of any kind, for ever; an API key may end itself. Twice is no mistake."""
        who, id = visitor.principal, visitor.place.reference
        if who.by_api_key and id != who.credential_id:
            raise DeniedError("an API key can revoke itself only")
        if self.credentials.revoke(self._holder(visitor), id, visitor.actor):
            return Response(204)
        return answer(200, {"revoked": _date(self.credentials.one(id).revoked)})

    def _holder(self, visitor: Visitor) -> str:
        """Whose the credential has to be: their own, or a service account's in what they own.

        NotFoundError.
        """
        found = self.credentials.one(visitor.place.reference)
        if found.kind == SERVICE and self.rights.owns(visitor.principal, namespace_of(found.user)):
            return found.user
        return _user(visitor).name

    def disconnect(self, _request: Request, visitor: Visitor) -> Response:
        """Sign a machine out: by its own key, or by a session of the owner. It may be connected again."""
        key = PublicKey.parse_connect(visitor.place.reference)
        user, credential = _user(visitor).name, visitor.principal.credential
        mine = [each for each in self.credentials.listed(user, MACHINE_KEY) if each.shown == key.fingerprint]
        if not mine or mine[0].revoked is not None:
            raise NotFoundError(f"the key {key} is not connected to {user}")
        if credential is not None and credential.kind == MACHINE_KEY and credential.id != mine[0].id:
            raise DeniedError("a key signs itself out only; another one can be revoked")
        self.credentials.disconnect_key(key.fingerprint, visitor.actor)
        return answer(200, {})

    def revoke_secret(self, _request: Request, visitor: Visitor) -> Accept:
        """Its holder may end a secret. 202 whatever it is: this tells nobody whether it was one."""
        self.throttle.guess("revoke", "", visitor.address)
        return accept_object(partial(self._revoke_secret, visitor.actor), _SECRET_BYTES)

    def _revoke_secret(self, actor: Actor, asked: Mapping[str, object]) -> Response:
        check_known(asked, "secret")
        secret = text_field(asked, "secret")
        if not secret:
            raise InvalidError("secret is missing")
        self.api_keys.revoke_by_secret(secret, actor)
        return answer(202, {})


def credential_document(each: Listed, known: Mapping[str, float], now: float) -> dict[str, object]:
    """A credential as its owner sees it; `known`: last uses that are not written down yet."""
    return {
        "id": each.id,
        "kind": KINDS[each.kind],
        "service": each.user if each.kind == SERVICE else None,
        "note": each.note,
        "scopes": _texts(each.scopes),
        "created": _date(each.created),
        "expires": _date(each.expires),
        "last_used": _date(known.get(each.id, each.last_used)),
        "shown": each.shown,
        "state": each.state(now),
    }


def made_document(made: Made) -> dict[str, object]:
    """A secret that was just made."""
    return {"id": made.id, "secret": made.secret, "expires": _date(made.expires)}


def _user(visitor: Visitor) -> User:
    user = visitor.principal.user
    assert user is not None  # the guard lets nobody else in
    return user


def _texts(scopes: tuple[KeyScope, ...] | None) -> list[str] | None:
    return None if scopes is None else [str(each) for each in scopes]


def _date(seconds: float | None) -> str | None:
    return None if seconds is None else date(seconds)
