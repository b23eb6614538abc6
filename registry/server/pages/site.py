"""All pages together: what each needs, and which of them answers what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from registry.contracts import Depot
from registry.server.accounts import Accounts
from registry.server.api_keys import ApiKeys
from registry.server.connecting import Connecting
from registry.server.credentials import Credentials
from registry.server.last_use import LastUse
from registry.server.overview import Overview
from registry.server.pages.administration import Administration, Numbers
from registry.server.pages.connect import Connect
from registry.server.pages.entrance import HOME, Entrance
from registry.server.pages.html import Templates, asset, redirect
from registry.server.pages.keys import Keys
from registry.server.pages.models import Models
from registry.server.pages.people import People
from registry.server.passwords import Passwords
from registry.server.registry import Registry
from registry.server.rights import Rights
from registry.server.room import Room
from registry.server.sign_in import SignIn
from registry.server.table import Need, Row, Table
from registry.server.visitor import Visitor
from registry.wire.faults import fault
from registry.wire.messages import Request, Response
from registry.wire.routes import Route


@dataclass(frozen=True, slots=True)
class Site:
    """The pages over what a registry is made of; `numbers` says what is true of it just now."""

    sign_in: SignIn
    accounts: Accounts
    credentials: Credentials
    api_keys: ApiKeys
    last_use: LastUse
    connecting: Connecting
    templates: Templates
    depot: Depot
    rights: Rights
    room: Room
    numbers: Callable[[], Numbers]

    @classmethod
    def over(
        cls,
        registry: Registry,
        api_keys: ApiKeys,
        connecting: Connecting,
        templates: Templates,
        numbers: Callable[[], Numbers],
    ) -> Site:
        """The pages of a data directory that is served; `api_keys` as its administrator has bounded them."""
        accounts = registry.accounts
        sign_in = SignIn(
            accounts.engine,
            accounts.clock,
            accounts.new_id,
            Passwords(accounts.engine),
            registry.sessions,
            registry.invitations,
        )
        return cls(
            sign_in,
            accounts,
            registry.credentials,
            api_keys,
            registry.last_use,
            connecting,
            templates,
            registry.depot,
            registry.rights,
            registry.depot.room,
            numbers,
        )

    def rows(self) -> Table:
        """The pages' part of the table."""
        shared = (self.templates, self.sign_in)
        engine = self.accounts.engine
        return {
            Route.ROOT: {"GET": Row(Need.NOTHING, _home)},
            Route.ASSET: {"GET": Row(Need.NOTHING, _asset), "HEAD": Row(Need.NOTHING, _asset)},
            **Entrance(*shared).rows(),
            **Connect(*shared, self.credentials, self.connecting).rows(),
            **Keys(self.templates, self.credentials, self.api_keys, self.last_use).rows(),
            **Models(self.templates, self.depot, self.rights, Overview(engine)).rows(),
            **People(*shared, self.accounts).rows(),
            **Administration(self.templates, engine, self.room, self.numbers).rows(),
        }


def _home(_request: Request, _visitor: Visitor) -> Response:
    return redirect(HOME)


def _asset(_request: Request, visitor: Visitor) -> Response:
    return asset(visitor.place.reference) or fault("NAME_UNKNOWN", "there is nothing at this path")
