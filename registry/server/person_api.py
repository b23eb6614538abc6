"""The account API's part of what a person has beside credentials: password, browsers, machines that wait.

By a machine's key or a session, never by an API key. What takes a password in a page takes it here too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from registry.auth.keys import PublicKey
from registry.errors import DeniedError, NotFoundError
from registry.server.approval import Approval
from registry.server.browser import cookie
from registry.server.documents import accept_object, answer, check_known, text_field
from registry.server.principal import User
from registry.server.reading import date
from registry.server.sessions import SECONDS
from registry.server.sign_in import SignIn
from registry.server.table import Need, Row, Table
from registry.server.visitor import Visitor
from registry.wire.messages import Accept, Request, Response
from registry.wire.routes import Route


@dataclass(frozen=True, slots=True)
class PersonApi:
    """Over how people sign in at one registry."""

    sign_in: SignIn
    approval: Approval

    def rows(self) -> Table:
        """Its part of the table."""
        need = Need.MANAGE
        return {
            Route.PAGE_LINK: {"POST": Row(need, self.page_link)},
            Route.PASSWORD: {"PUT": Row(need, self.password)},
            Route.SESSIONS: {"GET": Row(need, self.sessions), "DELETE": Row(need, self.end_others)},
            Route.SESSION: {"DELETE": Row(need, self.end)},
            Route.CONNECTION: {"GET": Row(need, self.waiting), "PUT": Row(need, self.connect)},
        }

    def page_link(self, _request: Request, visitor: Visitor) -> Response:
        """A link into the pages, good once and for minutes, for the holder of another credential."""
        path = self.sign_in.invitations.page(_user(visitor), visitor.actor)
        return answer(201, {"url": visitor.here.base + path})

    # --- password and browsers -----------------------------------------------------------------------

    def password(self, _request: Request, visitor: Visitor) -> Accept:
        """Another password, by the old one; every browser of the account is signed out."""
        return accept_object(partial(self._password, visitor))

    def _password(self, visitor: Visitor, asked: Mapping[str, object]) -> Response:
        check_known(asked, "old", "new")
        old, new, browser = text_field(asked, "old"), text_field(asked, "new"), visitor.session is not None
        secret = self.sign_in.change(_user(visitor), old, new, visitor.actor, browser=browser)
        return answer(200, {}, (cookie(visitor.here, secret, SECONDS),) if browser else ())

    def sessions(self, _request: Request, visitor: Visitor) -> Response:
        """The browsers that are signed in, the last used first; `this` is the one that asks."""
        documents = [
            {
                "id": each.id,
                "created": date(each.created),
                "seen": date(each.seen),
                "expires": date(each.expires),
                "address": each.address,
                "this": each.id == _session(visitor),
            }
            for each in self.sign_in.sessions.of(_user(visitor))
        ]
        return answer(200, documents)

    def end(self, _request: Request, visitor: Visitor) -> Response:
        """Sign one browser out."""
        self.sign_in.sessions.end_one(_user(visitor), visitor.place.reference, visitor.actor)
        return Response(204)

    def end_others(self, _request: Request, visitor: Visitor) -> Response:
        """Sign every browser out but the one that asks."""
        self.sign_in.sessions.end_others(_user(visitor), _session(visitor), visitor.actor)
        return Response(204)

    # --- machines that wait --------------------------------------------------------------------------

    def waiting(self, _request: Request, visitor: Visitor) -> Response:
        """From where and when a key has asked to be connected, as the page shows it. 404 if it has not."""
        key = PublicKey.parse_connect(visitor.place.reference)
        asked = self.approval.connecting.find(key)
        if asked is None:
            raise NotFoundError("this key has not asked within the last 10 minutes")
        document = {
            "fingerprint": key.fingerprint,
            "addresses": asked.addresses,
            "asked": date(asked.last),
            "code": asked.shows_code,
        }
        return answer(200, document)

    def connect(self, _request: Request, visitor: Visitor) -> Accept:
        """Let a key that waits speak for the account, by the code its machine shows and the password."""
        return accept_object(partial(self._connect, visitor))

    def _connect(self, visitor: Visitor, asked: Mapping[str, object]) -> Response:
        check_known(asked, "name", "code", "password")
        key = PublicKey.parse_connect(visitor.place.reference)
        if not self.approval.waiting(key).shows_code:
            raise DeniedError(
                "nothing proves whose machine this is, as its program shows no code: approve it in a "
                "browser, where from and when it asked is shown"
            )
        name, code = text_field(asked, "name"), text_field(asked, "code")
        password = text_field(asked, "password")
        actor, user = visitor.actor, _user(visitor)
        added = self.approval.approve(user, key, name, code=code, password=password, actor=actor)
        return answer(201, {"id": added.id, "fingerprint": key.fingerprint})


def _user(visitor: Visitor) -> User:
    user = visitor.principal.user
    assert user is not None  # the guard lets nobody else in
    return user


def _session(visitor: Visitor) -> str:
    """The identifier of the session that asks, "" for a machine."""
    return visitor.session.id if visitor.session else ""
