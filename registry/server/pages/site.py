"""All pages together: what each needs, and which of them answers what."""

from __future__ import annotations

from dataclasses import dataclass

from registry.contracts import Depot
from registry.server.api_keys import ApiKeys
from registry.server.approval import Approval
from registry.server.health import Health
from registry.server.immutable import ImmutableTags
from registry.server.last_use import LastUse
from registry.server.organisations import Organisations
from registry.server.overview import Overview
from registry.server.pages.administration import Administration
from registry.server.pages.connect import Connect
from registry.server.pages.entrance import HOME, Entrance
from registry.server.pages.html import Templates, asset, redirect
from registry.server.pages.keys import Keys
from registry.server.pages.models import Models
from registry.server.pages.people import PeoplePage
from registry.server.pages.publishers import PublishersPage
from registry.server.pages.shares import Shares
from registry.server.pages.teams import Teams
from registry.server.people import People
from registry.server.rights import Rights
from registry.server.services import Services
from registry.server.table import Need, Row, Table
from registry.server.token_exchange import TokenExchange
from registry.server.visitor import Visitor
from registry.wire.faults import fault
from registry.wire.messages import Request, Response
from registry.wire.routes import Route


@dataclass(frozen=True, slots=True)
class Site:
    """The pages over what a registry is made of; `api_keys` as its administrator has bounded them."""

    approval: Approval
    people: People
    health: Health
    api_keys: ApiKeys
    last_use: LastUse
    templates: Templates
    depot: Depot
    rights: Rights
    jobs: TokenExchange

    def rows(self) -> Table:
        """The pages' part of the table."""
        templates, engine = self.templates, self.people.accounts.engine
        overview = Overview(engine)
        return {
            Route.ROOT: {"GET": Row(Need.NOTHING, _home)},
            Route.ASSET: {"GET": Row(Need.NOTHING, _asset)},
            **Entrance(templates, self.approval.sign_in).rows(),
            **Connect(templates, self.approval).rows(),
            **Keys(templates, self.approval.credentials, self.api_keys, self.last_use).rows(),
            **Models(templates, self.depot, self.rights, overview).rows(),
            **Shares(templates, self.rights).rows(),
            **self._teams().rows(),
            **PublishersPage(templates, self.jobs, self.rights).rows(),
            **PeoplePage(templates, self.people).rows(),
            **Administration(templates, engine, self.health).rows(),
        }

    def _teams(self) -> Teams:
        """The pages of teams, over the same database."""
        accounts = self.people.accounts
        return Teams(
            self.templates,
            Organisations(accounts.engine, accounts.clock),
            Services(accounts.engine, accounts.clock, accounts.new_id),
            ImmutableTags(accounts.engine, accounts.clock),
            self.rights,
            self.approval.credentials,
            self.api_keys,
            self.last_use,
        )


def _home(_request: Request, _visitor: Visitor) -> Response:
    return redirect(HOME)


def _asset(_request: Request, visitor: Visitor) -> Response:
    return asset(visitor.place.reference) or fault("NAME_UNKNOWN", "there is nothing at this path")
