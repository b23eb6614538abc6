"""All pages together: what each needs, and which of them answers what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from registry.contracts import Depot
from registry.server.connecting import Connecting
from registry.server.credentials import Credentials
from registry.server.pages.connect import Connect
from registry.server.pages.entrance import HOME, Entrance
from registry.server.pages.html import Templates, asset, redirect
from registry.server.pages.models import Models
from registry.server.passwords import Passwords
from registry.server.registry import Registry
from registry.server.rights import Rights
from registry.server.sign_in import SignIn
from registry.server.table import Need, Row
from registry.server.visitor import Visitor
from registry.wire.faults import fault
from registry.wire.messages import Request, Response
from registry.wire.routes import Route


@dataclass(frozen=True, slots=True)
class Site:
    """The pages over what a registry is made of."""

    sign_in: SignIn
    credentials: Credentials
    connecting: Connecting
    templates: Templates
    depot: Depot
    rights: Rights

    @classmethod
    def over(cls, registry: Registry, connecting: Connecting, templates: Templates) -> Site:
        """The pages of a data directory that is served."""
        engine, accounts = registry.depot.engine, registry.accounts
        sign_in = SignIn(
            engine,
            accounts.clock,
            accounts.new_id,
            Passwords(engine),
            registry.sessions,
            registry.invitations,
        )
        return cls(sign_in, registry.credentials, connecting, templates, registry.depot, registry.rights)

    def rows(self) -> Mapping[Route, Mapping[str, Row]]:
        """The pages' part of the table."""
        shared = (self.templates, self.sign_in)
        return {
            Route.ROOT: {"GET": Row(Need.NOTHING, _home)},
            Route.ASSET: {"GET": Row(Need.NOTHING, _asset), "HEAD": Row(Need.NOTHING, _asset)},
            **Entrance(*shared).rows(),
            **Connect(*shared, self.credentials, self.connecting).rows(),
            **Models(self.templates, self.depot, self.rights).rows(),
        }


def _home(_request: Request, _visitor: Visitor) -> Response:
    return redirect(HOME)


def _asset(_request: Request, visitor: Visitor) -> Response:
    return asset(visitor.place.reference) or fault("NAME_UNKNOWN", "there is nothing at this path")
